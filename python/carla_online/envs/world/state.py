"""What a vector of worlds remembers between calls, and its form as plain arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.envs.contract import Snapshot
from carla_online.envs.world.buffers import KEPT, WorldBuffers
from carla_online.errors import CheckpointError

_OWN: Final = ("base_seeds", "episode_numbers", "episode_seeds", "ended")


@dataclass(slots=True)
class WorldVectorState:
    """Seed counters and pending resets of `num_envs` worlds."""

    base_seeds: NDArray[np.uint64]
    """Number of each world's sequence of episodes: uint64 [N]."""
    episode_numbers: NDArray[np.uint64]
    """Which episode of the sequence comes next: uint64 [N]."""
    episode_seeds: NDArray[np.uint64]
    """Seeds of the episodes under way: uint64 [N]."""
    ended: NDArray[np.bool_]
    """Worlds whose episode has ended and which wait for a reset: bool [N]."""
    is_seeded: bool = False
    """Whether a reset has happened."""

    @classmethod
    def empty(cls, num_envs: int) -> WorldVectorState:
        """Returns the state before the first reset."""
        zeros = np.zeros(num_envs, np.uint64)
        return cls(zeros, zeros.copy(), zeros.copy(), np.ones(num_envs, np.bool_))

    def seed_rows(self, rows: NDArray[np.bool_], base_seeds: NDArray[np.uint64]) -> None:
        """Starts new sequences of episodes in `rows` (bool [N])."""
        self.base_seeds[rows] = base_seeds[rows]
        self.episode_numbers[rows] = 0
        self.is_seeded = True

    def pack(self, batch: _native.WorldBatch, buffers: WorldBuffers, world_json: str) -> Snapshot:
        """Returns everything as arrays, the worlds' bytes one behind the other."""
        worlds = [batch.snapshot(index) for index in range(len(self.ended))]
        packed: Snapshot = {name: getattr(self, name).copy() for name in _OWN}
        packed |= {name: getattr(buffers, name).copy() for name in KEPT}
        packed["world_sizes"] = np.array([len(world) for world in worlds], np.int64)
        packed["worlds"] = np.frombuffer(b"".join(worlds), np.uint8).copy()
        packed["fingerprint"] = _fingerprint(world_json)
        return packed

    def unpack(
        self, snapshot: Snapshot, batch: _native.WorldBatch, buffers: WorldBuffers, world_json: str
    ) -> WorldVectorState:
        """Puts `snapshot` into `batch` and `buffers` and returns the state that belongs to it.

        Raises:
            CheckpointError: It is damaged or of another configuration; nothing has changed.
        """
        reference = {name: getattr(self, name) for name in _OWN}
        reference |= {name: getattr(buffers, name) for name in KEPT}
        worlds = _check(snapshot, reference, world_json)
        before = [batch.snapshot(index) for index in range(len(worlds))] if self.is_seeded else []
        try:
            for index, world in enumerate(worlds):
                batch.restore(index, world)
        except Exception as error:
            for index, world in enumerate(before):
                batch.restore(index, world)
            raise CheckpointError(f"the snapshot of world {index} can't be restored: {error}") from error
        for name in KEPT:
            getattr(buffers, name)[...] = snapshot[name]
        return WorldVectorState(**{name: snapshot[name].copy() for name in _OWN}, is_seeded=True)


def _fingerprint(world_json: str) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(world_json.encode()).digest(), np.uint8).copy()


def _check(snapshot: Snapshot, reference: dict[str, NDArray[Any]], world_json: str) -> list[bytes]:
    """Checks names, types, shapes and fingerprint, and returns the bytes of each world."""
    names = {*reference, "world_sizes", "worlds", "fingerprint"}
    if names != set(snapshot):
        raise CheckpointError(
            f"the snapshot has the arrays {sorted(snapshot)}, expected {sorted(names)}; it isn't one of this kind."
        )
    for name, own in reference.items():
        seen = snapshot[name]
        if seen.dtype != own.dtype or seen.shape != own.shape:
            raise CheckpointError(
                f"the snapshot's {name} is {seen.dtype} {list(seen.shape)}, expected {own.dtype} "
                f"{list(own.shape)}; restore it into an environment of the same num_envs."
            )
    if not np.array_equal(snapshot["fingerprint"], _fingerprint(world_json)):
        raise CheckpointError(
            "the snapshot is of another world configuration (map, traffic, ego or simulation); "
            "restore it into an environment made with the same one."
        )
    sizes, data = snapshot["world_sizes"], snapshot["worlds"]
    count = len(reference["ended"])
    fits = sizes.shape == (count,) and sizes.dtype == np.int64 and data.dtype == np.uint8 and data.ndim == 1
    if not fits or np.any(sizes < 0) or np.any(sizes > data.size) or int(sizes.sum()) != data.size:
        raise CheckpointError(f"the snapshot's worlds don't add up to {data.size} bytes; it is damaged.")
    ends = np.cumsum(sizes)
    return [data[end - size : end].tobytes() for size, end in zip(sizes, ends, strict=True)]
