"""Acceptance of the stability guard: faults put in on purpose, and clean runs. Parts of `make accept SUITE=grpo`.

`CARLA_ONLINE_GUARD=sac_pendulum,grpo_pendulum` chooses configurations, `CARLA_ONLINE_GUARD_CLEAN=4` fewer clean runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from faults import FAULTS
from figures import ROOT, Figures

CONFIGS = os.environ.get("CARLA_ONLINE_GUARD", "sac_pendulum,grpo_pendulum,sac_straight,grpo_straight").split(",")
CLEAN_RUNS = int(os.environ.get("CARLA_ONLINE_GUARD_CLEAN", "20"))
PROGRAM = ROOT / "tests" / "support" / "faults.py"
OPTIONS = {
    "sac_pendulum": ("score_every=100",),
    "grpo_pendulum": ("score_every=1",),
    "sac_straight": ("score_every=500", "steps=800000", "episodes=40"),
    "grpo_straight": ("score_every=1000", "steps=3000000", "episodes=40"),
}
"""How often a policy is scored, in updates; and shorter runs where the default length takes long."""
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

    def lowest_before_rollback(self) -> float:
        """The lowest score from the fault to the first rollback (or the end)."""
        began = self.told["began"]
        first = next((int(text.split()[0]) for text in self.told["texts"] if "went back" in text), self.told["updates"])
        between = [score for updates, score in self.told["scores"] if began < updates <= first]
        return min(between, default=float("inf"))


def run(config: str, folder: Path, *options: str) -> Course:
    """Runs one course in a process of its own."""
    words = [sys.executable, str(PROGRAM), config, str(folder), *OPTIONS[config], *options]
    result = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {result.returncode}: {result.stderr[-2000:]}")
    return Course(json.loads((folder / "course.json").read_text()))


def faults(figures: Figures) -> None:
    """Each fault is caught in time, taken back, and learning recovers."""
    for config in CONFIGS:
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
            started_s = time.monotonic()
            jobs = {fault: pool.submit(run, config, Path(name) / fault, f"fault={fault}") for fault in FAULTS}
            clean = jobs["none"].result()
            bottom, top = clean.told["first_score"], clean.level
            figures.note(f"{config}: an untrained policy scores {bottom:.1f}, a clean run {top:.1f}")
            for fault in FAULTS[1:]:
                _judge(figures, config, jobs[fault].result(), bottom=bottom, top=top, started_s=started_s)


def _judge(figures: Figures, config: str, course: Course, *, bottom: float, top: float, started_s: float) -> None:
    def normalised(score: float) -> float:
        return min((score - bottom) / (top - bottom), 1.0)

    told = course.told
    lowest, last = normalised(course.lowest_before_rollback()), normalised(course.level)
    reason = next((text for text in told["texts"] if "went back" in text), "never noticed")
    figures.check(
        f"{config}: {told['fault']}",
        holds=told["rollbacks"] >= 1 and lowest >= LEAST_AT_ROLLBACK and last >= LEAST_AT_END,
        measured=f"{lowest:.2f} at the lowest before the rollback, {last:.2f} at the end, {told['rollbacks']} "
        f"rollbacks{', frozen' if told['is_frozen'] else ''}; fault at update {told['began']}, then: {reason}",
        target=f"a rollback, at least {LEAST_AT_ROLLBACK} before it and {LEAST_AT_END} at the end",
        seed="0",
        started_s=started_s,
    )


def clean(figures: Figures) -> None:
    """Runs without a fault raise no alarm."""
    for config in CONFIGS:
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
            started_s = time.monotonic()
            never = "score_every=1000000000"
            jobs = [
                pool.submit(run, config, Path(name) / str(seed), f"seed={seed}", never) for seed in range(CLEAN_RUNS)
            ]
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
