"""Settings of the on-policy learner."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from carla_online.config import Config


class GRPOConfig(Config):
    """Clipped policy gradient on fresh data, with or without groups of rollouts.

    Source: clipping and epochs: https://arxiv.org/abs/1707.06347 (PPO); groups: https://arxiv.org/abs/2402.03300
    (GRPO); centring without division: https://arxiv.org/abs/2503.20783 (Dr. GRPO); the higher upper clip:
    https://arxiv.org/abs/2503.14476 (DAPO); dual clip: https://arxiv.org/abs/1912.09729.
    """

    kind: Literal["grpo"] = "grpo"
    group_mode: Literal["ppo", "branch", "episode", "critic"] = "ppo"
    """What a draw is compared with. `ppo`: the value network's expectation, no groups. `branch`: draws from the very
    same state of the world, which is put back for each (needs `exact_restore`). `episode`: whole episodes on the same
    route and seed. `critic`: other draws at the same observation, scored by a learned critic."""
    group_size: int = Field(4, ge=2, le=64)
    """G, members of a group."""
    window_steps: int = Field(256, ge=1, le=100_000)
    """Steps of each environment between two updates; in mode `episode` an update waits for one episode of each."""
    branch_points: int = Field(1, ge=1, le=64)
    """Times in a window, drawn at random, at which all environments branch."""
    branch_horizon: int = Field(16, ge=1, le=1_000)
    """H, draws in a branch; then the value network takes over."""
    branch_credit: Literal["first_draw", "every_draw", "monte_carlo"] = "first_draw"
    """`first_draw`: where the members still share a state the group's mean is the yardstick, behind it the value
    network is (GAE). `every_draw`: GAE less its mean over the members alive, at every draw. `monte_carlo`: rewards up
    to the horizon and the value there, less the members' mean, at every draw."""
    gamma: float = Field(0.99, ge=0, lt=1)
    """Discount for one environment step; a draw held for k steps is discounted by gamma^k."""
    gae_lambda: float = Field(0.95, ge=0, le=1)
    """Weight of longer returns in generalised advantage estimation."""
    hold_steps: int = Field(1, ge=1, le=100)
    """Environment steps for which a drawn head output is held while training; see `SACConfig.hold_steps`."""
    actor_lr: float = Field(3e-4, gt=0, le=1)
    """Adam's step size for the head."""
    value_lr: float = Field(1e-3, gt=0, le=1)
    """Adam's step size for the value network and the critics."""
    epochs: int = Field(4, ge=1, le=100)
    """Passes over the data of an update, at most."""
    batch_size: int = Field(512, ge=2, le=1_000_000)
    """Draws in a gradient step."""
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The probability ratio counts from 1 - clip_low ..."""
    clip_high: float = Field(0.28, gt=0, le=10)
    """... to 1 + clip_high."""
    dual_clip: float = Field(3.0, gt=1)
    """Largest ratio that counts against a bad draw."""
    target_kl: float = Field(0.02, gt=0)
    """The epochs end when a step's KL to the policy that collected exceeds 1.5 times this, in nat."""
    kl_coefficient: float = Field(0.0, ge=0)
    """Weight of the KL to the initial policy, in nat, in the loss."""
    entropy_coefficient: float = Field(0.0, ge=0)
    """Weight of the entropy of the pre-squash action in the loss."""
    entropy_limit: float | None = None
    """Entropy above this earns nothing, nat: draws are kept from becoming narrow, and not made wider than needed."""
    advantage_scale: Literal["ema", "batch", "group", "none"] = "ema"
    """What advantages are divided by. `ema`: a slow average of their spread, which a rare large event can't inflate at
    the very moment when it matters. `batch`: the spread of this update. `group`: each group's own, as in the first
    GRPO; it drowns rare severe events in common harmless ones. `none`: nothing."""
    scale_decay: float = Field(0.99, ge=0, lt=1)
    """Share of the old spread that an update keeps, for `ema`."""
    advantage_limit: float = Field(10.0, gt=0)
    """Scaled advantages are clipped to this size."""
    hidden_sizes: tuple[int, ...] = Field((128, 128), min_length=1)
    """Hidden layers of the value network and the critics."""
    actor_grad_clip: float = Field(0.5, gt=0)
    """Largest gradient norm of the head."""
    value_grad_clip: float = Field(0.5, gt=0)
    """Largest gradient norm of the value network, whose targets are normalised."""
    critics: int = Field(2, ge=1, le=32)
    """Critics in mode `critic`; the lowest score counts."""
    write_replay: bool = False
    """Write the window's transitions to the run's replay, for others to read; this learner never does."""

    @model_validator(mode="after")
    def _check(self) -> GRPOConfig:
        if self.window_steps < self.hold_steps:
            raise ValueError(
                f"window_steps {self.window_steps} is shorter than hold_steps {self.hold_steps}: no draw could end"
            )
        if self.branch_points > self.window_steps:
            raise ValueError(f"branch_points {self.branch_points} don't fit into window_steps {self.window_steps}")
        if self.advantage_scale == "group" and self.group_mode == "ppo":
            raise ValueError("advantage_scale group needs groups; choose another group_mode than ppo, or ema")
        return self
