"""Speed of the embedded world: decisions on one thread, 64 worlds, a junction with lights and twenty other vehicles.

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
from carla_online._native import HeldWorlds, WorldBatch
from rounds import Contender, repeated

WORLDS = 64
# Nobody is removed for standing still, and no episode runs out of time while it is measured.
ENDLESS = {"blocked_after_s": 1e4, "time_limit_factor": 100.0}
CHAIN = ENDLESS | {"traffic": {"slow_vehicles": 16, "fast_vehicles": 4, "spread_m": 400.0}}


def junction(vehicles: int, walkers: int = 0) -> dict[str, Any]:
    """A four-way junction of 2 + 2 lanes with lights."""
    streets = {"kind": "four_way", "lanes": 2, "arm_m": [140.0, 200.0], "length_m": [150.0, 380.0], "map_variants": 8}
    others = {"slow_vehicles": vehicles, "fast_vehicles": 0, "spread_m": 300.0, "walkers": walkers}
    return ENDLESS | {"map": streets | {"speed_limit_mps": 13.889}, "traffic": others}


class Worlds:
    """A batch of worlds with its output arrays; worlds that ended are reset every 50 decisions."""

    def __init__(self, count: int, config: dict[str, Any] | None = None) -> None:
        self.batch = WorldBatch(num_envs=count, config=json.dumps(junction(20) if config is None else config))
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
    env = gym.make("highway-v0", disable_env_checker=True, config=settings | {"action": {"type": "ContinuousAction"}})
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
    many, one, chain = Worlds(WORLDS), Worlds(1), Worlds(WORLDS, CHAIN)
    contenders = [
        Contender("64 worlds", "ours", repeated(many.drive), work=50 * WORLDS),
        Contender("1 world", "reference", repeated(one.drive), work=50),
        Contender("64 worlds, road without junctions", "reference", repeated(chain.drive), work=50 * WORLDS),
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
    name = "world/one decision, 20 vehicles, four-way junction with lights"
    contest = arena.contest(benchmark, name, contenders, skipped=skipped, gated=False)
    if arena.is_measuring:
        arena.note(f"the world: {1 / np.median(contest.seconds(0)):,.0f} decisions a second on one thread")
        peers = [index for index, contender in enumerate(contenders) if contender.name == "highway-env"]
        for index in peers:
            times = float(np.median(contest.seconds(index)) / np.median(contest.seconds(0)))
            arena.note(f"the world: {times:,.0f} x highway-env{'' if times >= 500 else ', SHORT of 500'}")


def test_cost_against_actors(benchmark: Any, arena: Arena) -> None:
    batches = {5: Worlds(WORLDS, junction(5)), 20: Worlds(WORLDS), 80: Worlds(WORLDS, junction(60, walkers=20))}
    contenders = [
        Contender(f"{actors} actors", "ours" if actors == 20 else "reference", repeated(worlds.drive), work=50 * WORLDS)
        for actors, worlds in batches.items()
    ]
    arena.contest(benchmark, "world/one decision against actors", contenders, gated=False)


def test_cost_against_environments(benchmark: Any, arena: Arena) -> None:
    contenders = [
        Contender(
            f"{count} worlds", "ours" if count == 64 else "reference", repeated(Worlds(count).drive), work=50 * count
        )
        for count in (1, 64, 1024)
    ]
    arena.contest(benchmark, "world/one decision against environments", contenders, gated=False)


def test_views_from_above(benchmark: Any, arena: Arena) -> None:
    worlds = Worlds(WORLDS)
    contenders = []
    for kind in ("small", "carl"):
        size = WorldBatch.birdseye_size(kind)
        out = np.zeros((WORLDS, size, size), np.uint8)
        contenders.append(
            Contender(
                f"{kind}, {size} pixels",
                "ours" if kind == "carl" else "reference",
                repeated(lambda kind=kind, out=out: worlds.batch.birdseye(kind, None, out)),
                work=WORLDS,
            )
        )
    contest = arena.contest(benchmark, "world/one view from above, 20 vehicles", contenders, gated=False)
    if arena.is_measuring:
        arena.note(f"the world: {1 / np.median(contest.seconds(1)):,.0f} views of 256 pixels a second on one thread")


def test_snapshot_and_restore(benchmark: Any, arena: Arena) -> None:
    worlds = Worlds(WORLDS)
    rows = list(range(WORLDS))
    held = HeldWorlds()

    def keep_and_return() -> None:
        """Bytes, as a checkpoint has them."""
        kept = [worlds.batch.snapshot(row) for row in rows]
        for row in rows:
            worlds.batch.restore(row, kept[row])

    def hold_and_return() -> None:
        """In memory, as groups of branches have them."""
        worlds.batch.hold(held)
        worlds.batch.go_back(held)

    contenders = [
        Contender("held in memory", "ours", repeated(hold_and_return), work=WORLDS),
        Contender("as bytes", "reference", repeated(keep_and_return), work=WORLDS),
    ]
    contest = arena.contest(benchmark, "world/snapshot and restore of 64", contenders, gated=False)
    if arena.is_measuring:
        micros = 1e6 * float(np.median(contest.seconds(0)))
        arena.note(f"the world: snapshot and restore {micros:.2f} us{'' if micros <= 2 else ', SHORT of 2 us'}")


def test_resets_on_known_roads(benchmark: Any, arena: Arena) -> None:
    worlds = Worlds(WORLDS)
    contenders = [Contender("reset", "ours", repeated(worlds.reset), work=WORLDS)]
    arena.contest(benchmark, "world/reset on a known road", contenders, gated=False)
