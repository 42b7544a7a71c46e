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
from collections.abc import Iterator
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


def run(config: str, folder: Path, *options: str) -> Course:
    """Runs one course in a process of its own, unless it is there already."""
    told = folder / "course.json"
    if told.exists():
        return Course(json.loads(told.read_text()))
    shutil.rmtree(folder, ignore_errors=True)  # a run that was interrupted
    words = [sys.executable, str(PROGRAM), config, str(folder), *OPTIONS[config], *options]
    result = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {result.returncode}: {result.stderr[-2000:]}")
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
            jobs = {fault: pool.submit(run, config, folder / fault, f"fault={fault}") for fault in FAULTS}
            clean = jobs["none"].result()
            bottom, top = clean.told["random_score"], clean.level
            figures.note(f"{config}: a random policy scores {bottom:.1f}, a clean run {top:.1f}")
            for fault in FAULTS[1:]:
                _judge(figures, config, jobs[fault].result(), bottom=bottom, top=top, started_s=started_s)


def _judge(figures: Figures, config: str, course: Course, *, bottom: float, top: float, started_s: float) -> None:
    def normalised(score: float) -> float:
        return min((score - bottom) / (top - bottom), 1.0)

    told, noticed, lowest = course.told, course.after_fault(), course.lowest_before_rollback()
    early = [text for step, text in course.rollbacks if step < told["began"]]
    last = normalised(course.level)
    is_in_time = noticed is not None and (lowest is None or normalised(lowest) >= LEAST_AT_ROLLBACK)
    shown = "not scored" if lowest is None else f"{normalised(lowest):.2f} at the lowest"
    then = "never noticed" if noticed is None else f"at {noticed[0]:,}: {noticed[1]}"
    figures.check(
        f"{config}: {told['fault']}",
        holds=is_in_time and not early and last >= LEAST_AT_END,
        measured=f"{shown} before the rollback, {last:.2f} at the end, {told['rollbacks']} rollbacks"
        f"{', frozen' if told['is_frozen'] else ''}, {len(early)} before the fault; fault at {told['began']:,} env "
        f"steps, then {then}",
        target=f"a rollback since the fault and none before, at least {LEAST_AT_ROLLBACK} before it, {LEAST_AT_END} at "
        "the end",
        seed="0",
        started_s=started_s,
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
