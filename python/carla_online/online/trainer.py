"""What every online trainer is: it acts, observes, updates, and can be saved; it steps nothing itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from carla_online.envs.contract import Capabilities
from carla_online.envs.observations import ObservationArray
from carla_online.envs.transitions import Step
from carla_online.online.branches import BranchingEnvironments
from carla_online.policies.contract import FloatArray, Policy


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """What a trainer must know about the environments that a runner will step."""

    num_envs: int
    obs_dim: int
    action_dim: int
    reward_term_names: tuple[str, ...]
    capabilities: Capabilities
    slice_name: str
    """Tags the experience made here: map, scenario or traffic, weather class"""
    environments: BranchingEnvironments | None = None
    """The environments themselves, for excursions between two steps that end where they began; None where they can't be
    put back exactly"""
    slice_names: tuple[str, ...] = ()
    """Where episodes differ: the name for each `info["slice_index"]`; the first is `slice_name`"""
    birdseye_px: int | None = None
    """Pixels along each side of the view from above that observations hold, or None"""
    backbone: str | None = None
    """Fingerprint of the frozen network whose features observations hold, or None"""


@dataclass(slots=True)
class TrainerState:
    """A trainer's complete state: tensors and arrays by name, and JSON-able counters."""

    tensors: dict[str, Tensor]
    arrays: dict[str, NDArray[np.generic]]
    counters: dict[str, object]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `load_state` found when it looked at experience beside the checkpoint."""

    is_exact: bool
    """True if the run goes on bit for bit as if it had never stopped"""
    kept_transitions: int
    """Acknowledged transitions newer than the checkpoint, kept"""
    closed_episodes: int
    """Episodes left open by a kill, now ended as truncated"""


class OnlineTrainer(ABC):
    """Learns. Owns policy, learner, replay or window, the schedule of updates and the guard.

    A runner calls `prepare` once and then, in turn, `act`, `observe`, `update`.
    """

    policy: Policy

    @abstractmethod
    def prepare(self, facts: EnvironmentFacts, *, directory: Path) -> None:
        """Opens what the trainer keeps on disk below `directory` and refuses environments it can't learn from.

        Raises:
            CapabilityError: The environment lacks something the trainer needs.
            SchemaMismatch: Experience of another shape lies in the directory.
        """

    @abstractmethod
    def act(self, obs: ObservationArray) -> FloatArray:
        """Returns the proposed actions, float32 [N, A] in [-1, 1], for observations as in `Step.obs`."""

    @abstractmethod
    def observe(self, step: Step) -> int:
        """Takes in one step of all environments and returns how many transitions it completed.

        When it returns, they are acknowledged: a kill of the process doesn't lose them.
        """

    @abstractmethod
    def update(self) -> dict[str, float]:
        """Does the updates that are due and returns fresh metrics by name, or none."""

    def note_episodes(self, episodes: Sequence[Mapping[str, float]]) -> None:
        """Takes note of episodes that ended, each with its metrics by name; `return` is one of them."""
        return

    def take_extra_env_steps(self) -> int:
        """Returns the environment steps that the trainer took by itself since the last call (branches, for one)."""
        return 0

    @property
    def rows_per_sequence(self) -> int:
        """Neighbouring environments that drive the same sequence of episodes; 1 where each drives its own."""
        return 1

    @property
    @abstractmethod
    def env_steps_per_transition(self) -> int:
        """Environment steps that a transition spans at most."""

    @abstractmethod
    def report(self) -> list[str]:
        """Returns and forgets what happened since the last call that a person should read, a line each."""

    @abstractmethod
    def state(self) -> TrainerState:
        """Returns everything that the trainer's future depends on, apart from what its directory holds."""

    @abstractmethod
    def load_state(self, state: TrainerState, *, same_worlds: bool) -> Recovery:
        """Restores a state and squares it with the experience on disk.

        Args:
            state: What `state` returned.
            same_worlds: The environments will be restored too; if not, open episodes end as truncated.

        Raises:
            CheckpointError: The state belongs to another configuration.
        """

    @abstractmethod
    def recover(self) -> Recovery:
        """Goes on from experience on disk that has no checkpoint beside it."""

    @abstractmethod
    def close(self) -> None:
        """Releases files; the trainer can't be used afterwards."""


def split_prefix(mapping: Mapping[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.generic]]:
    """Returns the entries whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in mapping.items() if name.startswith(prefix)}
