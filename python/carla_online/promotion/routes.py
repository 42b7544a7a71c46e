"""A suite as the gate drives it: its parts' routes, shuffled together, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carla_online.config import read_yaml, validate
from carla_online.envs.carla.config import SERVE
from carla_online.envs.seeding import Split
from carla_online.errors import ConfigError, EvaluationError, SimulatorError
from carla_online.evaluation.records import Policy
from carla_online.evaluation.rollout import evaluate_routes
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.suites import SuiteSetConfig, find_suite
from carla_online.evaluation.table import RouteTable, concatenate


@dataclass(frozen=True, slots=True)
class GateRoutes:
    """The routes of a suite and the rule of *better* for all of them."""

    rule: SuiteConfig
    """The rule; its own `env` and `routes` are those of the whole."""
    parts: tuple[SuiteConfig, ...]
    """Where each part drives."""
    names: tuple[str, ...] | None
    """The parts' names, which are the slices; None where the environment names the slices itself."""
    described: Mapping[str, Any]
    """The suite as it was given, plain values for JSON."""

    @property
    def count(self) -> int:
        """Routes in all."""
        return sum(part.routes for part in self.parts)

    @property
    def is_embedded(self) -> bool:
        """Whether every part drives in our own light world: in this process, or behind `carla-online serve`."""
        return all(_is_embedded(part.env) for part in self.parts)

    def batches(self, size: int, *, order_seed: int) -> Iterator[list[tuple[int, NDArray[np.uint64]]]]:
        """Yields batches of about `size` routes in a seeded order: (part, seeds uint64 [n]) each.

        The order is that of a shuffle over all parts, so each route's slice is a fair draw; see
        `carla_online.promotion.betting` for what the tests make of it.
        """
        places = np.concatenate([np.full(part.routes, number) for number, part in enumerate(self.parts)])
        seeds = np.concatenate([part.seeds() for part in self.parts])
        order = np.random.Generator(np.random.Philox(order_seed)).permutation(len(seeds))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield [(int(place), seeds[rows[places[rows] == place]]) for place in np.unique(places[rows])]

    def drive(self, policy: Policy, batch: list[tuple[int, NDArray[np.uint64]]]) -> tuple[RouteTable | None, list[int]]:
        """Drives one batch.

        Returns:
            One row a route, None where the simulator failed on each; and the seeds of those it failed on three times.

        Raises:
            EvaluationError: The environment reports no driving scores.
            PolicyError: The policy returned something else than finite actions.
        """
        tables: list[RouteTable] = []
        missing: list[int] = []
        for place, seeds in batch:
            failed: list[int] = []
            try:
                table = evaluate_routes(policy, self.parts[place], seeds, missing=failed)
            except SimulatorError:
                missing += seeds.tolist()
                continue
            except EvaluationError:
                if not failed:  # not the simulator's failures, but an environment without scores
                    raise
                missing += failed
                continue
            missing += failed
            tables.append(table if self.names is None else replace(table, slices=(self.names[place],) * len(table)))
        return (concatenate(tables) if tables else None), missing


def gate_routes(suite: SuiteConfig | SuiteSetConfig, *, set_number: int | None = None) -> GateRoutes:
    """Returns the routes of a suite.

    Args:
        suite: One environment, or several parts.
        set_number: Another set of held-out routes than the suite's.

    Raises:
        ConfigError: The suite's seeds aren't those that judge, or no driving environment is named.
    """
    if set_number is not None:
        suite = validate(type(suite), {**suite.model_dump(), "set_number": set_number}, source="set number")
    if suite.split is not Split.EVALUATION:
        raise ConfigError(
            f"suite {suite.name} has {suite.split.value} seeds; a candidate was trained or chosen on those. Set its "
            "split to evaluation."
        )
    described = suite.model_dump(mode="json")
    if isinstance(suite, SuiteConfig):
        return GateRoutes(suite, (suite,), None, described)
    parts = tuple(suite.part(number) for number in range(len(suite.parts)))
    return GateRoutes(suite.whole(), parts, tuple(part.name for part in suite.parts), described)


def load_gate_suite(name: str) -> SuiteConfig | SuiteSetConfig:
    """Returns a suite by name or file: one of several parts (`parts:`), or of one environment.

    Raises:
        ConfigError: There is none, or it isn't valid.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        data = read_yaml(path)
        if "parts" not in data:
            return validate(SuiteConfig, data, source=str(path))
    return find_suite(name)


def _is_embedded(env: object) -> bool:
    """Whether an environment's description names our own world; a server by its address is taken for a real one."""
    if isinstance(env, str):
        return env.startswith("CarlaOnline/World")
    if not isinstance(env, Mapping):
        return False
    if env.get("kind") == "gymnasium":
        return _is_embedded(env.get("id"))
    if env.get("kind") in ("carla", "scenario_runner"):
        return all(server == SERVE for server in env.get("servers", ("",)))
    return env.get("kind") == "world"
