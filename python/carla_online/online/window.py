"""When things are due, and what is logged between two lines of metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping

from carla_online.online.episodes import interventions_per_km, mean_by_name


class Interval:
    """Fires once for every multiple of `every` that a counter passes."""

    def __init__(self, every: int, start: int) -> None:
        self._every = every
        self._last = start // every

    def is_due(self, now: int) -> bool:
        """Returns whether a multiple was passed since the last call."""
        due = now // self._every > self._last
        self._last = now // self._every
        return due


class Window:
    """Metrics between two log lines: the newest of the learner, the mean of the episodes, the speeds."""

    def __init__(self, env_steps: int, transitions: int, updates: int) -> None:
        self.latest: dict[str, float] = {}
        self.new_episodes: list[dict[str, float]] = []
        self._episodes: list[dict[str, float]] = []
        self._start = (env_steps, transitions, updates)
        self._started_s = time.monotonic()

    def add(self, fresh: Mapping[str, float], episodes: list[dict[str, float]]) -> None:
        """Takes in the learner's fresh metrics and the episodes that ended in this step."""
        self.latest |= {f"train/{name}": value for name, value in fresh.items()}
        self.new_episodes = episodes
        self._episodes += episodes

    def restart_clock(self) -> None:
        """Leaves what was just waited for out of the speeds."""
        self._started_s = time.monotonic()

    def close(self, env_steps: int, transitions: int, updates: int) -> dict[str, float]:
        """Returns the window's metrics by tag and begins the next one."""
        elapsed_s = max(time.monotonic() - self._started_s, 1e-9)
        means = {f"rollout/episode_{name}": value for name, value in mean_by_name(self._episodes).items()}
        speeds = {
            "time/env_steps_per_s": (env_steps - self._start[0]) / elapsed_s,
            "time/updates_per_s": (updates - self._start[2]) / elapsed_s,
        }
        safety = {f"rollout/{name}": value for name, value in interventions_per_km(self._episodes).items()}
        self.latest |= means | safety | speeds
        self._episodes = []
        self._start = (env_steps, transitions, updates)
        self._started_s = time.monotonic()
        return dict(self.latest)
