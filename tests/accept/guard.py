"""Acceptance of the stability guard: faults are caught in time and taken back, and clean runs are left alone.

`python tests/accept/guard.py faults|persistent|clean [--configs NAME ...] [--seeds 0 1 ...] [--folder FOLDER]`

Each run is a process of its own and leaves a JSON file in the folder; a run whose file is there isn't repeated, so the
command can be stopped and given again. `make accept SUITE=grpo` calls `guard_figures`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from faults import FAULTS, Span, open_faulty_run
from figures import Figures

from carla_online.cli.configs import load_experiment
from carla_online.envs.seeding import Split, seed_set
from carla_online.evaluation import evaluate_returns, evaluate_routes
from carla_online.files import write_bytes_atomically
from carla_online.online import Callback, CARLAOnlineRunner, ExperimentConfig
from carla_online.policies import wrap_baseline

CONFIGS = ("sac_pendulum", "sac_straight")
CLEAN_SEEDS = tuple(range(20))
FAULT_SEEDS = (0,)
FIRST_SHARE, LENGTH_SHARE = 0.6, 0.05
"""When a fault begins and how long a passing one lasts, as shares of the budget."""
EPISODES = 20
EVALUATIONS = 20
"""Evaluations of the driving policy over a whole run; while a fault is there and unnoticed, one at every look."""


class Scoring:
    """The true score of a policy on fixed episodes, whatever the training environment pays.

    Args:
        config: The experiment.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        self._config = config
        self._seeds = seed_set(Split.SELECTION, 0, EPISODES) % np.uint64(2**31)

    def __call__(self, policy: Any) -> float:
        """Returns the mean return, or the mean timed driving score."""
        if self._config.env.kind == "gymnasium":
            return float(evaluate_returns(policy, self._config.env.id, self._seeds).mean)
        routes = self._config.suite.for_selection(routes=2 * EPISODES)
        return float(evaluate_routes(policy, routes).summary().timed_driving_score)

    def of_random(self, action_dim: int) -> float:
        """Returns the score of uniformly random actions."""
        random = np.random.default_rng(0)
        return self(wrap_baseline(lambda obs: random.uniform(-1, 1, (len(obs), action_dim)).astype(np.float32)))


class Observer(Callback):
    """Evaluates the driving policy now and then, and at every look while a fault is there and unnoticed."""

    def __init__(self, scoring: Scoring, *, fault_first: int | None, total: int) -> None:
        self._scoring, self._fault_first, self._every = scoring, fault_first, total // EVALUATIONS
        self._next = self._every
        self.scores: list[tuple[int, float]] = []
        self.caught_at: int | None = None

    def on_step(self, runner: CARLAOnlineRunner, step: Any) -> None:
        if self.caught_at is None and runner.trainer.guard.rollbacks:
            self.caught_at = runner.env_steps
        if runner.env_steps >= self._next:
            self._next += self._every
            self._score(runner)

    def on_update(self, runner: CARLAOnlineRunner, metrics: Any) -> None:
        first = self._fault_first
        if first is not None and self.caught_at is None and first <= runner.env_steps < first + 2 * self._every:
            self._score(runner)

    def _score(self, runner: CARLAOnlineRunner) -> None:
        self.scores.append((runner.env_steps, self._scoring(runner.trainer.policy)))


def run_once(name: str, seed: int, fault: str, *, persistent: bool, run_dir: Path, overrides: list[str]) -> dict:
    """Trains once with a fault and returns what happened."""
    torch.set_num_threads(1)
    words = ["--seed", str(seed), "--runner.no-tensorboard", *overrides]
    config = load_experiment(name, words)
    total = config.runner.total_env_steps
    first = int(FIRST_SHARE * total)
    span = Span(first, total if persistent else first + int(LENGTH_SHARE * total))
    scoring = Scoring(config)
    observer = Observer(scoring, fault_first=None if fault == "none" else first, total=total)
    started_s = time.monotonic()
    with open_faulty_run(config, run_dir=run_dir, fault=fault, span=span, callbacks=[observer]) as runner:
        runner.run()
        guard = runner.trainer.guard
        result = {
            "scores": observer.scores,
            "random": scoring.of_random(runner.trainer.policy.action_dim),
            "final": scoring(runner.trainer.policy),
            "fault_first": None if fault == "none" else first,
            "caught_at": observer.caught_at,
            "rollbacks": guard.rollbacks,
            "warnings": guard.warnings,
            "is_frozen": guard.is_frozen,
        }
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    result["messages"] = [(row["step"], row["guard"]) for row in rows if "guard" in row]
    return result | {"seconds": time.monotonic() - started_s}


class Runs:
    """Runs by configuration, seed and fault, each kept as a JSON file.

    Args:
        folder: Where.
        overrides: Command line options laid over the configurations.
    """

    def __init__(self, folder: Path, overrides: Sequence[str] = ()) -> None:
        self._folder = folder
        self._overrides = list(overrides)
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, seed: int, fault: str, *, persistent: bool = False) -> dict[str, Any]:
        """Returns a run's result, after running it if need be."""
        stem = f"{name}-{seed}-{fault}{'-persistent' if persistent else ''}".replace(" ", "_")
        file = self._folder / f"{stem}.json"
        if not file.exists():
            task = {"name": name, "seed": seed, "fault": fault, "persistent": persistent}
            task |= {"run_dir": str(self._folder / stem), "overrides": self._overrides, "file": str(file)}
            with (self._folder / f"{stem}.log").open("w") as log:
                words = [sys.executable, __file__, "one", json.dumps(task)]
                subprocess.run(words, check=True, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return json.loads(file.read_text())


def _run_task(text: str) -> None:
    """Runs one task in this process and writes its file."""
    task = json.loads(text)
    run_dir = Path(task["run_dir"])
    if run_dir.exists():  # left by a run that was stopped; a fault can't be resumed in its middle
        run_dir = run_dir.with_name(f"{run_dir.name}.{os.getpid()}")
    result = run_once(
        task["name"],
        task["seed"],
        task["fault"],
        persistent=task["persistent"],
        run_dir=run_dir,
        overrides=task["overrides"],
    )
    write_bytes_atomically(Path(task["file"]), json.dumps(result, indent=1).encode())


def check_fault(figures: Figures, runs: Runs, name: str, seed: int, fault: str) -> None:
    """Caught before the score has fallen below 0.75, rolled back, back at 0.95 at the end."""
    started_s = time.monotonic()
    clean, faulty = runs.get(name, seed, "none"), runs.get(name, seed, fault)
    first, caught_at = faulty["fault_first"], faulty["caught_at"]
    meanwhile = [score for step, score in faulty["scores"] if caught_at is not None and first <= step <= caught_at]
    lowest = min((_normalised(score, clean) for score in meanwhile), default=float("nan"))
    final = _normalised(faulty["final"], clean)
    is_caught = caught_at is not None and caught_at >= first
    delay = f"caught after {caught_at - first:,} env steps" if is_caught else "not caught"
    figures.check(
        f"guard, {name}: {fault}",
        holds=is_caught and (not meanwhile or lowest >= 0.75) and final >= 0.95,
        measured=f"{delay}, lowest score until then {lowest:.2f}, at the end {final:.2f}, "
        f"{faulty['rollbacks']} rollbacks{', frozen' if faulty['is_frozen'] else ''}",
        target="caught before the score is below 0.75, rolled back, at the end at least 0.95 (random 0, clean run 1)",
        seed=str(seed),
        started_s=started_s,
    )
    for step, message in faulty["messages"]:
        figures.note(f"step {step:,}: {message}")


def check_persistent(figures: Figures, runs: Runs, name: str, seed: int) -> None:
    """A fault that stays: learning freezes, and the policy drives on as well as it did when the fault began."""
    started_s = time.monotonic()
    faulty = runs.get(name, seed, "reward sign", persistent=True)
    before = [score for step, score in faulty["scores"] if step <= faulty["fault_first"]][-1]
    kept = _normalised(faulty["final"], {"random": faulty["random"], "final": before})
    figures.check(
        f"guard, {name}: reward sign, for good",
        holds=faulty["is_frozen"] and kept >= 0.95,
        measured=f"{faulty['rollbacks']} rollbacks, {'frozen' if faulty['is_frozen'] else 'not frozen'}, "
        f"{kept:.2f} of the score before the fault",
        target="frozen after two rollbacks, at least 0.95 of the score before the fault",
        seed=str(seed),
        started_s=started_s,
    )


def check_clean(figures: Figures, runs: Runs, name: str, seeds: Sequence[int]) -> None:
    """At most one run in twenty sees a false alarm."""
    started_s = time.monotonic()
    results = {seed: runs.get(name, seed, "none") for seed in seeds}
    alarmed = [seed for seed, result in results.items() if result["rollbacks"]]
    figures.check(
        f"guard, {name}: false alarms in {len(seeds)} clean runs",
        holds=len(alarmed) <= len(seeds) / 20,
        measured=f"{len(alarmed)} (seeds {alarmed}); {np.mean([r['warnings'] for r in results.values()]):.1f} warnings "
        f"a run; final scores {', '.join(format(r['final'], '.0f') for r in results.values())}",
        target="at most 1 in 20",
        seed=f"{min(seeds)} to {max(seeds)}",
        started_s=started_s,
    )
    for seed in alarmed:
        for step, message in results[seed]["messages"]:
            figures.note(f"seed {seed}, step {step:,}: {message}")


def guard_figures(
    figures: Figures,
    *,
    folder: Path,
    configs: Sequence[str] = CONFIGS,
    parts: Sequence[str] = ("faults", "persistent", "clean"),
    seeds: Sequence[int] | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Prints the guard's figures.

    Args:
        figures: Collects them.
        folder: Keeps the runs' results; those that are there aren't run again.
        configs: Names of configurations.
        parts: Which figures.
        seeds: Training seeds; those of the acceptance if None.
        overrides: Command line options laid over every configuration.
    """
    runs = Runs(folder, overrides)
    fault_seeds, clean_seeds = (FAULT_SEEDS, CLEAN_SEEDS) if seeds is None else (seeds, seeds)
    wanted = [(name, seed, fault) for name in configs for seed in fault_seeds for fault in ("none", *FAULTS)]
    tasks = wanted if "faults" in parts else []
    tasks += [(name, seed, "none") for name in configs for seed in clean_seeds if "clean" in parts]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda task: runs.get(*task), dict.fromkeys(tasks)))
    for name in configs:
        for seed in fault_seeds if "faults" in parts else ():
            for fault in FAULTS:
                check_fault(figures, runs, name, seed, fault)
        for seed in fault_seeds if "persistent" in parts else ():
            check_persistent(figures, runs, name, seed)
        if "clean" in parts:
            check_clean(figures, runs, name, clean_seeds)


def _normalised(score: float, clean: dict[str, Any]) -> float:
    """Returns a score where uniformly random actions have 0 and the clean run's end has 1."""
    return (score - clean["random"]) / (clean["final"] - clean["random"])


def _main(words: list[str]) -> int:
    if words[:1] == ["one"]:
        _run_task(words[1])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], help="faults, persistent, clean; all if none")
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--folder", type=Path, default=Path("runs/accept-guard"))
    arguments, overrides = parser.parse_known_args(words)
    figures = Figures("guard")
    parts = arguments.parts or ["faults", "persistent", "clean"]

    def all_parts() -> None:
        guard_figures(
            figures,
            folder=arguments.folder,
            configs=arguments.configs,
            parts=parts,
            seeds=arguments.seeds,
            overrides=overrides,
        )

    return figures.run({"guard": all_parts}, [])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
