"""Acceptance of the replay: `make accept SUITE=replay` (or `python tests/accept/replay.py PART ...`).

Speed comes from the benchmarks of `benches/`, run by the interpreter of `.venv-bench` (`make bench-setup`; another one
by `CARLA_ONLINE_BENCH_PYTHON`); `CARLA_ONLINE_BENCH_OPTIONS` adds options, for example
`--bench-loaded --bench-clock=cpu` on a machine that isn't free, where the figures then say little.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figures import ROOT, Figures

from carla_online.replay import Field, ReplayBuffer, ReplaySchema

FIGURES = Figures("replay")
BENCH_PYTHON = os.environ.get("CARLA_ONLINE_BENCH_PYTHON", str(ROOT / ".venv-bench" / "bin" / "python"))
OPTIONS = os.environ.get("CARLA_ONLINE_BENCH_OPTIONS", "").split()
LARGE_ROWS = 8_000_000
"""Times 525 bytes: 4 GB."""
PEERS = ("cpprb", "stable-baselines3", "tianshou", "torchrl")

Targets = dict[str, float]
"""By contender (or kind): how many times as long as ours it must take at least."""
ADD_ONE: Targets = {"stable-baselines3": 8.0, "cpprb": 60.0, "numpy": 2.5, "limit": 1 / 1.7}
ADD_MANY: Targets = {"stable-baselines3": 1.15, "numpy": 0.85, "limit": 0.75}
SAMPLE_256: Targets = {"cpprb": 2.7, "numpy": 1.3, "limit": 0.85}
SAMPLE_4096: Targets = {"cpprb": 2.4, "numpy": 1.1, "limit": 0.90}
IMAGES: Targets = {"tianshou": 1.4, "numpy": 1.2, "limit": 0.85}
KINDS = ("linked", "both observations stored")


def measure(*words: str) -> dict[str, dict[str, Any]]:
    """Runs benchmarks in a process of their own and returns their contests by name.

    Raises:
        SystemExit: With 75 if the machine was loaded, else with the benchmarks' own exit code.
    """
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "bench.json"
        command = [
            BENCH_PYTHON,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--benchmark-enable",
            "--timeout",
            "3600",
        ]
        result = subprocess.run(
            [*command, "--benchmark-columns=rounds", f"--bench-out={out}", *OPTIONS, *words],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "python")},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            print(result.stdout[-3000:], result.stderr[-3000:], file=sys.stderr)
            raise SystemExit(result.returncode)
        return {contest["name"]: contest for contest in json.loads(out.read_text())["contests"]}


def judge(contest: dict[str, Any], targets: Targets, *, started_s: float, suffix: str = "") -> None:
    """Compares a contest's ratios with the targets."""
    ours = next(entry for entry in contest["contenders"] if entry["kind"] == "ours")
    spread = ours["wall_us"]
    FIGURES.note(
        f"{contest['name']}{suffix}: {spread['median']:.3g} us [{spread['p10']:.3g} {spread['p90']:.3g}], "
        f"{contest['rounds']} rounds, {contest['rounds_thrown_away']} thrown away"
    )
    for who, target in targets.items():
        entries = [
            entry for entry in contest["contenders"] if who == entry["kind"] or entry["name"].startswith(f"{who}")
        ]
        times = None
        if entries:
            entry = entries[0] if who == "limit" else min(entries, key=lambda entry: entry["times_ours"]["median"])
            times = entry["times_ours"]
        FIGURES.check(
            f"{contest['name']}{suffix} against {entries[0]['name'] if who == 'limit' and entries else who}",
            holds=times is not None and times["median"] >= target,
            measured=f"{times['median']:.2f} [{times['p10']:.2f} {times['p90']:.2f}] times ours"
            if times
            else contest["skipped"].get(who, "not measured"),
            target=f"at least {target:.2f} times ours",
            seed="5",
            started_s=started_s,
        )
    for entry in contest["contenders"]:
        if entry["kind"] == "limit":
            FIGURES.note(f"  {entry['name']}: {entry['times_ours']['median']:.2f} times ours")


def speed() -> None:
    """Adding and sampling at a million rows, images, priorities, two processes, reopening; everybody in one run."""
    started_s = time.monotonic()
    found = measure("benches/test_replay.py", "benches/test_replay_priorities.py", "benches/test_replay_shared.py")
    for kind in KINDS:
        judge(found[f"replay/add 1, {kind}"], ADD_ONE, started_s=started_s)
        for count in (64, 1024):
            judge(found[f"replay/add {count}, {kind}"], ADD_MANY, started_s=started_s)
        judge(found[f"replay/sample 256, {kind}"], SAMPLE_256, started_s=started_s)
        judge(found[f"replay/sample 4096, {kind}"], SAMPLE_4096, started_s=started_s)
    judge(found["replay/sample 256 images with next"], IMAGES, started_s=started_s)
    judge(found["replay/prioritised cycle 256"], {"tianshou": 2.7}, started_s=started_s)
    judge(found["replay/prioritised cycle 4096"], {"tianshou": 1.7}, started_s=started_s)
    for name, contest in found.items():
        if name.startswith("replay/two processes"):
            judge(contest, {"cpprb": 2.0 if "batch" in name else 5.0, "numpy": 0.75}, started_s=started_s)
        if name.startswith("replay/reopen"):
            judge(contest, {"library": 20.0}, started_s=started_s)


def large() -> None:
    """The same at 4 GB, with one other at a time beside ours, since two fill the memory."""
    started_s = time.monotonic()
    merged: dict[str, dict[str, Any]] = {}
    for other in ("cpprb", "numpy", "limit"):
        found = measure(
            "benches/test_replay.py", "-k", "test_sample and not images", f"--bench-rows={LARGE_ROWS}",
            f"--bench-against={other}",
        )  # fmt: skip
        for name, contest in found.items():
            kept = merged.setdefault(name, contest)
            if kept is not contest:
                kept["contenders"] += [entry for entry in contest["contenders"] if entry["kind"] != "ours"]
    for kind in KINDS:
        judge(merged[f"replay/sample 256, {kind}"], SAMPLE_256, started_s=started_s, suffix=" (4 GB)")
        judge(merged[f"replay/sample 4096, {kind}"], SAMPLE_4096, started_s=started_s, suffix=" (4 GB)")


SCHEMA = ReplaySchema(
    (
        Field("obs", "f32", (64,), linked=True),
        Field("action", "f32", (2,)),
        Field("reward", "f32"),
        Field("terminated", "bool"),
        Field("truncated", "bool"),
        Field("episode_id", "u64"),
        Field("step_id", "u64"),
    )
)


def _fill(path: Path, rows: int, *, then_die: bool = False) -> None:
    """Fills a buffer in a process of its own, which ends orderly or by SIGKILL."""
    program = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "import replay; replay.fill_here(Path(sys.argv[2]), int(sys.argv[3]));"
        "os.kill(os.getpid(), signal.SIGKILL) if sys.argv[4] == 'die' else None"
    )
    words = [
        sys.executable,
        "-c",
        program,
        str(Path(__file__).parent),
        str(path),
        str(rows),
        "die" if then_die else "end",
    ]
    result = subprocess.run(words, check=False, env=os.environ | {"PYTHONPATH": str(ROOT / "python")})
    wanted = -signal.SIGKILL if then_die else 0
    if result.returncode != wanted:
        raise RuntimeError(f"the filling process ended with {result.returncode}, not {wanted}")


def fill_here(path: Path, rows: int) -> None:
    """Creates a buffer and fills it; the handle stays open until the process ends."""
    buffer = ReplayBuffer.create(path, SCHEMA, capacity_rows=rows)
    streams = 1024
    writer = buffer.writer(streams=streams)
    values = {field.name: np.zeros((streams, *field.shape), field.numpy_dtype) for field in SCHEMA.fields}
    values["episode_id"] = np.arange(streams, dtype=np.uint64)
    following = {"obs": values["obs"]}
    for step in range(rows // streams):
        values["step_id"][:] = step
        writer.append(values, following)
    _KEPT.append((buffer, writer))


_KEPT: list[object] = []


def reopen() -> None:
    """Opening takes no longer than 10 ms and 1 MB of memory, after an orderly end and after SIGKILL, up to 4 GB."""
    for rows in (1_000_000, LARGE_ROWS):
        for then_die in (False, True):
            started_s = time.monotonic()
            with tempfile.TemporaryDirectory() as name:
                path = Path(name) / "replay"
                _fill(path, rows, then_die=then_die)
                taken_ms, grown_mb = _open_once(path)
            end = "SIGKILL" if then_die else "an orderly end"
            FIGURES.check(
                f"reopen {rows:,} rows after {end}",
                holds=taken_ms <= 10.0,
                measured=f"{taken_ms:.2f} ms",
                target="at most 10 ms",
                started_s=started_s,
            )
            FIGURES.check(
                f"memory of opening {rows:,} rows after {end}",
                holds=grown_mb <= 1.0,
                measured=f"{grown_mb:.2f} MB",
                target="at most 1 MB",
                started_s=started_s,
            )


def _open_once(path: Path) -> tuple[float, float]:
    """Milliseconds and resident megabytes of the first opening in a fresh process."""
    program = (
        "import os, sys, time; from carla_online.replay import ReplayBuffer;"
        "page = os.sysconf('SC_PAGE_SIZE'); resident = lambda: int(open('/proc/self/statm').read().split()[1]) * page;"
        "before = resident(); start = time.perf_counter(); buffer = ReplayBuffer.open(sys.argv[1]);"
        "taken = time.perf_counter() - start; print(1e3 * taken, (resident() - before) / 1e6)"
    )
    words = [sys.executable, "-c", program, str(path)]
    printed = subprocess.run(
        words, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "python")}
    ).stdout.split()
    return float(printed[0]), float(printed[1])


def kills() -> None:
    """200 SIGKILLs, torn rows and power cuts: the tests, at their full counts."""
    for name, target, words in (
        ("200 SIGKILLs", "0 acknowledged rows lost, 0 torn, reopened every time", ["-k", "kill"]),
        ("stalled writers", "0 torn rows", ["-k", "stall or torn"]),
    ):
        started_s = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--timeout", "3600", "tests/replay", *words],
            cwd=ROOT,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "CARLA_ONLINE_REPLAY_KILLS": "200", "CARLA_ONLINE_REPLAY_STALL_S": "60"},
            capture_output=True,
            text=True,
            check=False,
        )
        FIGURES.check(
            name,
            holds=result.returncode == 0,
            measured=result.stdout.strip().splitlines()[-1],
            target=target,
            started_s=started_s,
        )


PARTS = {"speed": speed, "large": large, "reopen": reopen, "kills": kills}

if __name__ == "__main__":
    FIGURES.note(f"peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    sys.exit(FIGURES.run(PARTS, sys.argv[1:]))
