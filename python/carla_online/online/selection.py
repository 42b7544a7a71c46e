"""Which checkpoint, and at which scale, leaves training: chosen on selection seeds, never on those that judge."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from carla_online.config import Config
from carla_online.envs.seeding import Split, seed_set
from carla_online.errors import EvaluationError
from carla_online.evaluation import RouteTable, SuiteConfig, better_where_driven, evaluate_returns, evaluate_routes
from carla_online.evaluation.files import read_json, write_json
from carla_online.evaluation.table import concatenate
from carla_online.files import write_bytes_atomically
from carla_online.policies.actor import ActorPolicy, DeltaPolicy
from carla_online.policies.baseline import Baseline
from carla_online.policies.storage import policy_to_bytes

_LOG: Final = logging.getLogger(__name__)
BEST_POLICY = "policies/best.safetensors"
_RECORD = "policies/best.json"


class SelectionConfig(Config):
    """How the best checkpoint is chosen."""

    routes: int = Field(60, ge=1, le=10_000)
    """Selection routes driven at each evaluation (episodes, for an environment that isn't the driving world)."""
    scales: tuple[float, ...] = Field((0.6, 0.75, 1.0), min_length=1)
    """Deployment scales of a delta head that are tried; a smaller one drives more carefully."""
    confirm_routes: int = Field(240, ge=0, le=10_000)
    """Further selection routes for a version that would become the best. 60 routes can't tell one failure in twenty
    from none: a head that finished 60 of 60 was seen to finish 96 of the 100 that judged it."""
    margin_share: float = Field(0.25, ge=0, le=1)
    """Share of the suite's margins for collisions and finished routes that is granted here."""

    @field_validator("scales")
    @classmethod
    def _in_range(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.0 < scale <= 1.0 for scale in scales):
            raise ValueError(f"scales {scales} must lie in (0, 1]")
        return scales


@dataclass(frozen=True, slots=True)
class _Version:
    """The policy at one deployment scale, and what it did on some selection routes."""

    policy: ActorPolicy
    scale: float
    table: RouteTable
    rank: tuple[float, float]
    """Whether it is better than the baseline (1 or 0), then the timed driving score."""


class RouteSelector:
    """Drives the policy over the selection routes and keeps the best version of it.

    Versions that are better than the baseline by the suite's rule, with tightened margins, come before all others;
    among equals the higher timed driving score wins. A version that would become the best drives further routes
    first, and counts by all of them.

    Args:
        policy: The policy that is learning; its weights change between calls.
        baseline: What it must beat.
        suite: The suite that will judge; its selection seeds are used here.
        config: Settings.
        run_dir: The run's folder.
    """

    def __init__(
        self,
        policy: ActorPolicy,
        *,
        baseline: Baseline | None,
        suite: SuiteConfig,
        config: SelectionConfig,
        run_dir: Path,
    ) -> None:
        self._policy = policy
        self._config = config
        self._run_dir = run_dir
        margins = {
            "collision_margin_per_km": suite.collision_margin_per_km * config.margin_share,
            "finished_margin": suite.finished_margin * config.margin_share,
        }
        self._suite = suite.for_selection(routes=config.routes + config.confirm_routes).model_copy(update=margins)
        self._first, self._further = np.split(self._suite.seeds(), [config.routes])
        self._baseline = baseline
        self._driven: RouteTable | None = None  # by the baseline; only when it is first compared with
        self._lost = np.zeros(0, np.uint64)  # seeds of those on which the simulator failed
        self._best_rank = _read_rank(run_dir / _RECORD)

    def evaluate(self, env_steps: int, *, transitions: int) -> Mapping[str, float]:
        """Evaluates the policy as it is now at each scale; returns the figures of the best scale."""
        scales = self._config.scales if isinstance(self._policy, DeltaPolicy) else (1.0,)
        versions = sorted((self._try(scale) for scale in scales), key=lambda version: version.rank, reverse=True)
        for version in versions:
            if version.rank <= self._best_rank:
                break
            confirmed = self._confirm(version)
            if confirmed.rank > self._best_rank:
                self._keep(confirmed, env_steps=env_steps, transitions=transitions)
                break
        summary = versions[0].table.summary()
        metrics = {
            "eval/timed_driving_score": summary.timed_driving_score,
            "eval/driving_score": summary.driving_score,
            "eval/finished_share": summary.finished_share,
            "eval/collisions_per_km": summary.collisions_per_km,
            "eval/scale": versions[0].scale,
            "eval/best_timed_driving_score": self._best_rank[1],
        }
        if self._baseline is not None:
            baseline = self._drive_baseline(self._baseline, versions[0].table.seeds).summary()
            metrics["eval/baseline_timed_driving_score"] = baseline.timed_driving_score
        return {name: value for name, value in metrics.items() if np.isfinite(value)}

    def _try(self, scale: float) -> _Version:
        policy = self._policy.scaled(scale) if isinstance(self._policy, DeltaPolicy) else self._policy
        table = self._drive(policy, self._first)
        return _Version(policy, scale, table, self._rank(table, self._first))

    def _confirm(self, version: _Version) -> _Version:
        if len(self._further) == 0:
            return version
        table = concatenate([version.table, self._drive(version.policy, self._further)])
        return replace(version, table=table, rank=self._rank(table, np.append(self._first, self._further)))

    def _rank(self, table: RouteTable, seeds: NDArray[np.uint64]) -> tuple[float, float]:
        """Ranks a version by what it did on those of the routes `seeds` that could be driven."""
        score = table.summary().timed_driving_score
        if self._baseline is None:
            return 0.0, score
        baseline = self._drive_baseline(self._baseline, table.seeds)
        return float(better_where_driven(table, baseline, self._suite, seeds=seeds).is_better), score

    def _drive_baseline(self, baseline: Baseline, seeds: NDArray[np.uint64]) -> RouteTable:
        """What the baseline does on some selection routes, each driven once; those that can't be are left out."""
        new = np.setdiff1d(seeds, self._lost if self._driven is None else np.append(self._lost, self._driven.seeds))
        if new.size:
            try:
                table = self._drive(baseline, new)
                self._driven = table if self._driven is None else concatenate([self._driven, table])
            except EvaluationError:  # on none of the new ones; that is no reason to stop if there are others
                if self._driven is None:
                    raise
            self._lost = np.append(self._lost, np.setdiff1d(new, self._driven.seeds))
        assert self._driven is not None
        return self._driven.select(seeds[np.isin(seeds, self._driven.seeds)])

    def _drive(self, policy: ActorPolicy | Baseline, seeds: NDArray[np.uint64]) -> RouteTable:
        missing: list[int] = []
        table = evaluate_routes(policy, self._suite, seeds, missing=missing)
        if missing:
            _LOG.warning("selection goes on without the routes %s: the simulator failed on them", missing)
        return table

    def _keep(self, version: _Version, *, env_steps: int, transitions: int) -> None:
        self._best_rank = version.rank
        figures = {"rank": list(version.rank), "scale": version.scale, "routes": len(version.table.seeds)}
        _keep(self._run_dir, version.policy, figures | {"env_steps": env_steps, "transitions": transitions})


class ReturnSelector:
    """Keeps the version with the highest mean return on an environment that isn't the driving world.

    Args:
        policy: The policy that is learning.
        env_id: Gymnasium's name of the environment.
        config: Settings.
        run_dir: The run's folder.
    """

    def __init__(self, policy: ActorPolicy, *, env_id: str, config: SelectionConfig, run_dir: Path) -> None:
        self._policy = policy
        self._env_id = env_id
        self._config = config
        self._run_dir = run_dir
        self._best_rank = _read_rank(run_dir / _RECORD)

    def evaluate(self, env_steps: int, *, transitions: int) -> Mapping[str, float]:
        """Evaluates the policy as it is now."""
        seeds = seed_set(Split.SELECTION, 0, self._config.routes) % np.uint64(2**31)
        rank = (0.0, evaluate_returns(self._policy, self._env_id, seeds).mean)
        if rank > self._best_rank:
            self._best_rank = rank
            record = {"rank": list(rank), "env_steps": env_steps, "transitions": transitions, "scale": 1.0}
            _keep(self._run_dir, self._policy, record)
        return {"eval/episode_return": rank[1], "eval/best_episode_return": self._best_rank[1]}


def _keep(run_dir: Path, policy: ActorPolicy, record: dict[str, Any]) -> None:
    write_bytes_atomically(run_dir / BEST_POLICY, policy_to_bytes(policy))
    write_json(run_dir / _RECORD, record)


def _read_rank(record: Path) -> tuple[float, float]:
    if not record.exists():
        return (-1.0, float("-inf"))
    rank = read_json(record)["rank"]
    return (float(rank[0]), float(rank[1]))
