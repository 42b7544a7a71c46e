"""The worker processes of a batch: started, watched, given commands, and replaced one by one when they fail."""

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
from gymnasium.vector.utils import CloudpickleWrapper

from carla_online.envs.workers.child import Answer, Ask, Begin, Hello, Raised, Told
from carla_online.envs.workers.config import SupervisionConfig
from carla_online.envs.workers.incidents import CRASH, ERROR, RECYCLED, TIMEOUT, IncidentLog, server_failures
from carla_online.envs.workers.process import WorkerProcess, resident_bytes
from carla_online.envs.workers.sequence import EpisodeSequences
from carla_online.envs.workers.slots import SlotLayout, Slots
from carla_online.errors import ConfigError, SimulatorError

_CHILD = "carla_online.envs.workers.child:serve"


@dataclass(slots=True)
class Worker:
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


class Crew:
    """Processes with one environment each.

    Args:
        env_fns: One function for each environment; sent to its process with cloudpickle.
        config: Deadlines, restarts, limits.
        log_dir: Folder for each worker's standard error and for `incidents.jsonl`; the parent's own if None.

    Attributes:
        workers: What is known of each process.
        ready: Numbers of the workers whose answers wait for the caller, in the order in which they came.
        sequences: Which episode each drives, and drives next.
        incidents: What went wrong.
        steps: Decisions answered so far.
        slots: The shared arrays.
        hello: Spaces, metadata and capabilities of the environments.

    Raises:
        ConfigError: Spaces that can't be shared, or environments that differ in them.
        SimulatorError: The environments couldn't be started.
    """

    slots: Slots
    hello: Hello

    def __init__(
        self, env_fns: Sequence[Callable[[], gym.Env[Any, Any]]], config: SupervisionConfig, *, log_dir: Path | None
    ) -> None:
        self._config = config
        if log_dir is not None:
            log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir = log_dir
        self._env_fns = [CloudpickleWrapper(env_fn) for env_fn in env_fns]
        self._selector = selectors.DefaultSelector()
        self._has_slots = self._is_closed = False
        self.steps = 0
        self.ready: deque[int] = deque()
        self.incidents = IncidentLog(config, path=None if log_dir is None else log_dir / "incidents.jsonl")
        self.workers = [Worker(index) for index in range(len(env_fns))]
        self.sequences = EpisodeSequences(len(env_fns), self.incidents.quarantined)
        try:
            for worker in self.workers:
                self._start(worker)
            while not self._has_slots:
                self.pump(None)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends all processes; further calls do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        for worker in self.workers:
            self._stop_process(worker)
        self._selector.close()
        if self._has_slots:
            self.slots.close()

    def ask(self, worker: Worker, method: str) -> Any:
        """Returns what a method of a worker's environment returns; the worker may owe no answer.

        Raises:
            SimulatorError: The worker failed, now or at its last command; the next command starts it again.
        """
        if worker.process is None or not worker.is_up or worker.lost:
            raise SimulatorError(f"worker {worker.index} is being started again and can't tell {method!r}; ask later.")
        limit_s = self._config.step_deadline_s
        kind, reason = TIMEOUT, f"no answer within {limit_s:g} s"
        try:
            worker.process.connection.send(Ask(method))
            if worker.process.connection.poll(limit_s):
                told = worker.process.connection.recv()
                if isinstance(told, Told):
                    return told.value
                kind, reason = ERROR, told.text
        except (EOFError, OSError):
            worker.process.wait(1.0)
            kind, reason = CRASH, worker.process.describe_end()
        self._fail(worker, kind, f"asked for {method!r}: {reason}")
        raise SimulatorError(f"worker {worker.index} failed when it was asked for {method!r}: {reason}")

    def order(self, worker: Worker, command: object) -> None:
        """Has a worker carry out a command as soon as it is up; before an episode it may be renewed."""
        worker.command, worker.is_sent, worker.extras = command, False, None
        worker.failure = worker.lost = ""
        if isinstance(command, Begin) and worker.is_up and self._is_due_for_recycling(worker):
            self._stop_process(worker)
        self._dispatch(worker)

    def _dispatch(self, worker: Worker) -> None:
        """Hands the pending command to a worker that is up; a fresh process can only begin an episode."""
        if not worker.is_up or worker.command is None or worker.is_sent or worker.process is None:
            return
        is_begin = isinstance(worker.command, Begin)
        limit_s = self._config.reset_deadline_s if is_begin else self._config.step_deadline_s
        try:
            worker.process.connection.send(worker.command)
        except OSError:
            self._fail(worker, CRASH, worker.process.describe_end())
            return
        worker.is_sent, worker.deadline_s = True, time.monotonic() + limit_s

    def pump(self, until_s: float | None) -> None:
        """Waits for the next thing to happen, and handles it."""
        now_s = time.monotonic()
        for worker in self.workers:
            if worker.process is None and worker.start_at_s <= now_s:
                self._start(worker)
            elif worker.process is not None and worker.deadline_s <= now_s:
                what = "starting" if not worker.is_up else "reset" if isinstance(worker.command, Begin) else "step"
                self._fail(worker, TIMEOUT, f"{what} took longer than its deadline of {self._limit_s(worker):g} s")
        due_s = [w.deadline_s if w.process is not None else w.start_at_s for w in self.workers]
        if until_s is not None:
            due_s.append(until_s)
        wait_s = max(0.0, min(min(due_s) - time.monotonic(), 60.0))
        for key, _ in self._selector.select(wait_s):
            worker = key.data
            if worker.process is not None:  # it may have been stopped by an event before this one
                self._receive(worker)

    def _receive(self, worker: Worker) -> None:
        assert worker.process is not None
        try:
            message = worker.process.connection.recv()
        except (EOFError, OSError):
            worker.process.wait(1.0)
            self._fail(worker, CRASH, worker.process.describe_end())
            return
        if isinstance(message, Raised) and not self._has_slots:
            # Not a simulator's whim, most likely, but a mistake in what makes the environment: no use in trying again.
            raise SimulatorError(f"environment {worker.index} can't be made: {message.text}. Correct its function.")
        if isinstance(message, Raised):
            self._fail(worker, ERROR, message.text)
        elif isinstance(message, Hello):
            self._greet(worker, message)
        elif isinstance(message, Answer):
            self._take(worker, message)

    def _greet(self, worker: Worker, hello: Hello) -> None:
        assert worker.process is not None
        if not self._has_slots:
            layout = SlotLayout.of(
                len(self.workers),
                hello.observation_space,
                hello.action_space,
                has_contract_info=hello.capabilities.reward_terms,
            )
            self.hello, self.slots, self._has_slots = hello, Slots(layout), True
        elif (hello.observation_space, hello.action_space) != (self.hello.observation_space, self.hello.action_space):
            raise ConfigError(
                f"environment {worker.index} has spaces of its own: {hello.observation_space}, {hello.action_space}; "
                f"the first has {self.hello.observation_space}, {self.hello.action_space}."
            )
        try:
            worker.process.connection.send(self.slots.layout)
            send_handle(worker.process.connection, self.slots.fd, worker.process.pid)
        except OSError:
            self._fail(worker, CRASH, worker.process.describe_end())
            return
        worker.is_up, worker.deadline_s = True, float("inf")
        self._dispatch(worker)

    def _take(self, worker: Worker, answer: Answer) -> None:
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
            if self.slots.arrays["terminated"][row] or self.slots.arrays["truncated"][row]:
                worker.is_in_episode = False
                worker.episodes += 1
        self.ready.append(worker.index)
        for kind, reason in server_failures(answer.extras or {}):
            seed = self.sequences.current(worker.index)
            self.incidents.add(worker.index, kind, reason, steps=self.steps, episode_seed=seed)
            self.incidents.check(worker.index, self.steps)

    def _fail(self, worker: Worker, kind: str, reason: str) -> None:
        """Kills the process, plans its restart, and ends the open episode as truncated."""
        driving = worker.is_in_episode or isinstance(worker.command, Begin)
        seed = self.sequences.current(worker.index) if driving and worker.is_up else None
        was_up = worker.is_up
        self._stop_process(worker)
        self.incidents.add(worker.index, kind, reason, steps=self.steps, episode_seed=seed)
        worker.start_at_s = time.monotonic() + self.incidents.backoff_s(worker.index)
        self.incidents.check(worker.index, self.steps)
        if seed is not None:
            self.sequences.retry(worker.index)
        if worker.command is None and worker.is_in_episode:
            worker.lost = kind  # nobody waits for it; the answer to the next action will say so
        elif worker.is_in_episode and not isinstance(worker.command, Begin):
            self.lose_episode(worker, kind)
        elif isinstance(worker.command, Begin) and was_up and worker.command.seed is not None:
            worker.command = Begin(self.sequences.next(worker.index, goes_on=False), worker.command.options)

    def lose_episode(self, worker: Worker, kind: str) -> None:
        """Ends a worker's open episode as truncated, for a failure of this kind; that is its answer."""
        worker.failure, worker.lost, worker.command, worker.is_sent, worker.extras = kind, "", None, False, None
        worker.is_in_episode, worker.is_reset = False, False
        self.ready.append(worker.index)

    def _start(self, worker: Worker) -> None:
        stderr = None if self._log_dir is None else self._log_dir / f"env-{worker.index}.stderr"
        payload = (self._env_fns[worker.index], worker.index)
        worker.process = WorkerProcess(_CHILD, payload, index=worker.index, stderr=stderr)
        worker.is_up, worker.is_sent, worker.episodes = False, False, 0
        worker.deadline_s = time.monotonic() + self._config.start_deadline_s
        self._selector.register(worker.process.connection, selectors.EVENT_READ, worker)

    def _stop_process(self, worker: Worker) -> None:
        if worker.process is None:
            return
        if not self._is_closed:
            worker.restarts += 1
        self._selector.unregister(worker.process.connection)
        worker.process.kill()
        worker.process, worker.is_up, worker.is_sent, worker.stale = None, False, False, 0
        worker.deadline_s, worker.start_at_s = float("inf"), time.monotonic()

    def _is_due_for_recycling(self, worker: Worker) -> bool:
        episodes, memory_mb = self._config.recycle_episodes, self._config.recycle_memory_mb
        reason = ""
        if episodes is not None and worker.episodes >= episodes:
            reason = f"{worker.episodes} episodes"
        elif memory_mb is not None and worker.process is not None and worker.episodes:
            used_mb = resident_bytes(worker.process.pid) / 1e6
            reason = f"{used_mb:,.0f} MB resident" if used_mb > memory_mb else ""
        if reason:
            self.incidents.add(worker.index, RECYCLED, reason, steps=self.steps)
        return bool(reason)

    def _limit_s(self, worker: Worker) -> float:
        if not worker.is_up:
            return self._config.start_deadline_s
        return self._config.reset_deadline_s if isinstance(worker.command, Begin) else self._config.step_deadline_s
