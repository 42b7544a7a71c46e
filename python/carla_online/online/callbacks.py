"""Hooks into a run, for what we didn't think of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from carla_online.envs.transitions import Step

if TYPE_CHECKING:
    from carla_online.online.runner import CARLAOnlineRunner


class Callback:
    """Override what you need; every method does nothing by default. An exception stops the run."""

    def on_step(self, runner: CARLAOnlineRunner, step: Step) -> None:
        """After every step of all environments."""

    def on_episode(self, runner: CARLAOnlineRunner, episode: Mapping[str, float]) -> None:
        """After every episode; `episode` holds its return, length and, where known, driving metrics."""

    def on_update(self, runner: CARLAOnlineRunner, metrics: Mapping[str, float]) -> None:
        """Whenever fresh learner metrics were read."""

    def on_checkpoint(self, runner: CARLAOnlineRunner, path: Path) -> None:
        """After a checkpoint was written."""
