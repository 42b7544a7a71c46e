"""Soft actor-critic on the executed action: one update fits one screen."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from carla_online.errors import CheckpointError
from carla_online.learners.config import SACConfig
from carla_online.learners.critics import CriticEnsemble
from carla_online.learners.optimisers import (
    Movement,
    gradient_step,
    load_optimiser_state,
    optimiser_state,
    tensors_below,
)
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.networks import squash

_LEAST_SPREAD: Final = 1e-6
"""Variances of targets below this, in squared rewards, are as good as none."""


@dataclass(frozen=True, slots=True)
class TransitionBatch:
    """A batch of transitions as the learner sees them; all float32 torch tensors with leading dimension B."""

    obs: Tensor
    """[B, D]"""
    baseline_action: Tensor
    """[B, A]"""
    executed_action: Tensor
    """[B, A]: what the simulator was given, after safety layer and clipping"""
    reward: Tensor
    """[B]: discounted sum of the rewards up to `next_obs`"""
    discount: Tensor
    """[B]: factor on the value of `next_obs`; 0 where the episode terminated, gamma^k otherwise"""
    next_obs: Tensor
    """[B, D]: the true next observation, also where the episode was truncated"""
    next_baseline_action: Tensor
    """[B, A]"""
    birdseye: Tensor | None = None
    """uint8 [B, P, P]: views from above, one bit a plane, or None"""
    next_birdseye: Tensor | None = None
    """uint8 [B, P, P]"""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> TransitionBatch:
        """Makes a batch that shares memory with a sampler's output arrays."""
        names = {"reward": "n_step_reward"}
        fields = {name: names.get(name, name) for name in cls.__dataclass_fields__}
        return cls(**{name: torch.from_numpy(arrays[key]) for name, key in fields.items() if key in arrays})


class SACLearner:
    """Owns the critics, the temperature and the optimisers, and trains the policy's head.

    Args:
        policy: Its head is the actor; its `compose` gives the action that the critic sees.
        config: Settings.
        generator: Source of the initial weights and of all later noise.
    """

    def __init__(self, policy: ActorPolicy, *, config: SACConfig, generator: torch.Generator) -> None:
        self.policy = policy
        self.config = config
        self.generator = generator
        self.critic = CriticEnsemble(
            config.critics, policy.state_dim + policy.action_dim, hidden_sizes=config.hidden_sizes, generator=generator
        )
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        # The critic trains the encoder, and its target network has one of its own.
        self.encoder = policy.encoder
        self.target_encoder = None if self.encoder is None else copy.deepcopy(self.encoder).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(config.initial_temperature).log())
        entropy = config.target_entropy
        self.target_entropy = -0.5 * policy.action_dim if entropy is None else entropy
        self.updates = 0
        self.actor_optimiser = torch.optim.Adam(policy.head.parameters(), lr=config.actor_lr, fused=True)
        self._critic_parameters: list[Tensor] = [*self.critic.parameters(), *_parameters(self.encoder)]
        self._target_parameters: list[Tensor] = [*self.target_critic.parameters(), *_parameters(self.target_encoder)]
        self.critic_optimiser = torch.optim.Adam(self._critic_parameters, lr=config.critic_lr, fused=True)
        self._critic_movement = Movement(self._critic_parameters)
        self._actor_movement = Movement(list(policy.head.parameters()))
        self.temperature_optimiser = torch.optim.Adam([self.log_temperature], lr=config.temperature_lr, fused=True)

    @property
    def temperature(self) -> Tensor:
        """The entropy weight, a scalar without gradient."""
        return self.log_temperature.detach().exp()

    def update(self, batch: TransitionBatch, *, train_actor: bool = True) -> dict[str, Tensor]:
        """Does one update of the critics and, every `actor_every`-th time, of actor and temperature.

        Source: equation numbers of https://arxiv.org/abs/1812.05905.

        Returns:
            Scalar tensors by name; reading one waits for nothing on a CPU.
        """
        state = self.policy.inputs(batch.obs, batch.baseline_action, batch.birdseye)

        # Critic: J_Q (5) with the target of (6); the critic sees the executed action.
        target = self._target(batch)
        q = self.critic(state, batch.executed_action)
        critic_loss = (q - target).square().mean(dim=1).sum()
        critic_norm = gradient_step(
            self.critic_optimiser, critic_loss, self._critic_parameters, self.config.critic_grad_clip
        )
        # Target network: psi <- tau Q + (1 - tau) psi.
        with torch.no_grad():
            torch._foreach_lerp_(self._target_parameters, self._critic_parameters, self.config.target_rate)
        metrics = {"q_loss": critic_loss, "q_mean": q.mean(), "q_max": q.abs().max(), "q_grad_norm": critic_norm}
        metrics |= {"critic_step": self._critic_movement.measure(), "q_fit": _fit(q.detach(), target)}

        if train_actor and self.updates % self.config.actor_every == 0:
            # Actor: J_pi (9), reparametrised: E[temperature log pi - min Q].
            self.critic.requires_grad_(False)
            state = state.detach()
            squashed, logp = self._draw(state)
            q_new = self.critic(state, self.policy.compose(batch.baseline_action, squashed)).amin(dim=0)
            actor_loss = (self.temperature * logp - q_new).mean()
            actor_norm = gradient_step(
                self.actor_optimiser, actor_loss, list(self.policy.head.parameters()), self.config.actor_grad_clip
            )
            self.critic.requires_grad_(True)
            # Temperature: J(alpha) (18).
            self._update_temperature(logp.detach())
            metrics["actor_step"] = self._actor_movement.measure()
            saturation = (squashed.abs() > 0.99).float().mean()
            metrics |= {"actor_loss": actor_loss, "actor_grad_norm": actor_norm, "entropy": -logp.mean()}
            metrics |= {"saturation": saturation, "temperature": self.temperature}
        self.updates += 1
        return {name: value.detach() for name, value in metrics.items()}

    def _target(self, batch: TransitionBatch) -> Tensor:
        """Returns r + discount * (min Q_target(s', a') - temperature log pi(a'|s')), clipped, [B]."""
        with torch.no_grad():
            next_state = self.policy.inputs(
                batch.next_obs, batch.next_baseline_action, batch.next_birdseye, encoder=self.target_encoder
            )
            squashed, logp = self._draw(next_state)
            next_action = self.policy.compose(batch.next_baseline_action, squashed)
            next_q: Tensor = self.target_critic(next_state, next_action)
            if self.config.target_subset is not None:
                chosen = torch.randperm(self.config.critics, generator=self.generator)[: self.config.target_subset]
                next_q = next_q[chosen]
            target = batch.reward + batch.discount * (next_q.amin(dim=0) - self.temperature * logp)
            return target if self.config.value_bounds is None else target.clamp(*self.config.value_bounds)

    @torch.no_grad()
    def expected_reward(self, batch: TransitionBatch) -> Tensor:
        """Returns what the critics let expect as each transition's reward, [B]; takes no random number.

        That is the mean Q(s, a) less the discounted value of s': min Q_target(s', a') for the policy's mean action a',
        and the entropy aimed at.
        """
        state = self.policy.inputs(batch.obs, batch.baseline_action, batch.birdseye)
        next_state = self.policy.inputs(
            batch.next_obs, batch.next_baseline_action, batch.next_birdseye, encoder=self.target_encoder
        )
        next_action = self.policy.compose(batch.next_baseline_action, self.policy.head(next_state)[0].tanh())
        following = self.target_critic(next_state, next_action).amin(dim=0) + self.temperature * self.target_entropy
        expected: Tensor = self.critic(state, batch.executed_action).mean(dim=0) - batch.discount * following
        return expected

    def _update_temperature(self, logp: Tensor) -> None:
        if self.config.temperature_lr == 0.0:
            return
        loss = -self.log_temperature.exp() * (logp + self.target_entropy).mean()
        self.temperature_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.temperature_optimiser.step()
        low, high = self.config.temperature_bounds
        with torch.no_grad():
            self.log_temperature.clamp_(torch.tensor(low).log(), torch.tensor(high).log())

    def _draw(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the head's squashed output [B, A] and its log density [B] for states [B, S]."""
        mean, log_std = self.policy.head(state)
        return squash(mean, log_std, torch.randn(mean.shape, generator=self.generator))

    def scale_learning_rates(self, factor: float) -> None:
        """Multiplies every optimiser's step size by `factor`."""
        for optimiser in self._optimisers().values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything that the next update depends on, as tensors by dotted name."""
        state = {f"head.{name}": value for name, value in self.policy.head.state_dict().items()}
        state |= {f"critic.{name}": value for name, value in self.critic.state_dict().items()}
        state |= {f"target_critic.{name}": value for name, value in self.target_critic.state_dict().items()}
        for name, encoder in self._encoders().items():
            state |= {f"{name}.{key}": value for key, value in encoder.state_dict().items()}
        state["log_temperature"] = self.log_temperature.data
        state["updates"] = torch.tensor(self.updates)
        state["generator"] = self.generator.get_state()
        for name, optimiser in self._optimisers().items():
            state |= optimiser_state(optimiser, name)
        return {name: value.detach().clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores `state_dict()` in place.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
        """
        try:
            self.policy.head.load_state_dict(tensors_below(state, "head."))
            self.critic.load_state_dict(tensors_below(state, "critic."))
            self.target_critic.load_state_dict(tensors_below(state, "target_critic."))
            for name, encoder in self._encoders().items():
                encoder.load_state_dict(tensors_below(state, f"{name}."))
            with torch.no_grad():
                self.log_temperature.copy_(state["log_temperature"])
            self.updates = int(state["updates"])
            self.generator.set_state(state["generator"])
            self._critic_movement.forget()
            self._actor_movement.forget()
            for name, optimiser in self._optimisers().items():
                load_optimiser_state(optimiser, state, name)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"the learner's state doesn't fit this configuration: {error}") from error

    def _encoders(self) -> dict[str, nn.Module]:
        if self.encoder is None or self.target_encoder is None:
            return {}
        return {"encoder": self.encoder, "target_encoder": self.target_encoder}

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        return {
            "actor_optimiser": self.actor_optimiser,
            "critic_optimiser": self.critic_optimiser,
            "temperature_optimiser": self.temperature_optimiser,
        }


def _fit(q: Tensor, target: Tensor) -> Tensor:
    """Returns the share of the targets' variance [B] that the critics' mean [E, B] explains; below 0: none."""
    missed, spread = torch.stack((target - q.mean(dim=0), target)).var(dim=1, correction=0).clamp(min=_LEAST_SPREAD)
    share: Tensor = 1.0 - missed / spread
    return share


def _parameters(encoder: nn.Module | None) -> list[Tensor]:
    return [] if encoder is None else list(encoder.parameters())
