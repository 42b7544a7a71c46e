"""N environments in N processes, stepped without waiting for each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from carla_online.envs.contract import TEXT_KEYS, Capabilities
from carla_online.envs.workers.child import Begin, Hello
from carla_online.envs.workers.config import SupervisionConfig
from carla_online.envs.workers.crew import Crew
from carla_online.envs.workers.incidents import IncidentLog
from carla_online.errors import ConfigError, SimulatorTimeout


@dataclass(frozen=True, slots=True)
class Results:
    """What some environments answered, in the order in which they were ready."""

    env_ids: NDArray[np.int64]
    """int64 [k]."""
    obs: Any
    """[k, ...], or a dictionary of such."""
    reward: NDArray[np.float64]
    """float64 [k]."""
    terminated: NDArray[np.bool_]
    """bool [k]: the episode is over."""
    truncated: NDArray[np.bool_]
    """bool [k]: the episode was cut, by a limit or by a failure."""
    is_reset: NDArray[np.bool_]
    """bool [k]: this is the first observation of an episode; the action, if there was one, was ignored."""
    info: dict[str, NDArray[Any]]
    """Arrays [k, ...] of the contract's keys, where the environment keeps it; its texts always."""
    extras: list[dict[str, Any]]
    """The rest of each environment's `info`."""


class AsyncBatch:
    """Steps environments in processes of their own, in the manner of EnvPool.

    ```python
    batch.reset(seed=0)
    while training:
        results = batch.recv(4)                                  # the first four that are ready
        batch.send(policy(results.obs), results.env_ids)         # they go on; the others weren't waited for
    ```

    The `send` after an episode's end begins the next one (`Results.is_reset`); its action is ignored. A worker that
    hangs beyond its deadline, dies or raises is killed and started again, alone, after a wait that doubles with each
    failure in a row. Its open episode is reported as truncated, with reward 0, the last observation that was seen, and
    `info["sim_failure"]`; never as terminal. The episode is tried once more; one that ends a second worker is in
    quarantine and is left out from then on. Deadlines are watched while `recv` or `send` runs.

    Args:
        env_fns: One function for each environment; sent to its process with cloudpickle.
        supervision: Deadlines, restarts, limits.
        log_dir: Folder for each worker's standard error and for `incidents.jsonl`; the parent's own if None.

    Raises:
        ConfigError: Spaces that can't be shared, or environments that differ in them.
        SimulatorError: The environments couldn't be started, or failed too often (from `recv` as well).
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env[Any, Any]]],
        *,
        supervision: SupervisionConfig | None = None,
        log_dir: Path | None = None,
    ) -> None:
        if not env_fns:
            raise ConfigError("AsyncBatch needs at least one environment function, got none.")
        self.config = supervision or SupervisionConfig()
        self.num_envs = len(env_fns)
        self._crew = Crew(env_fns, self.config, log_dir=log_dir)
        self._last_obs = self._crew.slots.observations(np.arange(self.num_envs))

    @property
    def hello(self) -> Hello:
        """Spaces, metadata and capabilities of the environments."""
        return self._crew.hello

    @property
    def incidents(self) -> IncidentLog:
        """What went wrong, and what was renewed."""
        return self._crew.incidents

    @property
    def steps(self) -> int:
        """Decisions answered so far."""
        return self._crew.steps

    @property
    def capabilities(self) -> Capabilities:
        """What the environments can do from here: episodes are named by seeds, states stay in the processes."""
        return Capabilities(
            episode_seeds=True,
            reward_terms=self.hello.capabilities.reward_terms,
            traffic_lights=self.hello.capabilities.traffic_lights,
            walkers=self.hello.capabilities.walkers,
            weather=self.hello.capabilities.weather,
            scene=self.hello.capabilities.scene,
        )

    @property
    def in_flight(self) -> int:
        """Environments whose answer is still owed to the caller."""
        return sum(worker.command is not None for worker in self._crew.workers) + len(self._crew.ready)

    @property
    def pids(self) -> list[int | None]:
        """Process ids of the workers; None where one is being restarted."""
        return [None if worker.process is None else worker.process.pid for worker in self._crew.workers]

    @property
    def restarts(self) -> list[int]:
        """How often each worker was started again, failures and recycling together."""
        return [worker.restarts for worker in self._crew.workers]

    def reset(
        self,
        env_ids: ArrayLike | None = None,
        *,
        seed: int | Sequence[int | None] | None = None,
        episode_seeds: NDArray[np.uint64] | None = None,
        sequences: NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Begins episodes; `recv` gives their first observations.

        Args:
            env_ids: Which environments; all if None. What they still owe is dropped.
            seed: Base seed of all later episodes, or one for each environment. Without one the sequences go on.
            episode_seeds: uint64 [N], the very episodes to begin.
            sequences: With a seed: environments with the same number drive the same episodes.
            options: Passed to each environment.
        """
        ids = self._ids(env_ids)
        self._crew.sequences.seed(seed, ids, sequences)
        for index in ids.tolist():
            worker = self._crew.workers[index]
            if worker.command is not None and worker.is_sent:
                worker.stale += 1  # the answer under way is nobody's
            if index in self._crew.ready:
                self._crew.ready.remove(index)
            if episode_seeds is None:
                chosen = self._crew.sequences.next(index, goes_on=worker.is_in_episode)
            else:
                chosen = self._crew.sequences.name(index, int(episode_seeds[index]))
            self._crew.order(worker, Begin(chosen, options))

    def send(self, actions: ArrayLike, env_ids: ArrayLike | None = None) -> None:
        """Hands out actions and returns at once.

        Args:
            actions: [k, ...], in the environments' own units.
            env_ids: int [k], whom they are for; all if None.

        Raises:
            ConfigError: Another shape, an environment named twice, or one that still owes an answer.
        """
        ids = self._ids(env_ids)
        array = np.asarray(actions)
        space = self.hello.action_space
        if array.shape != (len(ids), *(space.shape or ())):
            raise ConfigError(f"actions must have shape {[len(ids), *(space.shape or ())]}, got {list(array.shape)}.")
        late = [i for i in ids.tolist() if self._crew.workers[i].command is not None or i in self._crew.ready]
        if late or len(set(ids.tolist())) < len(ids):
            raise ConfigError(f"environments {late or ids.tolist()} are sent twice; recv their answers first.")
        self._crew.slots.arrays["action"][ids] = array
        for index in ids.tolist():
            worker = self._crew.workers[index]
            if worker.lost:
                self._crew.lose_episode(worker, worker.lost)
            elif worker.needs_reset:
                self._crew.order(worker, Begin(self._crew.sequences.next(index, goes_on=False), None))
            else:
                self._crew.order(worker, True)

    def recv(self, count: int | None = None, *, timeout_s: float | None = None) -> Results:
        """Returns the answers of the first environments that are ready.

        Args:
            count: How many to wait for; all that are owed if None or if fewer are owed.
            timeout_s: Longest wait.

        Raises:
            ConfigError: Nothing was sent.
            SimulatorTimeout: Fewer were ready in time; nothing is lost, ask again.
            SimulatorError: Failures have become the rule.
        """
        owed = self.in_flight
        if owed == 0:
            raise ConfigError("nothing to receive: call reset() or send() first.")
        wanted = owed if count is None else min(count, owed)
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while len(self._crew.ready) < wanted:
            if until_s is not None and time.monotonic() >= until_s:
                raise SimulatorTimeout(
                    f"{len(self._crew.ready)} of {wanted} environments answered within {timeout_s:g} s; ask again, or "
                    "wait for fewer."
                )
            self._crew.pump(until_s)
        return self._collect([self._crew.ready.popleft() for _ in range(wanted)])

    def ask(self, index: int, method: str) -> Any:
        """Returns what a method of one environment returns, between two answers.

        Args:
            index: Which environment; it may owe no answer.
            method: Name of a method without arguments that changes nothing.

        Raises:
            ConfigError: The environment owes an answer.
            SimulatorError: Its worker failed, now or at its last command; the next command starts it again.
        """
        worker = self._crew.workers[int(self._ids(index)[0])]
        if worker.command is not None or worker.index in self._crew.ready:
            raise ConfigError(f"environment {worker.index} owes an answer; recv it before asking for {method!r}.")
        return self._crew.ask(worker, method)

    def close(self) -> None:
        """Ends all processes; further calls do nothing."""
        self._crew.close()

    def __del__(self) -> None:
        if hasattr(self, "_crew"):
            self.close()

    def _ids(self, env_ids: ArrayLike | None) -> NDArray[np.int64]:
        if env_ids is None:
            return np.arange(self.num_envs)
        ids = np.atleast_1d(np.asarray(env_ids, np.int64))
        if ids.size and not (ids.min() >= 0 and ids.max() < self.num_envs):
            raise ConfigError(f"env_ids {ids.tolist()} are out of range; there are {self.num_envs} environments.")
        return ids

    def _collect(self, indices: list[int]) -> Results:
        ids = np.array(indices, np.int64)
        arrays = self._crew.slots.arrays
        obs = self._crew.slots.observations(ids)
        reward, over, cut = (arrays[name][ids] for name in ("reward", "terminated", "truncated"))
        info: dict[str, NDArray[Any]] = dict(self._crew.slots.infos(ids))
        texts: dict[str, NDArray[Any]] = {name: np.full(len(ids), "", dtype=object) for name in TEXT_KEYS}
        extras = []
        for place, index in enumerate(indices):
            worker = self._crew.workers[index]
            own = dict(worker.extras or {})
            for name, column in texts.items():
                column[place] = own.pop(name, "")
            if worker.failure:
                texts["sim_failure"][place] = worker.failure
                _put_row(obs, place, _row(self._last_obs, index))
                reward[place], over[place], cut[place] = 0.0, False, True
            worker.needs_reset = bool(over[place] or cut[place])
            extras.append(own)
        _put_rows(self._last_obs, ids, obs)
        is_reset = np.array([self._crew.workers[index].is_reset for index in indices], np.bool_)
        return Results(ids, obs, reward, over, cut, is_reset, info | texts, extras)


def _row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {name: values[index] for name, values in observations.items()}
    return observations[index]


def _put_row(observations: Any, index: int, row: Any) -> None:
    if isinstance(observations, dict):
        for name, values in observations.items():
            values[index] = row[name]
    else:
        observations[index] = row


def _put_rows(observations: Any, ids: NDArray[np.int64], rows: Any) -> None:
    if isinstance(observations, dict):
        for name, values in observations.items():
            values[ids] = rows[name]
    else:
        observations[ids] = rows
