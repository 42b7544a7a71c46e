"""One writing and one sampling process on the same buffer, and reopening: reported, not compared by bench-check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena import Arena
from carla_online.replay import ReplayBuffer
from replay_ours import Ours
from replay_peers import Cpprb, Peer, StableBaselines3, Tianshou, TorchRL
from rounds import Contender, Contest, repeated
from shared_processes import Backend, CpprbShared, NumpyShared, OursShared, run_both


@pytest.mark.parametrize("rows_a_call", [1, 64])
def test_writer_beside_sampler(benchmark: Any, arena: Arena, rows_a_call: int) -> None:
    directory = arena.directory / f"shared-{rows_a_call}"
    directory.mkdir()
    backends: list[Backend] = [OursShared(directory)]
    skipped = {}
    for name, kind in (("numpy", NumpyShared), ("cpprb", CpprbShared)):
        try:
            if arena.wants(name):
                backends.append(kind(directory))
        except ImportError as error:
            skipped[name] = str(error)
    runs, seconds = (arena.rounds, 1.0) if arena.is_measuring else (1, 0.05)
    rates = np.zeros((len(backends), runs, 2))

    def run() -> None:
        for number in range(runs):
            for step in range(len(backends)):
                index = (number + step) % len(backends)
                rates[index, number] = run_both(backends[index], rows_a_call=rows_a_call, seconds=seconds)

    benchmark.pedantic(run, rounds=1)
    assert rates.min() > 0.0
    for side, name in enumerate(
        (f"a row, {rows_a_call} a call, beside a sampler", "a batch of 256 beside that writer")
    ):
        contenders = [
            Contender(backend.name, kind, repeated(lambda: None))
            for backend, kind in zip(backends, ("ours", "numpy", "library"), strict=False)
        ]
        title = f"replay/two processes: {name}" + (f" ({rows_a_call} rows a call)" if side else "")
        contest = Contest(title, contenders, skipped if side == 0 else {}, gated=False)
        contest.wall_s = contest.cpu_s = 1.0 / rates[:, :, side]
        contest.kept, contest.calls = np.ones(runs, bool), [1] * len(backends)
        arena.record(contest)


def _opened(path: Path) -> Callable[[int], None]:
    """Opens for reading; closing is part of it."""

    def run(count: int) -> None:
        for _ in range(count):
            ReplayBuffer.open(path, read_only=True).close()

    return run


def _saved(peer: Peer, path: Path) -> Callable[[], object]:
    """Saves a peer's rows and returns what loads them."""
    buffer: Any = peer.buffer  # type: ignore[attr-defined]
    if isinstance(peer, StableBaselines3):
        from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl

        save_to_pkl(path / "sb3.pkl", buffer)
        return lambda: load_from_pkl(path / "sb3.pkl")
    if isinstance(peer, Tianshou):
        buffer.save_hdf5(str(path / "tianshou.hdf5"))
        return lambda: type(buffer).load_hdf5(str(path / "tianshou.hdf5"))
    if isinstance(peer, TorchRL):
        buffer.dumps(path / "torchrl")
        return lambda: buffer.loads(path / "torchrl")
    raise TypeError(peer.package)


def test_reopen(benchmark: Any, arena: Arena) -> None:
    """cpprb's `load_transitions` is left out: it compresses, and takes five seconds."""
    directory = arena.directory / "reopen"
    directory.mkdir()
    Ours(directory / "ours", arena.rows, linked=False).close()
    contenders = [Contender("open and close", "ours", _opened(directory / "ours"))]
    skipped = {Cpprb.package: "load_transitions decompresses: about 5 s"}
    for kind in (StableBaselines3, Tianshou, TorchRL):
        if not arena.wants(kind.package):
            continue
        try:
            load = _saved(kind(arena.rows, linked=False), directory)
            load()
            contenders.append(Contender(f"{kind.package} load", "library", repeated(load)))
        except Exception as error:  # a library's own failure must not end the measurement of the others
            skipped[kind.package] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    size_mb = 525 * arena.rows / 1e6
    arena.contest(benchmark, f"replay/reopen {size_mb:,.0f} MB", contenders, skipped=skipped, gated=False)
