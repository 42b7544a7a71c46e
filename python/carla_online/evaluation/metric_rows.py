"""Reads `metrics.jsonl`: one JSON object a line, `{"step": 100, "time_s": 3.2, "train/entropy": -1.4}`.

The writer stands in `carla_online.online.metrics`; reading stands here because the report lives on this floor.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

STEP: Final = "step"
"""Key of the environment step, an integer."""
TIME: Final = "time_s"
"""Key of the running time of the whole run in seconds, resumptions included."""

Series = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Steps int64 [n], strictly increasing, and values float64 [n]; NaN where the file has null."""

_LARGEST: Final = sys.float_info.max  # JSON's integers have no end
_LOG: Final = logging.getLogger(__name__)


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Returns the row that a line holds; `None` if it isn't a complete row."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    step = row.get(STEP)
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 2**63:
        return None
    return row


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the complete rows of a metrics file in order.

    A torn last line, as a kill leaves it, is passed over in silence; a damaged line elsewhere is passed over with a
    warning in the log.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = parse_row(line)
            if row is not None:
                yield row
            elif line.endswith(b"\n"):
                _LOG.warning("%s: line %d isn't a metrics row and was left out", path, number)


def read_metrics(path: Path) -> dict[str, Series]:
    """Returns the curves of a metrics file by tag; where a tag stands twice at one step, the later one counts.

    Args:
        path: The file.

    Returns:
        Tag to (steps int64 [n], values float64 [n]); `time_s` is one of the tags.

    Raises:
        FileNotFoundError: There is no such file.
    """
    curves: dict[str, dict[int, float]] = {}
    for row in read_rows(path):
        for tag, value in row.items():
            if tag == STEP:
                continue
            if value is None:
                value = math.nan
            elif isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
                continue
            curves.setdefault(tag, {})[row[STEP]] = float(value)
    return {tag: _series(curve) for tag, curve in curves.items()}


def read_events(path: Path) -> list[tuple[int, str, str]]:
    """Returns the texts of a metrics file, such as the guard's messages, as (step, tag, text) in order.

    Raises:
        FileNotFoundError: There is no such file.
    """
    return [(row[STEP], tag, value) for row in read_rows(path) for tag, value in row.items() if isinstance(value, str)]


def _series(curve: dict[int, float]) -> Series:
    steps = np.array(sorted(curve), dtype=np.int64)
    return steps, np.array([curve[step] for step in steps.tolist()], dtype=np.float64)
