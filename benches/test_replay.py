"""Speed of the replay: rows of 525 bytes with and without linked next observations, images, priorities.

Run: `make bench`, or `python -m pytest benches/test_replay.py --benchmark-enable`.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import replay_peers
from arena import Arena
from replay_ours import Ours
from replay_plain import Limit, NumpyRing
from rounds import Contender

limits = pytest.importorskip("_limits", reason="the limits crate isn't built: make bench builds it")


class Stand:
    """One full buffer of each kind that takes part."""

    def __init__(self, arena: Arena, *, linked: bool, rows: int, image: bool = False, streams: int = 1) -> None:
        options: dict[str, Any] = {"linked": linked, "image": image}
        self.label = "linked" if linked else "both observations stored"
        self.directory = arena.directory / f"replay-{linked}-{image}-{streams}"
        self.ours = Ours(self.directory, rows, streams=streams, **options)
        self.numpy = NumpyRing(rows, **options) if arena.wants("numpy") else None
        self.limit = Limit(limits, rows, **options) if arena.wants("limit") else None
        self.peers, self.skipped = replay_peers.available(
            replay_peers.UNIFORM, arena.wants, rows, streams=streams, **options
        )

    def close(self) -> None:
        """Gives memory and disk back before the next buffers are made."""
        self.ours.close()
        shutil.rmtree(self.directory)
        self.__dict__.clear()
        gc.collect()

    def sampling(self, batch: int) -> list[Contender]:
        """Everybody draws a batch."""
        contenders = [
            Contender("sample_into", "ours", self.ours.sample(batch)),
            Contender("sample, fresh arrays", "reference", self.ours.sample_fresh(batch)),
            Contender("sample_into, check=True", "reference", self.ours.sample_checked(batch)),
        ]
        if self.numpy is not None:
            contenders += [
                Contender("take(out=, mode='clip')", "numpy", self.numpy.sample(batch)),
                Contender("fancy index, fresh arrays", "reference", self.numpy.sample(batch, fresh=True)),
            ]
        if self.limit is not None:
            contenders += [
                Contender("gather loop", "limit", self.limit.sample(batch, guarded=False)),
                Contender("gather loop, blocks checked", "limit", self.limit.sample(batch, guarded=True)),
                Contender(
                    "gather loop like ours: all columns, blocks checked",
                    "limit",
                    self.limit.sample(batch, guarded=True, like_ours=True),
                ),
            ]
        return contenders + [Contender(peer.package, "library", peer.sample(batch)) for peer in self.peers]

    def adding_one(self) -> list[Contender]:
        """Everybody adds one row."""
        contenders = [Contender("append", "ours", self.ours.add())]
        if self.numpy is not None:
            contenders.append(Contender("slice stores", "numpy", self.numpy.add_one()))
        if self.limit is not None:
            contenders.append(Contender("bare METH_FASTCALL, five arrays", "limit", self.limit.add_call()))
        return contenders + [Contender(peer.package, "library", peer.add(1)) for peer in self.peers]

    def adding_many(self, count: int) -> list[Contender]:
        """Everybody adds as many rows in one call."""
        contenders = [Contender("append", "ours", self.ours.add())]
        if self.numpy is not None:
            contenders.append(Contender("slice stores", "numpy", self.numpy.add_many(count)))
        if self.limit is not None:
            contenders += [
                Contender("memcpy into the same layout", "limit", self.limit.add_copy(count)),
                Contender("memcpy and CRC32C", "limit", self.limit.add_copy(count, checksum=True)),
                Contender(
                    "memcpy like ours: all columns, summed up in private memory",
                    "limit",
                    self.limit.add_copy(count, checksum=True, like_ours=True),
                ),
            ]
        return contenders + [Contender(peer.package, "library", peer.add(count)) for peer in self.peers]


@pytest.fixture(scope="module", params=[True, False], ids=["linked", "both_stored"])
def stand(request: pytest.FixtureRequest, arena: Arena) -> Iterator[Stand]:
    made = Stand(arena, linked=request.param, rows=arena.rows)
    yield made
    made.close()


@pytest.mark.parametrize("batch", [256, 4096])
def test_sample(benchmark: Any, arena: Arena, stand: Stand, batch: int) -> None:
    arena.contest(benchmark, f"replay/sample {batch}, {stand.label}", stand.sampling(batch), skipped=stand.skipped)


def test_add_one(benchmark: Any, arena: Arena, stand: Stand) -> None:
    arena.contest(benchmark, f"replay/add 1, {stand.label}", stand.adding_one(), skipped=stand.skipped)


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "both_stored"])
@pytest.mark.parametrize("count", [64, 1024])
def test_add_many(benchmark: Any, arena: Arena, linked: bool, count: int) -> None:
    made = Stand(arena, linked=linked, rows=max(arena.rows, 128 * count), streams=count)
    arena.contest(benchmark, f"replay/add {count}, {made.label}", made.adding_many(count), skipped=made.skipped)
    made.close()


def test_sample_images(benchmark: Any, arena: Arena) -> None:
    made = Stand(arena, linked=True, rows=20_000 if arena.is_measuring else 1_024, image=True)
    arena.contest(benchmark, "replay/sample 256 images with next", made.sampling(256), skipped=made.skipped)
    made.close()
