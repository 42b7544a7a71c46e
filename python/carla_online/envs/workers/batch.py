"""N environments in N processes, stepped without waiting for each other."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper
from numpy.typing import ArrayLike, NDArray

from carla_online.envs.contract import TEXT_KEYS, Capabilities
from carla_online.envs.workers.child import Answer, Ask, Begin, Hello, Raised, Told
from carla_online.envs.workers.config import SupervisionConfig
from carla_online.envs.workers.incidents import CRASH, ERROR, RECYCLED, TIMEOUT, IncidentLog, server_failures
from carla_online.envs.workers.process import WorkerProcess, resident_bytes
from carla_online.envs.workers.sequence import EpisodeSequences
from carla_online.envs.workers.slots import SlotLayout, Slots
from carla_online.errors import ConfigError, SimulatorError, SimulatorTimeout

_CHILD = "carla_online.envs.workers.child:serve"


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


@dataclass(slots=True)
class _Worker:
    """What the parent knows of one process."""

    index: int
    process: WorkerProcess | None = None
    is_up: bool = False
    command: object = None
    """What the caller waits for: a `Begin`, or True for a step; None if nothing."""
    is_sent: bool = False
    deadline_s: float = float("inf")
    start_at_s: float = 0.0
    needs_reset: bool = True
    is_in_episode: bool = False
    episodes: int = 0
    failure: str = ""
    lost: str = ""
    extras: dict[str, Any] | None = None
    is_reset: bool = False
    restarts: int = 0
    stale: int = 0


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
        self.steps = 0
        if log_dir is not None:
            log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir = log_dir
        self.incidents = IncidentLog(self.config, path=None if log_dir is None else log_dir / "incidents.jsonl")
        self._env_fns = [CloudpickleWrapper(env_fn) for env_fn in env_fns]
        self._workers = [_Worker(index) for index in range(self.num_envs)]
        self._sequences = EpisodeSequences(self.num_envs, self.incidents.quarantined)
        self._selector = selectors.DefaultSelector()
        self._ready: deque[int] = deque()
        self._slots: Slots | None = None
        self._hello: Hello | None = None
        self._last_obs: Any = None
        self._is_closed = False
        try:
            for worker in self._workers:
                self._start(worker)
            while self._slots is None:
                self._pump(None)
        except BaseException:
            self.close()
            raise
        self._last_obs = self._slots.observations(np.arange(self.num_envs))

    @property
    def hello(self) -> Hello:
        """Spaces, metadata and capabilities of the environments."""
        assert self._hello is not None  # the constructor waits for it
        return self._hello

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
        return sum(worker.command is not None for worker in self._workers) + len(self._ready)

    @property
    def pids(self) -> list[int | None]:
        """Process ids of the workers; None where one is being restarted."""
        return [None if worker.process is None else worker.process.pid for worker in self._workers]

    @property
    def restarts(self) -> list[int]:
        """How often each worker was started again, failures and recycling together."""
        return [worker.restarts for worker in self._workers]

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
        self._sequences.seed(seed, ids, sequences)
        for index in ids.tolist():
            worker = self._workers[index]
            if worker.command is not None and worker.is_sent:
                worker.stale += 1  # the answer under way is nobody's
            if index in self._ready:
                self._ready.remove(index)
            if episode_seeds is None:
                chosen = self._sequences.next(index, goes_on=worker.is_in_episode)
            else:
                chosen = self._sequences.name(index, int(episode_seeds[index]))
            self._order(worker, Begin(chosen, options))

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
        late = [i for i in ids.tolist() if self._workers[i].command is not None or i in self._ready]
        if late or len(set(ids.tolist())) < len(ids):
            raise ConfigError(f"environments {late or ids.tolist()} are sent twice; recv their answers first.")
        assert self._slots is not None
        self._slots.arrays["action"][ids] = array
        for index in ids.tolist():
            worker = self._workers[index]
            if worker.lost:
                self._lose_episode(worker, worker.lost)
            elif worker.needs_reset:
                self._order(worker, Begin(self._sequences.next(index, goes_on=False), None))
            else:
                self._order(worker, True)

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
        while len(self._ready) < wanted:
            if until_s is not None and time.monotonic() >= until_s:
                raise SimulatorTimeout(
                    f"{len(self._ready)} of {wanted} environments answered within {timeout_s:g} s; ask again, or wait "
                    "for fewer."
                )
            self._pump(until_s)
        return self._collect([self._ready.popleft() for _ in range(wanted)])

    def ask(self, index: int, method: str) -> Any:
        """Returns what a method of one environment returns, between two answers.

        Args:
            index: Which environment; it may owe no answer.
            method: Name of a method without arguments that changes nothing.

        Raises:
            ConfigError: The environment owes an answer.
            SimulatorError: Its worker failed, now or at its last command; the next command starts it again.
        """
        worker = self._workers[int(self._ids(index)[0])]
        if worker.command is not None or worker.index in self._ready:
            raise ConfigError(f"environment {worker.index} owes an answer; recv it before asking for {method!r}.")
        if worker.process is None or not worker.is_up or worker.lost:
            raise SimulatorError(f"worker {worker.index} is being started again and can't tell {method!r}.")
        try:
            worker.process.connection.send(Ask(method))
            told = worker.process.connection.recv() if worker.process.connection.poll(self._limit_s(worker)) else None
        except (EOFError, OSError):
            told = None
        if isinstance(told, Told):
            return told.value
        self._fail(
            worker, ERROR, f"it didn't tell {method!r}: {told.text if isinstance(told, Raised) else 'no answer'}"
        )
        raise SimulatorError(f"worker {worker.index} failed when it was asked for {method!r}; it is started again.")

    def close(self) -> None:
        """Ends all processes; further calls do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        for worker in self._workers:
            self._stop_process(worker)
        self._selector.close()
        if self._slots is not None:
            self._slots.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            self.close()

    def _ids(self, env_ids: ArrayLike | None) -> NDArray[np.int64]:
        if env_ids is None:
            return np.arange(self.num_envs)
        ids = np.atleast_1d(np.asarray(env_ids, np.int64))
        if ids.size and not (ids.min() >= 0 and ids.max() < self.num_envs):
            raise ConfigError(f"env_ids {ids.tolist()} are out of range; there are {self.num_envs} environments.")
        return ids

    def _collect(self, indices: list[int]) -> Results:
        assert self._slots is not None
        ids = np.array(indices, np.int64)
        arrays = self._slots.arrays
        obs = self._slots.observations(ids)
        reward, over, cut = (arrays[name][ids] for name in ("reward", "terminated", "truncated"))
        info: dict[str, NDArray[Any]] = dict(self._slots.infos(ids))
        texts: dict[str, NDArray[Any]] = {name: np.full(len(ids), "", dtype=object) for name in TEXT_KEYS}
        extras = []
        for place, index in enumerate(indices):
            worker = self._workers[index]
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
        is_reset = np.array([self._workers[index].is_reset for index in indices], np.bool_)
        return Results(ids, obs, reward, over, cut, is_reset, info | texts, extras)

    def _order(self, worker: _Worker, command: object) -> None:
        worker.command, worker.is_sent, worker.extras = command, False, None
        worker.failure = worker.lost = ""
        if isinstance(command, Begin) and worker.is_up and self._is_due_for_recycling(worker):
            self._stop_process(worker)
        self._dispatch(worker)

    def _dispatch(self, worker: _Worker) -> None:
        """Hands the pending command to a worker that is up; a fresh process can only begin an episode."""
        if not worker.is_up or worker.command is None or worker.is_sent or worker.process is None:
            return
        is_begin = isinstance(worker.command, Begin)
        limit_s = self.config.reset_deadline_s if is_begin else self.config.step_deadline_s
        try:
            worker.process.connection.send(worker.command)
        except OSError:
            self._fail(worker, CRASH, worker.process.describe_end())
            return
        worker.is_sent, worker.deadline_s = True, time.monotonic() + limit_s

    def _pump(self, until_s: float | None) -> None:
        """Waits for the next thing to happen, and handles it."""
        now_s = time.monotonic()
        for worker in self._workers:
            if worker.process is None and worker.start_at_s <= now_s:
                self._start(worker)
            elif worker.process is not None and worker.deadline_s <= now_s:
                what = "starting" if not worker.is_up else "reset" if isinstance(worker.command, Begin) else "step"
                self._fail(worker, TIMEOUT, f"{what} took longer than its deadline of {self._limit_s(worker):g} s")
        due_s = [w.deadline_s if w.process is not None else w.start_at_s for w in self._workers]
        if until_s is not None:
            due_s.append(until_s)
        wait_s = max(0.0, min(min(due_s) - time.monotonic(), 60.0))
        for key, _ in self._selector.select(wait_s):
            worker = key.data
            if worker.process is not None:  # it may have been stopped by an event before this one
                self._receive(worker)

    def _receive(self, worker: _Worker) -> None:
        assert worker.process is not None
        try:
            message = worker.process.connection.recv()
        except (EOFError, OSError):
            worker.process.wait(1.0)
            self._fail(worker, CRASH, worker.process.describe_end())
            return
        if isinstance(message, Raised) and self._slots is None:
            # Not a simulator's whim, most likely, but a mistake in what makes the environment: no use in trying again.
            raise SimulatorError(f"environment {worker.index} can't be made: {message.text}. Correct its function.")
        if isinstance(message, Raised):
            self._fail(worker, ERROR, message.text)
        elif isinstance(message, Hello):
            self._greet(worker, message)
        elif isinstance(message, Answer):
            self._take(worker, message)

    def _greet(self, worker: _Worker, hello: Hello) -> None:
        assert worker.process is not None
        if self._slots is None:
            layout = SlotLayout.of(
                self.num_envs,
                hello.observation_space,
                hello.action_space,
                has_contract_info=hello.capabilities.reward_terms,
            )
            self._hello, self._slots = hello, Slots(layout)
        elif (hello.observation_space, hello.action_space) != (self.hello.observation_space, self.hello.action_space):
            raise ConfigError(
                f"environment {worker.index} has spaces of its own: {hello.observation_space}, {hello.action_space}; "
                f"the first has {self.hello.observation_space}, {self.hello.action_space}."
            )
        try:
            worker.process.connection.send(self._slots.layout)
            send_handle(worker.process.connection, self._slots.fd, worker.process.pid)
        except OSError:
            self._fail(worker, CRASH, worker.process.describe_end())
            return
        worker.is_up, worker.deadline_s = True, float("inf")
        self._dispatch(worker)

    def _take(self, worker: _Worker, answer: Answer) -> None:
        assert self._slots is not None
        if worker.stale:
            worker.stale -= 1
            return
        worker.deadline_s = float("inf")
        worker.is_reset = isinstance(worker.command, Begin)
        worker.command, worker.is_sent, worker.extras = None, False, answer.extras
        if worker.is_reset:
            worker.is_in_episode = True
        else:
            self.steps += 1
            self.incidents.worked(worker.index)
            row = worker.index
            if self._slots.arrays["terminated"][row] or self._slots.arrays["truncated"][row]:
                worker.is_in_episode = False
                worker.episodes += 1
        self._ready.append(worker.index)
        for kind, reason in server_failures(answer.extras or {}):
            seed = self._sequences.current(worker.index)
            self.incidents.add(worker.index, kind, reason, steps=self.steps, episode_seed=seed)
            self.incidents.check(worker.index, self.steps)

    def _fail(self, worker: _Worker, kind: str, reason: str) -> None:
        """Kills the process, plans its restart, and ends the open episode as truncated."""
        driving = worker.is_in_episode or isinstance(worker.command, Begin)
        seed = self._sequences.current(worker.index) if driving and worker.is_up else None
        was_up = worker.is_up
        self._stop_process(worker)
        self.incidents.add(worker.index, kind, reason, steps=self.steps, episode_seed=seed)
        worker.start_at_s = time.monotonic() + self.incidents.backoff_s(worker.index)
        self.incidents.check(worker.index, self.steps)
        if seed is not None:
            self._sequences.retry(worker.index)
        if worker.command is None and worker.is_in_episode:
            worker.lost = kind  # nobody waits for it; the answer to the next action will say so
        elif worker.is_in_episode and not isinstance(worker.command, Begin):
            self._lose_episode(worker, kind)
        elif isinstance(worker.command, Begin) and was_up and worker.command.seed is not None:
            worker.command = Begin(self._sequences.next(worker.index, goes_on=False), worker.command.options)

    def _lose_episode(self, worker: _Worker, kind: str) -> None:
        worker.failure, worker.lost, worker.command, worker.is_sent, worker.extras = kind, "", None, False, None
        worker.is_in_episode, worker.is_reset = False, False
        self._ready.append(worker.index)

    def _start(self, worker: _Worker) -> None:
        stderr = None if self._log_dir is None else self._log_dir / f"env-{worker.index}.stderr"
        payload = (self._env_fns[worker.index], worker.index)
        worker.process = WorkerProcess(_CHILD, payload, index=worker.index, stderr=stderr)
        worker.is_up, worker.is_sent, worker.episodes = False, False, 0
        worker.deadline_s = time.monotonic() + self.config.start_deadline_s
        self._selector.register(worker.process.connection, selectors.EVENT_READ, worker)

    def _stop_process(self, worker: _Worker) -> None:
        if worker.process is None:
            return
        if not self._is_closed:
            worker.restarts += 1
        self._selector.unregister(worker.process.connection)
        worker.process.kill()
        worker.process, worker.is_up, worker.is_sent, worker.stale = None, False, False, 0
        worker.deadline_s, worker.start_at_s = float("inf"), time.monotonic()

    def _is_due_for_recycling(self, worker: _Worker) -> bool:
        episodes, memory_mb = self.config.recycle_episodes, self.config.recycle_memory_mb
        reason = ""
        if episodes is not None and worker.episodes >= episodes:
            reason = f"{worker.episodes} episodes"
        elif memory_mb is not None and worker.process is not None and worker.episodes:
            used_mb = resident_bytes(worker.process.pid) / 1e6
            reason = f"{used_mb:,.0f} MB resident" if used_mb > memory_mb else ""
        if reason:
            self.incidents.add(worker.index, RECYCLED, reason, steps=self.steps)
        return bool(reason)

    def _limit_s(self, worker: _Worker) -> float:
        if not worker.is_up:
            return self.config.start_deadline_s
        return self.config.reset_deadline_s if isinstance(worker.command, Begin) else self.config.step_deadline_s


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
