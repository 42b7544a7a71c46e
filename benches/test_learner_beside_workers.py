"""Updates a second of a SAC learner while workers write to its replay, against the same load that doesn't write.

Two processes drive a world each. In one case every step is appended to the replay that the learner samples; in the
other the same arrays are copied aside. What differs is the writing alone. The cases take turns, so that a drift of the
machine meets both.

Run: `make bench`, or `python -m pytest benches/test_learner_beside_workers.py --benchmark-enable`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arena import Arena
from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.envs.world import WorldVectorEnv
from carla_online.learners import SACConfig, SACLearner, TransitionBatch
from carla_online.policies import FullPolicy
from carla_online.replay import ReplayBuffer, ReplaySchema

WORKERS, WORLDS = 2, 2
OBS_DIM, HIDDEN, BATCH = 144, (256, 256), 256
ROUNDS, UPDATES = 9, 60
CAPACITY, PACE_S = 200_000, 0.002
FALL = 0.03


def schema() -> ReplaySchema:
    """The rows of a run in the driving world."""
    return ReplaySchema.transitions(OBS_DIM, 2, REWARD_TERM_NAMES)


def drive(directory: str, index: int, writes: Any, is_over: Any) -> None:
    """Drives worlds at a steady pace; each step is appended, or copied aside."""
    env = WorldVectorEnv(WORLDS, autoreset_mode="SAME_STEP")
    env.reset(seed=index)
    with ReplayBuffer.open(Path(directory)) as replay:
        rows = {field.name: np.zeros((WORLDS, *field.shape), field.numpy_dtype) for field in replay.schema.fields}
        after = {field.name: np.zeros_like(rows[field.name]) for field in replay.schema.linked}
        aside = [values.copy() for values in (*rows.values(), *after.values())]
        rows["episode_id"][...] = index * WORLDS + np.arange(WORLDS)
        rows["weight"][...] = 1.0
        with replay.writer(streams=WORLDS, first_stream=index * WORLDS) as writer:
            for count in itertools.count():
                if is_over.value:
                    return
                rows["obs"][...] = after["obs"]
                after["obs"][...] = env.step(np.zeros((WORLDS, 2), np.float32))[0]
                rows["step_id"][...] = np.arange(WORLDS) + (count * WORKERS + index) * WORLDS
                if writes.value:
                    writer.append(rows, after)
                else:
                    for place, values in zip(aside, (*rows.values(), *after.values()), strict=True):
                        place[...] = values
                time.sleep(PACE_S)


class Learning:
    """A learner on a replay that holds rows already."""

    def __init__(self, directory: Path) -> None:
        fields = schema()
        self.replay = ReplayBuffer.create(directory, fields, capacity_rows=CAPACITY)
        rows = {field.name: np.zeros((1, *field.shape), field.numpy_dtype) for field in fields.fields}
        after = {field.name: np.zeros_like(rows[field.name]) for field in fields.linked}
        rows["weight"][...] = 1.0
        with self.replay.writer(streams=1, first_stream=WORKERS * WORLDS) as writer:
            for step in range(2_000):
                rows["step_id"][...] = step
                writer.append(rows, after)
        torch.manual_seed(0)
        policy = FullPolicy(obs_dim=OBS_DIM, action_dim=2, hidden_sizes=HIDDEN)
        config = SACConfig(hidden_sizes=HIDDEN)
        self._learner = SACLearner(policy, config=config, generator=torch.Generator().manual_seed(0))
        self._sampler = self.replay.sampler(seed=0)

    def updates_per_s(self, count: int) -> float:
        """Samples and updates so many times."""
        begun_s = time.perf_counter()
        for _ in range(count):
            self._learner.update(TransitionBatch.from_arrays(self._sampler.sample(BATCH)))
        return count / (time.perf_counter() - begun_s)


def test_updates_while_workers_write(benchmark: Any, arena: Arena) -> None:
    """The fall of updates/s by the workers' writing, each round's two cases side by side."""
    rounds, count = (ROUNDS, UPDATES) if arena.is_measuring else (1, 2)
    directory = arena.directory / "beside-workers"
    learning = Learning(directory)
    context = multiprocessing.get_context("spawn")
    writes, is_over = context.Value("b", 0), context.Value("b", 0)
    workers = [context.Process(target=drive, args=(str(directory), i, writes, is_over)) for i in range(WORKERS)]
    rates = np.zeros((rounds, 2))

    def run() -> None:
        for number in range(rounds):
            for case in ((0, 1), (1, 0))[number % 2]:
                writes.value = case
                time.sleep(0.05)
                rates[number, case] = learning.updates_per_s(count)

    for worker in workers:
        worker.start()
    try:
        learning.updates_per_s(count)  # caches fill, workers import
        benchmark.pedantic(run, rounds=1)
        written = learning.replay.total_appended
    finally:
        is_over.value = 1
        for worker in workers:
            worker.join(60)
        learning.replay.close()
    falls = 1.0 - rates[:, 1] / rates[:, 0]
    fall, noise = float(np.median(falls)), float(np.median(np.abs(falls - np.median(falls))))
    arena.note(
        f"learner beside {WORKERS} workers: {np.median(rates[:, 1]):.1f} updates/s while they write, "
        f"{np.median(rates[:, 0]):.1f} beside the same load not writing: a fall of {fall:.1%}, noise {noise:.1%}"
    )
    if arena.is_measuring:
        assert written > 2_000, "the workers wrote nothing"
        assert fall <= max(FALL, 2.0 * noise), (fall, noise, rates)
