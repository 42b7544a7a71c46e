"""The rows that every replay buffer is measured with.

525 bytes: observation 64 f32, action 2 f32, reward f32, next observation 64 f32, done. The values don't matter to the
speed and repeat after `PERIOD` rows; observation i + 1 is the next observation of row i, so buffers that store each
observation once can do so. Where an observation is an image, it is 3 x 96 x 96 bytes.
"""

from __future__ import annotations

import numpy as np

PERIOD = 8192
OBS_DIM, ACTION_DIM = 64, 2
IMAGE_SHAPE = (3, 96, 96)
EPISODE_ROWS = 1000

Columns = dict[str, np.ndarray]


def vector_rows(count: int, *, first: int = 0) -> Columns:
    """`count` rows from number `first` on: obs, act, rew, next_obs, done."""
    return _columns(_vectors(), count, first)


def image_rows(count: int, *, first: int = 0) -> Columns:
    """As `vector_rows`, with images."""
    return _columns(_images(), count, first)


def chunks(total: int, chunk: int = PERIOD) -> list[tuple[int, int]]:
    """(first, count) of the pieces in which a buffer is filled."""
    return [(first, min(chunk, total - first)) for first in range(0, total, chunk)]


def _columns(observations: np.ndarray, count: int, first: int) -> Columns:
    numbers = first + np.arange(count)
    generator = np.random.default_rng(1)
    actions = generator.uniform(-1.0, 1.0, (PERIOD, ACTION_DIM)).astype(np.float32)
    return {
        "obs": observations[numbers % len(observations)],
        "act": actions[numbers % PERIOD],
        "rew": (numbers % 7).astype(np.float32),
        "next_obs": observations[(numbers + 1) % len(observations)],
        "done": numbers % EPISODE_ROWS == EPISODE_ROWS - 1,
    }


_CACHE: dict[str, np.ndarray] = {}


def _vectors() -> np.ndarray:
    if "vectors" not in _CACHE:
        _CACHE["vectors"] = np.random.default_rng(0).standard_normal((PERIOD, OBS_DIM), np.float32)
    return _CACHE["vectors"]


def _images() -> np.ndarray:
    if "images" not in _CACHE:
        shape = (PERIOD // 8, *IMAGE_SHAPE)
        _CACHE["images"] = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return _CACHE["images"]
