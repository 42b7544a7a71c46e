"""Which checkpoint, and at which scale, leaves training: chosen on selection seeds, never on those that judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from carla_online.config import Config
from carla_online.envs.seeding import Split, seed_set
from carla_online.evaluation import RouteTable, SuiteConfig, better, evaluate_returns, evaluate_routes
from carla_online.evaluation.files import read_json, write_json
from carla_online.files import write_bytes_atomically
from carla_online.policies.actor import ActorPolicy, DeltaPolicy
from carla_online.policies.baseline import Baseline
from carla_online.policies.storage import policy_to_bytes

BEST_POLICY = "policies/best.safetensors"
_RECORD = "policies/best.json"


class SelectionConfig(Config):
    """How the best checkpoint is chosen."""

    routes: int = Field(60, ge=1, le=10_000)
    """Selection routes driven at each evaluation (episodes, for an environment that isn't the driving world)."""
    scales: tuple[float, ...] = Field((0.6, 0.75, 1.0), min_length=1)
    """Deployment scales of a delta head that are tried; a smaller one drives more carefully."""
    collision_margin_share: float = Field(0.25, ge=0, le=1)
    """Share of the suite's collision margin granted here: few routes see few of the rare collisions."""

    @field_validator("scales")
    @classmethod
    def _in_range(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.0 < scale <= 1.0 for scale in scales):
            raise ValueError(f"scales {scales} must lie in (0, 1]")
        return scales


class RouteSelector:
    """Drives the policy over the selection routes and keeps the best version of it.

    Versions that are better than the baseline by the suite's rule, with a tightened collision margin, come before
    all others; among equals the higher timed driving score wins.

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
        margin = suite.collision_margin_per_km * config.collision_margin_share
        self._suite = suite.for_selection(routes=config.routes).model_copy(update={"collision_margin_per_km": margin})
        self._baseline = None if baseline is None else evaluate_routes(baseline, self._suite)
        self._best_rank = _read_rank(run_dir / _RECORD)

    def evaluate(self, env_steps: int, *, transitions: int) -> Mapping[str, float]:
        """Evaluates the policy as it is now at each scale; returns the figures of the best scale."""
        best: tuple[tuple[float, float], float, ActorPolicy, RouteTable] | None = None
        for scale in self._config.scales if isinstance(self._policy, DeltaPolicy) else (1.0,):
            version = self._policy.scaled(scale) if isinstance(self._policy, DeltaPolicy) else self._policy
            table = evaluate_routes(version, self._suite)
            rank = self._rank(table)
            if best is None or rank > best[0]:
                best = (rank, scale, version, table)
        assert best is not None  # there is at least one scale
        rank, scale, version, table = best
        summary = table.summary()
        if rank > self._best_rank:
            self._best_rank = rank
            record = {"rank": list(rank), "scale": scale, "env_steps": env_steps, "transitions": transitions}
            _keep(self._run_dir, version, record | {"timed_driving_score": summary.timed_driving_score})
        metrics = {
            "eval/timed_driving_score": summary.timed_driving_score,
            "eval/driving_score": summary.driving_score,
            "eval/finished_share": summary.finished_share,
            "eval/collisions_per_km": summary.collisions_per_km,
            "eval/scale": scale,
            "eval/best_timed_driving_score": self._best_rank[1],
        }
        if self._baseline is not None:
            metrics["eval/baseline_timed_driving_score"] = self._baseline.summary().timed_driving_score
        return metrics

    def _rank(self, table: RouteTable) -> tuple[float, float]:
        is_better = self._baseline is not None and better(table, self._baseline, self._suite).is_better
        return float(is_better), table.summary().timed_driving_score


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
