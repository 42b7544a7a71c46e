"""Speed of the embedded world: decisions on one thread, 64 worlds, the default scenario with twenty other vehicles.

The peers are highway-env, one environment with the same number of vehicles, 20 simulation steps and 10 decisions a
second, nothing drawn (it has no batch); and envpool's rewrite of it in C++, 64 environments on one thread.

Run: `make bench`, or `python -m pytest benches/test_world.py --benchmark-enable`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from arena import Arena
from carla_online._native import WorldBatch
from rounds import Contender, repeated

WORLDS = 64
# Nobody is removed for standing still, and no episode runs out of time while it is measured.
CONFIG = json.dumps(
    {
        "blocked_after_s": 1e4,
        "time_limit_factor": 100.0,
        "traffic": {"slow_vehicles": 16, "fast_vehicles": 4, "spread_m": 400.0},
    }
)


class Worlds:
    """A batch of worlds with its output arrays; worlds that ended are reset every 50 decisions."""

    def __init__(self, count: int) -> None:
        self.batch = WorldBatch(num_envs=count, config=CONFIG)
        self.seeds = np.arange(count, dtype=np.uint64)
        self.outputs = (
            np.zeros((count, WorldBatch.obs_dim), np.float32),
            np.zeros((count, len(WorldBatch.reward_term_names())), np.float32),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
            np.zeros((count, len(WorldBatch.info_names()))),
            np.zeros((count, len(WorldBatch.infraction_names())), np.int32),
        )
        self.actions = np.zeros((count, 2), np.float32)
        self.reset()

    def reset(self) -> None:
        """Starts every world anew."""
        self.batch.reset(self.seeds, None, self.outputs[0], self.outputs[4])

    def drive(self, decisions: int = 50) -> None:
        """Drives a while, then starts anew, which is part of the time."""
        for _ in range(decisions):
            self.batch.step(self.actions, *self.outputs)
        self.reset()


def highway() -> Callable[[], None]:
    """Fifty decisions of highway-env, then a reset."""
    import gymnasium as gym
    import highway_env  # noqa: F401 - registers the environments

    settings = {"simulation_frequency": 20, "policy_frequency": 10, "vehicles_count": 20, "duration": 1000}
    env = gym.make("highway-v0", config=settings | {"action": {"type": "ContinuousAction"}})
    env.reset(seed=0)
    action = np.zeros(2, np.float32)

    def drive() -> None:
        for _ in range(50):
            if env.step(action)[2]:
                env.reset()
        env.reset()

    return drive


def highway_pool() -> Callable[[], None]:
    """Fifty decisions of 64 environments in envpool, which start anew by themselves."""
    import envpool

    settings = {"simulation_frequency": 20, "policy_frequency": 10, "vehicles_count": 20}
    env = envpool.make_gymnasium("Highway-v0", num_envs=WORLDS, num_threads=1, **settings)
    env.reset()
    # Action 1 of five keeps lane and speed.
    actions = np.ones(WORLDS, np.int32)

    def drive() -> None:
        for _ in range(50):
            env.step(actions)

    return drive


def test_decisions(benchmark: Any, arena: Arena) -> None:
    many, one = Worlds(WORLDS), Worlds(1)
    contenders = [
        Contender("64 worlds", "ours", repeated(many.drive), work=50 * WORLDS),
        Contender("1 world", "reference", repeated(one.drive), work=50),
    ]
    skipped = {}
    for name, make, work in (("highway-env", highway, 50), ("envpool", highway_pool, 50 * WORLDS)):
        if not arena.wants(name):
            skipped[name] = "not asked for"
            continue
        try:
            contenders.append(Contender(name, "library", repeated(make()), work=work))
        except Exception as error:  # a peer's own failure must not end the measurement
            skipped[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    contest = arena.contest(benchmark, "world/one decision, 20 vehicles", contenders, skipped=skipped, gated=False)
    if arena.is_measuring:
        arena.note(f"the world: {1 / np.median(contest.seconds(0)):,.0f} decisions a second on one thread")


def test_resets_on_known_roads(benchmark: Any, arena: Arena) -> None:
    worlds = Worlds(WORLDS)
    contenders = [Contender("reset", "ours", repeated(worlds.reset), work=WORLDS)]
    arena.contest(benchmark, "world/reset on a known road", contenders, gated=False)
