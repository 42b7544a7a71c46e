"""Acceptance of learning in CARLA's loop: `make accept SUITE=carla` (or `python tests/accept/carla_loop.py PART ...`).

CARLA_ONLINE_PARITY_EPISODES (on each map), CARLA_ONLINE_CHAOS_S, CARLA_ONLINE_CHAOS_APART_S and
CARLA_ONLINE_SOAK_EPISODES make the parts shorter, to try them. Every server here is an own `carla-online serve`;
nothing of this has run against a real CARLA server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import psutil
from carla_parity import Difference, compare
from chaos import Storm, check_rows, recovery_shares
from figures import ROOT, Figures

from carla_online.cli.configs import load_experiment
from carla_online.config import validate
from carla_online.envs.carla import CarlaEnv
from carla_online.envs.world import WorldEnv
from carla_online.evaluation import write_report
from carla_online.online import ExperimentConfig, open_run
from carla_online.online.judge import judge
from carla_online.policies import scripted_baseline

FIGURES = Figures("carla")
EPISODES_EACH = int(os.environ.get("CARLA_ONLINE_PARITY_EPISODES", 25))
PARITY_MAPS = ("straight", "four_way", "t_junction", "town")
LONGEST_DRIVE = 3_000
CHAOS_S = float(os.environ.get("CARLA_ONLINE_CHAOS_S", 600))
INCIDENTS_APART_S = float(os.environ.get("CARLA_ONLINE_CHAOS_APART_S", 60))
SOAK_EPISODES = int(os.environ.get("CARLA_ONLINE_SOAK_EPISODES", 300))
SOAK_DECISIONS = 40
TRAIN_LIMIT_MIN = 20.0


def train() -> None:
    """Four workers with a server each make a better policy than the baseline."""
    config = load_experiment("sac_carla_straight", [])
    with tempfile.TemporaryDirectory() as name:
        run_dir = Path(name) / "run"
        started_s = time.monotonic()
        with open_run(config, run_dir=run_dir, show_progress=False) as runner:
            runner.run()
            incidents = dict(runner._intake.pool.incidents.counts)
        minutes = (time.monotonic() - started_s) / 60
        after = judge(config, run_dir)
    FIGURES.check(
        f"sac_carla_straight better than its baseline on {config.suite.routes} held-out seeds",
        holds=after.is_better,
        measured=str(after.verdict),
        target="better",
        seed=str(config.seed),
        started_s=started_s,
    )
    FIGURES.check(
        "sac_carla_straight's time to train, four workers on two cores",
        holds=minutes <= TRAIN_LIMIT_MIN,
        measured=f"{minutes:.1f} min, incidents {incidents or 'none'}",
        target=f"{TRAIN_LIMIT_MIN:g} min",
        seed=str(config.seed),
        started_s=started_s,
    )


def parity() -> None:
    """A hundred episodes on both backends: the same numbers, the same ends, the same infractions."""
    started_s = time.monotonic()
    baseline = scripted_baseline()
    seen: list[tuple[str, int, Difference]] = []
    for map_name in PARITY_MAPS:
        is_street = map_name != "straight"
        traffic = {"preset": "urban", "walkers": 8} if is_street else "dense"
        settings = {"map": {"preset": map_name, "map_variants": 4}, "traffic": traffic}
        there = CarlaEnv(server="serve", **settings)
        here = WorldEnv(**settings)
        for seed in range(EPISODES_EACH):
            difference = compare(here, there, seed, LONGEST_DRIVE, lambda obs: baseline(obs[None])[0])
            seen.append((map_name, seed, difference))
        there.close()
    wrong = [
        (map_name, seed)
        for map_name, seed, each in seen
        if each.ends[0] != each.ends[1] or each.infractions[0] != each.infractions[1]
    ]
    worst = max(seen, key=lambda entry: max(entry[2].observation, entry[2].reward))
    gap = max(worst[2].observation, worst[2].reward)
    FIGURES.check(
        f"parity over {len(seen)} episodes with traffic, walkers and lights: observations and rewards",
        holds=gap < 1e-4,
        measured=f"{gap:.2e} ({worst[2].worst_name}, {worst[0]} seed {worst[1]}), "
        f"{sum(each.steps for *_, each in seen):,} decisions",
        target="1e-4 of the scaled values",
        seed=f"0..{EPISODES_EACH - 1} on each map",
        started_s=started_s,
    )
    FIGURES.check(
        "parity: ends and infractions",
        holds=not wrong,
        measured=f"{len(wrong)} episodes differ {wrong[:5]}",
        target="none",
        seed=f"0..{EPISODES_EACH - 1} on each map",
        started_s=started_s,
    )


def chaos() -> None:
    """Ten minutes of training while servers hang, crash and slow down."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        run_dir = Path(name) / "run"
        config = chaos_config()
        with open_run(config, run_dir=run_dir, show_progress=False) as runner:
            pool = runner._intake.pool
            storm = Storm(pool, apart_s=INCIDENTS_APART_S, until=runner.stop, lasts_s=CHAOS_S)
            storm.start()
            runner.run()
            storm.join()
            lived_s = storm.watched_s
            acknowledged = int(pool.board.workers["transitions"].sum())
            counts, failures = dict(pool.incidents.counts), pool.incidents.failures
        faults = check_rows(run_dir, acknowledged=acknowledged, failures=failures)
        page = write_report(run_dir).read_text(encoding="utf-8")
        listed = page.count("<li><b>")
    FIGURES.check(
        "chaos: the run goes on",
        holds=lived_s >= CHAOS_S,
        measured=f"{lived_s:.0f} s, {len(storm.done)} faults ({storm.describe()}), incidents {counts}",
        target=f"{CHAOS_S:g} s",
        seed=str(storm.seed),
        started_s=started_s,
    )
    FIGURES.check(
        "chaos: no acknowledged transition lost, doubled or wrongly terminal",
        holds=not faults,
        measured="; ".join(faults) or f"{acknowledged:,} rows, each whole",
        target="none",
        seed=str(storm.seed),
        started_s=started_s,
    )
    shares = recovery_shares(storm.rates, storm.done)
    FIGURES.check(
        "chaos: throughput within 30 s of an incident",
        holds=bool(shares) and min(shares) >= 0.9,
        measured=", ".join(f"{share:.0%}" for share in shares),
        target="90 % of that before, each time",
        seed=str(storm.seed),
        started_s=started_s,
    )
    harmful = sum(kind in ("hang", "crash") for _, kind in storm.done)
    FIGURES.check(
        "chaos: the report lists every incident",
        holds=listed >= sum(counts.values()) and failures >= harmful,
        measured=f"{listed} listed, {sum(counts.values())} seen, {harmful} servers killed or hung",
        target="all",
        started_s=started_s,
    )


def chaos_config() -> ExperimentConfig:
    """Four workers on own servers, with a learner that doesn't hold them up and deadlines that suit a test."""
    data = load_experiment("sac_carla_straight", []).model_dump(mode="json")
    data["env"] |= {"call_timeout_s": 4.0, "map": {"preset": "straight", "map_variants": 2}}
    data["learner"]["updates_per_env_step"] = 0.02
    data["learner"]["warmup"] |= {"transitions": 500, "critic_from_transitions": 300}
    data["runner"] |= {
        "total_env_steps": 10**8,
        "evaluate_every_env_steps": 10**8,
        "tensorboard": False,
        "supervision": data["runner"]["supervision"]
        | {"start_deadline_s": 900.0, "step_deadline_s": 30.0, "quarantine_after": 100},
    }
    data["replay"]["capacity_rows"] = 400_000
    return validate(ExperimentConfig, data, source="chaos")


def bench() -> None:
    """Steps a second of 1, 2, 4, 8 workers beside Gymnasium's; updates a second with workers writing."""
    for name, what in (
        ("test_workers.py", "env steps/s of 1, 2, 4, 8 workers beside AsyncVectorEnv and SyncVectorEnv"),
        ("test_learner_beside_workers.py", "learner updates/s, workers writing against the same load not writing"),
    ):
        started_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "bench.json"
            words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"benches/{name}"]
            words += ["--benchmark-enable", "--benchmark-columns=rounds", "--timeout", "900", "--bench-out", str(out)]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        print(done.stdout[-4000:], flush=True)
        FIGURES.check(
            what,
            holds=done.returncode == 0,
            measured=f"exit code {done.returncode}, see the table",
            target="measured; a fall of at most 3 %, or within the noise, is asserted",
            started_s=started_s,
        )


def soak() -> None:
    """Three hundred episodes in one worker: actors, memory and tick time are flat."""
    started_s = time.monotonic()
    env = CarlaEnv(server="serve", map={"preset": "town", "map_variants": 1}, traffic={"preset": "urban", "walkers": 8})
    drive_ms, memory_mb, actors = [], [], []
    action = np.float32([0.0, 0.2])
    for _ in range(SOAK_EPISODES):
        env.reset()
        begun_s = time.perf_counter()
        steps = 0
        for _ in range(SOAK_DECISIONS):
            steps += 1
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        drive_ms.append(1e3 * (time.perf_counter() - begun_s) / steps)
        drive = env._vector._batch._drives[0]
        server = psutil.Process(drive._own_server.process_id)
        memory_mb.append((psutil.Process().memory_info().rss + server.memory_info().rss) / 1e6)
        actors.append(len(drive._connection.world.get_snapshot()))
    env.close()
    third = SOAK_EPISODES // 3
    early, late = slice(third // 2, third), slice(-third // 2, None)
    grown_mb = float(np.median(memory_mb[late]) - np.median(memory_mb[early]))
    slower = float(np.median(drive_ms[late]) / np.median(drive_ms[early]))
    more = float(np.median(actors[late]) - np.median(actors[early]))
    FIGURES.check(
        f"{SOAK_EPISODES} episodes in one worker: actors, memory, tick time",
        holds=abs(more) <= 2 and grown_mb < 20.0 and slower < 1.2,
        measured=f"{more:+.0f} actors of {np.median(actors):.0f}, {grown_mb:+.1f} MB of {np.median(memory_mb):.0f}, "
        f"decisions take {slower:.2f} of the early {np.median(drive_ms[early]):.1f} ms",
        target="2 actors, 20 MB, 1.2 (medians of the last sixth against the second)",
        started_s=started_s,
    )


if __name__ == "__main__":
    parts = {"train": train, "parity": parity, "chaos": chaos, "bench": bench, "soak": soak}
    sys.exit(FIGURES.run(parts, sys.argv[1:]))
