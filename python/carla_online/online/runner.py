"""The runner: steps the environments, logs, checkpoints, evaluates and resumes; what is learned isn't its matter."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from carla_online.config import Config
from carla_online.envs.workers.config import SupervisionConfig
from carla_online.errors import CheckpointError, ConfigError, SimulatorError
from carla_online.files import write_bytes_atomically
from carla_online.online.callbacks import Callback
from carla_online.online.checkpoint import (
    Checkpoint,
    checkpoint_path,
    list_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from carla_online.online.intake import InProcessIntake, Intake, Turn
from carla_online.online.metrics import JsonLinesWriter, MetricHub, TensorBoardWriter
from carla_online.online.progress import Progress
from carla_online.online.run_directory import RunDirectory, provenance
from carla_online.online.signals import stop_on_signals
from carla_online.online.trainer import OnlineTrainer, TrainerState, split_prefix
from carla_online.online.window import Interval, Window
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.storage import policy_to_bytes

LAST_POLICY = "policies/last.safetensors"
"""The policy at the last checkpoint, below a run's folder."""


class RunnerConfig(Config):
    """How a run is stepped, logged and kept."""

    total_env_steps: int = Field(200_000, ge=1)
    """Environment steps of the whole run, over all environments and all resumptions."""
    run_dir: str | None = None
    """Where the run is kept; `runs/NAME` if null."""
    log_every_env_steps: int = Field(5_000, ge=1)
    """Environment steps between two lines of metrics."""
    checkpoint_every_env_steps: int = Field(200_000, ge=1)
    """Environment steps between two checkpoints; one is also written at the end and on SIGINT or SIGTERM."""
    keep_checkpoints: int = Field(3, ge=1)
    """Newest checkpoints kept."""
    evaluate_every_env_steps: int = Field(250_000, ge=1)
    """Environment steps between two evaluations on the selection seeds."""
    torch_threads: int = Field(1, ge=1, le=256)
    """Threads of one torch operation. Two beside a busy core were 34 to 59 times slower than one."""
    workers: int = Field(0, ge=0, le=512)
    """Processes that drive, sharing `env.num_envs` evenly, while this one learns; 0 drives and learns in one process,
    which alone can resume bit for bit."""
    weights_every_updates: int = Field(20, ge=1)
    """Gradient steps after which the workers get new weights."""
    lead_updates: int = Field(256, ge=1)
    """Gradient steps that may be owed before the workers wait for the learner."""
    supervision: SupervisionConfig = SupervisionConfig()
    """Deadlines, restarts and limits of the workers."""
    tensorboard: bool = True
    """Write TensorBoard files beside the JSON lines."""


class Evaluator(Protocol):
    """Looks at the policy every now and then."""

    def evaluate(self, env_steps: int, *, transitions: int) -> Mapping[str, float]:
        """Returns metrics by name; may keep the policy if it is the best so far."""
        ...


class CARLAOnlineRunner:
    """Runs a trainer on environments, in one folder that survives the process.

    Args:
        env: Any Gymnasium vector environment with a continuous action space; or another intake of experience.
        trainer: What learns.
        run_dir: The run's folder.
        resume: `auto` goes on from the newest checkpoint if there is one, `must` requires one, `never` requires a
            folder without experience.
        config: The complete configuration, written beside the run and compared on resumption.
        settings: How often to log, checkpoint, evaluate.
        seed: Seeds the environments.
        evaluator: Called every `evaluate_every_env_steps`.
        callbacks: Hooks.
        show_progress: Print a progress display.

    Raises:
        ConfigError: The folder is in use, belongs to another configuration, or contradicts `resume`.
        CheckpointError: The newest checkpoint is damaged.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any] | Intake,
        trainer: OnlineTrainer,
        *,
        run_dir: str | Path,
        resume: Literal["auto", "must", "never"] = "auto",
        config: BaseModel | None = None,
        settings: RunnerConfig | None = None,
        seed: int = 0,
        evaluator: Evaluator | None = None,
        callbacks: Sequence[Callback] = (),
        show_progress: bool = True,
    ) -> None:
        self.trainer = trainer
        self.settings = settings or RunnerConfig()
        self.seed = seed
        self.evaluator = evaluator
        self.callbacks = tuple(callbacks)
        self.env_steps = 0
        self.show_progress = show_progress
        self.recoveries = 0
        self._stop = threading.Event()
        self._start_messages: list[str] = []
        self._intake = env if isinstance(env, Intake) else InProcessIntake(env)
        self.directory = RunDirectory(Path(run_dir))
        try:
            self._open(resume, config)
        except BaseException:
            self.directory.close()
            raise

    def run(self, total_env_steps: int | None = None) -> None:
        """Trains until the run has taken `total_env_steps` (its settings' number if None), or is told to stop.

        SIGINT and SIGTERM end it at the next step boundary, with a checkpoint; a second SIGINT ends it at once.

        Raises:
            SimulatorError: Simulators failed too often; a checkpoint was written.
        """
        total = self.settings.total_env_steps if total_env_steps is None else total_env_steps
        self._stop.clear()
        torch.set_num_threads(self.settings.torch_threads)
        progress = Progress(total, enabled=self.show_progress)
        with progress, stop_on_signals(self._stop):
            for message in self._start_messages:
                progress.message(message)
            self._start_messages = []
            self._remember_target(total)
            try:
                self._loop(total, progress)
            except SimulatorError:
                # What was learned stays, and the report tells what happened.
                self._intake.finish(self.trainer)
                self._tell(progress)
                self._save()
                raise
            self._save()
            if self._stop.is_set() and self.env_steps < total:
                progress.message(
                    f"stopped at {self.env_steps:,} of {total:,} env steps, checkpoint written; "
                    f"go on with: carla-online train --resume {self.directory.path}"
                )

    def extended_total(self, budget: int) -> int:
        """Returns the env steps to run to: the last target if it wasn't reached, else one more budget."""
        target = int((self.directory.read_json("run.json") or {}).get("target_env_steps", 0))
        return max(target, budget) if self.env_steps < max(target, 1) else target + budget

    def stop(self) -> None:
        """Ends `run` at the next step boundary; may be called from a callback or another thread."""
        self._stop.set()

    def close(self) -> None:
        """Closes environments, replay and metric files."""
        self._intake.close()  # before the replay that workers write to
        self.trainer.close()
        self._metrics.close()
        self.directory.close()

    def __enter__(self) -> CARLAOnlineRunner:
        """Returns the runner."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes everything."""
        self.close()

    def _open(self, resume: str, config: BaseModel | None) -> None:
        path = self.directory.path
        if resume == "must" and not self.directory.has_checkpoint:
            raise CheckpointError(f"{path} holds no checkpoint to resume from. Check the folder's name.")
        has_experience = self.directory.has_experience  # the trainer makes a replay, if there is none
        if resume == "never" and has_experience:
            raise ConfigError(f"{path} holds a run already. Choose another folder, or resume it.")
        newest = list_checkpoints(path)[-1:]
        checkpoint = read_checkpoint(newest[0]) if newest else None
        if config is not None:
            self.directory.bind_config(config)
        self.trainer.prepare(self._intake.facts, directory=path)
        if checkpoint is not None:
            self._resume(checkpoint)
        elif has_experience:
            self._recover_without_checkpoint()
        else:
            self._intake.begin(self.trainer, seed=self.seed)
        sinks: list[Any] = [JsonLinesWriter(path / "metrics.jsonl", resume_step=self.env_steps)]
        if self.settings.tensorboard:
            sinks.append(TensorBoardWriter(path / "tensorboard", resume_step=self.env_steps))
        self._metrics = MetricHub(sinks)

    def _remember_target(self, total: int) -> None:
        self.directory.write_json("run.json", provenance(self.seed) | {"target_env_steps": total})

    def _loop(self, total: int, progress: Progress) -> None:
        """The counters alone decide what happens when, never the clock. In this process a turn is one step of all."""
        settings = self.settings
        log = Interval(settings.log_every_env_steps, self.env_steps)
        save = Interval(settings.checkpoint_every_env_steps, self.env_steps)
        evaluate = Interval(settings.evaluate_every_env_steps, self.env_steps)
        window = Window(self.env_steps, self._transitions, self._updates)
        while self.env_steps < total and not self._stop.is_set():
            turn = self._intake.turn(self.trainer, remaining=total - self.env_steps)
            self.trainer.note_episodes(turn.episodes)
            fresh = self.trainer.update()
            self.env_steps += turn.env_steps + self.trainer.take_extra_env_steps()
            window.add(fresh, turn.episodes)
            self._call_back(turn, fresh)
            self._tell(progress)
            progress.detail = self._intake.status()
            progress.update(self.env_steps, window.latest)
            if log.is_due(self.env_steps):
                self._log(window)
            if evaluate.is_due(self.env_steps) and self.env_steps < total:
                self._evaluate()
                window.restart_clock()
            if save.is_due(self.env_steps):
                self._save()
        self.env_steps += self._intake.finish(self.trainer).env_steps
        self._tell(progress)
        if not self._stop.is_set():
            self._evaluate()

    def _call_back(self, turn: Turn, fresh: Mapping[str, float]) -> None:
        for callback in self.callbacks:
            if turn.step is not None:
                callback.on_step(self, turn.step)
            for episode in turn.episodes:
                callback.on_episode(self, episode)
            if fresh:
                callback.on_update(self, fresh)

    def _tell(self, progress: Progress) -> None:
        told = [("guard", message) for message in self.trainer.report()] + self._intake.messages()
        for tag, message in told:
            progress.message(message)
            self._metrics.text(tag, message, self.env_steps)

    def _evaluate(self) -> None:
        if self.evaluator is not None and self._intake.is_driving:
            self._write(self.evaluator.evaluate(self.env_steps, transitions=self._transitions))

    @property
    def _transitions(self) -> int:
        return int(getattr(self.trainer, "transitions", 0))

    @property
    def _updates(self) -> int:
        return int(getattr(self.trainer, "updates", 0))

    def _log(self, window: Window) -> None:
        metrics = window.close(self.env_steps, self._transitions, self._updates)
        metrics |= {"rollout/episodes": float(self._intake.episodes), "time/updates": float(self._updates)}
        metrics |= {"replay/transitions": float(self._transitions)} | self._intake.metrics()
        self._write(metrics)

    def _write(self, metrics: Mapping[str, float]) -> None:
        self._metrics.scalars(metrics, self.env_steps)

    def _save(self) -> None:
        state = self.trainer.state()
        arrays: dict[str, NDArray[np.generic]] = {f"trainer.{name}": value for name, value in state.arrays.items()}
        arrays |= {f"tensor.{name}": value.numpy() for name, value in state.tensors.items()}
        arrays |= self._intake.state()
        counters = {"env_steps": self.env_steps, "recoveries": self.recoveries, "trainer": state.counters}
        path = checkpoint_path(self.directory.path, self._transitions)
        write_checkpoint(path, Checkpoint(arrays, counters))
        prune_checkpoints(self.directory.path, keep=self.settings.keep_checkpoints)
        if isinstance(self.trainer.policy, ActorPolicy):
            write_bytes_atomically(self.directory.path / LAST_POLICY, policy_to_bytes(self.trainer.policy))
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _resume(self, checkpoint: Checkpoint) -> None:
        arrays, counters = checkpoint.arrays, checkpoint.counters
        tensors = {name: torch.from_numpy(np.array(v)) for name, v in split_prefix(arrays, "tensor.").items()}
        state = TrainerState(tensors, split_prefix(arrays, "trainer."), counters["trainer"])
        recovery = self.trainer.load_state(state, same_worlds=self._intake.can_restore)
        self.env_steps, self.recoveries = int(counters["env_steps"]), int(counters["recoveries"])
        if recovery.is_exact:
            self._intake.restore(arrays)
            self._start_messages.append(f"resumed exactly at {self.env_steps:,} env steps")
            return
        self._restart_environments(recovery.kept_transitions, recovery.closed_episodes)

    def _recover_without_checkpoint(self) -> None:
        recovery = self.trainer.recover()
        self._restart_environments(recovery.kept_transitions, recovery.closed_episodes)

    def _restart_environments(self, kept: int, closed: int) -> None:
        self.env_steps += kept * self.trainer.env_steps_per_transition
        self.recoveries += 1
        # Another seed than before, or the same episodes would be driven twice.
        seed = (self.seed + 1_000_003 * (self._transitions + self.recoveries)) % 2**31
        self._intake.begin(self.trainer, seed=seed)
        if kept == 0 and closed == 0:
            if self.env_steps:
                self._start_messages.append(f"resumed at {self.env_steps:,} env steps, with new episodes")
            return
        self._start_messages.append(
            f"recovered at {self.env_steps:,} env steps: kept {kept:,} transitions newer than the checkpoint, ended "
            f"{closed} open episodes as truncated; learning goes on from the checkpoint"
        )
