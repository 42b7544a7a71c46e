"""Settings of the learners."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from carla_online.config import Config
from carla_online.learners.grpo_config import GRPOConfig


class WarmupConfig(Config):
    """What drives before the learner starts."""

    kind: Literal["frozen", "held_random", "around_baseline", "uniform"] = "held_random"
    """`frozen`: the untrained policy with its own noise. `held_random`: random head outputs, each held for one to
    four draws, and zero for two draws in five. `around_baseline`, for a policy of its own: the baseline's action plus
    such noise. `uniform`: a fresh uniform head output at each draw."""
    noise: tuple[float, ...] = (0.15, 0.7)
    """Largest noise on each action around the baseline."""

    transitions: int = Field(20_000, ge=0)
    """Replay rows collected before the first update of the actor."""

    random_transitions: int | None = Field(None, ge=0)
    """Rows driven by the warm-up policy; all of `transitions` if null. Fewer lets the head drive before it learns."""

    critic_from_transitions: int = Field(3_000, ge=1)
    """Rows from which on the critic learns."""

    critic_burn_in_updates: int = Field(500, ge=0)
    """Critic-only updates at least done before the actor learns."""


class SACConfig(Config):
    """Soft actor-critic for a delta head or a policy of its own.

    Source: https://arxiv.org/abs/1812.05905; LayerNorm critics: https://arxiv.org/abs/2302.02948 (RLPD).
    """

    kind: Literal["sac"] = "sac"
    actor_lr: float = Field(1e-3, gt=0, le=1)
    """Adam's step size for the head."""
    critic_lr: float = Field(1e-3, gt=0, le=1)
    """Adam's step size for the critics."""
    temperature_lr: float = Field(1e-3, ge=0, le=1)
    """Adam's step size for the log temperature; 0 keeps it fixed."""
    initial_temperature: float = Field(0.02, gt=0, le=10)
    """Entropy weight at the start."""
    temperature_bounds: tuple[float, float] = (1e-4, 1.0)
    """The temperature is clamped to this interval."""
    target_entropy: float | None = None
    """Entropy aimed at, in nat and in tanh space; minus half the number of actions if null."""
    gamma: float = Field(0.99, ge=0, lt=1)
    """Discount for one environment step; a delta held for k steps is discounted by gamma^k."""
    target_rate: float = Field(0.01, gt=0, le=1)
    """Share of the critic that moves into its target at each update (tau)."""
    batch_size: int = Field(256, ge=1, le=65_536)
    """Transitions in an update."""
    updates_per_env_step: float = Field(1.0, gt=0, le=100)
    """Updates for each transition stored; 8 environments store 8 at each step."""
    actor_every: int = Field(2, ge=1)
    """Critic updates for one update of actor and temperature."""
    hold_steps: int = Field(1, ge=1, le=100)
    """Environment steps for which a drawn head output is held while training. The baseline and the safety layer
    still act at every step. White noise at 10 Hz explores nothing; four steps (0.4 s) can change a lane."""
    n_step: int = Field(1, ge=1, le=100)
    """Transitions summed before bootstrapping."""
    critics: int = Field(2, ge=1, le=32)
    """Size of the critic ensemble."""
    target_subset: int | None = Field(None, ge=1)
    """Critics drawn for each target (minimum of them); all if null."""
    hidden_sizes: tuple[int, ...] = Field((128, 128), min_length=1)
    """Hidden layers of each critic."""
    critic_grad_clip: float = Field(10.0, gt=0)
    """Largest gradient norm of the critics."""
    actor_grad_clip: float = Field(5.0, gt=0)
    """Largest gradient norm of the head."""
    value_bounds: tuple[float, float] | None = None
    """Interval that the return can reach; targets are clipped to it. No clipping if null."""
    warmup: WarmupConfig = WarmupConfig()
    """What drives before the learner starts."""
    guide_share: float = Field(0.0, ge=0, lt=1)
    """Share of the environments that the baseline alone drives, all through the run. A policy of its own learns from
    them what its exploration seldom reaches, such as crossing a junction (https://arxiv.org/abs/2204.02372 has a guide
    drive the first part of each episode). They count in the run's curves like the others."""

    @model_validator(mode="after")
    def _check(self) -> SACConfig:
        for name, bounds in (("temperature_bounds", self.temperature_bounds), ("value_bounds", self.value_bounds)):
            if bounds is not None and not bounds[0] < bounds[1]:
                raise ValueError(f"{name} {bounds} must rise")
        if self.temperature_bounds[0] <= 0:
            raise ValueError(f"temperature_bounds {self.temperature_bounds} must be positive")
        if self.target_subset is not None and self.target_subset > self.critics:
            raise ValueError(f"target_subset {self.target_subset} is larger than the {self.critics} critics")
        return self


LearnerConfig = Annotated[SACConfig | GRPOConfig, Field(discriminator="kind")]
"""The `learner` section of a config: `kind: sac` or `kind: grpo`."""
