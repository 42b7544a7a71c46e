"""What the stability guard watches: one number each, a limit, and how long it may be beyond it."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field

from carla_online.config import Config

_REMEMBERED: Final = 50
"""Healthy values of which the median is taken."""


class LimitConfig(Config):
    """How far a signal may go; null switches a level off."""

    warn: float | None = None
    """Beyond this a warning is given once, and the learner's state isn't kept as a good one."""
    stop: float | None = None
    """Beyond this learning is taken back."""
    looks: int = Field(1, ge=1, le=1_000)
    """Looks in a row that must find the signal beyond `stop`."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One signal and its limits."""

    signal: str
    """The metric's name"""
    limit: LimitConfig
    side: Literal["above", "below"] = "above"
    """Where trouble lies"""
    of_median: bool = False
    """The limits are multiples of the median of the signal's healthy values"""
    least_median: float = 0.0
    """With `of_median`: a smaller median measures noise; where trouble lies above, this takes its place, where it lies
    below, the detector sleeps"""
    of_largest: float = 0.0
    """With `of_median`, where trouble lies above: the limits are at least this many times the largest healthy value.
    What rare large events make up comes in lumps, of which a median knows nothing; but a signal that grows step by step
    is never found this way"""
    settle_looks: int = 0
    """Healthy values needed before the detector wakes"""
    healthy: float | None = None
    """The detector sleeps until the median is on the good side of this"""

    def bounds(self, seen: Sequence[float]) -> tuple[float, float] | None:
        """Returns the limits (warn, stop) in the signal's own units after these healthy values; None: it sleeps."""
        if len(seen) < self.settle_looks:
            return None
        off = math.inf if self.side == "above" else -math.inf
        warn, stop = (off if level is None else level for level in (self.limit.warn, self.limit.stop))
        if not self.of_median and self.healthy is None:
            return warn, stop
        median = statistics.median(seen) if seen else 0.0
        if self.healthy is not None and self.is_beyond(median, self.healthy):
            return None
        if not self.of_median:
            return warn, stop
        if self.side == "above":
            median = max(median, self.least_median)
        if median < self.least_median or median <= 0.0:
            return None
        if self.side == "below":
            return warn * median, stop * median
        least = self.of_largest * max(seen, default=0.0)
        return max(warn * median, least), max(stop * median, least)

    def is_beyond(self, value: float, level: float) -> bool:
        """Returns whether a value is on the bad side of a level."""
        return value > level if self.side == "above" else value < level


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    fault: str | None
    """Why learning must be taken back"""
    warnings: list[str]
    """What is new and bad, but not yet that bad"""
    is_healthy: bool
    """No signal was beyond any level when it was last looked at"""


class Watch:
    """Looks at all signals, remembers what is healthy, and tells faults from noise.

    A value that isn't finite is a fault at once, whatever its name.

    Args:
        detectors: What to look at; names may not repeat.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors = tuple(detectors)
        names = [detector.signal for detector in detectors]
        if len(set(names)) < len(names):
            raise ValueError(f"detectors {names} name a signal twice")
        self._seen = {name: deque[float](maxlen=_REMEMBERED) for name in names}
        self._beyond = dict.fromkeys(names, 0)
        self._warned = dict.fromkeys(names, False)
        self._bad: set[str] = set()

    def look(self, metrics: Mapping[str, float]) -> Finding:
        """Judges the newest values; signals that aren't among them are left as they are."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                return Finding(f"{name} is {value}", [], is_healthy=False)
        fault, warnings = None, []
        for detector in self._detectors:
            if detector.signal not in metrics:
                continue
            value, seen = metrics[detector.signal], self._seen[detector.signal]
            level, text = self._level(detector, value, seen)
            if level == "healthy":
                seen.append(value)
                self._bad.discard(detector.signal)
                continue
            self._bad.add(detector.signal)
            if level == "warn":
                warnings.append(text)
            elif level == "stop":
                fault = fault or text
        return Finding(fault, warnings, is_healthy=not self._bad)

    def forget_alarms(self) -> None:
        """Begins to count anew, after learning was taken back; what is healthy stays known."""
        self._beyond = dict.fromkeys(self._beyond, 0)
        self._bad.clear()

    def _level(self, detector: Detector, value: float, seen: Sequence[float]) -> tuple[str, str]:
        """Returns healthy, pending (beyond a level, but told before or not long enough), warn or stop; and a text."""
        name, bounds = detector.signal, detector.bounds(seen)
        if bounds is None:
            return "healthy", ""
        warn, stop = bounds
        if detector.is_beyond(value, stop):
            self._beyond[name] += 1
            if self._beyond[name] >= detector.limit.looks:
                return "stop", self._describe(detector, value, stop, seen)
            return "pending", ""
        self._beyond[name] = 0
        if not detector.is_beyond(value, warn):
            self._warned[name] = False
            return "healthy", ""
        was_warned, self._warned[name] = self._warned[name], True
        return ("pending", "") if was_warned else ("warn", self._describe(detector, value, warn, seen))

    def _describe(self, detector: Detector, value: float, level: float, seen: Sequence[float]) -> str:
        than = "above" if detector.side == "above" else "below"
        looks = f" for {detector.limit.looks} looks" if detector.limit.looks > 1 else ""
        usual = f" (usually {statistics.median(seen):.4g})" if detector.of_median else ""
        return f"{detector.signal} is {value:.4g}, {than} {level:.4g}{looks}{usual}"

    def state_dict(self) -> dict[str, Any]:
        """Returns what was seen, JSON-able."""
        return {
            "seen": {name: list(values) for name, values in self._seen.items()},
            "beyond": dict(self._beyond),
            "warned": dict(self._warned),
            "bad": sorted(self._bad),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`; signals that it doesn't know begin anew."""
        for name in self._seen:
            self._seen[name] = deque(map(float, state["seen"].get(name, ())), maxlen=_REMEMBERED)
            self._beyond[name] = int(state["beyond"].get(name, 0))
            self._warned[name] = bool(state["warned"].get(name, False))
        self._bad = set(state["bad"]) & set(self._seen)
