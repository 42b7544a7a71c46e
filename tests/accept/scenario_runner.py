"""Acceptance of ScenarioRunner: `make accept SUITE=scenario_runner`, or `python tests/accept/scenario_runner.py PART`.

Needs SCENARIO_RUNNER_ROOT and SCENARIO_RUNNER_PACKAGES as the guide says, and CARLA_ONLINE_MAPS with Town01, Town02 and
Town04. Parts: `scenarios`, `examples`, `soak`, `cost`, `training`; the last takes hours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
from figures import ROOT, Figures

from carla_online.envs.scenario_runner import ScenarioRunnerEnv
from carla_online.envs.scenario_runner.config import ROOT_VARIABLE
from carla_online.envs.workers.process import resident_bytes
from carla_online.policies import scripted_baseline

FIGURES = Figures("scenario_runner")
TOWNS = ("Town01", "Town02", "Town04")
LISTED: list[dict[str, Any]] = [
    {"name": "FollowLeadingVehicle_1"},
    {"name": "ChangeLane_1"},
    {"name": "CutInFrom_left_Lane", "route_m": 500.0},
    {"name": "OtherLeadingVehicle_1"},
    {"name": "ControlLoss_1"},
    {"name": "DynamicObjectCrossing_5"},
    {"name": "SignalizedJunctionLeftTurn_2", "turn": "left"},
    {"name": "SignalizedJunctionRightTurn_2", "turn": "right"},
    {"name": "town01_east", "kind": "route", "file": "shipped:routes.xml"},
    {"name": "follow", "kind": "openscenario", "file": "FollowLeadingVehicle.xosc"},
    {"name": "change lane", "kind": "openscenario", "file": "LaneChangeSimple.xosc"},
    {"name": "walker", "kind": "openscenario", "file": "PedestrianCrossingFront.xosc"},
]
SOAK_EPISODES = 500
SOAK_MEMORY_MB = 60.0
OVERHEAD = 0.30
TRAINING_SEEDS = 3


def _drive(env: ScenarioRunnerEnv, seed: int) -> tuple[dict[str, Any], int, float]:
    """Drives an episode with the baseline; returns the last info, the decisions, and the seconds of driving."""
    policy = scripted_baseline()
    obs, info = env.reset(options={"episode_seed": seed})
    begun_s, decisions = time.monotonic(), 0
    while True:
        obs, _, over, cut, info = env.step(policy(obs[None])[0])
        decisions += 1
        if over or cut:
            return info, decisions, time.monotonic() - begun_s


def _run(scenarios: Iterable[dict[str, Any]]) -> tuple[int, list[str]]:
    """Drives each scenario once, each in a worker of its own; returns how many ran to an end, and what happened."""
    ran, told = 0, []
    for scenario in scenarios:
        with tempfile.TemporaryDirectory() as log_dir:
            env = ScenarioRunnerEnv(scenarios=[scenario], log_dir=log_dir, supervision={"max_failures_in_a_row": 2})
            try:
                info, decisions, _ = _drive(env, 0)
                failure = str(info["sim_failure"])
                ended = info.get("scenario", {}).get("ended", "")
                criteria = {k: v["status"] for k, v in info.get("scenario", {}).get("criteria", {}).items()}
                ran += not failure
                told.append(
                    f"{scenario['name']}: {failure or ended} after {decisions} decisions, score "
                    f"{float(info['driving_score']):.0f}, {criteria}"
                )
            except Exception as error:
                told.append(f"{scenario['name']}: didn't run: {' '.join(str(error).split())[-300:]}")
            finally:
                env.close()
        FIGURES.note(told[-1])
    return ran, told


def scenarios() -> None:
    """The issue's list, with the baseline at the wheel."""
    started_s = time.monotonic()
    ran, _ = _run(LISTED)
    FIGURES.check(
        "scenarios of the list that ran to an end",
        holds=ran == len(LISTED),
        measured=f"{ran} of {len(LISTED)}",
        target="all",
        seed="0",
        started_s=started_s,
    )


def examples() -> None:
    """Upstream's XML examples, one for each (type, town)."""
    started_s = time.monotonic()
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for file in sorted(Path(os.environ[ROOT_VARIABLE], "srunner", "examples").glob("*.xml")):
        for element in ElementTree.parse(file).iter("scenario"):
            kind, town = str(element.get("type")), str(element.get("town"))
            turn = "left" if "Left" in kind else "right" if "Right" in kind else "straight"
            if town in TOWNS:
                seen.setdefault((kind, town), {"name": element.get("name"), "route_m": 500.0, "turn": turn})
    ran, _ = _run(seen.values())
    FIGURES.check(
        "pairs of type and town of the XML examples that ran to an end",
        holds=ran >= 30,
        measured=f"{ran} of {len(seen)}",
        target="30",
        seed="0",
        started_s=started_s,
    )


def soak() -> None:
    """Many episodes in one worker."""
    started_s = time.monotonic()
    mixed = [LISTED[place] for place in (0, 1, 2, 4, 5)]
    ticks, memory, left, failures = [], [], 0, 0
    env = ScenarioRunnerEnv(scenarios=mixed, supervision={"recycle_episodes": None})
    try:
        for episode in range(SOAK_EPISODES):
            info, decisions, seconds = _drive(env, episode)
            failures += bool(info["sim_failure"])
            left += int(info.get("scenario", {}).get("left_over", 0))
            ticks.append(seconds / decisions)
            memory.append(resident_bytes(env._vector.batch.pids[0] or 0) / 1e6)
    finally:
        env.close()
    tenth = len(ticks) // 10
    grown_mb = float(np.median(memory[-tenth:]) - np.median(memory[tenth : 2 * tenth]))
    slower = float(np.median(ticks[-tenth:]) / np.median(ticks[tenth : 2 * tenth]))
    FIGURES.check(
        f"{SOAK_EPISODES} episodes in one worker",
        holds=left == 0 and failures == 0 and grown_mb < SOAK_MEMORY_MB and slower < 1.2,
        measured=f"{left} actors left, {failures} failures, {grown_mb:+.0f} MB, ticks x {slower:.2f}",
        target=f"0 left, 0 failures, below {SOAK_MEMORY_MB:.0f} MB, below x 1.2",
        seed=f"0..{SOAK_EPISODES - 1}",
        started_s=started_s,
    )


_COST = """
import json, os, sys, time
import numpy as np
from carla_online.envs.scenario_runner.config import ScenarioConfig, ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.driver import ScenarioDriver

TICKS, ROUNDS = 200, 15
driver = ScenarioDriver(ScenarioRunnerEnvConfig(scenarios=(ScenarioConfig(name=sys.argv[1]),)))
session, action, times = driver._session, np.array([0.0, 0.25], np.float32), []
from srunner.scenariomanager.scenario_manager import ScenarioManager
from srunner.scenariomanager.watchdog import Watchdog


def bare():
    # ScenarioRunner's own loop, with an agent that does as the environment's action does.
    carla, world = driver._town.connection.carla, driver._town.connection.world
    manager = ScenarioManager(sync_mode=True)
    manager.scenario_tree, manager.ego_vehicles = session._built.scenario_tree, [session._ego]
    manager._agent, manager._running = (lambda: carla.VehicleControl(throttle=0.25)), True
    # Its thread isn't started: stopping it takes half a second, and after such a rest everything is a fifth slower.
    manager._watchdog = Watchdog(60.0)
    begun_s = time.perf_counter()
    for _ in range(TICKS):
        manager._tick_scenario(world.get_snapshot().timestamp)
    return (time.perf_counter() - begun_s) / TICKS


def environment():
    begun_s = time.perf_counter()
    for _ in range(TICKS // 2):
        driver.step(action)
    return (time.perf_counter() - begun_s) / TICKS


for _ in range(ROUNDS):
    round_s = []
    for drive in (bare, environment):
        driver.reset(options={"episode_seed": 0})
        round_s.append(drive())
    times.append(round_s)
print(json.dumps(times), flush=True)
os._exit(0)
"""


def cost() -> None:
    """The environment's step beside ScenarioRunner's own loop, in one process, by turns; medians of the rounds."""
    for name in ("FollowLeadingVehicle_1", "ChangeLane_1", "CutInFrom_left_Lane", "OtherLeadingVehicle_1"):
        started_s = time.monotonic()
        command = [sys.executable, "-c", _COST, name]
        found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        lines = [line for line in found.stdout.splitlines() if line.startswith("[[")]
        if not lines:
            raise SystemExit(found.stderr[-2000:])
        bare_s, ours_s = np.array(json.loads(lines[-1])).T
        more = float(np.median(ours_s / bare_s)) - 1.0
        FIGURES.check(
            f"{name}: environment over the bare tick loop",
            holds=more <= OVERHEAD,
            measured=f"{1e3 * np.median(ours_s):.2f} ms over {1e3 * np.median(bare_s):.2f} ms a tick, {more:+.0%}",
            target=f"{OVERHEAD:+.0%}",
            started_s=started_s,
        )


def training() -> None:
    """Fine-tuning on the shipped configuration makes a policy better, on several seeds."""
    for seed in range(TRAINING_SEEDS):
        started_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", "sac_scenario_runner", "--seed", str(seed), "--run-dir", f"{folder}/run", "--quiet"]
            command = [sys.executable, "-m", "carla_online.cli", *words]
            found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
            verdict = next((line for line in found.stdout.splitlines() if "timed driving score" in line), "")
        FIGURES.check(
            "sac_scenario_runner on held-out seeds",
            holds=": better" in verdict,
            measured=verdict or found.stderr[-300:],
            target="better",
            seed=str(seed),
            started_s=started_s,
        )


if __name__ == "__main__":
    parts = {"scenarios": scenarios, "examples": examples, "soak": soak, "cost": cost, "training": training}
    if not os.environ.get(ROOT_VARIABLE):
        sys.exit(f"{ROOT_VARIABLE} names no checkout of ScenarioRunner 0.9.16: see docs/guide/scenario-runner.md")
    sys.exit(FIGURES.run(parts, sys.argv[1:]))
