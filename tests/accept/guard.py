"""Acceptance of the stability guard: faults put in on purpose, and clean runs. Parts of `make accept SUITE=grpo`.

`CARLA_ONLINE_GUARD=sac_pendulum,grpo_pendulum` chooses configurations, `CARLA_ONLINE_GUARD_CLEAN=4` fewer clean runs;
`CARLA_ONLINE_GUARD_RUNS=FOLDER` keeps the runs there, and those found there that ended are not run again (the clean
runs of the straight world take hours).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from faults import FAULTS
from figures import ROOT, Figures

CONFIGS = os.environ.get("CARLA_ONLINE_GUARD", "sac_pendulum,grpo_pendulum,sac_straight,grpo_straight").split(",")
CLEAN_RUNS = int(os.environ.get("CARLA_ONLINE_GUARD_CLEAN", "20"))
KEPT = os.environ.get("CARLA_ONLINE_GUARD_RUNS")
PROGRAM = ROOT / "tests" / "support" / "faults.py"
OPTIONS = {
    "sac_pendulum": ("score_every=100",),
    "grpo_pendulum": ("score_every=2000",),
    "sac_straight": ("score_every=32000", "episodes=40"),
    "grpo_straight": ("score_every=65536", "episodes=40"),
}
"""How often a policy is scored, in environment steps, and on how many episodes."""
SEEDS = {"grpo_straight": 3}
"""How many training seeds a fault is put into, where one won't do: clean runs of two seeds differ by the margin."""
FAULT_AT_SHARE = 0.6
"""When a fault comes, as a share of a run's steps; the runs with faults share what comes before."""
LEAST_AT_ROLLBACK, LEAST_AT_END = 0.75, 0.95


@dataclass(frozen=True)
class Course:
    """What one run told."""

    told: dict[str, Any]

    @property
    def level(self) -> float:
        """The mean score over the last quarter of the run."""
        scores = [score for _, score in self.told["scores"]]
        return float(np.mean(scores[-max(1, len(scores) // 4) :]))

    @property
    def rollbacks(self) -> list[tuple[int, str]]:
        """When the guard went back, in environment steps, and why."""
        return [(step, text) for step, text in self.told["texts"] if "went back" in text]

    def after_fault(self) -> tuple[int, str] | None:
        """The first rollback since the fault came; None if it was never noticed."""
        return next(((step, text) for step, text in self.rollbacks if step >= self.told["began"]), None)

    def lowest_before_rollback(self) -> float | None:
        """The lowest score from the fault to the rollback (or the end); None if none was taken in between."""
        noticed = self.after_fault()
        until = float("inf") if noticed is None else noticed[0]
        between = [score for step, score in self.told["scores"] if self.told["began"] < step < until]
        return min(between, default=None)


def run(config: str, folder: Path, *options: str, after: Path | None = None) -> Course:
    """Runs one course in a process of its own, unless it is there already; may go on from where another one ended."""
    ended, told = folder / "ended", folder / "course.json"
    if ended.exists():
        return Course(json.loads(told.read_text()))
    shutil.rmtree(folder, ignore_errors=True)  # a run that was interrupted
    if after is not None:
        shutil.copytree(after, folder, ignore=shutil.ignore_patterns(ended.name))
    words = [sys.executable, str(PROGRAM), config, str(folder), *OPTIONS[config], *options]
    result = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {result.returncode}: {result.stderr[-2000:]}")
    ended.touch()
    return Course(json.loads(told.read_text()))


@contextmanager
def runs_of(part: str, config: str) -> Iterator[Path]:
    """Where a part's runs of a configuration go: a folder that is kept, or one of its own that isn't."""
    if KEPT is not None:
        yield Path(KEPT) / part / config
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def faults(figures: Figures) -> None:
    """Each fault is caught in time, taken back, and learning recovers."""
    for config in CONFIGS:
        with runs_of("faults", config) as folder, ThreadPoolExecutor(2) as pool:
            started_s = time.monotonic()
            seeds = range(SEEDS.get(config, 1))
            begun = [pool.submit(_until_faults, config, folder / str(seed), seed) for seed in seeds]
            for job in begun:
                job.result()
            jobs = [
                {fault: pool.submit(_with_fault, config, folder / str(seed), seed, fault) for fault in FAULTS}
                for seed in seeds
            ]
            runs = [{fault: job.result() for fault, job in of_seed.items()} for of_seed in jobs]
            clean = [courses["none"] for courses in runs]
            bottom, tops = clean[0].told["random_score"], [course.level for course in clean]
            shown = ", ".join(f"{top:.1f}" for top in tops)
            figures.note(f"{config}: a random policy scores {bottom:.1f}, a clean run {shown}")
            for fault in FAULTS[1:]:
                courses = [courses[fault] for courses in runs]
                _judge(figures, config, courses, bottom=bottom, top=float(np.mean(tops)), started_s=started_s)


def _until_faults(config: str, folder: Path, seed: int) -> None:
    """Runs one training seed up to where the faults come."""
    run(config, folder / "shared", f"seed={seed}", f"until_share={FAULT_AT_SHARE}")


def _with_fault(config: str, folder: Path, seed: int, fault: str) -> Course:
    """Runs on from there with one of the faults, or with none."""
    options = (f"seed={seed}", f"fault={fault}", f"at_share={FAULT_AT_SHARE}")
    return run(config, folder / fault, *options, after=folder / "shared")


def _judge(
    figures: Figures, config: str, courses: list[Course], *, bottom: float, top: float, started_s: float
) -> None:
    """Every seed's fault must be noticed in time; of the level at the end the seeds' mean is judged."""

    def normalised(score: float) -> float:
        return (score - bottom) / (top - bottom)

    seen = [_see(course, normalised) for course in courses]
    ends = [normalised(course.level) for course in courses]
    figures.check(
        f"{config}: {courses[0].told['fault']}",
        holds=all(is_in_time for is_in_time, _ in seen) and float(np.mean(ends)) >= LEAST_AT_END,
        measured="; ".join(text for _, text in seen) + f"; {np.mean(ends):.2f} at the end on average",
        target=f"a rollback since the fault and none before, at least {LEAST_AT_ROLLBACK} before it, {LEAST_AT_END} at "
        "the end",
        seed=f"0..{len(courses) - 1}",
        started_s=started_s,
    )


def _see(course: Course, normalised: Callable[[float], float]) -> tuple[bool, str]:
    """Returns whether a fault was noticed in time and not before it came, and how it went."""
    told, noticed, lowest = course.told, course.after_fault(), course.lowest_before_rollback()
    early = [text for step, text in course.rollbacks if step < told["began"]]
    shown = "not scored" if lowest is None else f"{normalised(lowest):.2f} at the lowest"
    then = "never noticed" if noticed is None else f"at {noticed[0]:,}: {noticed[1]}"
    is_in_time = noticed is not None and (lowest is None or normalised(lowest) >= LEAST_AT_ROLLBACK)
    return is_in_time and not early, (
        f"{shown} before the rollback, {normalised(course.level):.2f} at the end, {told['rollbacks']} rollbacks"
        f"{', frozen' if told['is_frozen'] else ''}, {len(early)} before the fault; fault at {told['began']:,} env "
        f"steps, then {then}"
    )


def clean(figures: Figures) -> None:
    """Runs without a fault raise no alarm."""
    for config in CONFIGS:
        with runs_of("clean", config) as folder, ThreadPoolExecutor(2) as pool:
            started_s = time.monotonic()
            never = "score_every=1000000000"
            jobs = [pool.submit(run, config, folder / str(seed), f"seed={seed}", never) for seed in range(CLEAN_RUNS)]
            courses = [job.result() for job in jobs]
        alarms = [f"seed {i}: {course.told['texts']}" for i, course in enumerate(courses) if course.told["rollbacks"]]
        figures.check(
            f"{config}: false alarms in {CLEAN_RUNS} clean runs",
            holds=len(alarms) <= 1,
            measured=f"{len(alarms)} runs rolled back" + "".join(f"; {alarm}" for alarm in alarms),
            target="at most 1",
            seed=f"0..{CLEAN_RUNS - 1}",
            started_s=started_s,
        )
