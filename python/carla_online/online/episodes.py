"""What a run knows of its episodes: return, length and driving metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.envs.curriculum import successes
from carla_online.envs.transitions import Step

INTERVENTIONS = "safety_interventions"
"""Decisions of an episode that the safety layer changed, or would have in mode `monitor`."""
DISTANCE_KM = "distance_km"
_FINAL_INFO = ("timed_driving_score", "driving_score", "route_completion", "collision")


class EpisodeTracker:
    """Adds up the reward of each environment's open episode and hands over the closed ones.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int) -> None:
        self._returns = np.zeros(num_envs, dtype=np.float64)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._interventions = np.zeros(num_envs, dtype=np.int64)
        self.episodes = 0

    def observe(self, step: Step) -> list[dict[str, float]]:
        """Takes in one step and returns the episodes that ended, each with its metrics by name."""
        self._returns[step.valid] += step.reward[step.valid]
        self._lengths[step.valid] += 1
        has_layer = "safety_causes" in step.info
        if has_layer:
            self._interventions += step.valid & (np.asarray(step.info["safety_causes"]) != 0)
        closed = []
        for index in np.flatnonzero(step.valid & (step.terminated | step.truncated)):
            episode = {"return": float(self._returns[index]), "length": float(self._lengths[index])}
            for name in _FINAL_INFO:
                if name in step.info:
                    episode[name] = float(step.info[name][index])
            if has_layer:
                episode[INTERVENTIONS] = float(self._interventions[index])
                episode[DISTANCE_KM] = float(step.info["distance_m"][index]) / 1000.0
            episode |= _course(step, int(index))
            closed.append(episode)
            self._returns[index], self._lengths[index], self._interventions[index] = 0.0, 0, 0
        self.episodes += len(closed)
        return closed

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns the open episodes and the count of the closed ones."""
        return {
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "interventions": self._interventions.copy(),
            "episodes": np.array(self.episodes, dtype=np.int64),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`."""
        self._returns[...] = state["returns"]
        self._lengths[...] = state["lengths"]
        self._interventions[...] = state["interventions"]
        self.episodes = int(state["episodes"])


def _course(step: Step, index: int) -> dict[str, float]:
    """Returns whether an episode of a driving environment succeeded, and how it stands with a curriculum."""
    info = step.info
    if "finished" not in info or np.shape(info.get("infractions", ())) != (len(step.valid), len(INFRACTION_NAMES)):
        return {}
    rows = slice(index, index + 1)
    success = float(successes(np.asarray(info["finished"][rows], np.bool_), np.asarray(info["infractions"][rows]))[0])
    told = {"success": success}
    level = int(info["curriculum_level"][index]) if "curriculum_level" in info else -1
    if level >= 0:
        stage = int(info["stage"][index])
        told |= {"curriculum_level": float(level), f"success_stage_{stage}": success}
    return told


def interventions_per_km(episodes: list[dict[str, float]]) -> dict[str, float]:
    """Returns all safety interventions over all kilometres, by the metric's name; nothing without a safety layer."""
    distance_km = sum(episode.get(DISTANCE_KM, 0.0) for episode in episodes)
    if distance_km <= 0.0:
        return {}
    return {"safety_interventions_per_km": sum(episode.get(INTERVENTIONS, 0.0) for episode in episodes) / distance_km}


def mean_by_name(episodes: list[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of every metric over the episodes that have it."""
    names = sorted({name for episode in episodes for name in episode})
    return {name: float(np.mean([e[name] for e in episodes if name in e])) for name in names}
