"""One process that writes and one that samples the same buffer: how fast both are at the same time.

A backend is two functions run in processes of their own, each of which works until a moment and says how much it did.
Only ours and cpprb's multi-process buffer protect a row against being read while it is written (cpprb not fully: torn
rows were seen); the NumPy columns in a shared file are what the machine does without any protection.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from replay_ours import Ours
from rows import ACTION_DIM, OBS_DIM, vector_rows

ROWS, BATCH = 100_000, 256
_SPAWN = multiprocessing.get_context("spawn")
_FORK = multiprocessing.get_context("fork")
Step = Callable[[], object]


def _work(prepare: Callable[..., Step], arguments: tuple[Any, ...], barrier: Any, seconds: float, done: Any) -> None:
    """Prepares, waits for the others, works until time is over, and reports calls a second."""
    step = prepare(*arguments)
    step()
    barrier.wait(60)
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for _ in range(8):
            step()
        calls += 8
    done.value = calls / elapsed


def run_both(backend: Backend, *, rows_a_call: int, seconds: float) -> tuple[float, float]:
    """Runs writer and sampler together. Returns rows written and batches sampled a second."""
    context = backend.context
    barrier = context.Barrier(2)
    rates = [context.Value("d", 0.0) for _ in range(2)]
    jobs = [(backend.prepare_writer, (*backend.handle, rows_a_call)), (backend.prepare_sampler, backend.handle)]
    processes = [
        context.Process(target=_work, args=(prepare, arguments, barrier, seconds, rate))
        for (prepare, arguments), rate in zip(jobs, rates, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60 + seconds)
        if process.exitcode != 0:
            for other in processes:
                other.kill()
            raise RuntimeError(f"a process of {backend.name} ended with exit code {process.exitcode}")
    return rates[0].value * rows_a_call, rates[1].value


class Backend:
    """A buffer that two processes share.

    `handle` is what both functions are given, and the writer also the number of rows a call.
    """

    name = ""
    context: Any = _SPAWN
    prepare_writer: Callable[..., Step]
    prepare_sampler: Callable[..., Step]
    handle: tuple[Any, ...]


def _our_writer(path: Path, rows_a_call: int) -> Step:
    from carla_online.replay import ReplayBuffer

    return Ours.on(ReplayBuffer.open(path), streams=rows_a_call).append_once()


def _our_sampler(path: Path) -> Step:
    from carla_online.replay import ReplayBuffer

    sampler = ReplayBuffer.open(path).sampler(seed=1)
    out = sampler.allocate(BATCH)
    return lambda: sampler.sample_into(out)


class OursShared(Backend):
    """Our buffer, both observations stored as in the others."""

    name = "ours"
    prepare_writer = staticmethod(_our_writer)
    prepare_sampler = staticmethod(_our_sampler)

    def __init__(self, directory: Path) -> None:
        Ours(directory / "shared-ours", ROWS, linked=False).close()
        self.handle = (directory / "shared-ours",)


_NUMPY_FIELDS = {"obs": (OBS_DIM,), "act": (ACTION_DIM,), "rew": (), "next_obs": (OBS_DIM,), "done": ()}


def _numpy_columns(path: Path) -> dict[str, np.ndarray]:
    columns = {}
    for name, shape in _NUMPY_FIELDS.items():
        dtype = np.bool_ if name == "done" else np.float32
        file = np.memmap(path / name, dtype, "r+", shape=(ROWS, *shape))
        # Indexing a memmap object is slow; an array over the same memory isn't.
        columns[name] = np.asarray(file)
    return columns


def _numpy_writer(path: Path, rows_a_call: int) -> Step:
    columns, new, place = _numpy_columns(path), vector_rows(rows_a_call), [0]

    def step() -> None:
        first = place[0]
        for name, column in columns.items():
            column[first : first + rows_a_call] = new[name]
        place[0] = first + rows_a_call if first + 2 * rows_a_call <= ROWS else 0

    return step


def _numpy_sampler(path: Path) -> Step:
    columns, generator = _numpy_columns(path), np.random.default_rng(0)
    outputs = {name: np.zeros((BATCH, *column.shape[1:]), column.dtype) for name, column in columns.items()}

    def step() -> None:
        places = generator.integers(0, ROWS, BATCH)
        for name, column in columns.items():
            np.take(column, places, axis=0, out=outputs[name], mode="clip")

    return step


class NumpyShared(Backend):
    """NumPy columns in shared files, nothing protected."""

    name = "numpy"
    prepare_writer = staticmethod(_numpy_writer)
    prepare_sampler = staticmethod(_numpy_sampler)

    def __init__(self, directory: Path) -> None:
        path = directory / "shared-numpy"
        path.mkdir()
        for name, shape in _NUMPY_FIELDS.items():
            dtype = np.bool_ if name == "done" else np.float32
            np.memmap(path / name, dtype, "w+", shape=(ROWS, *shape))[:] = 1
        self.handle = (path,)


def _cpprb_writer(buffer: Any, rows_a_call: int) -> Step:
    columns = vector_rows(rows_a_call)
    return lambda: buffer.add(**columns)


def _cpprb_sampler(buffer: Any) -> Step:
    return lambda: buffer.sample(BATCH)


class CpprbShared(Backend):
    """cpprb's multi-process buffer: made before the processes, which inherit it."""

    name = "cpprb"
    context = _FORK
    prepare_writer = staticmethod(_cpprb_writer)
    prepare_sampler = staticmethod(_cpprb_sampler)

    def __init__(self, directory: Path) -> None:
        import cpprb

        fields = {
            name: {"shape": shape or 1, "dtype": np.bool_ if name == "done" else np.float32}
            for name, shape in _NUMPY_FIELDS.items()
        }
        buffer = cpprb.MPReplayBuffer(ROWS, fields, ctx=_FORK)
        for first in range(0, ROWS, 1000):
            buffer.add(**vector_rows(1000, first=first))
        self.handle = (buffer,)
