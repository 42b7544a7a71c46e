"""Scripts that were written for a real CARLA, run as they are: for `tests/accept/server.py`.

They are taken from `CARLA_ONLINE_PYTHONAPI`, the PythonAPI folder of a checkout of CARLA 0.9.16, and run by
`CARLA_ONLINE_SCRIPTS_PYTHON` (an interpreter that has carla, pygame and networkx; this one if not given). Where the
folder has no `carla/agents`, our stand-in is used.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from carla_online.server import Server, ServerConfig
from carla_online.standin import agents_folder

SMOKE_PORT = 3654
"""Where CARLA's smoke suite looks for a server."""
STAND_IN_FOR_TOWN03 = "Town04"
ALIASES = {"Town03": STAND_IN_FOR_TOWN03, "Town05": "GridTown", "Town10HD": "GridTown"}
"""The smoke suite wants crosswalks everywhere but on Town01 and Town02, and a flat Town05"""
SMOKE = (
    "test_client",
    "test_blueprint",
    "test_world",
    "test_sync",
    "test_snapshot",
    "test_props_loading",
    "test_map",
    "test_sensor_tick_time",
    "test_streamming",
    "test_collision_sensor",
    "test_collision_determinism",
    "test_determinism",
    "test_vehicle_physics",
    "test_spawnpoints",
)
"""Its modules that need no ray casts: 29 methods."""


@dataclass(frozen=True)
class Script:
    """One program, and how it behaves on a server that does what it needs."""

    words: str
    """Path below PythonAPI, and options"""
    for_s: float
    """How long it may take; where `goes_on`, how long it is watched"""
    goes_on: bool = False
    """It doesn't end by itself"""
    done: str = ""
    """What it says where it may end by itself all the same"""


ARRIVED = "The target has been reached"
SCRIPTS = (
    Script("util/test_connection.py", 30),
    Script("util/config.py --list", 60),
    Script("util/config.py --map Town02", 60),
    Script("util/config.py --weather WetSunset", 30),
    Script("util/config.py --no-rendering", 30),
    Script("util/extract_spawn_points.py -o {scratch}", 240),
    Script("util/lane_explorer.py", 10, goes_on=True),
    Script("util/environment.py --sun sunset --cars LowBeam", 60),
    Script("examples/vehicle_physics.py", 90),
    Script("examples/vehicle_gallery.py", 12, goes_on=True),
    Script("examples/dynamic_weather.py", 12, goes_on=True),
    Script("examples/tutorial.py", 60),
    Script("util/config.py --map Town01", 60),
    Script("examples/no_rendering_mode.py", 20, goes_on=True),
    Script("examples/automatic_control.py --sync -a Basic", 45, goes_on=True, done=ARRIVED),
    Script("examples/automatic_control.py --sync -a Behavior", 45, goes_on=True, done=ARRIVED),
    Script("examples/automatic_control.py --sync -a Constant", 45, goes_on=True, done=ARRIVED),
    Script("util/config.py --map Town01", 60),
    Script("examples/generate_traffic.py -n 20 -w 10", 60, goes_on=True),
)


def python_api() -> Path | None:
    """Returns the folder of CARLA's Python API, if one is named."""
    named = os.environ.get("CARLA_ONLINE_PYTHONAPI")
    return Path(named) if named else None


def _python() -> str:
    return os.environ.get("CARLA_ONLINE_SCRIPTS_PYTHON", sys.executable)


def _environment(api: Path) -> dict[str, str]:
    agents = api / "carla" if (api / "carla" / "agents").is_dir() else agents_folder()
    return os.environ | {
        "PYTHONPATH": str(agents),
        "PYTHONUNBUFFERED": "1",
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
    }


def _town_with_wall(maps: Path, folder: Path) -> None:
    """Fills a folder with the maps, and puts a wall where the collision tests drive into a building of Town03."""
    for path in maps.glob("*.xodr"):
        (folder / path.name).symlink_to(path.resolve())
    (folder / f"{STAND_IN_FOR_TOWN03}.solids.txt").write_text("static.building 30 -40 3 10 1 3 0\n")


def run_smoke(api: Path, maps: Path, scratch: Path) -> dict[str, tuple[int, int, str]]:
    """Runs CARLA's own smoke suite; for each module how many methods ran and failed, and the end of its output."""
    found = {}
    _town_with_wall(maps, scratch)
    with Server(ServerConfig(map="Town01", maps=scratch, aliases=ALIASES, port=SMOKE_PORT)):
        for module in SMOKE:
            words = [_python(), "-m", "unittest", f"smoke.{module}"]
            out = _watch(words, cwd=api / "test", environment=_environment(api), for_s=420.0)[1]
            ran = re.search(r"Ran (\d+) test", out)
            failed = sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", out)))
            found[module] = (int(ran[1]) if ran else 0, failed, out[-400:])
    return found


def run_scripts(api: Path, maps: Path, scratch: Path) -> dict[str, str]:
    """Runs examples and utilities on port 2000; what went wrong with each, empty where nothing did."""
    wrong = {}
    with Server(ServerConfig(map="Town01", maps=maps, aliases=ALIASES, port=2000)):
        for script in SCRIPTS:
            words = [_python(), *script.words.format(scratch=scratch).split()]
            code, out = _watch(words, cwd=api, environment=_environment(api), for_s=script.for_s)
            wrong[script.words] = _verdict(script, code, out)
    return wrong


def _verdict(script: Script, code: int | None, out: str) -> str:
    if script.goes_on:
        is_done = code is None or (code == 0 and script.done != "" and script.done in out)
        ended_early = "" if is_done else f"ended by itself with exit code {code}"
    else:
        ended_early = "" if code == 0 else ("hung" if code is None else f"exit code {code}")
    # What a script says when it is interrupted is no error of the server's.
    told = [line for line in out.splitlines() if re.match(r"\w*(Error|Exception)\b", line)]
    return "; ".join(filter(None, [ended_early, *(told[-1:] if ended_early or not script.goes_on else [])]))


def _watch(words: list[str], *, cwd: Path, environment: dict[str, str], for_s: float) -> tuple[int | None, str]:
    """Runs a program; its exit code, None if it had to be stopped, and what it wrote."""
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        out = process.communicate(timeout=for_s)[0]
        return process.returncode, out
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            return None, process.communicate(timeout=20.0)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return None, process.communicate()[0]
