"""Which episode each environment drives next: the sequences of the embedded world, with what is in quarantine left out.

Episode k of environment i under `seed=s` is the same as in `WorldVectorEnv`, so the two can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.seeding import Split, episode_seed, stream_seeds


class EpisodeSequences:
    """Names the episodes of N environments.

    Args:
        count: N.
        left_out: Seeds of episodes that aren't driven; looked at anew each time.
    """

    def __init__(self, count: int, left_out: Set[int]) -> None:
        self._left_out = left_out
        self._bases: list[int | None] = [None] * count
        self._numbers = [0] * count
        self._current: list[int | None] = [None] * count
        self._again = [False] * count

    def seed(
        self,
        seed: int | Sequence[int | None] | None,
        ids: NDArray[np.int64],
        sequences: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Begins new sequences for some environments; without a seed they go on, random ones at the first time."""
        count = len(self._bases)
        if seed is None or isinstance(seed, int | np.integer):
            if seed is None and all(self._bases[index] is not None for index in ids.tolist()):
                return
            drawn = int(np.random.default_rng().integers(2**63)) if seed is None else int(seed)
            order = np.arange(count) if sequences is None else np.asarray(sequences)
            bases: list[int | None] = [int(base) for base in stream_seeds(drawn, count)[order]]
        else:
            bases = [None if own is None else int(stream_seeds(int(own), 1)[0]) for own in seed]
        for index in ids.tolist():
            if bases[index] is not None and (seed is not None or self._bases[index] is None):
                self._bases[index], self._numbers[index], self._again[index] = bases[index], 0, False

    def next(self, index: int, *, goes_on: bool) -> int:
        """Returns the seed of the environment's next episode, or the last one's where that is to be tried again.

        Args:
            index: The environment.
            goes_on: Leave out a second try: the caller has given the episode up.
        """
        last = self._current[index]
        if self._again[index] and not goes_on and last is not None and last not in self._left_out:
            self._again[index] = False
            return last
        self._again[index] = False
        base = self._bases[index]
        assert base is not None  # reset seeds before it asks
        while True:
            seed = episode_seed(Split.TRAIN, base, self._numbers[index])
            self._numbers[index] += 1
            if seed not in self._left_out:
                return self.name(index, seed)

    def name(self, index: int, seed: int) -> int:
        """Takes note of the episode that the caller chose, and returns its seed."""
        self._current[index] = seed
        return seed

    def current(self, index: int) -> int | None:
        """Returns the seed of the episode that was begun last."""
        return self._current[index]

    def retry(self, index: int) -> None:
        """Has the last episode driven once more, unless it is in quarantine by then."""
        self._again[index] = True
