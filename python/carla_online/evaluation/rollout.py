"""Drives a policy over the routes of a suite and fills the tables that everything else reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from carla_online.envs.contract import INFRACTION_NAMES, REWARD_TERM_NAMES
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
_COMFORT: Final = REWARD_TERM_NAMES.index("comfort")
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


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes environments of a described kind."""

    described: str | Mapping[str, Any] | Any
    largest_batch: int
    """Rows at most; 0 for any number."""

    def __call__(self, rows: int) -> VectorEnv[Any, Any, Any]:
        return make_vector_env(self.described, rows, autoreset_mode=AutoresetMode.DISABLED)


def _servers_of(described: object) -> int:
    """Returns how many servers a description names; 0 where it needs none."""
    if not isinstance(described, Mapping) or described.get("kind") not in ("carla", "scenario_runner"):
        return 0
    return len(described.get("servers", ("",)))


def env_factory(source: SuiteConfig | str | Mapping[str, Any]) -> EnvFactory:
    """Returns a function that makes the environment of a suite, of a config or of a Gymnasium id for evaluation.

    It never asks for more rows than the description has servers. The embedded world's is stepped on all processors that
    this process may use, unless its config says otherwise.
    """
    described = source.env if isinstance(source, SuiteConfig) else source
    if isinstance(described, Mapping) and described.get("kind") == "world":
        described = {"threads": min(len(os.sched_getaffinity(0)), _MOST_THREADS), **described}
    return _Maker(described, _servers_of(described))


def evaluate_routes(
    policy: ActingPolicy | Callable[..., Any],
    source: SuiteConfig | EnvFactory,
    seeds: NDArray[np.uint64] | None = None,
    *,
    recorders: Sequence[TraceRecorder] = (),
    missing: list[int] | None = None,
) -> RouteTable:
    """Drives every route once, deterministically, many at a time.

    A route that the simulator failed on (`info["sim_failure"]`) is driven again; it is never scored 0 and never left
    out.

    Args:
        policy: A policy, or a callable [N, D] to [N, 2].
        source: A suite, or a function that makes a vector environment of so many rows in autoreset mode `DISABLED`.
        seeds: uint64 [R], the episodes; the suite's if not given.
        recorders: Each keeps the trace of one of the routes.
        missing: Takes the seeds of the routes that the simulator failed on three times, which are then left out of the
            table; without it they are an error.

    Returns:
        One row for each seed, in order.

    Raises:
        EvaluationError: No seeds, no route that could be driven, or an environment that doesn't report driving scores.
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
    largest = getattr(make, "largest_batch", 0) or LARGEST_BATCH
    with _Environments(make) as environments:
        for _ in range(_ATTEMPTS):
            failed: list[np.uint64] = []
            for chunk in _chunks(waiting):
                env = environments.of(min(len(chunk), largest))
                failed += _drive_chunk(actor, env, chunk, recorders, done)
            waiting = np.array(failed, np.uint64)
            if not failed:
                break
    if not waiting.size:
        return concatenate([done[int(seed)] for seed in seeds])
    if missing is not None:
        missing += waiting.tolist()
        if not done:
            raise EvaluationError(f"none of the {len(seeds)} routes could be driven: the simulator failed on each.")
        return concatenate([done[int(seed)] for seed in seeds if int(seed) in done])
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


class _Environments:
    """Keeps an environment as long as batches of its size follow: workers and servers take seconds to start."""

    def __init__(self, make: EnvFactory) -> None:
        self._make = make
        self._env: VectorEnv[Any, Any, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def of(self, rows: int) -> VectorEnv[Any, Any, Any]:
        """Returns an environment of so many rows."""
        if self._env is None or self._env.num_envs != rows:
            self.__exit__()
            self._env = self._make(rows)
        return self._env


def _chunks(seeds: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Returns the seeds in batches of about the same size, at most `LARGEST_BATCH`."""
    return np.array_split(seeds, -(-len(seeds) // LARGEST_BATCH))


def _drive_chunk(
    actor: Actor,
    env: VectorEnv[Any, Any, Any],
    seeds: NDArray[np.uint64],
    recorders: Sequence[TraceRecorder],
    done: dict[int, RouteTable],
) -> list[np.uint64]:
    """Drives some routes, puts a row into `done` for each that ended, and returns the seeds that failed."""
    failed: list[np.uint64] = []
    totals = _Totals(env.num_envs)
    slice_names = tuple(getattr(env, "slice_names", ()) or getattr(env.unwrapped, "slice_names", ()))
    watched = [recorder for recorder in recorders if recorder.seed in seeds]
    is_begun = False
    for step in EpisodeBatch(env, seeds).run(actor):
        totals.add(step)
        if not is_begun:
            _require_info(step.info)
            is_begun = True
        for recorder in watched:
            for row in np.flatnonzero(step.seeds == np.uint64(recorder.seed)).tolist():
                recorder.add(env, row, step)
        for row in np.flatnonzero(step.ended).tolist():
            seed = step.seeds[row]
            if _failure(step, row, seed):
                failed.append(seed)
            else:
                done[int(seed)] = _table_row(seed, step, row, totals, slice_names)
            totals.clear(row)
    return failed


class _Totals:
    """What is summed over the decisions of each row."""

    def __init__(self, rows: int) -> None:
        self.reward = np.zeros(rows)
        self.interventions = np.zeros(rows, np.int64)
        self.decisions = np.zeros(rows, np.int64)
        self.comfortable = np.zeros(rows, np.int64)

    def clear(self, row: int) -> None:
        """Begins a row's sums anew, for its next route."""
        for sums in (self.reward, self.interventions, self.decisions, self.comfortable):
            sums[row] = 0

    def add(self, step: EpisodeStep) -> None:
        """Adds a decision."""
        self.reward += step.rewards
        if "safety_causes" in step.info:
            self.interventions += step.driven & (np.asarray(step.info["safety_causes"]) != 0)
        if "reward_terms" in step.info:
            self.decisions += step.driven
            self.comfortable += step.driven & (np.asarray(step.info["reward_terms"])[:, _COMFORT] <= 0.0)


def _require_info(info: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED_INFO if name not in info]
    if missing:
        raise EvaluationError(
            f"this environment's info lacks {', '.join(missing)}, so it has no driving score; use evaluate_returns."
        )


def _failure(step: EpisodeStep, row: int, seed: np.uint64) -> str:
    """Returns how the simulator failed; workers leave an episode out that has ended two of them, and drive another."""
    driven = step.info.get("episode_seed")
    if driven is not None and int(driven[row]) != int(seed):
        return "another episode was driven"
    column = step.info.get("sim_failure")
    return "" if column is None or column[row] is None else str(column[row])


def _end_reason(step: EpisodeStep, row: int) -> str:
    for name in _END_FLAGS:
        column = step.info.get(name)
        if column is not None and bool(column[row]):
            return name
    return "terminated" if step.terminated[row] else "truncated"


def _table_row(
    seed: np.uint64, step: EpisodeStep, row: int, totals: _Totals, slice_names: tuple[str, ...]
) -> RouteTable:
    values = {name: np.asarray(step.info[name][row]) for name in _NEEDED_INFO}
    time_s, distance_m = float(values["sim_time_s"]), float(values["distance_m"])
    infractions = values["infractions"].astype(np.int64)
    reason = _end_reason(step, row)
    share = _number(step, row, "min_speed_share", 1.0)
    has_traffic = _number(step, row, "near_traffic_speed_mps", 0.0) > 0.0
    decisions = int(totals.decisions[row])
    place = int(_number(step, row, "slice_index", -1.0))
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
        episode_return=np.array([float(totals.reward[row])]),
        end_reason=(reason,),
        infraction_names=INFRACTION_NAMES,
        safety_interventions=totals.interventions[row : row + 1].copy(),
        slices=(slice_names[place] if 0 <= place < len(slice_names) else "",),
        min_speed_share=np.array([share]),
        outside_lanes_share=np.array([_number(step, row, "outside_lanes_share", 0.0)]),
        efficiency=np.array([100.0 * share if has_traffic else np.nan]),
        comfort=np.array([100.0 * float(totals.comfortable[row]) / decisions if decisions else np.nan]),
    )


def _number(step: EpisodeStep, row: int, name: str, otherwise: float) -> float:
    column = step.info.get(name)
    return otherwise if column is None else float(column[row])
