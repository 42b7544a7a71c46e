"""What a collecting worker does: drive with the newest weights, and append to the run's replay."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from carla_online.envs.seeding import stream_seeds
from carla_online.envs.transitions import TransitionSource, make_vector_env
from carla_online.envs.workers.config import worker_env
from carla_online.errors import CarlaOnlineError, PolicyError
from carla_online.learners.config import SACConfig
from carla_online.online.collector import Collector, Draw
from carla_online.online.episodes import EpisodeTracker
from carla_online.online.experiment import ExperimentConfig, build_policy
from carla_online.online.intake import facts_of, failures_of
from carla_online.online.recording import ReplayRecorder
from carla_online.online.trainer import EnvironmentFacts
from carla_online.online.warmup import Warmup
from carla_online.online.workers.board import STARTING, STORING, WAITING, Board
from carla_online.online.workers.weights import load_weights

_PAUSE_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told when it is started."""

    config_json: str
    """The experiment."""
    index: int
    """Its number."""
    workers: int
    """How many there are."""
    log_dir: Path
    """Where what servers print is kept."""


@dataclass(frozen=True, slots=True)
class Go:
    """What it is told once the replay is there; the board's file descriptor follows."""

    directory: Path
    """The run's folder."""
    lock: Path
    """Guards the counter of transitions."""
    weights: Path
    """Where the newest weights lie."""
    seed: int
    """Seeds its episodes and its exploration; another one at every start."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes that ended, each with its metrics by name."""

    closed: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that the worker can't overcome: it ends."""

    text: str


def collect(connection: Connection[Any, Any], assignment: Assignment) -> None:
    """Runs in the worker process until the learner says stop."""
    try:
        torch.set_num_threads(1)
        config = ExperimentConfig.model_validate_json(assignment.config_json)
        env_config = worker_env(
            config.env,
            assignment.index,
            assignment.workers,
            config.runner.supervision,
            log_dir=assignment.log_dir,
        )
        share = config.env.num_envs // assignment.workers
        # Resets are the source's own calls in this mode, so each call has the deadline that fits it.
        source = TransitionSource(make_vector_env(env_config, share, autoreset_mode=AutoresetMode.DISABLED))
        facts = replace(facts_of(source), capabilities=replace(source.capabilities, exact_restore=False))
        connection.send(facts)
        go: Go = connection.recv()
        board = Board(assignment.workers, go.lock, fd=recv_handle(connection))
        worker = CollectingWorker(config, source, facts, board, go, index=assignment.index)
        worker.run(connection)
        worker.close()
    except (EOFError, BrokenPipeError):
        os._exit(0)
    except Exception as error:
        traceback.print_exc()
        name = "" if isinstance(error, CarlaOnlineError) else f"{type(error).__name__}: "
        with contextlib.suppress(OSError):
            connection.send(Failed(f"{name}{error}"))
        os._exit(1)


class CollectingWorker:
    """Drives some environments.

    Args:
        config: The experiment.
        source: The environments.
        facts: What is known of them.
        board: Shared with the learner.
        go: Where replay and weights lie.
        index: Number of the worker.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        source: TransitionSource,
        facts: EnvironmentFacts,
        board: Board,
        go: Go,
        *,
        index: int,
    ) -> None:
        board.beat(index, STARTING)
        learner = config.learner
        assert isinstance(learner, SACConfig)  # the experiment's schema refuses others
        self._source, self._board, self._go, self._index = source, board, go, index
        self._policy = build_policy(
            config, obs_dim=facts.obs_dim, action_dim=facts.action_dim, birdseye_px=facts.birdseye_px
        )
        self._collector = Collector(
            self._policy,
            num_envs=facts.num_envs,
            action_dim=facts.action_dim,
            reward_terms=len(facts.reward_term_names),
            hold_steps=learner.hold_steps,
            gamma=learner.gamma,
        )
        self._warmup = Warmup(learner.warmup, num_envs=facts.num_envs, action_dim=facts.action_dim, seed=go.seed)
        self._generator = torch.Generator().manual_seed(go.seed)
        self._recorder = ReplayRecorder(
            go.directory,
            facts,
            self._policy,
            capacity_rows=config.replay.capacity_rows,
            first_stream=index * facts.num_envs,
        )
        self._tracker = EpisodeTracker(facts.num_envs)
        self._version = -1
        self._draw: Draw | None = None
        source.before_call = board.marker(index)
        self._obs, info = source.reset(seed=int(stream_seeds(go.seed, 1)[0] % np.uint64(2**31)))
        self._tell_episode(info)

    def run(self, connection: Connection[Any, Any]) -> None:
        """Drives until it is told to stop, or to make room for a fresh process."""
        board = self._board
        while not board.must_stop:
            if not board.may_drive:
                board.beat(self._index, WAITING)
                time.sleep(_PAUSE_S)
                continue
            ended = self._step(connection)
            if board.workers["retire"][self._index] and (ended or self._source.num_envs > 1):
                return

    def close(self) -> None:
        """Gives the replay's blocks back and closes the environments."""
        self._recorder.close()
        self._source.close()

    def _step(self, connection: Connection[Any, Any]) -> bool:
        """Takes one step everywhere; returns whether an episode ended."""
        board, collector = self._board, self._collector
        if int(board.control["weights_version"][0]) != self._version:
            self._version = load_weights(self._go.weights, self._policy)
            board.workers["version"][self._index] = self._version
        if self._draw is None or collector.needs_draw.any():
            self._draw = self._propose()
        step = self._source.step(collector.act(self._obs, self._draw))
        board.beat(self._index, STORING)
        self._obs = step.obs
        closed, rows, next_values = collector.observe(step)
        count = int(closed.sum())
        first = board.reserve(count) if count else 0
        self._recorder.append(step, closed, rows, next_values, first_id=first, version=self._version)
        if count:
            board.workers["last_id"][self._index] = first + count - 1
        episodes = self._tracker.observe(step)
        board.add(self._index, env_steps=int(step.valid.sum()), transitions=count, episodes=len(episodes))
        ended = bool((step.terminated | step.truncated).any())
        # The name of the episode that has just begun comes with its first step.
        self._tell_episode({} if ended else step.info)
        for failure in failures_of(step):
            connection.send(failure)
        if episodes:
            connection.send(Episodes(episodes))
        return ended

    def _propose(self) -> Draw:
        """Asks the policy; while draws are held nobody needs it, which spares most of a single environment's time."""
        collector = self._collector
        draw = collector.propose(self._obs, generator=self._generator)
        if not np.isfinite(draw.squashed).all():
            raise PolicyError("the policy proposes actions that aren't finite; nothing of it reached the simulator.")
        if self._warmup.is_active(self._board.next_id):
            draw = self._warmup.replace(draw, collector.needs_draw, collector.baseline_action(self._obs))
        return draw

    def _tell_episode(self, info: dict[str, Any]) -> None:
        """Leaves the open episode's name on the board, for the case that it ends the process."""
        seeds = info.get("episode_seed")
        if self._source.num_envs == 1:
            self._board.workers["episode_seed"][self._index] = np.uint64(0 if seeds is None else seeds[0])
