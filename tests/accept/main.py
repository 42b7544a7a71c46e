"""Acceptance of the main job: `make accept SUITE=main` (or `python tests/accept/main.py PART ...`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figures import ROOT, Figures

from carla_online.cli.configs import load_experiment
from carla_online.envs.seeding import Split, seed_set
from carla_online.evaluation import evaluate_returns
from carla_online.evaluation.records import load_evaluations
from carla_online.online.experiment import ExperimentConfig
from carla_online.online.judge import judge
from carla_online.policies.storage import load_policy

SEEDS = (0, 1, 2)
FIGURES = Figures("main")
COMMAND = [sys.executable, "-m", "carla_online.cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def train(config: str, seed: int, folder: Path) -> Path:
    """Trains one seed in a process of its own and returns the run's folder."""
    run_dir = folder / f"{config}-{seed}"
    words = [*COMMAND, "train", config, "--run-dir", str(run_dir), "--seed", str(seed)]
    log = folder / f"{config}-{seed}.log"
    with log.open("w") as file:
        subprocess.run(words, check=True, stdout=file, stderr=file, cwd=folder, env=ENVIRONMENT)
    return run_dir


def straight() -> None:
    """Fine-tuned against frozen baseline on two held-out sets, for three training seeds."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        started_s = time.monotonic()
        runs = list(pool.map(lambda seed: train("sac_straight", seed, Path(name)), SEEDS))
        for seed, run_dir in zip(SEEDS, runs, strict=True):
            config = load_experiment(str(run_dir / "config.yaml"), [])
            for set_number in (0, 1):
                _judge_set(config, run_dir, seed=seed, set_number=set_number, started_s=started_s)


def _judge_set(config: ExperimentConfig, run_dir: Path, *, seed: int, set_number: int, started_s: float) -> None:
    suite = config.suite.model_copy(update={"set_number": set_number})
    judge(config, run_dir, suite=suite)
    found = {e.role: e for e in load_evaluations(run_dir)[0] if e.suite.set_number == set_number}
    after, before, tuned, off = (found[role] for role in ("candidate", "baseline", "tuned_baseline", "identity"))
    assert after.verdict is not None
    gain = after.verdict.difference.mean
    baseline_score = before.table.summary().timed_driving_score
    FIGURES.check(
        f"sac_straight better than its baseline, set {set_number}",
        holds=after.is_better and gain >= 5.0 and 50.0 <= baseline_score <= 85.0,
        measured=str(after.verdict),
        target="better, by at least 5 points; baseline between 50 and 85",
        seed=str(seed),
        started_s=started_s,
    )
    tuned_score = tuned.table.summary().timed_driving_score
    learned = after.table.summary().timed_driving_score
    FIGURES.note(
        f"{tuned.label}: {tuned_score:.1f}; learned policy {'beats' if learned > tuned_score else 'is below'} it"
    )
    same = np.array_equal(off.table.timed_driving_score, before.table.timed_driving_score)
    FIGURES.check(
        f"delta_scale = 0 is the baseline, set {set_number}",
        holds=same,
        measured="every route equal" if same else "routes differ",
        target="every route's score equal, bit for bit",
        seed=str(seed),
        started_s=started_s,
    )


def pendulum() -> None:
    """SAC on Pendulum-v1: the policy as it is after the last step, not the best on the way."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        started_s = time.monotonic()
        runs = list(pool.map(lambda seed: train("sac_pendulum", seed, Path(name)), SEEDS))
        for seed, run_dir in zip(SEEDS, runs, strict=True):
            policy = load_policy(run_dir / "policies" / "last.safetensors")
            seeds = seed_set(Split.EVALUATION, 0, 50) % np.uint64(2**31)
            returns = evaluate_returns(policy, "Pendulum-v1", seeds)
            FIGURES.check(
                "SAC on Pendulum-v1, 20,000 steps",
                holds=returns.mean >= -200.0,
                measured=f"{returns.mean:.1f} +- {returns.episode_return.std():.1f} over 50 episodes",
                target="at least -200 (SB3: -157 +- 89)",
                seed=str(seed),
                started_s=started_s,
            )


def resume() -> None:
    """Exact after a graceful stop, lossless after SIGKILL: the tests, with 20 kills."""
    started_s = time.monotonic()
    result = _pytest("tests/online/test_resume.py", CARLA_ONLINE_KILLS="20")
    FIGURES.check(
        "resume: bit-equal after SIGTERM; 20 SIGKILLs without loss or doubling",
        holds=result.returncode == 0,
        measured=result.stdout.strip().splitlines()[-1],
        target="all pass",
        started_s=started_s,
    )


def bad_input() -> None:
    """One clear message, exit code not zero, nothing overwritten."""
    started_s = time.monotonic()
    result = _pytest("tests/cli/test_bad_input.py")
    FIGURES.check(
        "bad input: unknown key, missing file, full disk, other schema, corrupt checkpoint, wrong Python",
        holds=result.returncode == 0,
        measured=result.stdout.strip().splitlines()[-1],
        target="all pass",
        started_s=started_s,
    )


def _pytest(path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest", "-q", "--timeout", "1800", path]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT | variables)


def fresh_clone() -> None:
    """`make demo` twice and `make test` on a fresh clone, timed after set-up; the wheel in a clean environment."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        variables = {key: value for key, value in ENVIRONMENT.items() if key not in {"VIRTUAL_ENV", "VENV"}}

        def make(target: str, limit_min: float) -> None:
            started_s = time.monotonic()
            result = subprocess.run(
                ["make", target], cwd=clone, env=variables, capture_output=True, text=True, check=False
            )
            minutes = (time.monotonic() - started_s) / 60
            if result.returncode != 0:
                print(result.stdout[-2000:], result.stderr[-2000:])
            FIGURES.check(
                f"make {target} on a fresh clone",
                holds=result.returncode == 0 and minutes < limit_min,
                measured=f"exit code {result.returncode} after {minutes:.1f} min",
                target=f"exit code 0 within {limit_min:g} min",
                started_s=started_s,
            )

        make("setup", 45.0)
        make("demo", 10.0)
        make("demo", 10.0)
        report = clone / "runs" / "demo" / "report.html"
        FIGURES.check(
            "the demo leaves a report",
            holds=report.exists(),
            measured=f"{report.stat().st_size:,} bytes" if report.exists() else "none",
            target="runs/demo/report.html",
            started_s=time.monotonic(),
        )
        make("test", 10.0)
        make("wheel-test", 10.0)
        shutil.rmtree(clone)


PARTS = {
    "straight": straight,
    "pendulum": pendulum,
    "resume": resume,
    "bad-input": bad_input,
    "fresh-clone": fresh_clone,
}

if __name__ == "__main__":
    sys.exit(FIGURES.run(PARTS, sys.argv[1:]))
