"""An ensemble of Q functions evaluated as one batched network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CriticEnsemble(nn.Module):
    """E independent MLPs with LayerNorm, stacked so that one batched product serves them all.

    Args:
        count: E.
        input_dim: Size of state input and executed action together.
        hidden_sizes: Width of each hidden layer.
        generator: Source of the initial weights.

    Source: LayerNorm keeps Q bounded outside the data: https://arxiv.org/abs/2302.02948, section 4.2.
    """

    def __init__(
        self, count: int, input_dim: int, *, hidden_sizes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.count = count
        widths = [input_dim, *hidden_sizes, 1]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise(widths):
            bound = 1.0 / math.sqrt(fan_in)
            self.weights.append(_uniform((count, fan_in, fan_out), bound, generator))
            self.biases.append(_uniform((count, 1, fan_out), bound, generator))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Returns Q, float32 [E, B], for states [B, S] and executed actions [B, A]."""
        hidden = torch.cat([state, action], dim=-1).unsqueeze(0).expand(self.count, -1, -1)
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            # Without gain and shift: the next layer can express both, and they cost a tenth of an update.
            hidden = F.relu(F.layer_norm(torch.baddbmm(bias, hidden, weight), weight.shape[-1:]))
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1]).squeeze(-1)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2.0 - 1.0) * bound
