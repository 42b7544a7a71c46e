"""Starts the workers, watches them from a thread, and replaces those that hang, die or have had their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, Final

from carla_online.envs.workers.config import SupervisionConfig
from carla_online.envs.workers.incidents import CRASH, ERROR, RECYCLED, TIMEOUT, IncidentLog
from carla_online.envs.workers.process import WorkerProcess, resident_bytes
from carla_online.errors import ConfigError
from carla_online.online.intake import SimulatorFailure
from carla_online.online.trainer import EnvironmentFacts
from carla_online.online.workers.board import PHASES, RESETTING, STARTING, Board
from carla_online.online.workers.collect import Assignment, Episodes, Failed, Go

_TARGET: Final = "carla_online.online.workers.collect:collect"
_LOOK_EVERY_S: Final = 0.02
_WEIGH_EVERY_S: Final = 5.0
_STOP_DEADLINE_S: Final = 20.0


@dataclass(slots=True)
class _Seat:
    """One worker's place, whoever sits in it."""

    index: int
    process: WorkerProcess | None = None
    is_greeted: bool = False
    has_gone: bool = False
    started_s: float = 0.0
    start_at_s: float = 0.0
    starts: int = 0
    episodes_before: int = 0
    steps_seen: int = 0


class WorkerPool:
    """W collecting workers and a thread that watches them.

    Args:
        config_json: The experiment, for the workers.
        count: W.
        supervision: Deadlines, restarts, limits.
        directory: The run's folder; errors and incidents are kept in its `workers/`.
    """

    def __init__(self, config_json: str, count: int, supervision: SupervisionConfig, directory: Path) -> None:
        self.count = count
        self.folder = directory / "workers"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.weights = self.folder / "weights.safetensors"
        self.incidents = IncidentLog(supervision, path=self.folder / "incidents.jsonl")
        self.board = Board(count, self.folder / "ids.lock")
        self._config_json, self._supervision, self._directory = config_json, supervision, directory
        self._seats = [_Seat(index) for index in range(count)]
        self._facts: EnvironmentFacts | None = None
        self._seed: int | None = None
        self._after_end: Callable[[], object] = lambda: None
        self._episodes: list[dict[str, float]] = []
        self._told = 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._weighed_s = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker-pool", daemon=True)
        self._thread.start()

    def facts(self) -> EnvironmentFacts:
        """Waits for the first worker and returns what it says of its environments.

        Raises:
            ConfigError: The environments can't be made.
            SimulatorError: No worker could be started.
        """
        while self._facts is None:
            self.check()
            time.sleep(_LOOK_EVERY_S)
        return self._facts

    def begin(self, *, next_id: int, seed: int, after_end: Callable[[], object]) -> None:
        """Lets the workers drive; the replay and the first weights are there.

        Args:
            next_id: Number of the next transition.
            seed: Of all workers' episodes and exploration.
            after_end: Called when a worker has ended in disorder, from the watching thread: ends its open episodes.
        """
        self.board.control["next_id"] = next_id
        self._after_end = after_end
        with self._lock:
            self._seed = seed

    def check(self) -> None:
        """Raises what stopped the watching.

        Raises:
            SimulatorError: Failures have become the rule.
            ConfigError: The environments can't be made.
        """
        if self._error is not None:
            raise self._error

    def take_episodes(self) -> list[dict[str, float]]:
        """Returns and forgets the episodes that ended."""
        with self._lock:
            episodes, self._episodes = self._episodes, []
        return episodes

    def take_messages(self) -> list[str]:
        """Returns the incidents since the last call, a line each."""
        with self._lock:
            total = sum(self.incidents.counts.values())
            fresh = list(self.incidents.recent)[len(self.incidents.recent) - (total - self._told) :]
            self._told = total
        return [str(incident) for incident in fresh]

    @property
    def env_steps(self) -> int:
        """Environment steps of all workers."""
        return int(self.board.workers["env_steps"].sum())

    @property
    def pids(self) -> list[int | None]:
        """Process ids of the workers; None where one is being restarted."""
        return [None if seat.process is None else seat.process.pid for seat in self._seats]

    def describe(self) -> list[dict[str, Any]]:
        """Returns what each worker does, as plain values."""
        rows = []
        for seat, numbers in zip(self._seats, self.board.workers, strict=True):
            phase = PHASES[int(numbers["phase"])] if seat.has_gone else "starting"
            rows.append(
                {
                    "worker": seat.index,
                    "pid": None if seat.process is None else seat.process.pid,
                    "state": "waiting to be restarted" if seat.process is None else phase,
                    "starts": seat.starts,
                    "env_steps": int(numbers["env_steps"]),
                    "transitions": int(numbers["transitions"]),
                    "episodes": int(numbers["episodes"]),
                    "policy_version": int(numbers["version"]),
                }
            )
        return rows

    def stop(self) -> None:
        """Has the workers end at their next step, and kills those that don't; further calls do nothing."""
        if self._is_over.is_set():
            return
        self.board.control["stop"] = 1
        self._is_over.set()
        self._thread.join()
        until_s = time.monotonic() + _STOP_DEADLINE_S
        for seat in self._seats:
            if seat.process is None:
                continue
            if seat.has_gone:
                while not seat.process.wait(0.02) and time.monotonic() < until_s:
                    self._listen(seat)
                if seat.process.exit_code is not None:
                    self._listen(seat)
            seat.process.kill()
            seat.process = None

    def close(self) -> None:
        """Stops, and lets go of the board."""
        self.stop()
        self.board.close()

    def _watch(self) -> None:
        try:
            while not self._is_over.wait(_LOOK_EVERY_S):
                for seat in self._seats:
                    self._look_at(seat)
                self._retire()
        except BaseException as error:  # handed to the learner, which asks with `check`
            self._error = error

    def _look_at(self, seat: _Seat) -> None:
        now_s = time.monotonic()
        if seat.process is None:
            if seat.start_at_s <= now_s:
                self._start(seat)
            return
        is_gone = not self._listen(seat)
        if seat.process is None:
            return
        if is_gone or seat.process.exit_code is not None:
            self._bury(seat)
            return
        if seat.is_greeted and not seat.has_gone and self._seed is not None:
            self._send_off(seat, self._seed)
        late_s = self._late_by_s(seat, now_s)
        if late_s is not None:
            self._fail(seat, TIMEOUT, f"{self._phase(seat)} took longer than its deadline of {late_s:g} s")
            return
        steps = int(self.board.workers["env_steps"][seat.index])
        if steps > seat.steps_seen:
            seat.steps_seen = steps
            self.incidents.worked(seat.index)

    def _late_by_s(self, seat: _Seat, now_s: float) -> float | None:
        """Returns the deadline that the worker has missed, or None."""
        limits, numbers = self._supervision, self.board.workers[seat.index]
        if not seat.has_gone:
            # One that has greeted waits for the learner, which takes its time.
            missed = not seat.is_greeted and now_s - seat.started_s > limits.start_deadline_s
            return limits.start_deadline_s if missed else None
        phase = int(numbers["phase"])
        limit_s = limits.step_deadline_s
        if phase in (STARTING, RESETTING):
            limit_s = limits.start_deadline_s if phase == STARTING else limits.reset_deadline_s
        return limit_s if now_s - float(numbers["beat_s"]) > limit_s else None

    def _phase(self, seat: _Seat) -> str:
        return PHASES[int(self.board.workers["phase"][seat.index])] if seat.has_gone else "starting"

    def _listen(self, seat: _Seat) -> bool:
        """Reads what the worker has sent; returns whether the connection still stands."""
        assert seat.process is not None
        try:
            while seat.process is not None and seat.process.connection.poll():
                self._hear(seat, seat.process.connection.recv())
        except (EOFError, OSError):
            return False
        return True

    def _hear(self, seat: _Seat, message: object) -> None:
        if isinstance(message, EnvironmentFacts):
            seat.is_greeted, self._facts = True, self._facts or message
        elif isinstance(message, Episodes):
            with self._lock:
                self._episodes += message.closed
        elif isinstance(message, SimulatorFailure):
            with self._lock:
                self.incidents.add(
                    seat.index, message.kind, message.reason, steps=self.env_steps, episode_seed=message.episode_seed
                )
            self.incidents.check(seat.index, self.env_steps)
        elif isinstance(message, Failed):
            if self._is_over.is_set():
                return
            if self._facts is None:
                # Most likely a mistake in the configuration: the same would happen at every further start.
                raise ConfigError(f"worker {seat.index} can't make its environments: {message.text}")
            self._fail(seat, ERROR, message.text)

    def _bury(self, seat: _Seat) -> None:
        """Handles a process that has ended by itself: retired in good order, or crashed."""
        assert seat.process is not None
        seat.process.wait(5.0)
        if seat.process.exit_code == 0 and self.board.workers["retire"][seat.index]:
            self.board.workers["retire"][seat.index] = 0
            self._clear(seat)
            self._after_end()
        else:
            self._fail(seat, CRASH, seat.process.describe_end())

    def _fail(self, seat: _Seat, kind: str, reason: str) -> None:
        was_driving = seat.has_gone
        episode = int(self.board.workers["episode_seed"][seat.index]) if was_driving else 0
        self._clear(seat)
        self.board.workers["retire"][seat.index] = 0
        with self._lock:
            self.incidents.add(seat.index, kind, reason, steps=self.env_steps, episode_seed=episode or None)
            seat.start_at_s = time.monotonic() + self.incidents.backoff_s(seat.index)
        if was_driving:
            self._after_end()
        self.incidents.check(seat.index, self.env_steps)

    def _clear(self, seat: _Seat) -> None:
        assert seat.process is not None
        seat.process.kill()
        seat.process, seat.is_greeted, seat.has_gone, seat.start_at_s = None, False, False, time.monotonic()

    def _start(self, seat: _Seat) -> None:
        assignment = Assignment(self._config_json, seat.index, self.count, self.folder)
        stderr = self.folder / f"worker-{seat.index}.stderr"
        seat.process = WorkerProcess(_TARGET, assignment, index=seat.index, stderr=stderr)
        seat.started_s, seat.starts = time.monotonic(), seat.starts + 1
        seat.episodes_before = int(self.board.workers["episodes"][seat.index])

    def _send_off(self, seat: _Seat, seed: int) -> None:
        """Tells a worker that is ready where to write, with a seed that no start before it had."""
        assert seat.process is not None
        own = (seed + 7_919 * (seat.starts - 1) * self.count + 104_729 * (seat.index + 1)) % 2**31
        go = Go(self._directory, self.folder / "ids.lock", self.weights, own)
        self.board.beat(seat.index, STARTING)
        try:
            seat.process.connection.send(go)
            send_handle(seat.process.connection, self.board.fd, seat.process.pid)
        except OSError:
            self._fail(seat, CRASH, seat.process.describe_end())
            return
        seat.has_gone = True

    def _retire(self) -> None:
        """Asks workers that have had their time to end after the episode; the same seat gets a fresh process."""
        limits, now_s = self._supervision, time.monotonic()
        weighs = limits.recycle_memory_mb is not None and now_s - self._weighed_s > _WEIGH_EVERY_S
        if weighs:
            self._weighed_s = now_s
        for seat in self._seats:
            if seat.process is None or not seat.has_gone or self.board.workers["retire"][seat.index]:
                continue
            episodes = int(self.board.workers["episodes"][seat.index]) - seat.episodes_before
            used_mb = resident_bytes(seat.process.pid) / 1e6 if weighs else 0.0
            if limits.recycle_episodes is not None and episodes >= limits.recycle_episodes:
                reason = f"{episodes} episodes"
            elif limits.recycle_memory_mb is not None and episodes and used_mb > limits.recycle_memory_mb:
                reason = f"{used_mb:,.0f} MB resident"
            else:
                continue
            with self._lock:
                self.incidents.add(seat.index, RECYCLED, reason, steps=self.env_steps)
            self.board.workers["retire"][seat.index] = 1
