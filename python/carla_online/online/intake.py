"""Where a run's experience comes from: environments in this process, workers, or earlier buffers alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from carla_online.envs.contract import REWARD_TERM_NAMES, TEXT_KEYS
from carla_online.envs.transitions import Step, TransitionSource
from carla_online.envs.workers.incidents import IncidentLog, server_failures
from carla_online.errors import CapabilityError
from carla_online.online.episodes import EpisodeTracker
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer, split_prefix

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What came in since the turn before."""

    env_steps: int
    """Environment steps."""
    episodes: list[dict[str, float]] = field(default_factory=list)
    """The episodes that ended, each with its metrics by name."""
    step: Step | None = None
    """The step, where it was taken in this process."""


class Intake(ABC):
    """Brings experience to a trainer, a turn at a time."""

    can_restore = False
    """Whether `state` holds the worlds themselves, so that a run goes on bit for bit."""
    is_driving = True
    """Whether anything is driven, so that evaluations make sense."""
    episodes = 0
    """Episodes that ended so far."""

    @property
    @abstractmethod
    def facts(self) -> EnvironmentFacts:
        """What a trainer must know of the environments."""

    @abstractmethod
    def begin(self, trainer: OnlineTrainer, *, seed: int) -> None:
        """Begins new episodes; the trainer is prepared and holds the state to go on from."""

    @abstractmethod
    def turn(self, trainer: OnlineTrainer, *, remaining: int) -> Turn:
        """Hands the trainer what has come in; `trainer.update` follows. `remaining`: env steps left of the run."""

    def finish(self, trainer: OnlineTrainer) -> Turn:
        """Ends collecting in good order, before the last checkpoint, and hands over what came in last."""
        return Turn(0)

    def state(self) -> Arrays:
        """Returns what the experience to come depends on, arrays by name."""
        return {}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Goes on exactly from a `state`; only called where `can_restore`.

        Raises:
            CapabilityError: It can't put its worlds back.
        """
        raise CapabilityError(
            f"{type(self).__name__} can't put its worlds back as they were: ask `can_restore` first, and begin new "
            "episodes with `begin` where it is False."
        )

    def metrics(self) -> dict[str, float]:
        """Returns metrics of its own by tag."""
        return {}

    def messages(self) -> list[tuple[str, str]]:
        """Returns and forgets what a person should read, as (tag, text)."""
        return []

    def status(self) -> list[str]:
        """Returns who does what at this moment, a line each."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Lets go of environments and processes."""


class InProcessIntake(Intake):
    """Steps a vector environment in this process.

    Args:
        env: Any vector environment with a continuous action space.
        incidents: Keeps count of the simulators' failures, and stops the run where they become the rule.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, incidents: IncidentLog | None = None) -> None:
        self.source = TransitionSource(env)
        self._incidents = incidents
        self._untold: list[str] = []
        self._steps = 0
        self._tracker = EpisodeTracker(self.source.num_envs)
        self.can_restore = self.source.capabilities.exact_restore

    @property
    def facts(self) -> EnvironmentFacts:
        """What a trainer must know of the environments."""
        source = self.source
        return facts_of(source, environments=source if self.can_restore else None)

    def begin(self, trainer: OnlineTrainer, *, seed: int) -> None:
        """Resets all environments."""
        self._obs, _ = self.source.reset(seed=seed, rows_per_sequence=trainer.rows_per_sequence)

    def turn(self, trainer: OnlineTrainer, *, remaining: int) -> Turn:
        """Takes one step in every environment."""
        step = self.source.step(trainer.act(self._obs))
        trainer.observe(step)
        self._obs = step.obs
        episodes = self._tracker.observe(step)
        self.episodes = self._tracker.episodes
        self._note_failures(step)
        return Turn(int(step.valid.sum()), episodes, step)

    def metrics(self) -> dict[str, float]:
        """Returns the simulators' failures, where they are counted."""
        log = self._incidents
        if log is None:
            return {}
        rate = log.failures_per_1000_steps(self._steps)
        return {"workers/failures": float(log.failures), "workers/failures_per_1000_steps": rate}

    def messages(self) -> list[tuple[str, str]]:
        """Returns the failures since the last call."""
        told, self._untold = self._untold, []
        return [("workers", text) for text in told]

    def _note_failures(self, step: Step) -> None:
        """Counts failures; raises a `SimulatorError` with what happened where there are too many."""
        log = self._incidents
        if log is None:
            return
        self._steps += int(step.valid.sum())
        failed = failures_of(step)
        for row in np.flatnonzero(step.valid).tolist():
            if not any(row == failure.row for failure in failed):
                log.worked(row)
        for failure in failed:
            incident = log.add(
                failure.row, failure.kind, failure.reason, steps=self._steps, episode_seed=failure.episode_seed
            )
            self._untold.append(str(incident))
            log.check(failure.row, self._steps)

    def state(self) -> Arrays:
        """Returns the worlds, where they can be stored, and the open episodes."""
        arrays: Arrays = {f"episodes.{name}": value for name, value in self._tracker.state_dict().items()}
        if self.can_restore:
            arrays |= {f"env.{name}": value for name, value in self.source.snapshot().items()}
        return arrays

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Puts worlds and open episodes back."""
        arrays = dict(state)
        self._tracker.load_state_dict(split_prefix(arrays, "episodes."))
        self.episodes = self._tracker.episodes
        self._obs = self.source.restore(split_prefix(arrays, "env."))

    def close(self) -> None:
        """Closes the environments."""
        self.source.close()


@dataclass(frozen=True, slots=True)
class SimulatorFailure:
    """A simulator's failure that an environment tells of."""

    row: int
    """The environment."""
    kind: str
    """`timeout`, `crash` or `error`."""
    reason: str
    """When it failed."""
    episode_seed: int | None
    """The episode, where it has a name."""


def failures_of(step: Step) -> list[SimulatorFailure]:
    """Returns how simulators failed in a step, or before an episode's first one."""
    texts = {name: step.info[name] for name in TEXT_KEYS if name in step.info}
    seeds = step.info.get("episode_seed")
    return [
        SimulatorFailure(row, kind, reason, None if seeds is None else int(seeds[row]))
        for row in np.flatnonzero(step.valid).tolist()
        for kind, reason in server_failures({name: column[row] for name, column in texts.items()})
    ]


def facts_of(source: TransitionSource, *, environments: TransitionSource | None = None) -> EnvironmentFacts:
    """Returns what a trainer must know of environments.

    Args:
        source: The environments.
        environments: They themselves, for a trainer's excursions, or None.
    """
    slice_names = tuple(getattr(source.env.unwrapped, "slice_names", ("default",)))
    return EnvironmentFacts(
        num_envs=source.num_envs,
        obs_dim=source.obs_dim,
        action_dim=source.action_dim,
        reward_term_names=REWARD_TERM_NAMES if source.capabilities.reward_terms else (),
        capabilities=source.capabilities,
        slice_name=slice_names[0],
        environments=environments,
        slice_names=slice_names,
        birdseye_px=source.layout.birdseye_px,
        backbone=getattr(source.env.unwrapped, "backbone_fingerprint", None),
    )
