"""Stands between a learner and the policy that drives: looks, publishes, takes back."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carla_online.envs.transitions import Step
from carla_online.learners.sac import SACLearner, TransitionBatch
from carla_online.online.fresh import Arrays
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.health import LearnerHealth
from carla_online.online.rule import OwnRule
from carla_online.online.trainer import split_prefix
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import Policy
from carla_online.policies.networks import gaussian_kl
from carla_online.replay import ReplayBuffer


class Supervision:
    """Lets the guard look at an off-policy learner and does what it says.

    A policy with a head gets the learner's weights only after a look that had nothing against them; a policy with a
    rule of its own drives with whatever the rule makes of it.

    Args:
        policy: What drives.
        learner: What learns: for a policy with a head, on a copy of it.
        config: Settings of the guard.
        q_limit: Largest |Q| that can be reached, or None.
    """

    def __init__(
        self, policy: Policy, learner: SACLearner | OwnRule, *, config: GuardConfig, q_limit: float | None
    ) -> None:
        self.guard = StabilityGuard(config, q_limit=q_limit)
        self.guard.keep(learner.state_dict(), step_id=0, updates=0)
        self._policy = policy
        self._learner = learner
        self._initial_head = _frozen_head(policy)
        self._health: LearnerHealth | None = None
        self._messages: list[str] = []

    def prepare(self, *, num_envs: int, discount: float, replay: ReplayBuffer) -> None:
        """Makes ready for N environments whose transitions go into `replay`."""
        self.guard.prepare(num_envs)
        self._replay = replay
        if isinstance(self._learner, SACLearner):
            self._health = LearnerHealth(self._learner, num_envs=num_envs, discount=discount)

    def observe(self, step: Step, closed: NDArray[np.bool_], rows: Arrays, next_values: Arrays) -> None:
        """Takes in one step of all environments and the transitions that it completed."""
        self.guard.observe(step)
        if self._health is not None and closed.any():
            self._health.observe(closed, rows, next_values, step.terminated | step.truncated)

    def look(
        self, batch: TransitionBatch, newest: Mapping[str, Tensor], *, updates: int, transitions: int, with_actor: bool
    ) -> dict[str, float]:
        """Adds drift and health to the newest metrics of the learner and lets the guard judge.

        Args:
            batch: A batch from the replay.
            newest: The learner's metrics.
            updates: Updates that were due so far.
            transitions: Number of the next transition.
            with_actor: Whether the actor learns already.

        Returns:
            All finite metrics by name.
        """
        metrics = {name: float(value) for name, value in newest.items()} if self.guard.may_learn else {}
        if self._health is not None:
            metrics |= self._health.metrics(batch, seed=updates)
        if with_actor:
            metrics |= self._drift(batch)
        if not self.intervene(metrics, updates=updates, transitions=transitions) and self.guard.may_publish:
            self._publish()
        counts = {"guard_rollbacks": float(self.guard.rollbacks), "guard_warnings": float(self.guard.warnings)}
        return {name: value for name, value in metrics.items() if math.isfinite(value)} | counts

    def intervene(self, metrics: Mapping[str, float], *, updates: int, transitions: int) -> bool:
        """Lets the guard judge metrics; returns whether the learner went back to a good state."""
        rollback = self.guard.look(
            metrics,
            updates=updates,
            step_id=transitions,
            save=self._learner.state_dict,
            restore=self._learner.load_state_dict,
        )
        if rollback is None:
            return False
        factor = self.guard.config.lr_factor**self.guard.in_a_row
        self._learner.scale_learning_rates(factor)
        self._publish()
        quarantined = self._replay.quarantine(rollback.first_bad_step_id, transitions)
        if rollback.is_new:
            if self._health is not None:
                self._health.forget()
            self._messages.append(
                f"guard: {rollback.reason}; went back to the state after {rollback.back_to_updates:,} updates, "
                f"step sizes times {factor:g}, {quarantined:,} transitions quarantined"
                + ("; learning is frozen, the policy drives on as it is" if rollback.frozen else "")
            )
        return True

    def ensure_finite(self, *, updates: int, transitions: int) -> bool:
        """Takes back weights that aren't finite, so that no checkpoint holds them; returns whether it did."""
        state = self._learner.state_dict()
        broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if not broken:
            return False
        return self.intervene(dict.fromkeys(broken[:1], math.nan), updates=updates, transitions=transitions)

    def take_messages(self) -> list[str]:
        """Returns and forgets what was done since the last call, a line each."""
        messages, self._messages = self._messages, []
        return messages

    def tensors(self) -> dict[str, Tensor]:
        """Returns the good states and the heads beside the learner's, by name."""
        tensors = {f"guard.{name}": value for name, value in self.guard.tensors().items()}
        if self._initial_head is not None and isinstance(self._policy, ActorPolicy):
            tensors |= {f"initial_head.{name}": value for name, value in self._initial_head.state_dict().items()}
            # A stop can fall between two looks: what drives isn't what learns.
            tensors |= {f"driving_head.{name}": value for name, value in self._policy.head.state_dict().items()}
        return tensors

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Returns what was observed, as arrays by name."""
        arrays = {f"watch.{name}": value for name, value in self.guard.arrays().items()}
        if self._health is not None:
            arrays |= {f"health.{name}": value for name, value in self._health.state_dict().items()}
        return arrays

    def load(self, counters: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
        """Restores the guard's `state_dict()` and `tensors()`."""
        self.guard.load_state_dict(counters, below(tensors, "guard."))
        if self._initial_head is not None and isinstance(self._policy, ActorPolicy):
            self._initial_head.load_state_dict(below(tensors, "initial_head."))
            self._policy.head.load_state_dict(below(tensors, "driving_head."))

    def load_arrays(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Restores `arrays()`; only for environments that go on exactly where they were."""
        self.guard.load_arrays(split_prefix(arrays, "watch."))
        if self._health is not None:
            self._health.load_state_dict(split_prefix(arrays, "health."))

    def _drift(self, batch: TransitionBatch) -> dict[str, float]:
        """Returns how far the head is from the first one and, while it learns, from the one that drives."""
        if self._initial_head is None or not isinstance(self._policy, ActorPolicy):
            return {}
        assert isinstance(self._learner, SACLearner)  # a policy with a head has this learner
        with torch.no_grad():
            inputs = self._policy.inputs(batch.obs, batch.baseline_action)
            head = self._learner.policy.head(inputs)
            drift = {"kl_to_initial": float(gaussian_kl(*head, *self._initial_head(inputs)).mean())}
            if self.guard.may_learn:
                drift["kl_to_previous"] = float(gaussian_kl(*head, *self._policy.head(inputs)).mean())
        return drift

    def _publish(self) -> None:
        """Lets the learner's weights drive."""
        if isinstance(self._learner, SACLearner) and isinstance(self._policy, ActorPolicy):
            self._policy.head.load_state_dict(self._learner.policy.head.state_dict())


def _frozen_head(policy: Policy) -> torch.nn.Module | None:
    return copy.deepcopy(policy.head).requires_grad_(False) if isinstance(policy, ActorPolicy) else None


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
