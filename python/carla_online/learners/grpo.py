"""The on-policy learner: clipped policy gradient on given advantages, a value network, critics where asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from carla_online.errors import CheckpointError
from carla_online.learners.credit import explained_variance
from carla_online.learners.grpo_config import GRPOConfig
from carla_online.learners.optimisers import (
    Movement,
    gradient_step,
    load_optimiser_state,
    optimiser_state,
    tensors_below,
)
from carla_online.learners.surrogate import LOG_RATIO_LIMIT, clipped_surrogate
from carla_online.learners.value import ValueNetwork
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.networks import gaussian_entropy, gaussian_kl, gaussian_logp

_STOP_FACTOR = 1.5
"""The epochs end at this many times the target KL. Source: https://spinningup.openai.com, PPO."""
_FEWEST_FITTED = 500
"""How well fewer targets are fitted says little."""
_TARGET_RATE = 0.1
"""Share by which a window moves the value targets' mean and spread."""


@dataclass(frozen=True, slots=True)
class PolicyBatch:
    """Draws and what they were worth; float32 tensors."""

    inputs: Tensor
    """[B, S]: what the head saw"""
    pre_squash: Tensor
    """[B, A]: the draws u"""
    behaviour_logp: Tensor
    """[B]: log density of u under the policy that drew it"""
    advantage: Tensor
    """[B]: scaled"""


@dataclass(frozen=True, slots=True)
class ValueBatch:
    """States (with the action behind them, for critics) and the returns that followed; float32 tensors."""

    inputs: Tensor
    """[C, S]"""
    targets: Tensor
    """[C]"""


class GRPOLearner:
    """Owns the value network, the critics and the optimisers, and trains the policy's head.

    Args:
        policy: Its head is the actor.
        config: Settings.
        generator: Source of the initial weights and of the order of batches.
    """

    def __init__(self, policy: ActorPolicy, *, config: GRPOConfig, generator: torch.Generator) -> None:
        self.policy = policy
        self.config = config
        self.generator = generator
        self.updates = 0
        self.initial_head = copy.deepcopy(policy.head).requires_grad_(False)
        state_dim = policy.obs_dim + (policy.action_dim if policy.baseline is not None else 0)
        self.value = ValueNetwork(state_dim, hidden_sizes=config.hidden_sizes, generator=generator)
        count = config.critics if config.group_mode == "critic" else 0
        self.critics = [
            ValueNetwork(state_dim + policy.action_dim, hidden_sizes=config.hidden_sizes, generator=generator)
            for _ in range(count)
        ]
        self.actor_optimiser = torch.optim.Adam(policy.head.parameters(), lr=config.actor_lr, fused=True)
        self.value_optimiser = torch.optim.Adam(self.value.parameters(), lr=config.value_lr, fused=True)
        self._actor_movement = Movement(list(policy.head.parameters()))
        self._value_movement = Movement(list(self.value.body.parameters()))  # its last layer follows the returns' scale
        self.critic_optimisers = [
            torch.optim.Adam(critic.parameters(), lr=config.value_lr, fused=True) for critic in self.critics
        ]

    def learn(self, batch: PolicyBatch, values: ValueBatch, critics: ValueBatch | None = None) -> dict[str, float]:
        """Learns from one window: values and critics for all epochs, the policy until its KL limit.

        Returns:
            Metrics by name.
        """
        metrics: dict[str, float] = {}
        if len(values.targets) >= _FEWEST_FITTED:
            # Before they are learned from: afterwards the network believes them.
            with torch.no_grad():
                known = self.value(values.inputs)
            metrics["value_fit"] = explained_variance(known.numpy(), values.targets.numpy())
        if len(values.targets):
            loss, norm = self._fit(self.value, self.value_optimiser, values)
            metrics |= {"value_loss": loss, "value_grad_norm": norm}
            metrics["value_step"] = float(self._value_movement.measure())
            metrics |= {"return_mean": float(self.value.mean), "return_scale": float(self.value.scale)}
        for index, (critic, optimiser) in enumerate(zip(self.critics, self.critic_optimisers, strict=True)):
            if critics is not None:
                metrics[f"critic_{index}_loss"], _ = self._fit(critic, optimiser, critics)
        if len(batch.advantage):
            metrics |= self.improve(batch)
            metrics["actor_step"] = float(self._actor_movement.measure())
        return metrics

    def improve(self, batch: PolicyBatch) -> dict[str, float]:
        """Takes gradient steps on the policy; ends early where it has moved far enough."""
        with torch.no_grad():
            before = self.policy.head(batch.inputs)
        seen: list[dict[str, Tensor]] = []
        parameters = list(self.policy.head.parameters())
        for rows in self._minibatches(len(batch.advantage)):
            mean, log_std = self.policy.head(batch.inputs[rows])
            kl = gaussian_kl(before[0][rows], before[1][rows], mean, log_std).mean().detach()
            if kl > _STOP_FACTOR * self.config.target_kl:
                break
            surrogate = clipped_surrogate(
                gaussian_logp(batch.pre_squash[rows], mean, log_std),
                batch.behaviour_logp[rows],
                batch.advantage[rows],
                clip_low=self.config.clip_low,
                clip_high=self.config.clip_high,
                dual_clip=self.config.dual_clip,
            )
            entropy = gaussian_entropy(log_std)
            if self.config.entropy_limit is not None:
                entropy = entropy.clamp(max=self.config.entropy_limit)
            loss = surrogate.loss - self.config.entropy_coefficient * entropy.mean()
            if self.config.kl_coefficient > 0.0:
                drift = gaussian_kl(mean, log_std, *self.initial_head(batch.inputs[rows])).mean()
                loss = loss + self.config.kl_coefficient * drift
            norm = gradient_step(self.actor_optimiser, loss, parameters, self.config.actor_grad_clip)
            self.updates += 1
            figures = {"policy_loss": surrogate.loss.detach(), "actor_grad_norm": norm}
            figures |= {"clip_fraction_low": surrogate.clipped_low, "clip_fraction_high": surrogate.clipped_high}
            seen.append(figures)
        names = seen[0] if seen else {}
        metrics = {name: float(torch.stack([figures[name] for figures in seen]).mean()) for name in names}
        return metrics | {"gradient_steps": float(len(seen))} | self._drift(batch, before)

    @torch.no_grad()
    def candidates(self, state: Tensor, baseline_action: Tensor, *, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws `count` times in each state [B, S] and scores the draws by the lowest critic.

        Returns:
            The draws u [B, count, A], their log densities [B, count], and their scores [B, count].
        """
        mean, log_std = (part.repeat_interleave(count, dim=0) for part in self.policy.head(state))
        u = mean + log_std.exp() * torch.randn(mean.shape, generator=self.generator)
        action = self.policy.compose(baseline_action.repeat_interleave(count, dim=0), u.tanh())
        inputs = torch.cat([state.repeat_interleave(count, dim=0), action], dim=-1)
        score = torch.stack([critic(inputs) for critic in self.critics]).amin(dim=0)
        shape = (len(state), count)
        return u.reshape(*shape, -1), gaussian_logp(u, mean, log_std).reshape(shape), score.reshape(shape)

    @torch.no_grad()
    def values(self, inputs: Tensor) -> Tensor:
        """Returns the value network's estimates, float32 [B]."""
        estimates: Tensor = self.value(inputs)
        return estimates

    def _fit(self, network: ValueNetwork, optimiser: torch.optim.Adam, batch: ValueBatch) -> tuple[float, float]:
        """Fits returns by squared error; returns the mean loss, in units of their spread, and gradient norm."""
        network.track(batch.targets, rate=_TARGET_RATE)
        targets = network.normalise(batch.targets)
        parameters = list(network.parameters())
        losses, norms = [], []
        for rows in self._minibatches(len(targets)):
            loss = (network.normalised(batch.inputs[rows]) - targets[rows]).square().mean()
            norms.append(gradient_step(optimiser, loss, parameters, self.config.value_grad_clip))
            losses.append(loss.detach())
        return float(torch.stack(losses).mean()), float(torch.stack(norms).mean())

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        """Yields row numbers of near-equal batches, in a fresh order at every epoch."""
        batches = max(1, round(count / self.config.batch_size))
        for _ in range(self.config.epochs):
            yield from torch.randperm(count, generator=self.generator).chunk(batches)

    @torch.no_grad()
    def _drift(self, batch: PolicyBatch, before: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Returns how far the policy has moved by this update and since the beginning, and how it acts now."""
        mean, log_std = self.policy.head(batch.inputs)
        log_ratio = gaussian_logp(batch.pre_squash, mean, log_std) - batch.behaviour_logp
        ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
        metrics = {
            "kl_to_previous": gaussian_kl(*before, mean, log_std).mean(),
            "kl_to_initial": gaussian_kl(mean, log_std, *self.initial_head(batch.inputs)).mean(),
            "log_mean_ratio": ratio.mean().log(),
            "entropy": gaussian_entropy(log_std).mean(),
            "action_std": log_std.exp().mean(),
            "saturation": (batch.pre_squash.tanh().abs() > 0.99).float().mean(),
        }
        return {name: float(value) for name, value in metrics.items()}

    def scale_learning_rates(self, factor: float) -> None:
        """Multiplies every optimiser's step size by `factor`."""
        for optimiser in self._optimisers().values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything that the next update depends on, as tensors by dotted name."""
        state: dict[str, Tensor] = {}
        for prefix, module in self._modules().items():
            state |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
        for name, optimiser in self._optimisers().items():
            state |= optimiser_state(optimiser, name)
        state["updates"] = torch.tensor(self.updates)
        state["generator"] = self.generator.get_state()
        return {name: value.detach().clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores `state_dict()` in place.

        Raises:
            CheckpointError: A tensor is missing or has another shape.
        """
        try:
            for prefix, module in self._modules().items():
                module.load_state_dict(tensors_below(state, f"{prefix}."))
            for name, optimiser in self._optimisers().items():
                load_optimiser_state(optimiser, state, name)
            self.updates = int(state["updates"])
            self.generator.set_state(state["generator"])
            self._actor_movement.forget()
            self._value_movement.forget()
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"the learner's state doesn't fit this configuration: {error}") from error

    def _modules(self) -> dict[str, torch.nn.Module]:
        critics = {f"critic_{index}": critic for index, critic in enumerate(self.critics)}
        return {"head": self.policy.head, "initial_head": self.initial_head, "value": self.value, **critics}

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        critics = {f"critic_{index}_optimiser": optimiser for index, optimiser in enumerate(self.critic_optimisers)}
        return {"actor_optimiser": self.actor_optimiser, "value_optimiser": self.value_optimiser, **critics}
