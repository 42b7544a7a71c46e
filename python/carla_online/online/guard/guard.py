"""The guard itself: lets the detectors look, keeps good states, and decides when to return to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from carla_online.envs.transitions import Step
from carla_online.online.guard.config import GuardConfig
from carla_online.online.guard.detectors import Finding, Look
from carla_online.online.guard.history import GoodState, History
from carla_online.online.guard.table import make_detectors
from carla_online.online.guard.watch import EnvironmentWatch

_CONFIRMING_STATES: Final = 2
"""Good states kept after a rollback that end the row of rollbacks: the second confirms the first."""
_QUIET_LOOKS: Final = 20
"""Looks without a finding after which the next one is told again."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """One intervention of the guard."""

    reason: str
    """What was seen, with the value and the limit"""
    first_bad_step_id: int
    """Transitions from here on are suspect"""
    frozen: bool
    """True if this was one rollback too many and learning stops"""
    is_new: bool = True
    """False while learning rests after a rollback and the fault is still there"""
    back_to_updates: int = 0
    """Updates after which the state was kept that learning went back to"""


class StabilityGuard:
    """Keeps good states of a learner and decides when to return to one; give it the first one with `keep`.

    After a rollback learning rests: looks go on, and only when some in a row were healthy does `may_learn` become
    true again. A fault that outlasts the longest rest, or comes back before a new good state was kept, freezes
    learning.

    Args:
        config: Settings.
        q_limit: Largest |Q| that can be reached, or None.
    """

    def __init__(self, config: GuardConfig, *, q_limit: float | None) -> None:
        self.config = config
        self.rollbacks = 0
        self.warnings = 0
        self.in_a_row = 0
        self.is_frozen = False
        self._detectors = make_detectors(config, q_limit=q_limit)
        self._history = History(config.good_states)
        self._watch: EnvironmentWatch | None = None
        self._messages: list[str] = []
        self._has_strike = False
        self._rest_left = 0
        self._rested = 0
        self._first_bad_step_id = 0
        self._looks = 0
        self._kept_at = 0
        self._kept_since_rollback = 0
        # However long ago the first sign of a fault was, no more is taken back than the kept states span.
        self._remembered_looks = max(1, (config.good_states - 1) * config.good_every_looks)
        self._past: list[tuple[int, int]] = []
        self._quiet_looks = [_QUIET_LOOKS] * len(self._detectors)

    @property
    def is_resting(self) -> bool:
        """Whether learning rests after a rollback."""
        return self._rest_left > 0

    @property
    def may_learn(self) -> bool:
        """Whether the updates that are due may be done."""
        return not self.is_frozen and not self.is_resting

    @property
    def may_publish(self) -> bool:
        """Whether the newest look was healthy enough for the learner's weights to drive."""
        return not self._has_strike

    def prepare(self, num_envs: int) -> None:
        """Makes ready to observe N environments."""
        self._watch = EnvironmentWatch(num_envs)

    def observe(self, step: Step) -> None:
        """Takes in one step of all environments: rewards, scores of finished episodes, safety interventions."""
        if self._watch is not None:
            self._watch.observe(step)

    def keep(self, state: dict[str, Tensor], *, step_id: int, updates: int) -> None:
        """Makes `state` the only good one; transitions from `step_id` on come after it."""
        self._history.restart(self._good_state(state, step_id=step_id, updates=updates))
        self._kept_at = self._looks

    def look(
        self,
        metrics: Mapping[str, float],
        *,
        updates: int,
        step_id: int,
        save: Callable[[], dict[str, Tensor]],
        restore: Callable[[dict[str, Tensor]], None],
    ) -> Rollback | None:
        """Looks at the newest metrics; keeps the state, or rolls back.

        Args:
            metrics: Newest values by name.
            updates: Updates so far, to name a kept state by.
            step_id: Number of the next transition.
            save: Returns the learner's state.
            restore: Puts a state back.

        Returns:
            What was done, or None.
        """
        look = self._what_is_seen(metrics)
        findings = [detector.look(look) for detector in self._detectors]
        self._looks += 1
        self._warn(findings)
        strikes = [finding for finding in findings if finding is not None and finding.is_strike]
        self._has_strike = bool(strikes)
        rollback = None
        if self.is_resting:
            rollback = self._rest(strikes, restore=restore)
        elif any(finding.is_fault for finding in strikes):
            rollback = self._roll_back([finding for finding in strikes if finding.is_fault], restore=restore)
        elif not strikes and self._looks - self._kept_at >= self.config.good_every_looks:
            self._history.keep(self._good_state(save(), step_id=step_id, updates=updates))
            self._kept_at = self._looks
            self._kept_since_rollback += 1
            if self._kept_since_rollback >= _CONFIRMING_STATES:
                self.in_a_row = 0
        if rollback is not None or self.is_resting:
            self._kept_at = self._looks
        self._past = [*self._past, (self._looks, step_id)][-self._remembered_looks :]
        return rollback

    def take_warnings(self) -> list[str]:
        """Returns and forgets the warnings since the last call, a line each."""
        messages, self._messages = self._messages, []
        return messages

    def state_dict(self) -> dict[str, Any]:
        """Returns everything but tensors and arrays, JSON-able."""
        return {
            "rollbacks": self.rollbacks,
            "warnings": self.warnings,
            "in_a_row": self.in_a_row,
            "is_frozen": self.is_frozen,
            "has_strike": self._has_strike,
            "rest_left": self._rest_left,
            "rested": self._rested,
            "first_bad_step_id": self._first_bad_step_id,
            "looks": self._looks,
            "kept_at": self._kept_at,
            "kept_since_rollback": self._kept_since_rollback,
            "past": [list(place) for place in self._past],
            "quiet_looks": list(self._quiet_looks),
            "detectors": [detector.state_dict() for detector in self._detectors],
            "history": self._history.counters(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of the good states by name."""
        return self._history.tensors()

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Returns what was observed since the last look, as arrays by name."""
        return {} if self._watch is None else self._watch.state_dict()

    def load_arrays(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `arrays()`; only for environments that go on exactly where they were."""
        if self._watch is not None:
            self._watch.load_state_dict(arrays)

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        """Restores `state_dict()` and `tensors()`; without the latter the good states stay as they are."""
        self.rollbacks, self.warnings = int(state["rollbacks"]), int(state["warnings"])
        self.in_a_row, self.is_frozen = int(state["in_a_row"]), bool(state["is_frozen"])
        self._has_strike = bool(state["has_strike"])
        self._rest_left, self._rested = int(state["rest_left"]), int(state["rested"])
        self._first_bad_step_id, self._kept_at = int(state["first_bad_step_id"]), int(state["kept_at"])
        self._looks = int(state["looks"])
        self._kept_since_rollback = int(state["kept_since_rollback"])
        self._past = [(int(look), int(step_id)) for look, step_id in state["past"]]
        self._quiet_looks = [int(looks) for looks in state["quiet_looks"]]
        self._load_detectors(state["detectors"])
        if tensors is not None:
            self._history.load(state["history"], tensors)

    def _what_is_seen(self, metrics: Mapping[str, float]) -> Look:
        if self._watch is None:
            return Look(metrics)
        seen, scores = self._watch.take()
        # What ends in a rest was driven by the weights taken back, or paid by faulty rewards.
        return Look({**seen, **metrics}, () if self.is_resting else scores, self._watch.score_floor)

    def _good_state(self, state: dict[str, Tensor], *, step_id: int, updates: int) -> GoodState:
        learned = [detector.state_dict() for detector in self._detectors]
        return GoodState(state, learned, look=self._looks, updates=updates, step_id=step_id)

    def _load_detectors(self, states: Sequence[Mapping[str, Any]]) -> None:
        for detector, state in zip(self._detectors, states, strict=True):
            detector.load_state_dict(state)

    def _roll_back(self, faults: list[Finding], *, restore: Callable[[dict[str, Tensor]], None]) -> Rollback:
        """Returns to the newest state from before the first sign of the faults."""
        back = 1 + max(finding.looks_since for finding in faults) + self.config.onset_margin_looks
        onset = self._past[-back:][:1]
        state = self._history.go_back(onset[0][0] if onset else 0)
        self._first_bad_step_id = max(state.step_id, onset[0][1]) if onset else state.step_id
        restore(state.tensors)
        self._load_detectors(state.detectors)
        self._past = []
        return self._count("; ".join(finding.text for finding in faults), state)

    def _rest(self, strikes: list[Finding], *, restore: Callable[[dict[str, Tensor]], None]) -> Rollback | None:
        """Waits for looks without a strike; a strike lets the rest begin anew."""
        self._rested += 1
        if not strikes:
            self._rest_left -= 1
            return None
        restore(self._history.newest.tensors)
        reason = "; ".join(finding.text for finding in strikes)
        if self._rested >= self.config.longest_rest_looks:
            return self._count(f"still after {self._rested} looks: {reason}", self._history.newest)
        self._rest_left = self.config.rest_looks
        back_to = self._history.newest.updates
        return Rollback(reason, self._first_bad_step_id, frozen=False, is_new=False, back_to_updates=back_to)

    def _count(self, reason: str, state: GoodState) -> Rollback:
        self.rollbacks += 1
        self.in_a_row += 1
        self.is_frozen = self.is_frozen or self.in_a_row >= self.config.rollbacks_before_freeze
        self._kept_since_rollback = 0
        self._rest_left, self._rested = self.config.rest_looks, 0
        return Rollback(reason, self._first_bad_step_id, self.is_frozen, back_to_updates=state.updates)

    def _warn(self, findings: Sequence[Finding | None]) -> None:
        """Notes what is suspicious, once for each spell of it."""
        for index, finding in enumerate(findings):
            if finding is None:
                self._quiet_looks[index] += 1
                continue
            if self._quiet_looks[index] >= _QUIET_LOOKS and not finding.is_fault:
                self.warnings += 1
                self._messages.append(finding.text)
            self._quiet_looks[index] = 0
