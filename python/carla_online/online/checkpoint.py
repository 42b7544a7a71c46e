"""Checkpoints: one safetensors file each, written beside and renamed, checked in full when read."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from carla_online.errors import CheckpointError
from carla_online.files import write_bytes_atomically

FORMAT_VERSION = 1
_NAME = re.compile(r"step-(\d{12})\.safetensors")
_META_KEY = "carla_online"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete training state at a step boundary."""

    arrays: dict[str, NDArray[np.generic]]
    """Weights, optimiser moments, random states, worlds: arrays by dotted name"""
    counters: dict[str, Any]
    """JSON values by name"""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint atomically.

    Raises:
        CheckpointError: The disk is full or not writable; earlier checkpoints are untouched.
    """
    arrays = {name: np.asarray(value, order="C") for name, value in sorted(checkpoint.arrays.items())}
    meta = {"version": FORMAT_VERSION, "crc32": _checksum(arrays, checkpoint.counters), "counters": checkpoint.counters}
    data = to_bytes(arrays, metadata={_META_KEY: json.dumps(meta)})
    try:
        write_bytes_atomically(path, data)
    except OSError as error:
        raise CheckpointError(
            f"can't write the checkpoint {path} ({len(data)} bytes): {error.strerror}. Free some disk space and "
            "resume; earlier checkpoints are untouched."
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint and verifies every byte of it.

    Raises:
        CheckpointError: Missing, damaged, or of another format version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            meta = json.loads((file.metadata() or {})[_META_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        version, crc32, counters = meta["version"], meta["crc32"], meta["counters"]
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint not found: {path}. Check the run folder.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(_damaged(path, str(error) or type(error).__name__)) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint {path} has format version {version}; this build reads {FORMAT_VERSION}. "
            "Resume it with the release that wrote it."
        )
    seen = _checksum(arrays, counters)
    if seen != crc32:
        raise CheckpointError(_damaged(path, f"checksum {seen:08x}, expected {crc32:08x}"))
    return Checkpoint(arrays, counters)


def checkpoint_path(run_dir: Path, transitions: int) -> Path:
    """Returns where the checkpoint after this many transitions is kept."""
    return run_dir / "checkpoints" / f"step-{transitions:012d}.safetensors"


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Returns the checkpoints of a run, oldest first."""
    folder = run_dir / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def prune_checkpoints(run_dir: Path, *, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints."""
    for path in list_checkpoints(run_dir)[:-keep]:
        path.unlink(missing_ok=True)


def _checksum(arrays: Mapping[str, NDArray[np.generic]], counters: Mapping[str, Any]) -> int:
    crc = zlib.crc32(json.dumps(counters, sort_keys=True).encode())
    for name in sorted(arrays):
        crc = zlib.crc32(f"{name}:{arrays[name].dtype.str}:{arrays[name].shape}".encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data, crc)
    return crc


def _damaged(path: Path, reason: str) -> str:
    return (
        f"the checkpoint {path} is damaged ({reason}). Nothing was changed. Move it away to resume from the one "
        "before it; no experience is lost by that."
    )
