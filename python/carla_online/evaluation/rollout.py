"""Drives a policy over the routes of a suite and fills the tables that everything else reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.envs.transitions import make_vector_env
from carla_online.errors import EvaluationError, SimulatorError
from carla_online.evaluation.actor import ActingPolicy, Actor, as_actor
from carla_online.evaluation.episodes import EnvFactory, EpisodeBatch, EpisodeStep
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteTable, concatenate
from carla_online.evaluation.trace import TraceRecorder

LARGEST_BATCH: Final = 128
"""Episodes driven together."""

_ATTEMPTS: Final = 3
_MOST_THREADS: Final = 8
# A collision need not end an episode in every backend, so the other reasons come first.
_END_FLAGS: Final = ("finished", "off_road", "blocked", "timed_out", "collision", "infraction")
_NEEDED_INFO: Final = (
    "timed_driving_score",
    "driving_score",
    "route_completion",
    "distance_m",
    "sim_time_s",
    "infractions",
)
_COLLISION_COLUMNS: Final = [index for index, name in enumerate(INFRACTION_NAMES) if name.startswith("collision")]


@dataclass(frozen=True, slots=True, eq=False)
class ReturnTable:
    """Episode returns of a policy in any Gymnasium environment, one row an episode."""

    seeds: NDArray[np.uint64]
    """uint64 [R]."""
    episode_return: NDArray[np.float64]
    """float64 [R]: undiscounted sum of rewards."""
    episode_length: NDArray[np.int64]
    """int64 [R]: decisions."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.episode_return.mean())


def env_factory(source: SuiteConfig | str | Mapping[str, Any]) -> EnvFactory:
    """Returns a function that makes the environment of a suite, of a config or of a Gymnasium id for evaluation.

    The embedded world's is stepped on all processors that this process may use, unless its config says otherwise.
    """
    described = source.env if isinstance(source, SuiteConfig) else source
    if isinstance(described, Mapping) and described.get("kind") == "world":
        described = {"threads": min(len(os.sched_getaffinity(0)), _MOST_THREADS), **described}
    return partial(make_vector_env, described, autoreset_mode=AutoresetMode.DISABLED)


def evaluate_routes(
    policy: ActingPolicy | Callable[..., Any],
    source: SuiteConfig | EnvFactory,
    seeds: NDArray[np.uint64] | None = None,
    *,
    recorders: Sequence[TraceRecorder] = (),
) -> RouteTable:
    """Drives every route once, deterministically, many at a time.

    A route that the simulator failed on (`info["sim_failure"]`) is driven again; it is never scored 0 and never left
    out.

    Args:
        policy: A policy, or a callable [N, D] to [N, 2].
        source: A suite, or a function that makes a vector environment of so many rows in autoreset mode `DISABLED`.
        seeds: uint64 [R], the episodes; the suite's if not given.
        recorders: Each keeps the trace of one of the routes.

    Returns:
        One row for each seed, in order.

    Raises:
        EvaluationError: No seeds, or an environment that doesn't report driving scores.
        SimulatorError: A route failed three times.
        PolicyError: An action of a wrong shape, or one that isn't finite.
    """
    actor = as_actor(policy)
    make = env_factory(source) if isinstance(source, SuiteConfig) else source
    if seeds is None:
        if not isinstance(source, SuiteConfig):
            raise EvaluationError("give the seeds of the routes, or a suite that has them.")
        seeds = source.seeds()
    done: dict[int, RouteTable] = {}
    waiting = np.asarray(seeds, np.uint64)
    if waiting.size == 0:
        raise EvaluationError("no seeds were given: there is nothing to drive.")
    for _ in range(_ATTEMPTS):
        failed: list[np.uint64] = []
        for chunk in _chunks(waiting):
            failed += _drive_chunk(actor, make, chunk, recorders, done)
        if not failed:
            return concatenate([done[int(seed)] for seed in seeds])
        waiting = np.array(failed, np.uint64)
    raise SimulatorError(f"the simulator failed {_ATTEMPTS} times on the routes with the seeds {waiting.tolist()}.")


def evaluate_returns(
    policy: ActingPolicy | Callable[..., Any],
    source: SuiteConfig | EnvFactory | str | Mapping[str, Any],
    seeds: NDArray[np.uint64] | Sequence[int],
) -> ReturnTable:
    """Runs one episode for each seed in any Gymnasium environment with a continuous action, deterministically.

    Args:
        policy: A policy, or a callable [N, D] to [N, A] with actions in [-1, 1]; they are scaled to the
            environment's box.
        source: A Gymnasium id, an environment's config, a suite, or a function as in `evaluate_routes`.
        seeds: The episodes' seeds, 0 or more.

    Returns:
        One row for each seed, in order.

    Raises:
        EvaluationError: No seeds, or an episode that doesn't end.
        PolicyError: As in `evaluate_routes`.
    """
    actor = as_actor(policy)
    make = source if callable(source) else env_factory(source)
    wanted = np.asarray(seeds, np.uint64)
    if wanted.size == 0:
        raise EvaluationError("no seeds were given: there is nothing to run.")
    returns, lengths = [], []
    for chunk in _chunks(wanted):
        total, steps = np.zeros(len(chunk)), np.zeros(len(chunk), np.int64)
        env = make(len(chunk))
        try:
            for step in EpisodeBatch(env, chunk).run(actor):
                total += step.rewards
                steps += step.driven
        finally:
            env.close()
        returns.append(total)
        lengths.append(steps)
    return ReturnTable(wanted, np.concatenate(returns), np.concatenate(lengths))


def _chunks(seeds: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Returns the seeds in batches of about the same size, at most `LARGEST_BATCH`."""
    return np.array_split(seeds, -(-len(seeds) // LARGEST_BATCH))


def _drive_chunk(
    actor: Actor,
    make: EnvFactory,
    seeds: NDArray[np.uint64],
    recorders: Sequence[TraceRecorder],
    done: dict[int, RouteTable],
) -> list[np.uint64]:
    """Drives one batch, puts a row into `done` for each route that ended, and returns the seeds that failed."""
    env = make(len(seeds))
    failed: list[np.uint64] = []
    total = np.zeros(len(seeds))
    interventions = np.zeros(len(seeds), np.int64)
    rows = {int(seed): row for row, seed in enumerate(seeds)}
    watched = [(recorder, rows[recorder.seed]) for recorder in recorders if recorder.seed in rows]
    is_begun = False
    try:
        for step in EpisodeBatch(env, seeds).run(actor):
            total += step.rewards
            if "safety_causes" in step.info:
                interventions += step.driven & (np.asarray(step.info["safety_causes"]) != 0)
            if not is_begun:
                _require_info(step.info)
                is_begun = True
            for recorder, row in watched:
                recorder.add(env, row, step)
            for row in np.flatnonzero(step.ended).tolist():
                if _failure(step, row):
                    failed.append(seeds[row])
                else:
                    done[int(seeds[row])] = _table_row(
                        seeds[row], step, row, float(total[row]), int(interventions[row])
                    )
    finally:
        env.close()
    return failed


def _require_info(info: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED_INFO if name not in info]
    if missing:
        raise EvaluationError(
            f"this environment's info lacks {', '.join(missing)}, so it has no driving score; use evaluate_returns."
        )


def _failure(step: EpisodeStep, row: int) -> str:
    column = step.info.get("sim_failure")
    return "" if column is None or column[row] is None else str(column[row])


def _end_reason(step: EpisodeStep, row: int) -> str:
    for name in _END_FLAGS:
        column = step.info.get(name)
        if column is not None and bool(column[row]):
            return name
    return "terminated" if step.terminated[row] else "truncated"


def _table_row(seed: np.uint64, step: EpisodeStep, row: int, total: float, interventions: int) -> RouteTable:
    values = {name: np.asarray(step.info[name][row]) for name in _NEEDED_INFO}
    time_s, distance_m = float(values["sim_time_s"]), float(values["distance_m"])
    infractions = values["infractions"].astype(np.int64)
    reason = _end_reason(step, row)
    return RouteTable(
        seeds=np.array([seed], np.uint64),
        timed_driving_score=np.array([float(values["timed_driving_score"])]),
        driving_score=np.array([float(values["driving_score"])]),
        route_completion=np.array([float(values["route_completion"])]),
        finished=np.array([reason == "finished"]),
        collisions=np.array([int(infractions[_COLLISION_COLUMNS].sum())], np.int64),
        distance_km=np.array([distance_m / 1000.0]),
        infractions=infractions[None, :],
        time_s=np.array([time_s]),
        mean_speed_mps=np.array([distance_m / time_s if time_s > 0.0 else 0.0]),
        episode_return=np.array([total]),
        end_reason=(reason,),
        infraction_names=INFRACTION_NAMES,
        safety_interventions=np.array([interventions], np.int64),
    )
