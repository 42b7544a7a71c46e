"""`carla-online evaluate --suite`: one policy or two over a suite, as a table, JSON and the report."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from carla_online.config import read_yaml, validate
from carla_online.errors import ConfigError
from carla_online.evaluation import Evaluation, write_report
from carla_online.evaluation.compare import Verdict
from carla_online.evaluation.files import write_json
from carla_online.evaluation.metrics import Metrics
from carla_online.evaluation.suites import Policy, SuiteResult, compare, find_suite, run_suite
from carla_online.online.experiment import ExperimentConfig, build_baseline
from carla_online.online.judge import load_best
from carla_online.policies import scripted_baseline

SUITE_FILE = "suite.json"
"""Where the results stand in the folder."""
_COLUMNS = ("LB 1.0", "LB 2.0", "LB 2.1", "timed", "done %", "success %", "effic. %", "comfort %", "infr./km")


def evaluate_suite(options: argparse.Namespace) -> int:
    """Drives the suite and prints what came out."""
    torch.set_num_threads(1)
    suite = find_suite(options.suite)
    changes = {"set_number": options.set}
    suite = suite.model_copy(update={name: value for name, value in changes.items() if value is not None})
    if options.routes is not None:
        parts = [part.model_copy(update={"routes": options.routes}) for part in suite.parts]
        suite = validate(type(suite), {**suite.model_dump(), "parts": parts}, source="--routes")
    policies = _policies(options)
    results = []
    for label, policy in policies.items():
        print(f"{label} on suite {suite.name}:", flush=True)
        results.append(run_suite(policy, suite, label=label, on_part=_say))
    verdict, slices = compare(results[1], results[0]) if len(results) == 2 else (None, {})
    folder = Path(options.out or options.run or f"runs/{suite.name}")
    _keep(folder, results, verdict, slices)
    for result in results:
        print(f"\n{table_text(result)}")
    if verdict is not None:
        print(f"\n{results[1].label} against {results[0].label}, on the {verdict.candidate.routes} routes of both:")
        for name, part in slices.items():
            print(f"  {name}: timed driving score {part.difference}")
        print(verdict)
    print(f"results: {folder / SUITE_FILE}\nreport: {write_report(folder)}")
    return 0


def table_text(result: SuiteResult) -> str:
    """Returns a result as a table of text: a line a slice, then the total, then what is missing."""
    slices = result.by_slice
    width = max(len("total"), len(result.label), *(len(name) for name in slices))
    head = f"{result.label:{width}}  {'n':>4}" + "".join(f"{name:>10}" for name in _COLUMNS)
    lines = [head, *(_line(name, metrics, width) for name, metrics in slices.items())]
    lines.append(_line("total", result.total, width))
    counted = ", ".join(f"{name} {rate:.2f}" for name, rate in result.total.infractions_per_km.items())
    lines.append(f"infractions per km: {counted or 'none'}")
    for name, seeds in result.missing.items():
        lines.append(f"missing: {len(seeds)} routes of {name}, on which the simulator failed three times: {seeds}")
    return "\n".join(lines)


def _line(name: str, metrics: Metrics, width: int) -> str:
    values = [
        metrics.leaderboard_1_0,
        metrics.leaderboard_2_0,
        metrics.leaderboard_2_1,
        metrics.timed_driving_score,
        metrics.route_completion,
        metrics.success_rate,
        metrics.efficiency,
        metrics.comfort,
    ]
    told = "".join(f"{'-':>10}" if value is None else f"{value:>10.1f}" for value in values)
    return f"{name:{width}}  {metrics.routes:>4}{told}{metrics.charged_per_km:>10.2f}"


def _say(name: str, metrics: Metrics | None) -> None:
    if metrics is None:
        print(f"  {name}: missing, the simulator failed on every route", flush=True)
    else:
        print(f"  {name}: timed driving score {metrics.timed_driving_score:.1f}", flush=True)


def _policies(options: argparse.Namespace) -> dict[str, Policy]:
    """Returns who drives, by name; the one to compare with first."""
    if options.run is None:
        if options.against is not None:
            raise ConfigError("--against compares with RUN's policy, but no RUN was given; name one.")
        return {"baseline": scripted_baseline()}
    config = _config_of(Path(options.run))
    baseline = build_baseline(config)
    policy = load_best(Path(options.run), baseline=baseline)
    if options.against is not None:
        other = Path(options.against)
        return {other.name: load_best(other, baseline=build_baseline(_config_of(other))), "fine-tuned": policy}
    return {"fine-tuned": policy} if baseline is None else {"baseline": baseline, "fine-tuned": policy}


def _config_of(run_dir: Path) -> ExperimentConfig:
    file = run_dir / "config.yaml"
    return validate(ExperimentConfig, read_yaml(file), source=str(file))


def _keep(folder: Path, results: list[SuiteResult], verdict: Verdict | None, slices: dict[str, Verdict]) -> None:
    """Writes the results, and evaluations from which the report compares anew."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "format": 1,
        "suite": results[0].suite.model_dump(mode="json"),
        "policies": [result.to_dict() for result in results],
        "verdict": None if verdict is None else verdict.to_dict(),
        "slices": {name: part.to_dict() for name, part in slices.items()},
    }
    write_json(folder / SUITE_FILE, told)
    base = "".join(letter if letter.isalnum() else "-" for letter in results[0].suite.name)[:60]
    names = [f"{base}-{place}" for place in range(len(results))]
    for place, result in enumerate(results):
        is_base = place == 0
        Evaluation(
            names[place],
            result.label,
            "baseline" if is_base and result.label == "baseline" else "other" if is_base else "candidate",
            result.suite.whole(),
            result.table,
            None if is_base else names[0],
            missing=tuple(seed for seeds in result.missing.values() for seed in seeds),
        ).save(folder)
