"""Evaluation suites of several parts: scenarios, routes, maps, each with its own seeds and reference times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import Field, model_validator

import carla_online
from carla_online.config import Config, NameOrParts, merge, read_yaml, validate
from carla_online.envs.seeding import Split
from carla_online.errors import ConfigError
from carla_online.evaluation.actor import ActingPolicy
from carla_online.evaluation.compare import Verdict, better, better_where_driven
from carla_online.evaluation.metrics import Metrics, metrics_by_slice, metrics_of
from carla_online.evaluation.rollout import evaluate_routes
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteTable, concatenate

_SETS_A_PART: Final = 1_000
_MOST_PARTS: Final = 500

Policy = ActingPolicy | Callable[..., Any]
"""A policy, or a callable [N, D] to [N, 2]."""


class SuitePart(Config):
    """Some routes of one kind: a slice of the result."""

    name: str = Field(min_length=1, max_length=200)
    """The slice's name."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Laid over the suite's `env`."""
    routes: int = Field(default=10, ge=1, le=100_000)
    """Episodes, each with a seed of its own."""


class SuiteSetConfig(Config):
    """A suite file: several parts, and the rule of *better*."""

    name: str = Field(min_length=1, max_length=200)
    """What the suite is called."""
    env: NameOrParts = Field(default_factory=lambda: {"kind": "world"})
    """The environment that the parts share."""
    parts: tuple[SuitePart, ...] = Field(min_length=1, max_length=_MOST_PARTS)
    """The slices."""
    split: Split = Split.EVALUATION
    """Family of seeds."""
    set_number: int = Field(default=0, ge=0, le=1_000)
    """Which set of seeds."""
    rule: dict[str, Any] = Field(default_factory=dict)
    """Fields of `SuiteConfig` that decide what is better: `smallest_effect`, `collision_margin_per_km`, ..."""

    @model_validator(mode="after")
    def _check(self) -> SuiteSetConfig:
        names = [part.name for part in self.parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the parts {twice} stand twice; give each a name of its own")
        unknown = sorted(set(self.rule) - set(SuiteConfig.model_fields) | {"env", "routes", "name"} & set(self.rule))
        if unknown:
            raise ValueError(f"rule: {unknown} aren't settings of the rule")
        return self

    def part(self, number: int) -> SuiteConfig:
        """Returns a part as a suite of its own; no two parts share a seed.

        Raises:
            ConfigError: The rule has a value out of range.
        """
        part = self.parts[number]
        base = {"kind": "gymnasium", "id": self.env} if isinstance(self.env, str) else self.env
        data = {
            **self.rule,
            "name": f"{self.name}: {part.name}",
            "env": merge(base, part.env),
            "routes": part.routes,
            "split": self.split,
            "set_number": self.set_number * _SETS_A_PART + number,
        }
        return validate(SuiteConfig, data, source=f"suite {self.name}")

    def whole(self) -> SuiteConfig:
        """Returns the rule for all parts together."""
        data = {**self.rule, "name": self.name, "env": self.env, "routes": sum(part.routes for part in self.parts)}
        return validate(SuiteConfig, {**data, "set_number": self.set_number}, source=f"suite {self.name}")


@dataclass(frozen=True, slots=True, eq=False)
class SuiteResult:
    """What a policy did on a suite."""

    suite: SuiteSetConfig
    """The suite."""
    label: str
    """The policy's name."""
    table: RouteTable
    """One row a route; its slices are the parts."""
    missing: dict[str, list[int]] = field(default_factory=dict)
    """Seeds of the routes that the simulator failed on again and again, by part: neither scored nor left unsaid."""

    @property
    def total(self) -> Metrics:
        """Figures of all routes."""
        return metrics_of(self.table)

    @property
    def by_slice(self) -> dict[str, Metrics]:
        """Figures of each part."""
        return metrics_by_slice(self.table)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "label": self.label,
            "total": self.total.to_dict(),
            "slices": {name: metrics.to_dict() for name, metrics in self.by_slice.items()},
            "missing": self.missing,
            "table": self.table.to_dict(),
        }


def shipped_suites() -> dict[str, Path]:
    """Returns the suites shipped with the package, by name."""
    folder = Path(carla_online.__file__).parent / "configs" / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_suite(name: str) -> SuiteSetConfig:
    """Returns a shipped suite, or that of a file.

    Raises:
        ConfigError: There is none, or it isn't valid.
    """
    shipped = shipped_suites()
    path = shipped.get(name, Path(name))
    if name not in shipped and path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"there is no suite {name!r}. Shipped: {', '.join(shipped)}; or give a YAML file.")
    return validate(SuiteSetConfig, read_yaml(path), source=str(path))


def run_suite(
    policy: Policy,
    suite: SuiteSetConfig,
    *,
    label: str = "policy",
    on_part: Callable[[str, Metrics | None], None] | None = None,
) -> SuiteResult:
    """Drives a policy over all parts of a suite.

    A route that the simulator fails on is driven again, three times; then it is reported as missing.

    Args:
        policy: What to evaluate.
        suite: The suite.
        label: The policy's name.
        on_part: Called after each part with its name and figures; None where all of its routes are missing.

    Raises:
        EvaluationError: No route of any part could be driven.
        PolicyError: The policy returned something else than finite actions.
    """
    from carla_online.errors import EvaluationError, SimulatorError

    tables: list[RouteTable] = []
    missing: dict[str, list[int]] = {}
    for number, part in enumerate(suite.parts):
        config, failed = suite.part(number), list[int]()
        table: RouteTable | None = None
        try:
            table = evaluate_routes(policy, config, missing=failed)
        except SimulatorError:
            failed = [int(seed) for seed in config.seeds()]
        except EvaluationError:
            if not failed:  # not the simulator's failures, but an environment without scores
                raise
        if failed:
            missing[part.name] = failed
        if table is not None:
            tables.append(_named(table, part.name))
        if on_part is not None:
            on_part(part.name, None if table is None else metrics_of(table))
    if not tables:
        raise EvaluationError(f"suite {suite.name}: no route could be driven; the simulator failed on each of them.")
    return SuiteResult(suite, label, concatenate(tables), missing)


def compare(candidate: SuiteResult, other: SuiteResult) -> tuple[Verdict, dict[str, Verdict]]:
    """Compares two policies on the routes that both have driven: in total, and by slice.

    The verdict on a slice is information: with few routes it is never *better*, and the rule is meant for the whole.

    Raises:
        EvaluationError: They have no route in common.
    """
    common = np.intersect1d(candidate.table.seeds, other.table.seeds)
    ours, theirs = candidate.table.select(common), other.table.select(common)
    rule, routes = candidate.suite.whole(), [candidate.suite.part(k).seeds() for k in range(len(candidate.suite.parts))]
    slices = {}
    for name in dict.fromkeys(candidate.table.slices):
        seeds = np.array([seed for seed, own in zip(ours.seeds, ours.slices, strict=True) if own == name], np.uint64)
        if seeds.size:
            slices[name] = better(ours.select(seeds), theirs.select(seeds), rule)
    total = better_where_driven(candidate.table, other.table, rule, seeds=np.concatenate(routes))
    return total, slices


def _named(table: RouteTable, name: str) -> RouteTable:
    data: Mapping[str, Any] = table.to_dict()
    return RouteTable.from_dict({**data, "slices": [name] * len(table)})
