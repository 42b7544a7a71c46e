"""Our replay with the rows of `rows.py`.

Beyond the 525 bytes a row carries what the package needs: truncated, episode_id, step_id (17 bytes), and a batch also
gets n_step_reward and discount (8 bytes). The other buffers don't store or return these.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from carla_online.replay import Field, Prioritized, ReplayBuffer, ReplaySchema
from rounds import repeated
from rows import ACTION_DIM, IMAGE_SHAPE, OBS_DIM, Columns, image_rows, vector_rows

Run = Callable[[int], None]


def schema(*, linked: bool, image: bool = False) -> ReplaySchema:
    """The rows' schema. Not linked: both observations are stored in every row."""
    observation = ("u8", IMAGE_SHAPE) if image else ("f32", (OBS_DIM,))
    fields = [
        Field("obs", *observation, linked=linked),
        Field("action", "f32", (ACTION_DIM,)),
        Field("reward", "f32"),
        Field("terminated", "bool"),
        Field("truncated", "bool"),
        Field("episode_id", "u64"),
        Field("step_id", "u64"),
    ]
    if not linked:
        fields.append(Field("next_obs", *observation))
    return ReplaySchema(tuple(fields))


class Ours:
    """A buffer of a number of rows, full, with a writer of `streams` streams."""

    def __init__(self, directory: Path, rows: int, *, linked: bool, image: bool = False, streams: int = 1) -> None:
        buffer = ReplayBuffer.create(directory, schema(linked=linked, image=image), capacity_rows=rows)
        self._take(buffer, linked=linked, image=image, streams=streams)
        self._fill(rows)
        self.writer = self.buffer.writer(streams=streams)

    @classmethod
    def on(cls, buffer: ReplayBuffer, *, streams: int) -> Ours:
        """The same over a buffer of vectors that stores both observations and was opened elsewhere."""
        ours = cls.__new__(cls)
        ours._take(buffer, linked=False, image=False, streams=streams)
        ours.writer = buffer.writer(streams=streams)
        return ours

    def _take(self, buffer: ReplayBuffer, *, linked: bool, image: bool, streams: int) -> None:
        self.buffer, self.linked, self.image, self.streams = buffer, linked, image, streams
        self.make_rows = image_rows if image else vector_rows

    def _fill(self, rows: int) -> None:
        """Fills every block, with a writer of many streams, since one call appends a row a stream."""
        streams = max(1, min(512, rows // self.buffer.block_rows // 4))
        with self.buffer.writer(streams=streams, first_stream=1000) as writer:
            for call in range(-(-rows // streams) + self.buffer.block_rows):
                values, following = self._values(streams, first=call)
                writer.append(values, following)

    def _values(self, count: int, *, first: int = 0) -> tuple[Columns, Columns]:
        """One row a stream. The observation doesn't change, as for a standing car: it is its own successor."""
        columns = self.make_rows(count)
        values = {
            "obs": columns["obs"],
            "action": columns["act"],
            "reward": columns["rew"],
            "terminated": np.zeros(count, np.bool_),
            "truncated": np.zeros(count, np.bool_),
            "episode_id": np.arange(count, dtype=np.uint64),
            "step_id": np.full(count, first, np.uint64),
        }
        if self.linked:
            return values, {"obs": columns["obs"]}
        return values | {"next_obs": columns["next_obs"]}, {}

    def append_once(self) -> Callable[[], object]:
        """What appends one row to each stream."""
        return self.writer.bind(*self._values(self.streams)).append

    def add(self) -> Run:
        """One row a stream and call."""
        return repeated(self.append_once())

    def sample(self, batch: int) -> Run:
        """Into arrays bound once."""
        sampler = self.buffer.sampler(seed=5)
        out = sampler.allocate(batch)
        sample_into = sampler.sample_into
        return repeated(lambda: sample_into(out))

    def sample_fresh(self, batch: int) -> Run:
        """Into fresh arrays."""
        sampler = self.buffer.sampler(seed=5)
        return repeated(lambda: sampler.sample(batch))

    def cycle(self, batch: int) -> Run:
        """Appends a row, samples a batch by priority, updates its priorities."""
        append, sampler = (
            self.append_once(),
            self.buffer.sampler(seed=5, mode=Prioritized(exponent=0.6, correction=0.4)),
        )
        out = sampler.allocate(batch)
        priorities = np.random.default_rng(2).uniform(0.1, 1.0, batch).astype(np.float32)

        def once() -> None:
            append()
            sampler.sample_into(out)
            sampler.update_priorities(out, priorities)

        return repeated(once)

    def sample_checked(self, batch: int) -> Run:
        """Into arrays bound once, each row's checksum compared."""
        sampler = self.buffer.sampler(seed=5, check=True)
        out = sampler.allocate(batch)
        return repeated(lambda: sampler.sample_into(out))

    def close(self) -> None:
        """Closes writer and buffer."""
        self.buffer.close()
