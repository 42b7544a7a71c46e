"""Policies that learn: a delta head over a frozen baseline, or a policy of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from carla_online.envs.observations import BIRDSEYE, ObservationArray, ObservationLayout, fields_of
from carla_online.errors import PolicyError
from carla_online.policies.baseline import Baseline
from carla_online.policies.contract import FloatArray
from carla_online.policies.networks import BirdseyeEncoder, GaussianHead, gaussian_logp, squash


class ActorPolicy(nn.Module):
    """A Gaussian head, squashed by tanh, whose output `compose` turns into the executed action.

    The head sees the observation and, where there is a baseline, the baseline's action.

    Args:
        obs_dim: D.
        action_dim: A.
        baseline: The frozen baseline, or None.
        hidden_sizes: Width of each hidden layer of the head.
        log_std_bias: Initial log standard deviation of the pre-squash action.
        birdseye_px: Pixels along each side of the view from above in its observations, or None without one.
    """

    kind = "actor"

    def __init__(
        self,
        *,
        obs_dim: int,
        action_dim: int,
        baseline: Baseline | None,
        hidden_sizes: Sequence[int] = (128, 128),
        log_std_bias: float = -1.0,
        birdseye_px: int | None = None,
    ) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.birdseye_px = birdseye_px
        self.encoder = None if birdseye_px is None else BirdseyeEncoder(birdseye_px)
        self.action_dim = action_dim
        self.baseline = baseline
        self.hidden_sizes = tuple(hidden_sizes)
        self.log_std_bias = log_std_bias
        self.head = GaussianHead(self.state_dim, action_dim, hidden_sizes=hidden_sizes, log_std_bias=log_std_bias)

    @property
    def state_dim(self) -> int:
        """Length of `inputs`: observation, features of the view, baseline's action."""
        features = 0 if self.encoder is None else self.encoder.features
        return self.obs_dim + features + (self.action_dim if self.baseline is not None else 0)

    def baseline_action(self, obs: ObservationArray) -> FloatArray:
        """Returns the baseline's actions for observations [N], or zeros [N, A] where there is no baseline."""
        if self.baseline is None:
            return np.zeros((len(obs), self.action_dim), dtype=np.float32)
        return self.baseline(obs)

    def inputs(
        self,
        obs: Tensor,
        baseline_action: Tensor,
        birdseye: Tensor | None = None,
        *,
        encoder: BirdseyeEncoder | None = None,
    ) -> Tensor:
        """Returns what head and critic see of a state: float32 [B, S].

        Args:
            obs: float32 [B, D].
            baseline_action: float32 [B, A]; left out without a baseline.
            birdseye: uint8 [B, P, P], views from above, for a policy that sees them.
            encoder: Another encoder than the policy's own, a target network's.
        """
        parts = [obs]
        if self.encoder is not None:
            if birdseye is None:
                raise PolicyError("this policy sees a view from above, but the batch has none; pass birdseye.")
            parts.append((encoder or self.encoder)(birdseye))
        if self.baseline is not None:
            parts.append(baseline_action)
        return obs if len(parts) == 1 else torch.cat(parts, dim=-1)

    def compose(self, baseline_action: Tensor, squashed: Tensor) -> Tensor:
        """Returns the action that the head's output [B, A] in [-1, 1] means beside the baseline's."""
        raise TypeError(f"{type(self).__name__} doesn't say how its head acts; use DeltaPolicy or FullPolicy.")

    def act(
        self, obs: ObservationArray, *, deterministic: bool = False, generator: torch.Generator | None = None
    ) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
        """Chooses actions; see `Policy.act`.

        `extra` holds `baseline_action`, `squashed` and `pre_squash`, each [N, A], and `pre_squash_logp` [N].
        """
        seen = ObservationLayout.of_array(obs)
        made_for = ObservationLayout(self.obs_dim, self.birdseye_px)
        if seen != made_for:
            raise PolicyError(
                f"observations have shape {obs.shape} and type {obs.dtype}; this policy was made for "
                f"[N, {self.obs_dim}]" + ("." if self.birdseye_px is None else f" with views of {self.birdseye_px} px.")
            )
        return self.act_beside(obs, self.baseline_action(obs), deterministic=deterministic, generator=generator)

    def act_beside(
        self,
        obs: ObservationArray,
        baseline_action: FloatArray,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
        """Does what `act` does where the baseline's actions [N, A] are known already."""
        with torch.no_grad():
            baseline_tensor = torch.from_numpy(baseline_action)
            columns = {name: torch.from_numpy(values) for name, values in fields_of(obs).items()}
            mean, log_std = self.head(self.inputs(columns["obs"], baseline_tensor, columns.get(BIRDSEYE)))
            noise = torch.zeros_like(mean) if deterministic else torch.randn(mean.shape, generator=generator)
            squashed, logp = squash(mean, log_std, noise)
            action = self.compose(baseline_tensor, squashed)
            pre_squash = mean + log_std.exp() * noise
        extra = {"baseline_action": baseline_action, "squashed": squashed.numpy(), "pre_squash": pre_squash.numpy()}
        extra["pre_squash_logp"] = gaussian_logp(pre_squash, mean, log_std).numpy()
        return action.numpy(), logp.numpy(), extra


class DeltaPolicy(ActorPolicy):
    """A delta head over a frozen baseline: action = clip(baseline + delta_scale * tanh(u)).

    A scale of zero gives the baseline bit for bit. A head belongs to its baseline: the two are saved and
    checked together.

    Args:
        baseline: The frozen baseline.
        obs_dim: D; the driving world's observation by default.
        delta_scale: Largest change of each action (steer, throttle/brake), each in [0, 2].
        hidden_sizes: Width of each hidden layer.
        log_std_bias: Initial log standard deviation of u.
        birdseye_px: As in `ActorPolicy`.

    Source: https://arxiv.org/abs/2412.13630 (Policy Decorator).
    """

    kind = "delta"
    delta_scale: Tensor

    def __init__(
        self,
        baseline: Baseline,
        *,
        obs_dim: int,
        delta_scale: Sequence[float] = (0.2, 0.5),
        hidden_sizes: Sequence[int] = (128, 128),
        log_std_bias: float = -1.0,
        birdseye_px: int | None = None,
    ) -> None:
        if len(delta_scale) != baseline.action_dim:
            raise PolicyError(
                f"delta_scale {tuple(delta_scale)} has {len(delta_scale)} values; "
                f"the baseline has {baseline.action_dim} actions."
            )
        if not all(0.0 <= scale <= 2.0 for scale in delta_scale):
            raise PolicyError(f"delta_scale {tuple(delta_scale)} is out of range; each value must lie in [0, 2].")
        super().__init__(
            obs_dim=obs_dim,
            action_dim=baseline.action_dim,
            baseline=baseline,
            hidden_sizes=hidden_sizes,
            log_std_bias=log_std_bias,
            birdseye_px=birdseye_px,
        )
        self.register_buffer("delta_scale", torch.tensor(delta_scale, dtype=torch.float32))

    def compose(self, baseline_action: Tensor, squashed: Tensor) -> Tensor:
        """Returns clip(baseline + delta_scale * squashed) in [-1, 1], float32 [B, A]."""
        moved = (baseline_action + self.delta_scale * squashed).clamp(-1.0, 1.0)
        # Not only for speed: -0.0 + 0.0 is 0.0, and a switched-off head must give the baseline's very bits.
        return torch.where(self.delta_scale == 0.0, baseline_action, moved)

    def scaled(self, factor: float) -> Self:
        """Returns a copy whose delta is `factor` times as large; 0 is the baseline, 1 the policy itself.

        Raises:
            PolicyError: The factor lies outside [0, 1].
        """
        if not 0.0 <= factor <= 1.0:
            raise PolicyError(f"the scale factor {factor} is out of range; it must lie in [0, 1].")
        twin = copy.deepcopy(self)
        twin.delta_scale.mul_(factor)
        return twin

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Copies the head; the frozen baseline is shared."""
        assert self.baseline is not None  # DeltaPolicy can't be made without one
        twin = type(self)(
            self.baseline,
            obs_dim=self.obs_dim,
            delta_scale=self.delta_scale.tolist(),
            hidden_sizes=self.hidden_sizes,
            log_std_bias=self.log_std_bias,
            birdseye_px=self.birdseye_px,
        )
        twin.load_state_dict(self.state_dict())
        return twin


class FullPolicy(ActorPolicy):
    """A policy of its own: action = tanh(u). A baseline, if given, is an input and leads the warm-up.

    Args:
        obs_dim: D.
        action_dim: A.
        baseline: Optional; its action becomes part of the input.
        hidden_sizes: Width of each hidden layer.
        log_std_bias: Initial log standard deviation of u.
        birdseye_px: As in `ActorPolicy`.
    """

    kind = "full"

    def __init__(
        self,
        *,
        obs_dim: int,
        action_dim: int = 2,
        baseline: Baseline | None = None,
        hidden_sizes: Sequence[int] = (128, 128),
        log_std_bias: float = -1.0,
        birdseye_px: int | None = None,
    ) -> None:
        super().__init__(
            obs_dim=obs_dim,
            action_dim=action_dim,
            baseline=baseline,
            hidden_sizes=hidden_sizes,
            log_std_bias=log_std_bias,
            birdseye_px=birdseye_px,
        )

    def compose(self, baseline_action: Tensor, squashed: Tensor) -> Tensor:
        """Returns the head's own output, float32 [B, A]."""
        return squashed

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Copies the head; the frozen baseline is shared."""
        twin = type(self)(
            obs_dim=self.obs_dim,
            action_dim=self.action_dim,
            baseline=self.baseline,
            hidden_sizes=self.hidden_sizes,
            log_std_bias=self.log_std_bias,
            birdseye_px=self.birdseye_px,
        )
        twin.load_state_dict(self.state_dict())
        return twin
