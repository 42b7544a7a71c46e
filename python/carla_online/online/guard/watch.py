"""What the guard sees of the environments: rewards, episode scores, safety interventions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.transitions import Step
from carla_online.online.episodes import EpisodeTracker

_MOST_REWARDS = 4_096


class EnvironmentWatch:
    """Gathers what happens between two looks.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int) -> None:
        self.score_floor: float | None = None
        self._episodes = EpisodeTracker(num_envs)
        self._rewards = np.zeros(_MOST_REWARDS, dtype=np.float32)
        self._count = 0
        self._scores: list[float] = []
        self._steps, self._interventions = 0, 0

    def observe(self, step: Step) -> None:
        """Takes in one step of all environments."""
        rewards = step.reward[step.valid][: _MOST_REWARDS - self._count]
        self._rewards[self._count : self._count + len(rewards)] = rewards
        self._count += len(rewards)
        for episode in self._episodes.observe(step):
            self._scores.append(episode.get("timed_driving_score", episode["return"]))
            self.score_floor = 0.0 if "timed_driving_score" in episode else None
        if "safety_intervened" in step.info:
            self._steps += int(step.valid.sum())
            self._interventions += int((np.asarray(step.info["safety_intervened"], np.bool_) & step.valid).sum())

    def take(self) -> tuple[dict[str, float], list[float]]:
        """Returns the metrics and the episode scores since the last call, and begins anew."""
        metrics: dict[str, float] = {}
        if self._count:
            metrics["reward_scale"] = float(np.quantile(np.abs(self._rewards[: self._count]), 0.9))
        if self._steps:
            metrics["safety_interventions"] = self._interventions / self._steps
        scores, self._scores = self._scores, []
        self._count = self._steps = self._interventions = 0
        return metrics, scores

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns what was gathered, as arrays by name."""
        state = {f"episodes.{name}": value for name, value in self._episodes.state_dict().items()}
        state["rewards"] = self._rewards[: self._count].copy()
        state["scores"] = np.array(self._scores, dtype=np.float64)
        state["counts"] = np.array([self._steps, self._interventions], dtype=np.int64)
        state["has_floor"] = np.array(self.score_floor is not None)
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`."""
        prefix = "episodes."
        self._episodes.load_state_dict({n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)})
        rewards = np.asarray(state["rewards"], dtype=np.float32)
        self._count = len(rewards)
        self._rewards[: self._count] = rewards
        self.score_floor = 0.0 if bool(state["has_floor"]) else None
        self._scores = [float(score) for score in np.asarray(state["scores"], dtype=np.float64)]
        self._steps, self._interventions = (int(count) for count in np.asarray(state["counts"], dtype=np.int64))
