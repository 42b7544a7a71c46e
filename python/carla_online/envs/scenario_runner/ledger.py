"""Puts the world's own judgement and the criteria's together: infractions, reward terms, completion, scores, ends.

The world judges every simulation step, with the functions that judge every other backend too. Where a scenario has a
criterion for an infraction, the criterion's count takes the place of the world's, so that nothing is charged twice and
scores are ScenarioRunner's. Collisions are the exception: the collision sensor is known to miss people on foot and some
models, so the higher of the two counts, for the world compares the boxes too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carla_online._native import ScenarioLedger
from carla_online.envs.scenario_runner.criteria import Findings


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


class Entry(NamedTuple):
    """What a decision has led to."""

    infractions: NDArray[np.int32]
    """int32 [J], counts so far."""
    reward_terms: NDArray[np.float32]
    """float32 [K], of this decision."""
    info: NDArray[np.float64]
    """float64 [I], the world's info row."""
    terminated: bool
    truncated: bool


class Ledger:
    """One episode's account; the arithmetic is the extension's, for in Python it took 20 us of a decision's 800.

    Args:
        reference_time_s: The scenario's reference time; the way's own if None.
    """

    def __init__(self, reference_time_s: float | None = None) -> None:
        self._native = ScenarioLedger(reference_time_s)

    def enter(self, judged: Entry, findings: Findings, state: TreeState) -> Entry:
        """Adds a decision.

        Args:
            judged: The world's judgement; its arrays are changed.
            findings: What the criteria have found.
            state: How the scenario stands.
        """
        infractions, terms, info, *_ = judged
        shares = (findings.route_completion, findings.outside_lanes_share)
        ended = self._native.enter(
            infractions, terms, info, judged[3:], findings.counts, findings.watched, shares, state
        )
        return Entry(infractions, terms, info, *ended)
