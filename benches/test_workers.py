"""Steps a second of one driving world in each of N processes, beside Gymnasium's own vector environments.

The same environment, the same actions. Ours watches deadlines and survives a worker's death; Gymnasium's
`AsyncVectorEnv` does neither, `SyncVectorEnv` steps in one process.

Run: `make bench`, or `python -m pytest benches/test_workers.py --benchmark-enable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv as GymnasiumAsync
from gymnasium.vector import SyncVectorEnv

from arena import Arena
from carla_online.envs.workers import AsyncVectorEnv
from carla_online.envs.world import WorldEnv
from rounds import Contender, repeated

STEPS = 20


def make() -> WorldEnv:
    """Twenty other vehicles, no end in sight."""
    return WorldEnv(simulation={"blocked_after_s": 1e4, "time_limit_factor": 100.0})


def stepper(env: Any, count: int) -> Callable[[], None]:
    """Twenty steps of everybody."""
    actions = np.zeros((count, 2), np.float32)
    env.reset(seed=0)

    def drive() -> None:
        for _ in range(STEPS):
            env.step(actions)

    return drive


def first_ready(env: AsyncVectorEnv, count: int) -> Callable[[], None]:
    """As many steps, each sent on as soon as it is there."""
    batch, half = env.batch, max(1, count // 2)
    actions = np.zeros((count, 2), np.float32)
    batch.reset(seed=0)

    def drive() -> None:
        done = 0
        while done < STEPS * count:
            ids = batch.recv(half).env_ids
            batch.send(actions[: len(ids)], ids)
            done += len(ids)

    return drive


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_steps_in_processes(benchmark: Any, arena: Arena, count: int) -> None:
    if not arena.is_measuring and count > 1:
        pytest.skip("one process shows that it runs")
    makers = [make] * count
    envs: list[Any] = [AsyncVectorEnv(makers), AsyncVectorEnv(makers), SyncVectorEnv(makers)]
    envs.append(GymnasiumAsync(makers, context="spawn"))
    try:
        work = STEPS * count
        contenders = [
            Contender("step", "ours", repeated(stepper(envs[0], count)), work=work),
            Contender("send, recv", "reference", repeated(first_ready(envs[1], count)), work=work),
            Contender("SyncVectorEnv", "library", repeated(stepper(envs[2], count)), work=work),
            Contender("AsyncVectorEnv", "library", repeated(stepper(envs[3], count)), work=work),
        ]
        arena.contest(benchmark, f"workers/one step, {count} processes", contenders, gated=False)
    finally:
        for env in envs:
            env.close()
