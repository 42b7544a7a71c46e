"""Puts the world's own judgement and the criteria's together: infractions, reward terms, completion, scores, ends.

The world judges every simulation step, with the functions that judge every other backend too. Where a scenario has a
criterion for an infraction, the criterion's count takes the place of the world's, so that nothing is charged twice and
scores are ScenarioRunner's. Collisions are the exception: the collision sensor is known to miss people on foot and some
models, so the higher of the two counts, for the world compares the boxes too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online._native import score_route
from carla_online.envs.contract import INFRACTION_NAMES, REWARD_TERM_NAMES
from carla_online.envs.scenario_runner.criteria import Findings

_COLLISIONS: Final = ("collision_vehicle", "collision_static", "collision_walker")
_PLACE: Final = {name: place for place, name in enumerate(INFRACTION_NAMES)}
_TERM: Final = {name: place for place, name in enumerate(REWARD_TERM_NAMES)}
_COUNTED_TERMS: Final = [
    (_TERM[term], [_PLACE[name] for name in names])
    for term, names in (("red_light", ["red_light"]), ("stop_sign", ["stop_sign"]), ("collision", _COLLISIONS))
]
_COLLISION_PLACES: Final = [_PLACE[name] for name in _COLLISIONS]
_BLOCKED, _DEVIATED, _TIMED_OUT = (_PLACE[name] for name in ("blocked", "route_deviation", "timed_out"))
_BLOCKED_TERM, _FINISHED_TERM, _COMPLETION_TERM = (_TERM[name] for name in ("blocked", "route_finished", "completion"))


class TreeState(StrEnum):
    """How a scenario stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Its story, or its route, has come to its end."""
    FAILED = "failed"
    """A criterion ended it."""
    TIMED_OUT = "timed_out"
    """Its time was over."""
    EGO_GONE = "ego_gone"
    """Something in the scenario has destroyed the ego."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the world's own judgement says after a decision."""

    infractions: NDArray[np.int32]
    """int32 [J], counts so far."""
    reward_terms: NDArray[np.float32]
    """float32 [K], of this decision."""
    terminated: bool
    truncated: bool
    info: dict[str, float]
    """The info row, by the contract's names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision, put together."""

    infractions: NDArray[np.int32]
    """int32 [J], counts so far."""
    reward_terms: NDArray[np.float32]
    """float32 [K], of this decision."""
    terminated: bool
    truncated: bool
    info: dict[str, float]
    """The info row, by the contract's names."""


class Ledger:
    """One episode's account.

    Args:
        reference_time_s: The scenario's reference time; the way's own if None.
    """

    def __init__(self, reference_time_s: float | None = None) -> None:
        self._reference_time_s = reference_time_s
        self._counts = [0] * len(INFRACTION_NAMES)
        self._completion = 0.0

    def enter(self, judged: Judged, findings: Findings, state: TreeState) -> Entry:
        """Adds a decision.

        Numbers of one route are plain ones: NumPy's calls on so few cost more than a step of the simulation.

        Args:
            judged: The world's judgement; its reward terms and info are changed.
            findings: What the criteria have found.
            state: How the scenario stands.
        """
        is_finished = state is TreeState.SUCCEEDED or bool(judged.info["finished"])
        timed_out = state is TreeState.TIMED_OUT or bool(judged.info["timed_out"])
        counts = self._merge(judged.infractions, findings)
        if state is TreeState.TIMED_OUT:
            counts[_TIMED_OUT] = max(1, counts[_TIMED_OUT])
        before, completion = self._counts, 1.0 if is_finished else self._completed(judged, findings)
        terms = judged.reward_terms
        for term, places in _COUNTED_TERMS:
            terms[term] = sum(counts[place] - before[place] for place in places)
        terms[_BLOCKED_TERM] = counts[_BLOCKED] > before[_BLOCKED]
        terms[_FINISHED_TERM] = is_finished
        terms[_COMPLETION_TERM] = 100.0 * (completion - self._completion)
        self._counts, self._completion = counts, completion
        terminated = judged.terminated or state in (TreeState.SUCCEEDED, TreeState.FAILED)
        truncated = not terminated and (judged.truncated or state in (TreeState.TIMED_OUT, TreeState.EGO_GONE))
        info = judged.info
        self._score(info, findings, counts, completion)
        info["finished"] = float(is_finished)
        info["timed_out"] = float(timed_out and not is_finished)
        info["collision"] = float(sum(counts[place] for place in _COLLISION_PLACES) > 0)
        info["blocked"] = float(counts[_BLOCKED] > 0)
        info["deviated"] = float(counts[_DEVIATED] > 0)
        info["infraction"] = float(bool(info["infraction"]) or state is TreeState.FAILED)
        return Entry(np.array(counts, np.int32), terms, terminated, truncated, info)

    def _merge(self, world: NDArray[np.int32], findings: Findings) -> list[int]:
        counts: list[int] = world.tolist()
        for name in findings.judged:
            if name not in _COLLISIONS:
                counts[_PLACE[name]] = findings.counts.get(name, 0)
        for name, found in findings.counts.items():
            counts[_PLACE[name]] = max(counts[_PLACE[name]], found)
        # A criterion's event may come a tick after the world's: what was once counted stays.
        return list(map(max, counts, self._counts))

    def _completed(self, judged: Judged, findings: Findings) -> float:
        share = findings.route_completion
        completion = judged.info["route_completion"] if share is None else share
        return max(self._completion, min(completion, 1.0))

    def _score(self, info: dict[str, float], findings: Findings, counts: list[int], completion: float) -> None:
        outside = findings.outside_lanes_share
        outside_share = info["outside_lanes_share"] if outside is None else outside
        reference_s = self._reference_time_s or info["reference_time_s"]
        penalty, score, timed = score_route(
            counts, info["min_speed_share"], outside_share, completion, reference_s, info["sim_time_s"]
        )
        info["route_completion"], info["outside_lanes_share"] = completion, outside_share
        info["infraction_score"], info["driving_score"], info["timed_driving_score"] = penalty, score, timed
        info["reference_time_s"] = reference_s
