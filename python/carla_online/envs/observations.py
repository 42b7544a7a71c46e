"""One array for any observation: plain numbers as they are, a `Dict` with a view from above as a structured array.

A structured array is one array to whoever stores, masks or copies rows, and a dictionary to whoever reads it:
`obs["vector"]` is float32 [N, D], `obs["birdseye"]` uint8 [N, S, S]. So the code between environment and network is
the same for both, and the plain case costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from carla_online.errors import ConfigError

VECTOR: Final = "vector"
BIRDSEYE: Final = "birdseye"
PLANES: Final = 8
"""Bit planes of a view, one bit of each byte."""

ObservationArray = NDArray[Any]
"""float32 [N, D], or a structured array [N] with the fields `vector` and `birdseye`."""


@dataclass(frozen=True, slots=True)
class ObservationLayout:
    """What one observation consists of."""

    dim: int
    """Length of the vector, D."""
    birdseye_px: int | None = None
    """Pixels along each side of the view, or None where there is none."""

    @classmethod
    def of(cls, space: gym.Space[Any]) -> ObservationLayout:
        """Returns the layout of one environment's observation space.

        Raises:
            ConfigError: Neither a `Box` nor a `Dict` of `vector` (a float `Box`) and `birdseye` (a square uint8 one).
        """
        if isinstance(space, Box):
            return cls(int(np.prod(space.shape)))
        parts = space.spaces if isinstance(space, Dict) else {}
        vector, view = parts.get(VECTOR), parts.get(BIRDSEYE)
        if len(parts) == 2 and isinstance(vector, Box) and isinstance(view, Box) and _is_view(view):
            return cls(int(np.prod(vector.shape)), view.shape[0])
        raise ConfigError(
            f"observations must be a Box, or a Dict of '{VECTOR}' (numbers) and '{BIRDSEYE}' (uint8 [S, S], one bit a "
            f"plane), got {space}; flatten others first."
        )

    @classmethod
    def of_array(cls, obs: ObservationArray) -> ObservationLayout | None:
        """Returns the layout of a batch, or None for an array that isn't one."""
        if obs.dtype.names is None:
            return cls(obs.shape[1]) if obs.ndim == 2 else None
        return cls(obs[VECTOR].shape[1], obs[BIRDSEYE].shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of a batch: float32, or the structured type."""
        if self.birdseye_px is None:
            return np.dtype(np.float32)
        side = self.birdseye_px
        return np.dtype([(VECTOR, np.float32, (self.dim,)), (BIRDSEYE, np.uint8, (side, side))])

    def empty(self, count: int) -> ObservationArray:
        """Returns a batch of `count` observations of zeros."""
        return np.zeros((count, self.dim) if self.birdseye_px is None else count, self.dtype)

    def pack(self, observations: Any, count: int) -> ObservationArray:
        """Returns a copy of an environment's `count` observations as one array."""
        if self.birdseye_px is None:
            return np.array(observations, np.float32).reshape(count, self.dim)
        packed = self.empty(count)
        packed[VECTOR] = np.asarray(observations[VECTOR], np.float32).reshape(count, self.dim)
        packed[BIRDSEYE] = observations[BIRDSEYE]
        return packed


def _is_view(space: Box) -> bool:
    return space.dtype == np.uint8 and len(space.shape) == 2 and space.shape[0] == space.shape[1]


def vector_of(obs: ObservationArray) -> NDArray[np.float32]:
    """Returns the numbers of a batch, contiguous float32 [N, D]; the array itself where there is nothing else."""
    return obs if obs.dtype.names is None else np.ascontiguousarray(obs[VECTOR])


def fields_of(obs: ObservationArray) -> dict[str, NDArray[Any]]:
    """Returns a batch as contiguous columns, as replay keeps them: `obs` float32 [N, D], and `birdseye` if any."""
    columns: dict[str, NDArray[Any]] = {"obs": vector_of(obs)}
    if obs.dtype.names is not None:
        columns[BIRDSEYE] = np.ascontiguousarray(obs[BIRDSEYE])
    return columns


def from_fields(columns: Mapping[str, NDArray[Any]]) -> ObservationArray:
    """Returns the batch that `fields_of` took apart, a copy."""
    numbers, views = columns["obs"], columns.get(BIRDSEYE)
    if views is None:
        return np.array(numbers, np.float32)
    obs = ObservationLayout(numbers.shape[1], views.shape[1]).empty(len(numbers))
    obs[VECTOR], obs[BIRDSEYE] = numbers, views
    return obs
