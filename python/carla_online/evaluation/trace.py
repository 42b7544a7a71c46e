"""The trace of one episode: what an animation from above needs, in a neutral file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from carla_online.envs.contract import REWARD_TERM_NAMES, capabilities
from carla_online.errors import CapabilityError, EvaluationError, SimulatorError
from carla_online.evaluation.episodes import EpisodeStep
from carla_online.evaluation.files import read_json, write_json

_FORMAT: Final = 1
_VIEW_DISTANCE_M: Final = 150.0  # actors farther away are left out of a frame
_SCALARS: Final = {
    "time_s": "sim_time_s",
    "completion": "route_completion",
    "timed_driving_score": "timed_driving_score",
}


@dataclass(slots=True)
class TraceRecorder:
    """Keeps every decision of the route with one seed while it is evaluated."""

    seed: int
    """The route's episode seed."""
    label: str = ""
    """Who drives."""
    _road: list[dict[str, Any]] = field(default_factory=list)
    _frames: list[dict[str, Any]] = field(default_factory=list)
    _is_over: bool = False

    def add(self, env: VectorEnv[Any, Any, Any], row: int, step: EpisodeStep) -> None:
        """Adds the decision just taken; called by `evaluate_routes`.

        Args:
            env: The environment, right after the step.
            row: Which of its episodes.
            step: What the step gave.

        Raises:
            CapabilityError: The environment can't say where the actors are.
        """
        if not step.driven[row]:
            return
        if not capabilities(env).scene:
            raise CapabilityError(f"{type(env.unwrapped).__name__} has no scene(), so no trace can be recorded.")
        world: Any = env.unwrapped
        with suppress(SimulatorError):  # this episode is driven again, or missing
            if self._is_over or not self._frames:  # a route that is driven again begins a new trace
                self._frames, self._is_over = [], False
                self._road = [
                    {"kind": line.kind, "points": _rounded(line.points, 2)}
                    for line in world.road(row)
                    if len(line.points) > 1
                ]
            self._frames.append(_frame(world.scene(row), step, row))
        self._is_over = bool(step.ended[row])

    def trace(self) -> dict[str, Any]:
        """Returns the trace as plain values, the content of `trace.json`.

        Raises:
            EvaluationError: The route wasn't driven.
        """
        if not self._frames:
            raise EvaluationError(f"the route with the seed {self.seed} wasn't driven, so there is no trace.")
        return {
            "format": _FORMAT,
            "seed": str(self.seed),
            "label": self.label,
            "reward_terms": list(REWARD_TERM_NAMES),
            "road": self._road,
            "frames": self._frames,
        }

    def save(self, path: Path) -> None:
        """Writes `trace()` as JSON, whole or not at all."""
        write_json(path, self.trace())


def load_trace(path: Path) -> dict[str, Any]:
    """Reads a trace.

    Raises:
        EvaluationError: The file is missing, isn't JSON, or isn't a trace of this format.
    """
    data = read_json(path)
    if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
        raise EvaluationError(f"{path} isn't a trace of format {_FORMAT}.")
    for name in ("road", "frames", "reward_terms"):
        if not isinstance(data.get(name), list):
            raise EvaluationError(f"{path}: {name!r} must be a list.")
    return dict(data)


def _frame(scene: Any, step: EpisodeStep, row: int) -> dict[str, Any]:
    near = np.hypot(*(scene.actors[:, :2] - scene.ego[:2]).T) <= _VIEW_DISTANCE_M
    frame = {
        "ego": _rounded(scene.ego, 3),
        "actors": _rounded(scene.actors[near], 2),
        "action": _rounded(step.actions[row], 3),
        "reward": round(float(step.rewards[row]), 4),
        "terms": _rounded(step.info["reward_terms"][row], 4) if "reward_terms" in step.info else [],
    }
    if len(scene.states):
        frame["stops"] = [[*_rounded(ends, 2), state] for ends, state in zip(scene.stops, scene.states, strict=True)]
    for name, key in _SCALARS.items():
        value = float(step.info[key][row]) if key in step.info else math.nan
        frame[name] = round(value, 3) if math.isfinite(value) else None
    if step.ended[row]:
        frame["ended"] = True
    return frame


def _rounded(values: NDArray[Any], digits: int) -> list[Any]:
    rounded: list[Any] = np.round(np.asarray(values, np.float64), digits).tolist()
    return rounded
