"""A value network whose targets are normalised while it learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ValueNetwork(nn.Module):
    """MLP with LayerNorm from states to returns, of whatever size these are.

    The last layer works in units of the targets' running mean and spread; when these move, its weights are corrected
    so that no output changes.

    Args:
        input_dim: Size of the state (with the action behind it, for a critic).
        hidden_sizes: Width of each hidden layer.
        generator: Source of the initial weights.

    Source: https://arxiv.org/abs/1602.07714 (Pop-Art), equations (2) and (3).
    """

    mean: Tensor
    scale: Tensor
    has_targets: Tensor

    def __init__(self, input_dim: int, *, hidden_sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = input_dim
        for hidden in hidden_sizes:
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.Tanh()]
            width = hidden
        self.body = nn.Sequential(*layers)
        self.last = nn.Linear(width, 1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight, 1.0 if module is self.last else 2.0**0.5, generator=generator)
                nn.init.zeros_(module.bias)
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("has_targets", torch.zeros((), dtype=torch.bool))

    def normalised(self, inputs: Tensor) -> Tensor:
        """Returns values in units of the targets' mean and scale, float32 [B]."""
        value: Tensor = self.last(self.body(inputs)).squeeze(-1)
        return value

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns values, float32 [B], for inputs [B, S]."""
        return (self.normalised(inputs) * self.scale + self.mean).float()

    def normalise(self, targets: Tensor) -> Tensor:
        """Returns targets [B] in the network's units."""
        return ((targets - self.mean) / self.scale).float()

    @torch.no_grad()
    def track(self, targets: Tensor, *, rate: float) -> None:
        """Moves mean and scale towards those of `targets` [B] by `rate`, in (0, 1]; no output changes.

        The first time it takes over theirs as they are, and outputs change: those of an untrained network mean nothing.
        """
        fresh = targets.double()
        is_first = not bool(self.has_targets)
        rate = 1.0 if is_first else rate
        mean = self.mean.lerp(fresh.mean(), rate)
        second = (self.scale.square() + self.mean.square()).lerp(fresh.square().mean(), rate)
        scale = (second - mean.square()).clamp(min=1e-8).sqrt()
        if not is_first:
            self.last.weight.mul_((self.scale / scale).to(self.last.weight.dtype))
            self.last.bias.copy_((self.scale * self.last.bias + self.mean - mean) / scale)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.has_targets.fill_(True)
