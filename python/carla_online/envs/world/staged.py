"""The worlds of a curriculum behind the face of one `WorldBatch`: a batch for each stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.errors import CheckpointError


class StagedBatch:
    """N rows, each of which has its episode in the batch of its stage.

    It has the methods of `WorldBatch` that a vector environment calls, with the same arrays.

    Args:
        worlds_json: The complete configuration of every stage's world.
        num_envs: N.
        threads: As in `WorldBatch`.

    Raises:
        ConfigError: A stage's configuration is wrong.
    """

    def __init__(self, worlds_json: Sequence[str], *, num_envs: int, threads: int) -> None:
        self.num_envs = num_envs
        self._batches = [
            _native.WorldBatch(num_envs=num_envs, config=world_json, threads=threads) for world_json in worlds_json
        ]
        self._stages: NDArray[np.int64] = np.zeros(num_envs, np.int64)

    def assign(self, stages: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
        """Sets the stage that the next reset of the rows in `mask` draws from; int64 [N], bool [N]."""
        self._stages[mask] = stages[mask]

    def reset(
        self,
        seeds: NDArray[np.uint64],
        mask: NDArray[np.bool_] | None,
        obs: NDArray[np.float32],
        info: NDArray[np.float64],
    ) -> None:
        """Begins the episodes of `seeds`; see `WorldBatch.reset`."""
        self._each(mask, lambda batch, rows: batch.reset(seeds, rows, obs, info))

    def step(
        self,
        actions: NDArray[np.float32],
        obs: NDArray[np.float32],
        reward_terms: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        info: NDArray[np.float64],
        infractions: NDArray[np.int32],
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Makes one decision in the rows of `mask`; see `WorldBatch.step`."""
        rows = np.ones(self.num_envs, np.bool_) if mask is None else mask
        bad = np.flatnonzero(rows & ~np.isfinite(actions).all(axis=1))
        if bad.size:  # before any stage is stepped, so that nothing has changed
            raise ValueError(f"action[{bad[0]}] is {actions[bad[0]].tolist()}; send finite values.")
        outputs = (obs, reward_terms, terminated, truncated, info, infractions)
        self._each(rows, lambda batch, own: batch.step(actions, *outputs, own))

    def draws(self, mask: NDArray[np.bool_] | None, out: NDArray[np.float64]) -> None:
        """Writes what was drawn for the episodes; see `WorldBatch.draws`."""
        self._each(mask, lambda batch, rows: batch.draws(rows, out))

    def birdseye(self, kind: str, mask: NDArray[np.bool_] | None, out: NDArray[np.uint8]) -> None:
        """Draws the views from above; see `WorldBatch.birdseye`."""
        self._each(mask, lambda batch, rows: batch.birdseye(kind, rows, out))

    def snapshot(self, env: int) -> bytes:
        """Returns a row's stage and its episode as bytes; see `WorldBatch.snapshot`."""
        return bytes([int(self._stages[env])]) + self._of(env).snapshot(env)

    def restore(self, env: int, snapshot: bytes | bytearray) -> None:
        """Puts an episode into a row, and the row into its stage; see `WorldBatch.restore`."""
        if not snapshot or snapshot[0] >= len(self._batches):
            raise CheckpointError(f"the snapshot of world {env} names a stage that doesn't exist; it is damaged.")
        stage = snapshot[0]
        self._batches[stage].restore(env, bytes(snapshot[1:]))
        self._stages[env] = stage

    def scene(self, env: int) -> dict[str, dict[str, list[float]]]:
        """Returns where everybody is; see `WorldBatch.scene`."""
        return self._of(env).scene(env)

    def stops(self, env: int) -> list[tuple[list[float], str]]:
        """Returns what holds at the stop lines near; see `WorldBatch.stops`."""
        return self._of(env).stops(env)

    def road(self, env: int) -> list[tuple[str, bytes]]:
        """Returns the lines of the road; see `WorldBatch.road`."""
        return self._of(env).road(env)

    def xodr(self, env: int) -> str:
        """Returns the OpenDRIVE text of a row's road."""
        return self._of(env).xodr(env)

    def _of(self, env: int) -> _native.WorldBatch:
        return self._batches[int(self._stages[env])]

    def _each(
        self, mask: NDArray[np.bool_] | None, work: Callable[[_native.WorldBatch, NDArray[np.bool_]], Any]
    ) -> None:
        """Calls `work` for every stage that has rows in `mask`."""
        for stage, batch in enumerate(self._batches):
            rows = self._stages == stage
            if mask is not None:
                rows &= mask
            if rows.any():
                work(batch, rows)
