"""Whether episodes return less than they used to: a sum that forgives noise and adds up what is worse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_RATE: Final = 0.03
"""Share by which an episode moves the mean and the spread."""
_SETTLE: Final = 20
"""Episodes before the sum begins."""
_FORGIVEN: Final = 1.0
"""Standard deviations by which an episode may be worse without adding to the sum."""
_COUNTED: Final = 6.0
"""Standard deviations that one episode adds, at most: a collision is an episode, a collapse is many."""
_LARGEST: Final = 3.0
"""An episode moves the mean by no more standard deviations than this: a collapse must not become the custom."""


@dataclass(slots=True)
class _Custom:
    """What episodes of one kind return."""

    episodes: int = 0
    mean: float = 0.0
    variance: float = 0.0
    last: float = 0.0
    shortfall: float = 0.0

    def add(self, episode_return: float) -> None:
        """Takes in an episode."""
        self.episodes += 1
        rate = max(_RATE, 1.0 / self.episodes)
        deviation = episode_return - self.mean
        spread = math.sqrt(self.variance)
        if self.episodes > _SETTLE and spread > 0.0:
            self.shortfall = max(0.0, self.shortfall + min(-deviation / spread, _COUNTED) - _FORGIVEN)
            deviation = min(max(deviation, -_LARGEST * spread), _LARGEST * spread)
        self.mean += rate * deviation
        # From one episode to the next: a policy that gets better all the time isn't a policy that varies.
        step = min(abs(episode_return - self.last), 4.0 * _LARGEST * spread if self.episodes > _SETTLE else math.inf)
        if self.episodes > 1:
            self.variance += max(_RATE, 1.0 / (self.episodes - 1)) * (step * step / 2.0 - self.variance)
        self.last = episode_return


class ReturnWatch:
    """A one-sided cumulative sum over the returns of episodes, by kind of episode.

    The sum of episodes' shortfalls against the running mean, each in standard deviations, six at most, and less one of
    them; never below zero. Noise keeps it near zero; a policy that has become worse lets it grow with every episode.
    Kinds are apart: a curriculum's next stage returns less, and nothing is wrong.

    Source: Page 1954, Biometrika 41, Continuous Inspection Schemes.
    """

    def __init__(self) -> None:
        self._customs: dict[str, _Custom] = {}
        self._ignored = 0

    def add(self, episode: Mapping[str, float]) -> None:
        """Takes in an episode by its metric `return` and, in a curriculum, its stage."""
        if self._ignored > 0:
            self._ignored -= 1
            return
        kind = str(episode.get("curriculum_level", ""))
        self._customs.setdefault(kind, _Custom()).add(episode["return"])

    @property
    def shortfall(self) -> float:
        """The largest sum, in standard deviations."""
        return max((custom.shortfall for custom in self._customs.values()), default=0.0)

    def forgive(self, *, open_episodes: int) -> None:
        """Begins the sums anew, after learning was taken back; so many episodes belong to what went wrong still."""
        self._ignored = open_episodes
        for custom in self._customs.values():
            custom.shortfall = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Returns everything, JSON-able."""
        customs = {
            kind: [custom.episodes, custom.mean, custom.variance, custom.last, custom.shortfall]
            for kind, custom in self._customs.items()
        }
        return {"customs": customs, "ignored": self._ignored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        customs = state["customs"].items()
        self._customs = {kind: _Custom(int(values[0]), *map(float, values[1:])) for kind, values in customs}
        self._ignored = int(state["ignored"])
