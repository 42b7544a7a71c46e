"""The stability guard: notices that learning has gone wrong and takes it back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import Field
from torch import Tensor

from carla_online.config import Config


class GuardConfig(Config):
    """When the guard steps in, and what it does."""

    check_every_updates: int = Field(50, ge=1)
    """Updates between two looks at the metrics."""
    good_every_updates: int = Field(1_000, ge=1)
    """Healthy updates after which the learner's state is kept as the last good one."""
    q_limit: float | None = Field(None, gt=0)
    """Largest |Q| allowed; 1.2 times the larger of the learner's value bounds if null, none without bounds."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """Factor on every step size after a rollback."""
    rollbacks_before_freeze: int = Field(2, ge=1)
    """Rollbacks in a row, with no good state kept between, after which learning freezes."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """One intervention of the guard."""

    reason: str
    """What was seen, with the value and the limit"""
    first_bad_step_id: int
    """Transitions from here on were stored after the last good state"""
    frozen: bool
    """True if this was one rollback too many and learning stops"""


class StabilityGuard:
    """Keeps the last good state of a learner and decides when to return to it; give it the first one with `keep`.

    Args:
        config: Settings.
        q_limit: Largest |Q| allowed, or None.
    """

    def __init__(self, config: GuardConfig, *, q_limit: float | None) -> None:
        self.config = config
        self.q_limit = q_limit
        self.rollbacks = 0
        self.in_a_row = 0
        self.is_frozen = False
        self._good_state: dict[str, Tensor] = {}
        self._good_step_id = 0
        self._good_updates = 0

    def keep(self, state: dict[str, Tensor], *, step_id: int, updates: int) -> None:
        """Makes `state` the last good one; transitions from `step_id` on come after it."""
        self._good_state, self._good_step_id, self._good_updates = state, step_id, updates

    def fault(self, metrics: Mapping[str, float]) -> str | None:
        """Returns what is wrong with the metrics of an update, or None."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        q_max = metrics.get("q_max")
        if self.q_limit is not None and q_max is not None and q_max > self.q_limit:
            return f"|Q| reached {q_max:.4g}; the reachable return allows {self.q_limit:.4g}"
        return None

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
            updates: Updates done.
            step_id: Number of the next transition.
            save: Returns the learner's state.
            restore: Puts a state back.

        Returns:
            The rollback that was done, or None.
        """
        reason = self.fault(metrics)
        if reason is None:
            if updates - self._good_updates >= self.config.good_every_updates:
                self.keep(save(), step_id=step_id, updates=updates)
                self.in_a_row = 0
            return None
        self.rollbacks += 1
        self.in_a_row += 1
        self.is_frozen = self.is_frozen or self.in_a_row >= self.config.rollbacks_before_freeze
        restore(self._good_state)
        return Rollback(reason, self._good_step_id, self.is_frozen)

    def state_dict(self) -> dict[str, int | bool]:
        """Returns the counters (the good state itself is the newest checkpoint after a restart)."""
        return {"rollbacks": self.rollbacks, "in_a_row": self.in_a_row, "is_frozen": self.is_frozen}

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Restores the counters."""
        self.rollbacks = int(state["rollbacks"])
        self.in_a_row = int(state["in_a_row"])
        self.is_frozen = bool(state["is_frozen"])
