"""JSON files, written whole or not at all and hostile until read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from carla_online.errors import EvaluationError
from carla_online.files import write_bytes_atomically

_DEEPEST: Final = 50
_LARGEST_FILE_BYTES: Final = 256 * 1024 * 1024


def write_json(path: Path, data: Any) -> None:
    """Writes `data` as JSON, whole or not at all; numbers that JSON lacks (NaN, infinity) become null."""
    text = json.dumps(finite(data), allow_nan=False, separators=(",", ":"))
    write_bytes_atomically(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        EvaluationError: The file is missing, larger than 256 MB, nested more than 50 deep, or isn't JSON.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > _LARGEST_FILE_BYTES:
            raise EvaluationError(f"{path} has {size_bytes} bytes; at most {_LARGEST_FILE_BYTES} are read.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluationError(f"file not found: {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(f"{path} can't be read as JSON: {error}") from error
    _require_shallow(data, path)
    return data


def _require_shallow(data: Any, path: Path) -> None:
    """Refuses what could exhaust the stack of anybody who walks through it."""
    level = [data]
    for _ in range(_DEEPEST):
        level = [part for item in level if isinstance(item, dict | list) for part in _parts(item)]
        if not level:
            return
    raise EvaluationError(f"{path} is nested more than {_DEEPEST} deep; that isn't a file of this project.")


def _parts(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


def finite(data: Any) -> Any:
    """Returns `data` with every float that isn't finite replaced by `None`, at any depth."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data
