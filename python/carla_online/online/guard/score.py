"""The detector that asks the one question that matters: do episodes still score what they used to?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from carla_online.online.guard.config import Levels
from carla_online.online.guard.detectors import Detector, Finding, Look

_STAKE: Final = 0.75
_TOLERATED: Final = 0.25
_LEARNING_RATE: Final = 0.02
_FIRST_EPISODES: Final = 20
_LEAST_GAIN_DEVIATIONS: Final = 2.0


class Score(Detector):
    """Bets that episodes score worse than the running mean by more than a quarter of what was learned.

    With shortfall d = (usual - score) / (usual - untrained), clipped to [-1, 1], the wealth is multiplied by
    1 + stake (d - 0.25) at each episode and never falls below 1. While the mean shortfall stays under a quarter the
    factor's mean is at most 1, so a large wealth is rare. Nothing is bet until what was learned stands out from the
    scores' own spread: with less, single episodes would look like ruin.

    Args:
        levels: Wealth at which a warning and at which a fault begins.

    Source: e-detectors, https://arxiv.org/abs/2203.03532 (here of the CUSUM kind, with a constant stake).
    """

    name = "score"

    def __init__(self, levels: Levels) -> None:
        self._warn, self._stop = levels
        self._episodes = 0
        self._untrained = 0.0
        self._usual = 0.0
        self._variance = 0.0
        self._wealth = 1.0
        self._looks_since = -1

    def look(self, look: Look) -> Finding | None:
        """Takes in the scores of new episodes and returns what they say."""
        for score in look.scores:
            self._take(score, look.score_floor)
        is_above = self._wealth > 1.0
        self._looks_since = self._looks_since + 1 if is_above else -1
        is_fault = self._stop is not None and self._wealth > self._stop
        if not is_fault and (self._warn is None or self._wealth <= self._warn):
            return None
        text = f"episodes score worse than the usual {self._usual:.4g}: odds of {self._wealth:.3g} to one"
        return Finding(text, is_fault, is_fault, self._looks_since)

    def state_dict(self) -> dict[str, Any]:
        """Returns the wealth and the two references."""
        return {
            "episodes": self._episodes,
            "untrained": self._untrained,
            "usual": self._usual,
            "variance": self._variance,
            "wealth": self._wealth,
            "looks_since": self._looks_since,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        self._episodes, self._looks_since = int(state["episodes"]), int(state["looks_since"])
        self._untrained, self._usual = float(state["untrained"]), float(state["usual"])
        self._variance, self._wealth = float(state["variance"]), float(state["wealth"])

    def _take(self, score: float, floor: float | None) -> None:
        self._episodes += 1
        if self._episodes <= _FIRST_EPISODES:
            difference = score - self._untrained
            self._untrained += difference / self._episodes
            self._variance += (difference * (score - self._untrained) - self._variance) / self._episodes
            self._usual = self._untrained
            return
        gain = self._usual - (self._untrained if floor is None else floor)
        if gain > _LEAST_GAIN_DEVIATIONS * math.sqrt(self._variance):
            shortfall = min(max((self._usual - score) / gain, -1.0), 1.0)
            self._wealth = max(1.0, self._wealth * (1.0 + _STAKE * (shortfall - _TOLERATED)))
        if self._warn is None or self._wealth <= self._warn:
            self._variance += _LEARNING_RATE * ((score - self._usual) ** 2 - self._variance)
            self._usual += _LEARNING_RATE * (score - self._usual)
