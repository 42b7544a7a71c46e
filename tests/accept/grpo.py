"""Acceptance of on-policy learning: `make accept SUITE=grpo` (or `python tests/accept/grpo.py PART ...`)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import guard
from credit import credit
from figures import Figures
from safety_toy import OPTIMUM, learned_action

from carla_online.cli.configs import load_experiment
from carla_online.envs.seeding import Split, seed_set
from carla_online.evaluation import Evaluation, evaluate_returns
from carla_online.evaluation.records import load_evaluations
from carla_online.online.judge import judge
from carla_online.policies.storage import load_policy

SEEDS = (0, 1, 2)
FIGURES = Figures("grpo")
COMMAND = [sys.executable, "-m", "carla_online.cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TRAINING_LIMIT_S = 600.0


@dataclass(frozen=True)
class Run:
    """One training."""

    mode: str
    seed: int
    folder: Path
    wall_s: float


def train(config: str, mode: str, seed: int, folder: Path) -> Run:
    """Trains one seed in a process of its own, one core each; `mode` is a group mode, or `sac`."""
    run_dir = folder / f"{config}-{mode}-{seed}"
    words = [*COMMAND, "train", config, "--run-dir", str(run_dir), "--seed", str(seed)]
    words += [] if mode == "sac" else ["--learner.group-mode", mode]
    started_s = time.monotonic()
    with (folder / f"{run_dir.name}.log").open("w") as file:
        subprocess.run(words, check=True, stdout=file, stderr=file, cwd=folder, env=ENVIRONMENT)
    return Run(mode, seed, run_dir, time.monotonic() - started_s)


def train_all(config: str, modes: tuple[str, ...], folder: Path) -> list[Run]:
    """Trains every mode on every seed, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(train, config, mode, seed, folder) for mode in modes for seed in SEEDS]
        return [job.result() for job in jobs]


def pendulum() -> None:
    """Pendulum-v1, 200,000 steps with the branches' counted; the policy as it is after the last step."""
    with tempfile.TemporaryDirectory() as name:
        started_s = time.monotonic()
        for run in train_all("grpo_pendulum", ("branch", "ppo", "episode"), Path(name)):
            policy = load_policy(run.folder / "policies" / "last.safetensors")
            seeds = seed_set(Split.EVALUATION, 0, 200) % np.uint64(2**31)
            returns = evaluate_returns(policy, "Pendulum-v1", seeds)
            figure = f"{returns.mean:.1f} +- {returns.episode_return.std():.1f} over 200 fixed start states"
            if run.mode == "episode":
                FIGURES.note(f"episode groups, seed {run.seed}: {figure} (shown beside the others, no target)")
                continue
            FIGURES.check(
                f"Pendulum-v1, 200,000 steps, {run.mode}",
                holds=returns.mean >= -170.0,
                measured=figure,
                target="at least -170",
                seed=str(run.seed),
                started_s=started_s,
            )


def straight() -> None:
    """Better than the frozen baseline on 100 held-out routes, with and without groups, beside SAC."""
    with tempfile.TemporaryDirectory() as name:
        started_s = time.monotonic()
        runs = train_all("grpo_straight", ("ppo", "branch"), Path(name))
        runs += train_all("sac_straight", ("sac",), Path(name))
        for run in runs:
            after = _judged(run.folder)
            assert after.verdict is not None
            steps = load_experiment(str(run.folder / "config.yaml"), []).runner.total_env_steps
            line = f"{after.verdict}; {steps:,} env steps, training and evaluation {run.wall_s:.0f} s"
            if run.mode == "sac":
                FIGURES.note(f"sac_straight, seed {run.seed}: {line} (shown beside the others, no target)")
                continue
            FIGURES.check(
                f"grpo_straight, {run.mode}: better than its baseline",
                holds=after.is_better and run.wall_s <= TRAINING_LIMIT_S,
                measured=line,
                target=f"better, within {TRAINING_LIMIT_S:.0f} s",
                seed=str(run.seed),
                started_s=started_s,
            )


def _judged(run_dir: Path) -> Evaluation:
    judge(load_experiment(str(run_dir / "config.yaml"), []), run_dir)
    return next(e for e in load_evaluations(run_dir)[0] if e.role == "candidate" and e.suite.set_number == 0)


def safety_toy() -> None:
    """95 % comfort states, 5 % safety states: a slow scale keeps the rare severe event, the group's own spread not."""
    torch.set_num_threads(1)
    started_s = time.monotonic()
    for seed in SEEDS:
        ours = learned_action(seed=seed)
        FIGURES.check(
            "safety toy, the shipped scale",
            holds=ours >= 0.85,
            measured=f"{ours:.3f}",
            target=f"at least 0.85 (optimum {OPTIMUM:.3f})",
            seed=str(seed),
            started_s=started_s,
        )
        own_spread = learned_action(seed=seed, advantage_scale="group")
        FIGURES.check(
            "safety toy, each group by its own spread",
            holds=own_spread <= 0.2,
            measured=f"{own_spread:.3f}",
            target="at most 0.2: it doesn't learn the safe action",
            seed=str(seed),
            started_s=started_s,
        )


PARTS = {
    "pendulum": pendulum,
    "safety-toy": safety_toy,
    "straight": straight,
    "credit": lambda: credit(FIGURES),
    "guard-faults": lambda: guard.faults(FIGURES),
    "guard-clean": lambda: guard.clean(FIGURES),
}

if __name__ == "__main__":
    sys.exit(FIGURES.run(PARTS, sys.argv[1:]))
