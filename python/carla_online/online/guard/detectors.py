"""Detectors: each watches one signal and says when it looks suspicious and when it is a fault."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carla_online.online.guard.config import Levels


@dataclass(frozen=True, slots=True)
class Look:
    """What the detectors see at one time."""

    metrics: Mapping[str, float]
    """Newest values by name"""
    scores: Sequence[float] = ()
    """Scores of the episodes that ended since the look before"""
    score_floor: float | None = None
    """The worst score there is, if known; else the first episodes stand for it"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector has to say."""

    text: str
    """What was seen, with the value and the limit"""
    is_strike: bool = False
    """The value is that of a fault, though perhaps not for long enough yet"""
    is_fault: bool = False
    """Learning has to be taken back"""
    looks_since: int = 0
    """Looks since the first sign of it, this one not counted"""


class Detector(ABC):
    """Watches one signal. What it has learned about it is JSON-able, so that it goes on exactly after a restart."""

    name: str

    @abstractmethod
    def look(self, look: Look) -> Finding | None:
        """Returns what is wrong, or None."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns what it has learned so far."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""


class Finite(Detector):
    """Any NaN or infinity is a fault at once."""

    name = "finite"

    def look(self, look: Look) -> Finding | None:
        """Returns a fault for the first value that isn't finite."""
        for name, value in look.metrics.items():
            if not math.isfinite(value):
                return Finding(f"{name} is {value}", is_strike=True, is_fault=True)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: it learns nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


class LevelDetector(Detector):
    """Compares a measure of one metric with two levels; a fault must stand for `patience` looks in a row.

    Args:
        metric: Name of the metric; a look without it says nothing and breaks no row.
        levels: Where a warning and where a fault begins. If the second is smaller, smaller values are worse.
        patience: Looks in a row at the level of a fault that make one.
        text: The message; `{value}` is the measure, `{level}` the level that it passed.
    """

    def __init__(self, metric: str, levels: Levels, *, text: str, patience: int = 1) -> None:
        self.name = metric
        self.patience = patience
        self._text = text
        self._warn, self._stop = levels
        both = self._warn is not None and self._stop is not None
        self._falls = both and self._stop < self._warn  # type: ignore[operator]
        self._strikes = 0
        self._looks_since = -1

    def measure(self, value: float, look: Look) -> float | None:
        """Returns what is compared with the levels; None while that isn't known."""
        return value

    def learn(self, value: float) -> None:
        """Takes in a value that is no fault."""

    def look(self, look: Look) -> Finding | None:
        """Returns a warning, a strike, or a fault when strikes have followed each other often enough."""
        value = look.metrics.get(self.name)
        if value is None or not math.isfinite(value):
            return None
        measure = self.measure(value, look)
        is_strike = measure is not None and self._passes(measure, self._stop)
        is_warning = is_strike or (measure is not None and self._passes(measure, self._warn))
        self._strikes = self._strikes + 1 if is_strike else 0
        self._looks_since = self._looks_since + 1 if is_warning else -1
        if not is_strike:
            self.learn(value)
        if measure is None or not is_warning:
            return None
        level = self._stop if is_strike else self._warn
        text = self._text.format(value=f"{measure:.4g}", level=f"{level:g}")
        return Finding(text, is_strike, self._strikes >= self.patience, self._looks_since)

    def state_dict(self) -> dict[str, Any]:
        """Returns the rows of warnings and strikes."""
        return {"strikes": self._strikes, "looks_since": self._looks_since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        self._strikes, self._looks_since = int(state["strikes"]), int(state["looks_since"])

    def _passes(self, measure: float, level: float | None) -> bool:
        if level is None:
            return False
        return measure < level if self._falls else measure > level


class _Remembering(LevelDetector):
    """A level detector that knows the usual values: those of the last looks that were no fault."""

    def __init__(
        self, metric: str, levels: Levels, *, text: str, patience: int = 1, burn_in: int = 40, memory: int = 100
    ) -> None:
        super().__init__(metric, levels, text=text, patience=patience)
        self._burn_in = burn_in
        self._values: deque[float] = deque(maxlen=max(memory, burn_in))

    def measure(self, value: float, look: Look) -> float | None:
        """Returns None until the burn-in is over."""
        return None if len(self._values) < self._burn_in else self.against(value, look)

    @abstractmethod
    def against(self, value: float, look: Look) -> float | None:
        """Returns the measure of a value against the remembered ones."""

    def learn(self, value: float) -> None:
        """Remembers the value."""
        self._values.append(value)

    def state_dict(self) -> dict[str, Any]:
        """Returns the remembered values too."""
        return super().state_dict() | {"values": list(self._values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        super().load_state_dict(state)
        self._values.clear()
        self._values.extend(float(value) for value in state["values"])


class Jump(_Remembering):
    """The ratio of a value to its running median.

    Args:
        floor: Smallest value that is judged at all.
        **settings: As for `LevelDetector`, with `burn_in` and `memory` in looks.
    """

    def __init__(self, metric: str, levels: Levels, *, floor: float = 0.0, **settings: Any) -> None:
        super().__init__(metric, levels, **settings)
        self._floor = floor

    def against(self, value: float, look: Look) -> float | None:
        """Returns value / median; None where the median is zero."""
        usual = float(np.median(self._values))
        return value / usual if usual > 0.0 and value > self._floor else None


class Rise(_Remembering):
    """The difference between a value and its running median."""

    def against(self, value: float, look: Look) -> float | None:
        """Returns value - median."""
        return value - float(np.median(self._values))


class Settled(_Remembering):
    """The value itself, judged only where it usually has been good.

    Args:
        settled: Running median from which on it is judged.
        **settings: As for `LevelDetector`, with `burn_in` and `memory` in looks.
    """

    def __init__(self, metric: str, levels: Levels, *, settled: float, **settings: Any) -> None:
        super().__init__(metric, levels, **settings)
        self._settled = settled

    def against(self, value: float, look: Look) -> float | None:
        """Returns the value; None where its running median isn't good."""
        usual = float(np.median(self._values))
        is_settled = usual >= self._settled if self._falls else usual <= self._settled
        return value if is_settled else None


class Peak(_Remembering):
    """The ratio of a value to the largest one ever seen that was no fault."""

    def __init__(self, metric: str, levels: Levels, **settings: Any) -> None:
        super().__init__(metric, levels, **settings)
        self._largest = 0.0

    def against(self, value: float, look: Look) -> float | None:
        """Returns value / largest; None where nothing but zero was seen."""
        return value / self._largest if self._largest > 0.0 else None

    def learn(self, value: float) -> None:
        """Remembers the value."""
        super().learn(value)
        self._largest = max(self._largest, value)

    def state_dict(self) -> dict[str, Any]:
        """Returns the largest value too."""
        return super().state_dict() | {"largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        super().load_state_dict(state)
        self._largest = float(state["largest"])


class Shift(_Remembering):
    """How far a value has moved from its running median, in the usual value of another metric, to either side.

    Args:
        unit: Name of the metric that measures the spread.
        **settings: As for `LevelDetector`, with `burn_in` and `memory` in looks.
    """

    def __init__(self, metric: str, levels: Levels, *, unit: str, **settings: Any) -> None:
        super().__init__(metric, levels, **settings)
        self._unit = unit
        self._spreads: deque[float] = deque(maxlen=self._values.maxlen)
        self._spread = math.nan

    def look(self, look: Look) -> Finding | None:
        """Takes the spread of this look along."""
        self._spread = look.metrics.get(self._unit, math.nan)
        return super().look(look)

    def against(self, value: float, look: Look) -> float | None:
        """Returns |value - median| / median spread; None where there is no spread."""
        spread = float(np.median(self._spreads))
        return abs(value - float(np.median(self._values))) / spread if spread > 0.0 else None

    def learn(self, value: float) -> None:
        """Remembers value and spread."""
        if math.isfinite(self._spread):
            super().learn(value)
            self._spreads.append(self._spread)

    def state_dict(self) -> dict[str, Any]:
        """Returns the spreads too."""
        return super().state_dict() | {"spreads": list(self._spreads)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        super().load_state_dict(state)
        self._spreads.clear()
        self._spreads.extend(float(value) for value in state["spreads"])
