"""What a careful user writes in NumPy, and what the machine allows: the two sides of every replay figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rounds import repeated
from rows import ACTION_DIM, IMAGE_SHAPE, OBS_DIM, Columns, chunks, image_rows, vector_rows

Run = Callable[[int], None]


class NumpyRing:
    """A ring of NumPy columns. Samples go into preallocated arrays by `np.take(out=, mode="clip")`.

    Linked: the next observation is the observation of the next place.
    """

    def __init__(self, rows: int, *, linked: bool, image: bool = False) -> None:
        self.rows, self.linked = rows, linked
        self.make_rows = image_rows if image else vector_rows
        shape, dtype = ((rows + 1, *IMAGE_SHAPE), np.uint8) if image else ((rows + 1, OBS_DIM), np.float32)
        self.columns: Columns = {
            "obs": np.zeros(shape, dtype),
            "act": np.zeros((rows, ACTION_DIM), np.float32),
            "rew": np.zeros(rows, np.float32),
            "done": np.zeros(rows, np.bool_),
        }
        if not linked:
            self.columns["next_obs"] = np.zeros(shape, dtype)
        for first, count in chunks(rows, 1024 if image else 8192):
            new = self.make_rows(count, first=first)
            for name, column in self.columns.items():
                column[first : first + count] = new[name]
        self.place = 0

    def add_one(self) -> Run:
        """Five slice stores a row, or four and the observation behind it."""
        row = {name: column[0] for name, column in self.make_rows(1).items()}
        obs, act, rew, next_obs, done = (row[name] for name in ("obs", "act", "rew", "next_obs", "done"))
        ring = self.columns
        to_obs, to_act, to_rew, to_done = ring["obs"], ring["act"], ring["rew"], ring["done"]
        rows, linked = self.rows, self.linked
        to_next = to_obs if linked else ring["next_obs"]
        shift = 1 if linked else 0

        def run(count: int) -> None:
            place = self.place
            for _ in range(count):
                to_obs[place] = obs
                to_act[place] = act
                to_rew[place] = rew
                to_next[place + shift] = next_obs
                to_done[place] = done
                place += 1
                if place == rows:
                    place = 0
            self.place = place

        return run

    def add_many(self, count: int) -> Run:
        """The same with `count` rows a store."""
        new = self.make_rows(count)
        ring, rows = self.columns, self.rows
        if self.linked:
            new["obs"] = np.concatenate([new["obs"], new["next_obs"][-1:]])
        stores = [(ring[name], column, len(column)) for name, column in new.items() if name in ring]

        def once() -> None:
            place = self.place
            for target, column, length in stores:
                target[place : place + length] = column
            place += count
            self.place = place if place + count <= rows else 0

        return repeated(once)

    def sample(self, batch: int, *, fresh: bool = False) -> Run:
        """Random places, then one `take` a column; `fresh` indexes instead, which allocates."""
        generator, ring, rows = np.random.default_rng(3), self.columns, self.rows
        outputs = {name: np.zeros((batch, *column.shape[1:]), column.dtype) for name, column in ring.items()}
        following = np.zeros((batch, *ring["obs"].shape[1:]), ring["obs"].dtype)

        def into() -> None:
            places = generator.integers(0, rows, batch)
            for name, column in ring.items():
                np.take(column, places, axis=0, out=outputs[name], mode="clip")
            if self.linked:
                places += 1
                np.take(ring["obs"], places, axis=0, out=following, mode="clip")

        def anew() -> None:
            places = generator.integers(0, rows, batch)
            taken = [column[places] for column in ring.values()]
            if self.linked:
                taken.append(ring["obs"][places + 1])

        return repeated(anew if fresh else into)


class Limit:
    """The limits crate's loops over rows laid out as ours are.

    `names` are the columns that are written and read, in order; each array's bytes follow from `make_rows`.
    """

    def __init__(self, limits: Any, rows: int, *, linked: bool, image: bool = False, block_rows: int = 64) -> None:
        self.linked = linked
        self.make_rows = image_rows if image else vector_rows
        one = self.make_rows(1)
        self.names = ["obs", "act", "rew", "next_obs", "done"]
        self.spans: list[tuple[int, int]] = []
        end = 16  # The row's mark and checksum.
        for name in self.names:
            if name == "next_obs" and linked:
                self.spans.append((-1, one["obs"].nbytes))
                continue
            self.spans.append((end, one[name].nbytes))
            end += one[name].nbytes
        # What ours stores beside: truncated, episode and step.
        self.beside = [(end, 1), (end + 1, 8), (end + 9, 8)]
        end += 17
        stride = -(-end // 64) * 64
        self.spans = [(stride + 16 if offset < 0 else offset, size) for offset, size in self.spans]
        spare = -(-(16 + one["obs"].nbytes) // 64) * 64 if linked else 0
        blocks = -(-rows // block_rows)
        self.ring = limits.Ring(
            blocks=blocks, block_rows=block_rows, stride=stride, block_stride=stride * block_rows + spare
        )

    def arrays(self, count: int) -> list[np.ndarray]:
        """The columns of `count` rows, in the spans' order."""
        columns = self.make_rows(count)
        return [np.ascontiguousarray(columns[name]) for name in self.names]

    def add_call(self, extra: int = 0) -> Run:
        """A bare METH_FASTCALL function given one row's arrays, and `extra` more of eight bytes."""
        arrays = [*self.arrays(1), *[np.zeros(1, np.uint64) for _ in range(extra)]]
        # The extra ones all land in the row's first bytes: where doesn't matter, only that they are taken.
        append = self.ring.appender([*self.spans, *[(0, 8)] * extra], streams=1, checksum=False)
        return repeated(lambda: append(*arrays)) if extra else _five(append, arrays)

    def add_copy(self, count: int, *, checksum: bool = False, like_ours: bool = False) -> Run:
        """The copies alone, from arrays bound once, one row a stream.

        Like ours: all that ours stores, summed up in private memory.
        """
        spans, arrays = self._all(count) if like_ours else (self.spans, self.arrays(count))
        return repeated(self.ring.append_loop(spans, arrays, streams=count, checksum=checksum, private=like_ours))

    def sample(self, batch: int, *, guarded: bool, like_ours: bool = False) -> Run:
        """Random numbers, prefetch, copy; guarded: with the replay's checks of the block before and after.

        Like ours: all that ours returns, the n-step return and its discount with it.
        """
        spans, arrays = self._all(batch) if like_ours else (self.spans, self.arrays(batch))
        if like_ours:
            reward = spans[self.names.index("rew")]
            spans, arrays = [*spans, reward, reward], [*arrays, *np.zeros((2, batch), np.float32)]
        outputs = [np.zeros_like(array) for array in arrays]
        return repeated(self.ring.gather_loop(spans, outputs, batch=batch, seed=7, guarded=guarded))

    def _all(self, count: int) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
        """Spans and arrays of everything that ours stores."""
        beside = [np.zeros(count, np.bool_), np.zeros(count, np.uint64), np.zeros(count, np.uint64)]
        return [*self.spans, *self.beside], [*self.arrays(count), *beside]


def _five(append: Callable[..., None], arrays: list[np.ndarray]) -> Run:
    obs, act, rew, next_obs, done = arrays

    def run(count: int) -> None:
        for _ in range(count):
            append(obs, act, rew, next_obs, done)

    return run
