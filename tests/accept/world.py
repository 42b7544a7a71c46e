"""Acceptance of the driving world: `make accept SUITE=world` (or `python tests/accept/world.py PART ...`).

Town maps and recorded drives are taken from the folders that `CARLA_ONLINE_MAPS` and `CARLA_ONLINE_LOGS` name;
`CARLA_ONLINE_CURRICULA=sac_curriculum` trains one of the two configurations.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figures import ROOT, Figures

from carla_online._native import WorldBatch, write_map, write_road
from carla_online.cli.configs import load_experiment
from carla_online.envs.carla.dynamics import compare_models
from carla_online.envs.carla.recording import read_drives
from carla_online.envs.curriculum import read_curriculum, successes
from carla_online.envs.safety import SafetyLayer
from carla_online.envs.seeding import Split, seed_set
from carla_online.envs.world.config import WorldEnvConfig
from carla_online.envs.world.vector import WorldVectorEnv
from carla_online.evaluation import evaluate_routes
from carla_online.online import Callback, CARLAOnlineRunner, ExperimentConfig, open_run
from carla_online.online.runner import LAST_POLICY
from carla_online.policies.scripted import scripted_baseline
from carla_online.policies.storage import load_policy

FIGURES = Figures("world")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TRAINING_SEED = 0
CURRICULA = os.environ.get("CARLA_ONLINE_CURRICULA", "sac_curriculum,sac_curriculum_full").split(",")
KEPT_EVERY = 100_000
"""Environment steps between two policies that the curriculum's runs are looked at."""


def oracle() -> None:
    """Every written kind of map, and the towns where they are, against the real `carla.Map`."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from carla_map import compare_whole_map

    texts = {
        f"{kind} {seed}": write_map(kind, seed=seed)
        for kind in ("straight", "curve", "highway", "t_junction", "four_way", "grid")
        for seed in (0, 1)
    }
    texts["four_way, 2+2 lanes"] = write_map("four_way", lanes=2)
    texts["chain"] = write_road([(25.0, 0.0, 0.03), (40.11, 0.03), (25.0, 0.03, 0.0)], lanes_forward=3)
    folder = os.environ.get("CARLA_ONLINE_MAPS")
    towns = sorted(Path(folder).glob("*.xodr")) if folder else []
    texts |= {path.stem: path.read_text() for path in towns}
    for name, text in texts.items():
        started_s = time.monotonic()
        compared, position_m, yaw_deg, unequal = compare_whole_map(text)
        FIGURES.check(
            f"oracle: {name}",
            holds=compared > 0 and position_m < 0.01 and yaw_deg < 0.1 and not unequal,
            measured=f"{1000 * position_m:.2f} mm, {yaw_deg:.4f} degrees, {compared} waypoints, {len(unequal)} unequal",
            target="under 10 mm and 0.1 degrees, marks, neighbours, junctions, ways on equal",
            started_s=started_s,
        )
        for difference in unequal[:3]:
            FIGURES.note(difference)
    if not towns:
        FIGURES.note("no towns: set CARLA_ONLINE_MAPS to a folder of .xodr files")


def dynamics() -> None:
    """Open-loop errors of the vehicle model on recorded drives, beside published models."""
    folder = os.environ.get("CARLA_ONLINE_LOGS")
    targets = {"DistanceToLaneCenter": 0.69, "DistanceBetweenVehicles": 1.28}
    paths = [path for path in sorted(Path(folder).glob("*.log")) if path.stem in targets] if folder else []
    if not paths:
        FIGURES.note("no recorded drives: set CARLA_ONLINE_LOGS to a folder of them")
    for path in paths:
        started_s = time.monotonic()
        drive = next(drive for drive in read_drives(path) if "lincoln.mkz" in drive.name)
        count, found = compare_models(drive, 1.0)
        # With the tyres of the recordings; the default grip, which earlier results stand on, is told beside it.
        own = found["powertrain, grip 20 m/s2"]
        others = ", ".join(
            f"{name} {errors.speed_mps:.2f} m/s {errors.heading_deg:.1f} deg" for name, errors in found.items()
        )
        FIGURES.check(
            f"dynamics: {path.stem}",
            holds=own.speed_mps <= targets[path.stem] and own.heading_deg <= 1.5,
            measured=f"{own.speed_mps:.2f} m/s, {own.heading_deg:.2f} degrees after 1 s, {count} windows",
            target=f"at most {targets[path.stem]} m/s and 1.5 degrees",
            started_s=started_s,
        )
        FIGURES.note(others)


def random_actions() -> None:
    """10,000 episodes of random actions over all maps: finite, within the map, nobody off the road unnoticed."""
    started_s = time.monotonic()
    maps: dict[str, dict[str, Any]] = {
        "straight": {"map": {"preset": "straight", "map_variants": 32}},
        "curve": {"map": {"preset": "curve", "map_variants": 32}, "traffic": "dense", "weather": "any"},
        "highway": {"map": {"preset": "highway", "map_variants": 16}},
        "two_way street": {"map": {"preset": "four_way", "kind": "straight", "length_m": [60.0, 120.0]}},
        "bend": {"map": {"preset": "four_way", "kind": "curve", "length_m": [60.0, 120.0]}},
        "motorway": {"map": {"preset": "four_way", "kind": "highway", "lanes": 3, "arm_m": [600.0, 800.0]}},
        "t_junction": {"map": "t_junction", "traffic": {"preset": "urban", "walkers": 12}},
        "four_way": {"map": "four_way_wide", "traffic": {"preset": "aggressive", "walkers": 12}},
        "town": {"map": "town", "traffic": {"preset": "adversarial", "walkers": 12}},
    }
    folder = os.environ.get("CARLA_ONLINE_MAPS")
    for path in sorted(Path(folder).glob("*.xodr")) if folder else []:
        kind = {"preset": "four_way", "kind": "xodr", "xodr": str(path), "length_m": [200.0, 600.0]}
        maps[path.stem] = {"map": kind, "traffic": "urban"}
    share = -(-10_000 // len(maps))
    episodes, faults = 0, []
    for name, parts in maps.items():
        ended, fault = _random_episodes(parts, share)
        episodes += ended
        faults += [f"{name}: {text}" for text in fault]
    FIGURES.check(
        "random actions over all maps",
        holds=episodes >= 10_000 and not faults,
        measured=f"{episodes} episodes on {len(maps)} maps, {len(faults)} faults",
        target="10,000 episodes, no NaN, no panic, nobody outside the map unnoticed",
        seed="1",
        started_s=started_s,
    )
    for fault in faults[:5]:
        FIGURES.note(fault)


def _random_episodes(parts: dict[str, Any], wanted: int) -> tuple[int, list[str]]:
    env = WorldVectorEnv(64, simulation={"time_limit_factor": 1.0, "blocked_after_s": 5.0}, **parts)
    generator = np.random.default_rng(1)
    env.reset(seed=1)
    ended, faults = 0, []
    actions = np.zeros((64, 2), np.float32)
    layout = {name: (start, scale) for name, start, _, scale, _ in WorldBatch.layout()}
    start, scale = layout["ego/lane_width"]
    while ended < wanted:
        held = generator.random(64) < 0.8
        actions[~held] = generator.uniform(-1.0, 1.0, ((~held).sum(), 2)).astype(np.float32)
        obs, reward, terminated, truncated, _ = env.step(actions)
        ended += int((terminated | truncated).sum())
        if not (np.isfinite(obs).all() and np.isfinite(reward).all() and np.abs(obs).max() <= 10.0):
            faults.append("a value that isn't finite or within its limits")
            break
        nowhere = (obs[:, start] * scale <= 0.0) & ~terminated
        if nowhere.any():
            faults.append(f"world {int(np.flatnonzero(nowhere)[0])} is off the map and drives on")
            break
    env.close()
    return ended, faults


def traffic() -> None:
    """An hour on a 5x5 town: no gridlock, no red light, no overlap, by the crate's own tests; the platoon's too."""
    started_s = time.monotonic()
    minutes = os.environ.get("CARLA_ONLINE_TOWN_MINUTES", "60")
    words = ["cargo", "test", "--release", "-q", "-p", "carla-online-world", "--", "--nocapture"]
    variables = ENVIRONMENT | {"CARLA_ONLINE_TOWN_MINUTES": minutes}
    for name, what in (
        ("a_town_left_to_itself_never_locks", f"5x5 town left to itself, {minutes} simulated minutes on end"),
        ("a_large_town_never_locks", f"5x5 town around an ego, {minutes} simulated minutes"),
        ("traffic_never_runs_a_red_light_and_never_collides", f"red lights and overlaps, {minutes} minutes a map"),
        ("a_platoon_absorbs_a_braking_leader", "IDM platoon is stable"),
    ):
        result = subprocess.run([*words, name], cwd=ROOT, capture_output=True, text=True, check=False, env=variables)
        told = [line for line in result.stderr.splitlines() if "longest stand" in line]
        FIGURES.check(
            what,
            holds=result.returncode == 0 and "1 passed" in result.stdout,
            measured="; ".join(told) or ("passed" if result.returncode == 0 else result.stdout[-500:]),
            target="nobody stands for 3 minutes, no red light is run, nobody overlaps",
            started_s=started_s,
        )


def safety() -> None:
    """What `enforce` prevents: a random policy's collisions, and those of a fine-tuned policy at what cost."""
    started_s = time.monotonic()
    config = WorldEnvConfig(map={"preset": "straight", "map_variants": 64}, num_envs=64)
    rates = {mode: _collisions_per_km(config, mode) for mode in ("off", "enforce")}
    FIGURES.check(
        "the safety layer and a random policy",
        holds=rates["enforce"] <= 0.1 * rates["off"],
        measured=f"{rates['off']:.2f} collisions per km without, {rates['enforce']:.3f} with",
        target="at least 90 % fewer",
        seed="0",
        started_s=started_s,
    )
    run = os.environ.get("CARLA_ONLINE_STRAIGHT_RUN")
    if run is None:
        FIGURES.note(
            "the fine-tuned policy wasn't measured: set CARLA_ONLINE_STRAIGHT_RUN to a finished sac_straight run"
        )
        return
    started_s = time.monotonic()
    policy = load_policy(Path(run) / "policies" / "best.safetensors")
    seeds = seed_set(Split.EVALUATION, 2, 300)
    tables = {mode: _drive(policy, mode, seeds) for mode in ("off", "enforce")}
    off, on = (tables[mode].summary() for mode in ("off", "enforce"))
    FIGURES.check(
        "the safety layer and the fine-tuned sac_straight policy, 300 routes",
        holds=on.collisions_per_km <= 0.01 and on.timed_driving_score >= off.timed_driving_score - 2.0,
        measured=f"{off.collisions_per_km:.3f} to {on.collisions_per_km:.3f} collisions per km, "
        f"{off.timed_driving_score:.1f} to {on.timed_driving_score:.1f} points",
        target="at most 0.01 per km, at most 2 points lower",
        started_s=started_s,
    )


def _collisions_per_km(config: WorldEnvConfig, mode: str) -> float:
    worlds = WorldVectorEnv.from_config(config)
    env = SafetyLayer(worlds, {"mode": mode}, decision_s=worlds.decision_s)
    generator = np.random.default_rng(0)
    env.reset(seed=0)
    collisions, distance_m = 0, 0.0
    for _ in range(3000):
        # Sideways it drives at random too, but so that it gets somewhere.
        steer = generator.uniform(-0.05, 0.05, (64, 1))
        _, _, terminated, truncated, info = env.step(
            np.concatenate([steer, generator.uniform(-0.2, 1.0, (64, 1))], 1).astype(np.float32)
        )
        ended = terminated | truncated
        collisions += int(info["collision"][ended].sum())
        distance_m += float(info["distance_m"][ended].sum())
    return collisions / max(distance_m / 1000.0, 1e-9)


def _drive(policy: Any, mode: str, seeds: Any) -> Any:
    def make(count: int) -> Any:
        worlds = WorldVectorEnv(
            count, map={"preset": "straight", "map_variants": 0}, autoreset_mode="DISABLED", threads=2
        )
        return SafetyLayer(worlds, {"mode": mode}, decision_s=worlds.decision_s)

    return evaluate_routes(policy, make, seeds)


def curriculum() -> None:
    """Straight, lane change, intersections, for a delta head and a policy of its own, each in under 30 minutes."""
    for name in CURRICULA:
        started_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / name
            overrides = ["--seed", str(TRAINING_SEED), "--runner.checkpoint-every-env-steps", str(KEPT_EVERY)]
            config = load_experiment(name, overrides)
            with open_run(config, run_dir=run_dir, show_progress=False, callbacks=[KeepPolicies()]) as runner:
                runner.run()
            minutes = (time.monotonic() - started_s) / 60
            _judge_stages(config, run_dir, minutes, started_s)


class KeepPolicies(Callback):
    """Keeps the policy of every checkpoint."""

    def on_checkpoint(self, runner: CARLAOnlineRunner, path: Path) -> None:
        """Copies it beside the last one."""
        last = runner.directory.path / LAST_POLICY
        shutil.copy(last, last.with_name(f"at_{runner.env_steps:09d}.safetensors"))


def _judge_stages(experiment: ExperimentConfig, run_dir: Path, minutes: float, started_s: float) -> None:
    assert isinstance(experiment.env, WorldEnvConfig)
    stages = experiment.env.stage_configs()
    course = read_curriculum(experiment.env.curriculum)
    assert course is not None
    *earlier, last = (load_policy(path) for path in sorted((run_dir / LAST_POLICY).parent.glob("at_*.safetensors")))
    baseline = scripted_baseline()
    seeds = seed_set(Split.EVALUATION, 0, 100)
    gaps = []
    for stage, described, target in zip(stages, course.stages, (0.95, 0.85, 0.75), strict=True):
        learned, scripted = (success_rate(driver, stage, seeds) for driver in (last, baseline))
        gaps.append(learned - scripted)
        FIGURES.check(
            f"{experiment.name}: {described.name}",
            holds=learned >= target and minutes < 30.0,
            measured=f"{100 * learned:.0f} % of 100 routes, baseline {100 * scripted:.0f} %, {minutes:.1f} min",
            target=f"at least {100 * target:.0f} % in under 30 minutes",
            seed=str(TRAINING_SEED),
            started_s=started_s,
        )
        if described is not course.stages[-1]:
            rates = [success_rate(policy, stage, seeds) for policy in earlier]
            FIGURES.check(
                f"{experiment.name}: {described.name} isn't forgotten",
                holds=learned >= max(rates) - 0.05,
                measured=f"{100 * learned:.0f} % at the end, {100 * max(rates):.0f} % at best before "
                f"({len(rates)} looks)",
                target="within 5 points of its best",
                seed=str(TRAINING_SEED),
                started_s=started_s,
            )
    FIGURES.check(
        f"{experiment.name}: a stage where the baseline is clearly worse",
        holds=max(gaps) >= 0.15,
        measured=f"gaps {', '.join(f'{100 * gap:+.0f}' for gap in gaps)} points",
        target="at least 15 points in one stage",
        seed=str(TRAINING_SEED),
        started_s=started_s,
    )


def success_rate(policy: Any, config: WorldEnvConfig, seeds: Any) -> float:
    """Returns the share of routes driven to their end without an infraction that Leaderboard charges."""
    fresh = config.model_copy(update={"map": _fresh_roads(config.map), "threads": 2})

    def make(count: int) -> Any:
        sized = fresh.model_copy(update={"num_envs": count})
        return WorldVectorEnv.from_config(sized, autoreset_mode="DISABLED")

    table = evaluate_routes(policy, make, seeds)
    return float(successes(table.finished, table.infractions.astype(np.int32)).mean())


def _fresh_roads(described: str | dict[str, Any]) -> dict[str, Any]:
    parts = {"preset": described} if isinstance(described, str) else dict(described)
    return parts | {"map_variants": 0}


def speed() -> None:
    """The benchmark's own figures: decisions beside highway-env, rasters, snapshots."""
    started_s = time.monotonic()
    words = ["make", "-s", "bench", "BENCH_OPTIONS=-k test_world"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    notes = [line for line in result.stdout.splitlines() if line.startswith("the world:")]
    FIGURES.check(
        "make bench: the world's speed",
        holds=result.returncode == 0 and bool(notes) and not any("SHORT" in line for line in notes),
        measured="; ".join(notes) or result.stdout[-300:],
        target="at least 500 x highway-env; snapshot and restore at most 2 us each environment",
        started_s=started_s,
    )


if __name__ == "__main__":
    parts = {
        "oracle": oracle,
        "dynamics": dynamics,
        "random_actions": random_actions,
        "traffic": traffic,
        "safety": safety,
        "speed": speed,
        "curriculum": curriculum,
    }
    sys.exit(FIGURES.run(parts, sys.argv[1:]))
