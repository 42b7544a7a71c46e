"""Before and after on the suite's own routes, which training and selection never saw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np

from carla_online.envs.seeding import Split
from carla_online.errors import CheckpointError
from carla_online.evaluation import Evaluation, SuiteConfig, TraceRecorder, evaluate, evaluate_routes
from carla_online.evaluation.files import read_json, write_json
from carla_online.online.experiment import ExperimentConfig, build_baseline
from carla_online.online.runner import LAST_POLICY
from carla_online.online.selection import BEST_POLICY
from carla_online.policies.actor import ActorPolicy, DeltaPolicy
from carla_online.policies.baseline import Baseline
from carla_online.policies.config import ScriptedBaselineConfig
from carla_online.policies.scripted import scripted_baseline
from carla_online.policies.storage import load_policy

# The baseline's own knobs, 5 x 4 points: what it could reach without learning.
SPEED_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1)
HEADWAYS_S = (0.8, 1.2, 1.6, 2.0)
HEAT_ROUTES = 40


def load_best(run_dir: Path, *, baseline: Baseline | None) -> ActorPolicy:
    """Returns the version that selection kept.

    Raises:
        CheckpointError: The run was stopped before its first evaluation.
    """
    return load_policy(best_policy_path(run_dir), baseline=baseline)


def best_policy_path(run_dir: Path) -> Path:
    """Returns where the version lies that selection kept.

    Raises:
        CheckpointError: The run was stopped before its first evaluation.
    """
    path = run_dir / BEST_POLICY
    if not path.exists():
        raise CheckpointError(
            f"{run_dir} has no chosen policy yet: it stopped before its first evaluation. Go on with it first: "
            f"carla-online train --resume {run_dir}"
        )
    return path


def judge(config: ExperimentConfig, run_dir: Path, *, suite: SuiteConfig | None = None) -> Evaluation:
    """Evaluates baseline, `delta_scale = 0`, the baseline with tuned knobs (in the embedded world), and the fine-tuned.

    Writes `evaluation/*.json` and `trace.json` into the run's folder.

    Args:
        config: The run's configuration.
        run_dir: The run's folder.
        suite: Another suite than the run's own.

    Returns:
        The fine-tuned policy's evaluation, compared with the baseline where there is one.
    """
    suite = suite or config.suite
    baseline = build_baseline(config)
    if config.replay.offline:  # nothing was driven, so nothing was chosen
        policy = load_policy(run_dir / LAST_POLICY, baseline=baseline)
    else:
        policy = load_best(run_dir, baseline=baseline)
    before: Evaluation | None = None
    if baseline is not None:
        before = evaluate(baseline, suite=suite, name=f"baseline-{suite.set_number}", label="baseline", role="baseline")
        before.save(run_dir)
        if isinstance(policy, DeltaPolicy):
            name, label = f"delta-zero-{suite.set_number}", "fine-tuned, delta_scale = 0"
            off = evaluate(policy.scaled(0.0), suite=suite, against=before, name=name, label=label, role="identity")
            off.save(run_dir)
    recorder = TraceRecorder(seed=int(suite.seeds()[0]), label="fine-tuned")
    name = f"fine-tuned-{suite.set_number}"
    after = evaluate(policy, suite=suite, against=before, name=name, label="fine-tuned", recorders=[recorder])
    after.save(run_dir)
    if int(suite.seeds()[0]) not in after.missing:
        recorder.save(run_dir / "trace.json")
    # Too few routes for a verdict are too few to tune on.
    is_judged = suite.routes >= suite.fewest_routes
    # On servers episodes take seconds: the grid's thousand would take longer than the training that they are to judge.
    if config.policy.baseline.kind == "scripted" and is_judged and _kind(suite) not in ("carla", "scenario_runner"):
        tuned, knobs = tuned_baseline(config.policy.baseline, suite, cache=run_dir / "tuned_baseline.json")
        label = f"baseline, tuned ({knobs.speed_factor:g} x limit, headway {knobs.headway_s:g} s)"
        name = f"tuned-baseline-{suite.set_number}"
        rival = evaluate(tuned, suite=suite, against=before, name=name, label=label, role="tuned_baseline")
        rival.save(run_dir)
    return after


def tuned_baseline(
    settings: ScriptedBaselineConfig, suite: SuiteConfig, *, cache: Path | None = None
) -> tuple[Baseline, ScriptedBaselineConfig]:
    """Returns the best of a grid of 20 settings of the scripted baseline on training routes, as many as the suite has.

    All 20 drive the first of these routes; the best quarter of them drives all.

    Args:
        settings: Everything that the grid doesn't vary.
        suite: Says where to drive and how many routes; its own seeds aren't used.
        cache: Where the winner is kept, so that the grid is driven once.
    """
    key = json.dumps([settings.model_dump(), suite.env], sort_keys=True)
    kept = read_json(cache) if cache is not None and cache.exists() else None
    if kept is not None and kept.get("key") == key:
        knobs = ScriptedBaselineConfig.model_validate(kept["best"])
        return scripted_baseline(knobs), knobs
    training = suite.model_copy(update={"split": Split.TRAIN, "name": f"{suite.name} (training)"})
    heat = training.model_copy(update={"routes": min(training.routes, HEAT_ROUTES)})
    heats = {candidate: _mean_score(candidate, heat) for candidate in _grid(settings)}
    finalists = sorted(heats, key=lambda candidate: -heats[candidate])[: len(heats) // 4]
    scores = {candidate: _mean_score(candidate, training) for candidate in finalists}
    knobs = max(scores, key=lambda candidate: scores[candidate])
    if cache is not None:
        grid = [
            {"knobs": candidate.model_dump(), "heat_score": score, "score": scores.get(candidate)}
            for candidate, score in heats.items()
        ]
        write_json(cache, {"key": key, "best": knobs.model_dump(), "grid": grid})
    return scripted_baseline(knobs), knobs


def _kind(suite: SuiteConfig) -> str:
    """The backend on which a suite drives."""
    return str(suite.env.get("kind", "")) if isinstance(suite.env, Mapping) else ""


def _grid(settings: ScriptedBaselineConfig) -> Iterator[ScriptedBaselineConfig]:
    for speed_factor, headway_s in product(SPEED_FACTORS, HEADWAYS_S):
        yield settings.model_copy(update={"speed_factor": speed_factor, "headway_s": headway_s})


def _mean_score(knobs: ScriptedBaselineConfig, suite: SuiteConfig) -> float:
    return float(np.mean(evaluate_routes(scripted_baseline(knobs), suite).timed_driving_score))
