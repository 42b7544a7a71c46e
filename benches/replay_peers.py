"""The libraries' replay buffers, each used as its documentation shows, with the options that make it fastest.

A peer offers `add_one`, `add_many`, `sample` and `cycle` (prioritised: add one row, sample, update), each returning the
loop to be timed. Buffers are full before anything is timed, so that no page is touched for the first time. A library
that can't be imported or used is left out, with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from rounds import repeated
from rows import ACTION_DIM, IMAGE_SHAPE, OBS_DIM, Columns, chunks, image_rows, vector_rows

Run = Callable[[int], None]


class Peer(ABC):
    """A library's buffer of a number of rows. `linked`: observations are stored once; `image`: they are images."""

    package = ""

    def __init__(self, rows: int, *, linked: bool, image: bool = False, streams: int = 1) -> None:
        self.rows, self.linked, self.image, self.streams = rows, linked, image, streams
        self.make_rows = image_rows if image else vector_rows
        self.obs_shape = IMAGE_SHAPE if image else (OBS_DIM,)
        self.obs_dtype: Any = np.uint8 if image else np.float32
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Makes the buffer and fills it."""

    @abstractmethod
    def add(self, count: int) -> Run:
        """Adds `count` rows a call; one after the other or one a stream, as the library wants them."""

    @abstractmethod
    def sample(self, batch: int) -> Run:
        """Draws a batch a call."""


class Cpprb(Peer):
    """cpprb's ring; `next_of` where observations are stored once."""

    package = "cpprb"
    prioritised = False

    def build(self) -> None:
        import cpprb

        obs = {"shape": self.obs_shape, "dtype": self.obs_dtype}
        fields: dict[str, Any] = {"obs": obs, "act": {"shape": ACTION_DIM}, "rew": {}, "done": {"dtype": np.bool_}}
        options: dict[str, Any] = {"next_of": "obs"} if self.linked else {}
        if not self.linked:
            fields["next_obs"] = obs
        make = cpprb.PrioritizedReplayBuffer if self.prioritised else cpprb.ReplayBuffer
        self.buffer = make(self.rows, fields, **options)
        for first, count in chunks(self.rows, 1024 if self.image else 8192):
            self.buffer.add(**self.make_rows(count, first=first))

    def add(self, count: int) -> Run:
        columns = self.make_rows(count)
        add = self.buffer.add
        return repeated(lambda: add(**columns))

    def sample(self, batch: int) -> Run:
        sample = self.buffer.sample
        return repeated(lambda: sample(batch))


class CpprbPrioritised(Cpprb):
    """cpprb with its sum tree."""

    prioritised = True

    def cycle(self, batch: int) -> Run:
        """Adds a row, samples a batch, updates its priorities."""
        columns, priorities = vector_rows(1), np.random.default_rng(2).uniform(0.1, 1.0, batch).astype(np.float32)
        buffer = self.buffer

        def once() -> None:
            buffer.add(**columns)
            buffer.update_priorities(buffer.sample(batch, beta=0.4)["indexes"], priorities)

        return repeated(once)


class StableBaselines3(Peer):
    """stable-baselines3's buffer; its information list is not read (`handle_timeout_termination=False`)."""

    package = "stable-baselines3"

    def build(self) -> None:
        import gymnasium as gym
        from stable_baselines3.common.buffers import ReplayBuffer

        low, high = (0, 255) if self.image else (-np.inf, np.inf)
        self.buffer = ReplayBuffer(
            self.rows,
            gym.spaces.Box(low, high, self.obs_shape, self.obs_dtype),
            gym.spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32),
            device="cpu",
            n_envs=self.streams,
            optimize_memory_usage=self.linked,
            handle_timeout_termination=False,
        )
        places = self.buffer.buffer_size
        for first, count in chunks(places, 1024 if self.image else 8192):
            columns = self.make_rows(count, first=first)
            self.buffer.observations[first : first + count] = columns["obs"][:, None]
            if not self.linked:
                self.buffer.next_observations[first : first + count] = columns["next_obs"][:, None]
            self.buffer.actions[first : first + count] = columns["act"][:, None]
            self.buffer.rewards[first : first + count] = columns["rew"][:, None]
            self.buffer.dones[first : first + count] = columns["done"][:, None]
        self.buffer.full = True

    def add(self, count: int) -> Run:
        rows = self.make_rows(count)
        obs, act, rew, next_obs, done = (rows[name] for name in ("obs", "act", "rew", "next_obs", "done"))
        infos: list[dict[str, Any]] = [{} for _ in range(count)]
        add = self.buffer.add
        return repeated(lambda: add(obs, next_obs, act, rew, done, infos))

    def sample(self, batch: int) -> Run:
        sample = self.buffer.sample
        return repeated(lambda: sample(batch))


class Tianshou(Peer):
    """tianshou's buffer, filled by writing its arrays: adding a million rows one by one takes half a minute."""

    package = "tianshou"

    def make(self) -> Any:
        """The empty buffer."""
        from tianshou.data import ReplayBuffer, VectorReplayBuffer

        if self.streams > 1:
            return VectorReplayBuffer(self.rows, self.streams, ignore_obs_next=self.linked)
        return ReplayBuffer(self.rows, ignore_obs_next=self.linked)

    def build(self) -> None:
        self.buffer = self.make()
        # The first row makes the arrays.
        self.add(self.streams)(1)
        if self.streams > 1:
            return
        meta = self.buffer._meta
        for first, count in chunks(self.rows, 1024 if self.image else 8192):
            columns, places = self.make_rows(count, first=first), slice(first, first + count)
            meta.obs[places], meta.act[places], meta.rew[places] = columns["obs"], columns["act"], columns["rew"]
            meta.terminated[places] = meta.done[places] = columns["done"]
            meta.truncated[places] = False
            if not self.linked:
                meta.obs_next[places] = columns["next_obs"]
        self.buffer._size = self.rows

    def add(self, count: int) -> Run:
        from tianshou.data import Batch

        rows = self.make_rows(count)
        if self.streams == 1:
            rows = {name: column[0] for name, column in rows.items()}
        batch = Batch(
            obs=rows["obs"],
            act=rows["act"],
            rew=rows["rew"],
            obs_next=rows["next_obs"],
            terminated=rows["done"],
            truncated=np.zeros_like(rows["done"]),
            done=rows["done"],
        )
        add = self.buffer.add
        return repeated(lambda: add(batch))

    def sample(self, batch: int) -> Run:
        sample = self.buffer.sample
        return repeated(lambda: sample(batch))


class TianshouPrioritised(Tianshou):
    """tianshou with its segment tree (numba)."""

    def make(self) -> Any:
        from tianshou.data import PrioritizedReplayBuffer

        return PrioritizedReplayBuffer(self.rows, alpha=0.6, beta=0.4, ignore_obs_next=self.linked)

    def build(self) -> None:
        super().build()
        self.buffer.init_weight(np.arange(self.rows))

    def cycle(self, batch: int) -> Run:
        """Adds a row, samples a batch, updates its priorities."""
        add, priorities = self.add(1), np.random.default_rng(2).uniform(0.1, 1.0, batch).astype(np.float32)
        buffer = self.buffer

        def once() -> None:
            add(1)
            _, indices = buffer.sample(batch)
            buffer.update_weight(indices, priorities)

        return repeated(once)


class TorchRL(Peer):
    """TorchRL's buffer over memory tensors, given a ready TensorDict; it stores both observations."""

    package = "torchrl"

    def build(self) -> None:
        from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

        self.buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(self.rows))
        for first, count in chunks(self.rows, 1024 if self.image else 8192):
            self.buffer.extend(self._tensors(self.make_rows(count, first=first), count))

    @staticmethod
    def _tensors(columns: Columns, count: int) -> Any:
        import torch
        from tensordict import TensorDict

        return TensorDict({name: torch.from_numpy(column) for name, column in columns.items()}, batch_size=[count])

    def add(self, count: int) -> Run:
        tensors = self._tensors(self.make_rows(count), count)
        if count == 1:
            add, one = self.buffer.add, tensors[0]
            return repeated(lambda: add(one))
        extend = self.buffer.extend
        return repeated(lambda: extend(tensors))

    def sample(self, batch: int) -> Run:
        sample = self.buffer.sample
        return repeated(lambda: sample(batch))


class TorchRLPrioritised(TorchRL):
    """TorchRL with its prioritised sampler, whose C++ part must fit the installed torch."""

    def build(self) -> None:
        from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

        self.buffer = TensorDictPrioritizedReplayBuffer(alpha=0.6, beta=0.4, storage=LazyTensorStorage(self.rows))
        for first, count in chunks(self.rows):
            self.buffer.extend(self._tensors(self.make_rows(count, first=first), count))

    def cycle(self, batch: int) -> Run:
        """Adds a row, samples a batch, updates its priorities."""
        import torch

        add, priorities = self.add(1), torch.rand(batch) + 0.1
        buffer = self.buffer

        def once() -> None:
            add(1)
            drawn = buffer.sample(batch)
            buffer.update_priority(drawn["index"], priorities)

        return repeated(once)


UNIFORM: tuple[type[Peer], ...] = (Cpprb, StableBaselines3, Tianshou, TorchRL)
PRIORITISED: tuple[type[Peer], ...] = (CpprbPrioritised, TianshouPrioritised, TorchRLPrioritised)


def available(
    kinds: tuple[type[Peer], ...], wants: Callable[[str], bool], rows: int, **options: Any
) -> tuple[list[Any], dict[str, str]]:
    """Builds the peers that can be used here; returns them and, by name, why the others can't."""
    found, skipped = [], {}
    for kind in kinds:
        if not wants(kind.package):
            skipped[kind.package] = "not asked for"
            continue
        try:
            found.append(kind(rows, **options))
        except Exception as error:  # a library's own failure must not end the measurement of the others
            skipped[kind.package] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return found, skipped


__all__ = ["PRIORITISED", "UNIFORM", "Peer", "available"]
