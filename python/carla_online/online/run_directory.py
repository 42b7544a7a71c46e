"""A run's folder: one owner at a time, one configuration for ever."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from pydantic import ValidationError

from carla_online._native import __version__
from carla_online.config import read_yaml, to_yaml
from carla_online.errors import CheckpointError, ConfigError
from carla_online.files import write_bytes_atomically
from carla_online.online.checkpoint import list_checkpoints

# What may differ between two starts of the same run: it changes how long or where, not what is learned.
_FREE_KEYS = frozenset({"runner.total_env_steps", "runner.run_dir", "runner.workers"})
_FREE_SECTION = "runner.supervision."


class RunDirectory:
    """Everything a run leaves behind: config, checkpoints, metrics, replay, evaluations, report.

    Args:
        path: The folder; it is created.

    Raises:
        ConfigError: Another process is running in this folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = (path / ".lock").open("a")
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigError(
                f"another process is training in {path}. Wait for it, stop it (SIGTERM writes a checkpoint), or "
                "choose another run folder."
            ) from None

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to resume from."""
        return bool(list_checkpoints(self.path))

    @property
    def has_experience(self) -> bool:
        """Whether the folder holds anything that starting afresh would overwrite."""
        return self.has_checkpoint or (self.path / "replay").exists() or (self.path / "metrics.jsonl").exists()

    def bind_config(self, config: Any) -> None:
        """Writes `config.yaml`, or compares with the one that is there.

        Raises:
            ConfigError: The folder belongs to a run with another configuration; the message names the keys.
        """
        file = self.path / "config.yaml"
        if not file.exists():
            write_bytes_atomically(file, to_yaml(config).encode())
            return
        ours, theirs = flatten(config.model_dump(mode="json")), flatten(_completed(config, read_yaml(file)))
        keys = sorted(
            key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key) and not _is_free(key)
        )
        if keys:
            lines = [f"  {key}: {theirs.get(key)!r} in the run, {ours.get(key)!r} now" for key in keys]
            raise ConfigError(
                f"{self.path} holds a run with another configuration:\n" + "\n".join(lines) + "\n"
                "Choose another run folder, or resume with the run's own configuration "
                f"(carla-online train --resume {self.path})."
            )

    def write_json(self, name: str, value: Any) -> None:
        """Writes one JSON file atomically."""
        write_bytes_atomically(self.path / name, json.dumps(value, indent=2, sort_keys=True).encode())

    def read_json(self, name: str) -> Any:
        """Reads one JSON file, or None where there is none.

        Raises:
            CheckpointError: The file isn't JSON.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CheckpointError(
                f"{self.path / name} is damaged ({error}). Remove it; it is written again at the next evaluation."
            ) from error

    def close(self) -> None:
        """Gives the folder free."""
        self._lock.close()


def _completed(config: Any, written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what is written with defaults for the keys that came with a later release."""
    try:
        complete: Mapping[str, Any] = type(config).model_validate(written).model_dump(mode="json")
    except ValidationError:
        return written
    return complete


def _is_free(key: str) -> bool:
    return key in _FREE_KEYS or key.startswith(_FREE_SECTION)


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def provenance(seed: int) -> dict[str, object]:
    """Returns what a run was made with: seed, versions, machine."""
    return {
        "seed": seed,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "carla_online": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
