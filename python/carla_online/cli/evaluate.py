"""`carla-online evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from carla_online.cli.suite import evaluate_suite
from carla_online.config import read_yaml, validate
from carla_online.envs.seeding import Split, seed_set
from carla_online.errors import ConfigError
from carla_online.evaluation import evaluate_returns, load_evaluations
from carla_online.online.experiment import ExperimentConfig, build_baseline
from carla_online.online.judge import judge, load_best


def evaluate(arguments: list[str]) -> int:
    """Drives baseline and fine-tuned policy over the suite's routes and prints what came out."""
    options = _parser().parse_args(arguments)
    if options.suite is not None:
        return evaluate_suite(options)
    if options.run is None:
        raise ConfigError("say what to evaluate: carla-online evaluate RUN, or --suite NAME for the scripted baseline.")
    run_dir = Path(options.run)
    file = run_dir / "config.yaml"
    config = validate(ExperimentConfig, read_yaml(file), source=str(file))
    torch.set_num_threads(1)
    if config.env.kind == "gymnasium":
        policy = load_best(run_dir, baseline=build_baseline(config))
        seeds = seed_set(Split.EVALUATION, options.set or 0, options.routes or 50) % np.uint64(2**31)
        returns = evaluate_returns(policy, config.env.id, seeds)
        print(f"mean return of {len(seeds)} episodes: {returns.mean:.1f} +- {returns.episode_return.std():.1f}")
        return 0
    changes = {"set_number": options.set, "routes": options.routes}
    suite = config.suite.model_copy(update={key: value for key, value in changes.items() if value is not None})
    judge(config, run_dir, suite=validate(type(suite), suite.model_dump(), source="command line"))
    evaluations, faults = load_evaluations(run_dir)
    for evaluation in evaluations:
        print(f"{evaluation.label} (set {evaluation.suite.set_number}): {evaluation}")
    for fault in faults:
        print(f"left out: {fault}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online evaluate",
        description="Drive the baseline and the fine-tuned policy of a run over the same held-out routes, and say "
        "whether the policy is better. The rule was fixed in the run's configuration before training.",
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help="the run's folder; with --suite it may be left out")
    parser.add_argument("--set", type=int, metavar="N", help="another set of held-out routes (default: the suite's)")
    parser.add_argument("--routes", type=int, metavar="N", help="how many routes (default: the suite's)")
    parser.add_argument(
        "--suite",
        metavar="NAME",
        help="a suite of scenarios, routes or maps: a shipped one or a YAML file. Without RUN the scripted baseline "
        "drives it alone",
    )
    parser.add_argument("--against", metavar="RUN", help="with --suite: another run's policy in place of the baseline")
    parser.add_argument(
        "--out", metavar="DIR", help="with --suite: folder of the results (default: RUN, or runs/SUITE)"
    )
    return parser
