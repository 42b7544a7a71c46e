"""Evaluations as they are kept in a run folder, and the call that makes one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from carla_online.config import validate
from carla_online.errors import CarlaOnlineError, EvaluationError
from carla_online.evaluation.actor import ActingPolicy
from carla_online.evaluation.compare import Verdict, better, better_where_driven
from carla_online.evaluation.files import read_json, write_json
from carla_online.evaluation.rollout import evaluate_routes
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteTable
from carla_online.evaluation.trace import TraceRecorder

_FORMAT: Final = 1
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOG: Final = logging.getLogger(__name__)

Role = Literal["baseline", "candidate", "tuned_baseline", "identity", "other"]
"""What an evaluation stands for in the report: the frozen baseline, the fine-tuned policy, the best of a grid of the
baseline's own knobs, the candidate with `delta_scale = 0`, or anything else."""

Policy = ActingPolicy | Callable[..., Any]
"""A policy, or a callable [N, D] to [N, 2]."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One policy on one suite, and what it was compared with; `str()` is the sentence for people."""

    name: str
    """File name without its ending: letters, digits, dot, dash, underscore."""
    label: str
    """Name for people."""
    role: Role
    """Place in the report."""
    suite: SuiteConfig
    """The routes and the rule."""
    table: RouteTable
    """One row a route."""
    against: str | None = None
    """Name of the evaluation it was compared with."""
    verdict: Verdict | None = None
    """The comparison."""
    step: int | None = None
    """Environment steps behind the policy, where it learnt."""
    missing: tuple[int, ...] = ()
    """Seeds of the routes on which the simulator failed again and again: neither scored nor left unsaid."""

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.name):
            raise EvaluationError(
                f"an evaluation's name must be 1 to 100 letters, digits, dots, dashes, underscores, got {self.name!r}."
            )
        if self.role not in get_args(Role):
            raise EvaluationError(f"unknown role {self.role!r}; use one of {', '.join(get_args(Role))}.")

    @property
    def routes(self) -> NDArray[np.uint64]:
        """uint64 [R], the routes that were to be driven: those in the table and those that are missing."""
        return np.union1d(self.table.seeds, np.array(self.missing, np.uint64))

    @property
    def is_better(self) -> bool:
        """Whether a comparison was made and found it better."""
        return self.verdict is not None and self.verdict.is_better

    def __str__(self) -> str:
        lost = f" ({len(self.missing)} more routes are missing: the simulator failed)" if self.missing else ""
        if self.verdict is not None:
            return f"{self.verdict}{lost}"
        summary = self.table.summary()
        return (
            f"timed driving score {summary.timed_driving_score:.1f}, "
            f"collisions per km {summary.collisions_per_km:.2f}, "
            f"finished {summary.finished_share:.0%} of {summary.routes} routes{lost}"
        )

    def compare(self, other: Evaluation) -> Verdict:
        """Returns the verdict on this policy beside another, by this suite's rule, on the routes that both have driven.

        Raises:
            EvaluationError: They were to drive different routes, or have none in common.
        """
        if not np.array_equal(self.routes, other.routes):
            return better(self.table, other.table, self.suite)  # says which route is whose
        return better_where_driven(self.table, other.table, self.suite, seeds=self.routes)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "label": self.label,
            "role": self.role,
            "step": self.step,
            "suite": self.suite.model_dump(mode="json"),
            "table": self.table.to_dict(),
            "against": self.against,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "missing": list(self.missing),
        }

    def save(self, run_dir: Path) -> Path:
        """Writes `run_dir/evaluation/<name>.json`, whole or not at all, and returns its path."""
        path = run_dir / "evaluation" / f"{self.name}.json"
        write_json(path, self.to_dict())
        return path


def evaluate(
    policy: Policy,
    *,
    suite: SuiteConfig,
    against: Policy | Evaluation | None = None,
    name: str = "candidate",
    label: str = "",
    role: Role = "candidate",
    step: int | None = None,
    recorders: Sequence[TraceRecorder] = (),
) -> Evaluation:
    """Drives a policy over a suite and compares it with another on the same routes.

    A route on which the simulator fails again and again is left out of both and listed as missing.

    Args:
        policy: What to evaluate.
        suite: Routes and rule.
        against: A policy to evaluate as well, or its finished evaluation on the same routes.
        name: File name of the evaluation.
        label: Name for people; `name` if empty.
        role: Place in the report.
        step: Environment steps behind the policy.
        recorders: Each keeps the trace of one route of `policy`.

    Raises:
        EvaluationError: `against` was evaluated on other routes, or the simulator failed on every one.
        PolicyError: A policy returned something else than finite actions.
    """
    missing: list[int] = []
    table = evaluate_routes(policy, suite, recorders=recorders, missing=missing)
    evaluation = Evaluation(name, label or name, role, suite, table, step=step, missing=tuple(missing))
    if against is None:
        return evaluation
    if not isinstance(against, Evaluation):
        lost: list[int] = []
        other = evaluate_routes(against, suite, missing=lost)
        against = Evaluation("baseline", "baseline", "baseline", suite, other, missing=tuple(lost))
    return replace(evaluation, against=against.name, verdict=evaluation.compare(against))


def load_evaluation(path: Path) -> Evaluation:
    """Reads one evaluation. Its verdict isn't taken from the file: `load_evaluations` computes it again.

    Raises:
        EvaluationError: The file is missing, damaged, or holds something else.
        ConfigError: Its suite isn't valid.
    """
    data = read_json(path)
    if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
        raise EvaluationError(f"{path} isn't an evaluation of format {_FORMAT}.")
    missing = [name for name in ("name", "label", "role", "suite", "table") if name not in data]
    if missing:
        raise EvaluationError(f"{path}: {', '.join(missing)} missing.")
    if not isinstance(data["suite"], Mapping):
        raise EvaluationError(f"{path}: suite must be a mapping.")
    step, against = data.get("step"), data.get("against")
    return Evaluation(
        name=str(data["name"]),
        label=str(data["label"]),
        role=data["role"],
        suite=validate(SuiteConfig, data["suite"], source=str(path)),
        table=RouteTable.from_dict(data["table"], source=str(path)),
        against=None if against is None else str(against),
        step=int(step) if isinstance(step, int | float) else None,
        missing=tuple(int(seed) for seed in data.get("missing", ())),
    )


def load_evaluations(run_dir: Path) -> tuple[list[Evaluation], list[str]]:
    """Reads every evaluation of a run and compares each anew with the one it names.

    Recomputing keeps one source of truth: a verdict in a file can't disagree with the tables beside it.

    Args:
        run_dir: The run's folder.

    Returns:
        The evaluations, baselines first, and a sentence for each file or comparison that couldn't be used.
    """
    found: dict[str, Evaluation] = {}
    faults: list[str] = []
    for path in sorted((run_dir / "evaluation").glob("*.json")):
        try:
            evaluation = load_evaluation(path)
            found[evaluation.name] = evaluation
        except CarlaOnlineError as error:
            _LOG.warning("evaluation left out: %s", error)
            faults.append(str(error))
    judged = [_judge(evaluation, found, faults) for evaluation in found.values()]
    return sorted(judged, key=lambda evaluation: (get_args(Role).index(evaluation.role), evaluation.name)), faults


def _judge(evaluation: Evaluation, found: Mapping[str, Evaluation], faults: list[str]) -> Evaluation:
    if evaluation.against is None:
        return evaluation
    other = found.get(evaluation.against)
    if other is None:
        faults.append(f"{evaluation.name} was compared with {evaluation.against!r}, whose results aren't in this run.")
        return evaluation
    try:
        verdict = evaluation.compare(other)
    except EvaluationError as error:
        faults.append(f"{evaluation.name} can't be compared with {other.name}: {error}")
        return evaluation
    return replace(evaluation, verdict=verdict)
