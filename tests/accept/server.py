"""Acceptance of the server: `make accept SUITE=server` (or `python tests/accept/server.py PART ...`).

Towns of CARLA are driven on where `CARLA_ONLINE_MAPS` names their folder, our own town otherwise. For a shorter look:
`CARLA_ONLINE_TRAFFIC=2x1000` (runs x ticks), `CARLA_ONLINE_SOAK_S=20`. CARLA's own scripts are run where
`CARLA_ONLINE_PYTHONAPI` names them; see `carla_scripts.py`.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benches"))
import carla
import psutil
from carla_parity import compare
from carla_scripts import python_api, run_scripts, run_smoke
from figures import ROOT, Figures

from carla_online.envs.carla import CarlaEnv
from carla_online.envs.world import WorldEnv
from carla_online.policies import scripted_baseline
from carla_online.server import Server, ServerConfig
from carla_online.standin import provide_agents
from rounds import Contender, Contest, repeated

FIGURES = Figures("server")
MAPS = Path(os.environ["CARLA_ONLINE_MAPS"]) if "CARLA_ONLINE_MAPS" in os.environ else None
TRAFFIC_RUNS, TRAFFIC_TICKS = map(int, os.environ.get("CARLA_ONLINE_TRAFFIC", "12x8000").split("x"))
TRAFFIC_TIMEOUT_S = 0.15 * TRAFFIC_TICKS + 120.0
SOAK_S = float(os.environ.get("CARLA_ONLINE_SOAK_S", "60"))
EPISODE_S = min(20.0, SOAK_S / 6.0)
LEAST_SHARE = 0.6


def _towns() -> list[str]:
    """Town01 and Town04 where they are, our own town otherwise."""
    towns = [name for name in ("Town01", "Town04") if MAPS is not None and (MAPS / f"{name}.xodr").is_file()]
    return towns or ["GridTown"]


def start() -> None:
    """Up and down again, without a cached bake."""
    for town in ("GridTown", *_towns()[-1:]):
        started_s = time.monotonic()
        with Server(ServerConfig(map=town, maps=MAPS)):
            up_s = time.monotonic() - started_s
        FIGURES.check(f"start on {town}", holds=up_s < 3.0, measured=f"{up_s:.2f} s", target="3 s", started_s=started_s)


def parity() -> None:
    """The same map, seed and actions in process and through the wheel, with the world's own traffic."""
    started_s = time.monotonic()
    settings = {"map": "town", "traffic": {"preset": "urban", "slow_vehicles": 16, "fast_vehicles": 4, "walkers": 10}}
    baseline = scripted_baseline()
    worst, steps, are_alike = 0.0, 0, True
    with Server(ServerConfig(map="Straight")) as server:
        there = CarlaEnv(server=f"127.0.0.1:{server.port}", **settings)
        for seed in range(3):
            seen = compare(WorldEnv(**settings), there, seed, 400, lambda obs: baseline(obs[None])[0])
            worst, steps = max(worst, seen.observation, seen.reward), steps + seen.steps
            are_alike &= seen.ends[0] == seen.ends[1] and seen.infractions[0] == seen.infractions[1]
        there.close()
    FIGURES.check(
        "parity with the world in process, 20 vehicles and 10 people",
        holds=worst < 1e-4 and are_alike,
        measured=f"worst difference {worst:.1e} in {steps} steps, events {'the same' if are_alike else 'differ'}",
        target="1e-4, events the same",
        seed="0..2",
        started_s=started_s,
    )


def conformance() -> None:
    """Every operation of the client, tried through the wheel."""
    started_s = time.monotonic()
    with Server(ServerConfig(map="GridTown")) as server, tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        words = [sys.executable, "-m", "carla_online.cli", "conformance", "--port", str(server.port)]
        result = subprocess.run(
            [*words, "--report", str(report)], capture_output=True, text=True, check=False, timeout=1800, cwd=ROOT
        )
        results = json.loads(report.read_text())["results"]
    outcomes = Counter(each["outcome"] for each in results)
    differing = [f"{each['group']}: {each['operation']}" for each in results if each["outcome"] == "differs"]
    FIGURES.check(
        "conformance, every operation of the Python API",
        holds=result.returncode == 0 and not differing,
        measured=", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()) + "".join(differing[:5]),
        target="none differs",
        started_s=started_s,
    )


def route() -> None:
    """A `BasicAgent` drives from one end of each town to the other."""
    for town in _towns():
        started_s = time.monotonic()
        provide_agents()
        with Server(ServerConfig(map=town, maps=MAPS)) as server:
            routes = [_drive_route(server.port, start) for start in (0, 40, 80)]
        ticks, left_m, collisions = (max(column) for column in zip(*routes, strict=True))
        FIGURES.check(
            f"{town}: three routes across town by a BasicAgent",
            holds=left_m < 10.0 and collisions == 0,
            measured=f"at most {ticks} ticks, {left_m:.1f} m from the goal at the end, {collisions} collisions",
            target="within 10 m of the goal, none",
            started_s=started_s,
        )


def _drive_route(port: int, start: int) -> tuple[int, float, int]:
    """Drives to the farthest spawn point; ticks it took, metres left, collisions."""
    from agents.navigation.basic_agent import BasicAgent

    client = carla.Client("127.0.0.1", port)
    client.set_timeout(60.0)
    world = client.get_world()
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    points = world.get_map().get_spawn_points()
    begin = points[start % len(points)]
    goal = max((point.location for point in points), key=begin.location.distance)
    library = world.get_blueprint_library()
    car = world.spawn_actor(library.find("vehicle.tesla.model3"), begin)
    sensor = world.spawn_actor(library.find("sensor.other.collision"), carla.Transform(), attach_to=car)
    collisions: list[object] = []
    sensor.listen(collisions.append)
    world.tick()
    agent = BasicAgent(car, target_speed=40.0)
    agent.set_destination(goal)
    ticks = 0
    while not agent.done() and ticks < 12_000:
        car.apply_control(agent.run_step())
        world.tick()
        ticks += 1
    left_m = math.inf if ticks == 0 else car.get_location().distance(goal)
    for actor in (sensor, car):
        actor.destroy()
    world.tick()
    return ticks, left_m, len(collisions)


def scripts() -> None:
    """CARLA's smoke suite, examples and utilities, where a checkout is at hand."""
    api = python_api()
    if api is None or MAPS is None:
        FIGURES.note("not run: CARLA_ONLINE_PYTHONAPI and CARLA_ONLINE_MAPS must name folders")
        return
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = run_smoke(api, MAPS, Path(scratch))
    ran, failed = sum(each[0] for each in found.values()), sum(each[1] for each in found.values())
    for module, (_, wrong, out) in found.items():
        if wrong:
            FIGURES.note(f"{module}: {out}")
    FIGURES.check(
        "CARLA's smoke suite, the methods without ray casts",
        holds=failed == 0 and ran == 29,
        measured=f"{ran} ran, {failed} failed",
        target="29, none",
        started_s=started_s,
    )
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        wrong_ones = {words: text for words, text in run_scripts(api, MAPS, Path(scratch)).items() if text}
    FIGURES.check(
        "CARLA's examples and utilities",
        holds=not wrong_ones,
        measured="; ".join(f"{words}: {text}" for words, text in wrong_ones.items()) or "all behave",
        target="all behave",
        started_s=started_s,
    )


def speed() -> None:
    """Control and tick round trips through the wheel, beside a server of canned states, in rotated rounds."""
    from test_server import REFERENCE, Drive, reference

    build = ["cargo", "build", "--quiet", "--release", "-p", "carla-online-server", "--example", "reference"]
    subprocess.run(build, cwd=ROOT, check=True)
    assert REFERENCE.exists(), REFERENCE
    for others, goal in ((0, 5000), (100, 2500)):
        started_s = time.monotonic()
        config = ServerConfig(map="Straight")
        with Server(config) as server, Server(config) as upstream, reference(upstream.port) as port:
            ours, canned = Drive(server.port, others), Drive(port, others)
            canned.freeze()
            contenders = [
                Contender("ours", "ours", repeated(ours.step)),
                Contender("canned", "limit", repeated(canned.step)),
            ]
            contest = Contest("server/round trips", contenders)
            contest.run(rounds=9, visit_s=0.2, clock="wall")
        # How long the canned server takes for what ours does in one unit of time.
        share = contest.ratio(1).median
        rates = [1.0 / statistics.median(contest.seconds(index)) for index in (0, 1)]
        FIGURES.check(
            f"control + tick beside canned states, {others} more vehicles",
            holds=share >= LEAST_SHARE,
            measured=f"{share:.0%}: {rates[0]:.0f} of {rates[1]:.0f} per second",
            target=f"{LEAST_SHARE:.0%} (goal on an idle machine {goal} per second)",
            started_s=started_s,
        )


def traffic() -> None:
    """Traffic Manager drives 20 vehicles beside 10 AI walkers; a hung run is killed from outside."""
    for town in _towns():
        started_s = time.monotonic()
        hung, broken, lost, red, collisions, walkers = 0, 0, 0, 0, 0, []
        for run in range(TRAFFIC_RUNS):
            with Server(ServerConfig(map=town, maps=MAPS)) as server:
                words = [str(server.port), str(server.port + 2), str(run), str(TRAFFIC_TICKS)]
                command = [sys.executable, str(ROOT / "tests" / "accept" / "server_drive.py"), *words]
                try:
                    out = subprocess.run(
                        command, capture_output=True, text=True, timeout=TRAFFIC_TIMEOUT_S, check=False, cwd=ROOT
                    )
                except subprocess.TimeoutExpired:
                    hung += 1
                    continue
            seen = re.search(r"left (\d+) of (\d+) walkers (\d+) red (\d+) collisions (\d+)", out.stdout)
            if seen is None:
                broken += 1
                FIGURES.note(f"run {run} ended with {out.returncode}: {out.stderr[-300:]}")
                continue
            left, asked, people, *rest = map(int, seen.groups())
            lost += 20 - left if asked == 20 else 20
            walkers.append(people)
            red, collisions = red + rest[0], collisions + rest[1]
            if any(rest) or "frame" in out.stderr:
                FIGURES.note(f"run {run}: {out.stderr[-1000:].strip()}")
        FIGURES.check(
            f"{town}: {TRAFFIC_RUNS} runs of {TRAFFIC_TICKS} ticks, 20 vehicles under Traffic Manager, 10 AI walkers",
            holds=hung == broken == lost == red == collisions == 0 and min(walkers, default=0) == 10,
            measured=f"{hung} hung, {broken} broken off, {lost} vehicles lost, {red} red lights run, "
            f"{collisions} collisions by the server's doing, {min(walkers, default=0)} walkers at least",
            target="none; 10 walkers",
            seed=f"0..{TRAFFIC_RUNS - 1}",
            started_s=started_s,
        )


def soak() -> None:
    """Episodes one after the other, each with actors spawned and destroyed; memory and latency stay flat."""
    started_s = time.monotonic()
    memory_mib, tick_ms = [], []
    with Server(ServerConfig(map="GridTown", maps=MAPS)) as server:
        client = carla.Client("127.0.0.1", server.port)
        client.set_timeout(60.0)
        process = psutil.Process(server.process_id)
        names = ["GridTown", "FourWay"]
        while time.monotonic() - started_s < SOAK_S:
            world = client.load_world(names[len(memory_mib) % 2])
            world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
            tick_ms.append(_busy_episode(client, world, time.monotonic() + EPISODE_S))
            memory_mib.append(process.memory_info().rss / 2**20)
    third = max(1, len(memory_mib) // 3)
    grown_mib = statistics.median(memory_mib[-third:]) - statistics.median(memory_mib[third : 2 * third])
    slower = statistics.median(tick_ms[-third:]) / statistics.median(tick_ms[:third])
    FIGURES.check(
        f"soak, {len(memory_mib)} episodes in {SOAK_S:.0f} s",
        holds=grown_mib < 4.0 and slower < 1.5,
        measured=f"{grown_mib:+.1f} MiB from the second third to the last, "
        f"ticks {slower:.2f} times as long as in the first",
        target="under 4 MiB, under 1.5 times",
        started_s=started_s,
    )


def _busy_episode(client: carla.Client, world: carla.World, until_s: float) -> float:
    """Spawns, drives and destroys until the time is over; the median tick, ms."""
    library = world.get_blueprint_library()
    cars, points = library.filter("vehicle.*"), world.get_map().get_spawn_points()
    taken_ms: list[float] = []
    while time.monotonic() < until_s:
        spawns = [carla.command.SpawnActor(cars[number % len(cars)], point) for number, point in enumerate(points[:20])]
        ids = [answer.actor_id for answer in client.apply_batch_sync(spawns, True) if not answer.error]
        sensor = world.spawn_actor(library.find("sensor.other.imu"), carla.Transform(), world.get_actor(ids[0]))
        sensor.listen(lambda data: None)
        for _ in range(100):
            begun_s = time.perf_counter()
            world.tick()
            taken_ms.append(1e3 * (time.perf_counter() - begun_s))
        sensor.stop()
        sensor.destroy()
        client.apply_batch_sync([carla.command.DestroyActor(number) for number in ids], True)
    return statistics.median(taken_ms)


if __name__ == "__main__":
    parts = {"start": start, "conformance": conformance, "parity": parity, "route": route, "scripts": scripts}
    parts |= {"speed": speed, "traffic": traffic, "soak": soak}
    sys.exit(FIGURES.run(parts, sys.argv[1:]))
