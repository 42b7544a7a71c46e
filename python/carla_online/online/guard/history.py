"""The learner's states that the guard can return to, spaced in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class GoodState:
    """A learner as it was when nothing was wrong with it."""

    tensors: dict[str, Tensor]
    """The learner's state"""
    detectors: list[dict[str, Any]]
    """What each detector had learned by then"""
    look: int
    """Looks by then"""
    updates: int
    """Updates by then"""
    step_id: int
    """Number of the first transition after it"""


class History:
    """The newest states, oldest first; the oldest makes room.

    Args:
        length: How many are kept.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._states: list[GoodState] = []

    @property
    def newest(self) -> GoodState:
        """The newest state; there must be one."""
        return self._states[-1]

    def keep(self, state: GoodState) -> None:
        """Adds the newest state."""
        self._states = [*self._states, state][-self._length :]

    def restart(self, state: GoodState) -> None:
        """Forgets all states but this one."""
        self._states = [state]

    def go_back(self, look: int) -> GoodState:
        """Forgets the states from after a look and returns the newest one left; the oldest always stays."""
        self._states = [state for state in self._states if state.look <= look] or self._states[:1]
        return self._states[-1]

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of all states, by index and name."""
        return {f"{i}.{name}": value for i, state in enumerate(self._states) for name, value in state.tensors.items()}

    def counters(self) -> list[dict[str, Any]]:
        """Returns everything else of them, JSON-able."""
        return [
            {"detectors": state.detectors, "look": state.look, "updates": state.updates, "step_id": state.step_id}
            for state in self._states
        ]

    def load(self, counters: list[dict[str, Any]], tensors: Mapping[str, Tensor]) -> None:
        """Restores `counters()` and `tensors()`."""
        by_state: list[dict[str, Tensor]] = [{} for _ in counters]
        for name, value in tensors.items():
            index, _, inner = name.partition(".")
            by_state[int(index)][inner] = value.clone()
        self._states = [
            GoodState(tensors, list(c["detectors"]), int(c["look"]), int(c["updates"]), int(c["step_id"]))
            for c, tensors in zip(counters, by_state, strict=True)
        ]
