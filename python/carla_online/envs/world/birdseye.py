"""The view from above as part of an observation."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from carla_online import _native


class BirdseyeBuffer:
    """Draws the views of N worlds into one array.

    Args:
        batch: The worlds.
        kind: `small` or `carl`.

    Attributes:
        views: uint8 [N, S, S], one bit a plane; rows run from far ahead to behind the ego.
        space: One world's part of the observation space.
    """

    def __init__(self, batch: _native.WorldBatch, kind: str) -> None:
        size = _native.WorldBatch.birdseye_size(kind)
        self._batch, self._kind = batch, kind
        self.views: NDArray[np.uint8] = np.zeros((batch.num_envs, size, size), np.uint8)
        self.space = Box(0, 255, (size, size), np.uint8)

    def draw(self, rows: NDArray[np.bool_]) -> None:
        """Draws the worlds in `rows` (bool [N]) anew."""
        self._batch.birdseye(self._kind, rows, self.views)
