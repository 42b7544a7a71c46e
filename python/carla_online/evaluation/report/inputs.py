"""Collects what a run folder holds for its report, and says what it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carla_online.errors import EvaluationError
from carla_online.evaluation.files import read_json
from carla_online.evaluation.metric_rows import Series, read_events, read_metrics
from carla_online.evaluation.records import Evaluation, load_evaluations
from carla_online.evaluation.report.workers import read_incidents, read_workers
from carla_online.evaluation.trace import load_trace

_LARGEST_CONFIG = 1_000_000


@dataclass(frozen=True, slots=True)
class RunInputs:
    """Everything that a report is made of."""

    name: str
    """The run folder's name."""
    config_yaml: str | None
    """The exact configuration."""
    metrics: Mapping[str, Series]
    """Curves by tag."""
    events: list[tuple[int, str, str]]
    """Messages as (step, tag, text)."""
    evaluations: list[Evaluation]
    """Compared anew, baselines first."""
    workers: list[Mapping[str, Any]]
    """What each worker did; none for a run in one process."""
    incidents: list[Mapping[str, Any]]
    """What happened to workers."""
    trace: Mapping[str, Any] | None
    """One episode."""
    provenance: Mapping[str, Any]
    """Versions, seed, machine, times."""
    missing: list[str]
    """A sentence for each piece that isn't there or can't be read."""


def gather(run_dir: Path) -> RunInputs:
    """Reads a run folder.

    Args:
        run_dir: The folder.

    Raises:
        EvaluationError: There is no such folder.
    """
    if not run_dir.is_dir():
        raise EvaluationError(f"{run_dir} isn't a folder. Check the path of the run.")
    missing: list[str] = []
    metrics_path = run_dir / "metrics.jsonl"
    metrics: Mapping[str, Series] = {}
    events: list[tuple[int, str, str]] = []
    if metrics_path.exists():
        metrics, events = read_metrics(metrics_path), read_events(metrics_path)
    if not metrics:
        missing.append("metrics.jsonl is missing or empty, so there are no curves.")
    evaluations, faults = load_evaluations(run_dir)
    if not evaluations:
        missing.append("The folder evaluation has no results, so nothing can be said about better or worse.")
    return RunInputs(
        name=run_dir.resolve().name,
        config_yaml=_config(run_dir / "config.yaml", missing),
        metrics=metrics,
        events=events,
        evaluations=evaluations,
        workers=read_workers(run_dir, missing),
        incidents=read_incidents(run_dir),
        trace=_trace(run_dir / "trace.json", missing),
        provenance=_provenance(run_dir / "run.json", missing),
        # Folders of this machine have no place in a file that is passed on.
        missing=[fault.replace(f"{run_dir}/", "") for fault in [*missing, *(f"Left out: {fault}" for fault in faults)]],
    )


def _config(path: Path, missing: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:_LARGEST_CONFIG]
    except OSError:
        missing.append("config.yaml is missing, so the exact settings aren't known.")
        return None


def _trace(path: Path, missing: list[str]) -> Mapping[str, Any] | None:
    if not path.exists():
        missing.append("trace.json is missing, so there is no animation.")
        return None
    try:
        return load_trace(path)
    except EvaluationError as error:
        missing.append(f"There is no animation: {error}")
        return None


def _provenance(path: Path, missing: list[str]) -> Mapping[str, Any]:
    if not path.exists():
        missing.append("run.json is missing, so versions, seed and machine aren't known.")
        return {}
    try:
        data = read_json(path)
    except EvaluationError as error:
        missing.append(f"Versions, seed and machine aren't known: {error}")
        return {}
    return data if isinstance(data, Mapping) else {}
