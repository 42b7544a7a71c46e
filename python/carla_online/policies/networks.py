"""The small networks of a policy: a Gaussian head over observation and baseline action."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carla_online.envs.observations import PLANES
from carla_online.errors import PolicyError

LOG_STD_MIN, LOG_STD_MAX = -5.0, 1.0
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class GaussianHead(nn.Module):
    """MLP with LayerNorm that gives the mean and log standard deviation of the pre-squash action u.

    The last layer starts at a hundredth of its usual size, so an untrained head proposes about zero.

    Args:
        input_dim: Size of the concatenated input.
        action_dim: Number of actions A.
        hidden_sizes: Width of each hidden layer.
        log_std_bias: Initial log standard deviation of u.
        last_layer_scale: Factor on the initial weights of the last layer.

    Source: residual heads start near zero: https://arxiv.org/abs/2412.13630 (Policy Decorator); LayerNorm in the
        actor: https://arxiv.org/abs/2412.07762 (WSRL).
    """

    def __init__(
        self,
        input_dim: int,
        action_dim: int,
        *,
        hidden_sizes: Sequence[int] = (128, 128),
        log_std_bias: float = -1.0,
        last_layer_scale: float = 0.01,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = input_dim
        for hidden in hidden_sizes:
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU()]
            width = hidden
        last = nn.Linear(width, 2 * action_dim)
        with torch.no_grad():
            last.weight.mul_(last_layer_scale)
            last.bias.zero_()
            last.bias[action_dim:].fill_(log_std_bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation of u, each float32 [B, A]."""
        mean, log_std = self.layers(inputs).chunk(2, dim=-1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)


class BirdseyeEncoder(nn.Module):
    """A small convolutional network over the bit planes of a view from above.

    Args:
        size_px: Pixels along each side of the view, 32 at least.
        features: F, length of what it says about a view.

    Source: a linear layer, LayerNorm and tanh behind the convolutions, trained by the critic alone:
        https://arxiv.org/abs/1910.01741 (SAC+AE), section 4, and https://arxiv.org/abs/2107.09645 (DrQ-v2).
    """

    def __init__(self, size_px: int, *, features: int = 64) -> None:
        super().__init__()
        if size_px < 32:
            raise PolicyError(f"a view of {size_px} pixels is too small for the encoder; it needs 32 at least.")
        self.size_px = size_px
        self.features = features
        # Strides bring 256 pixels down to what 96 are after the first layer, so both views cost little.
        first = 8 if size_px > 128 else 4
        self.layers = nn.Sequential(
            nn.Conv2d(PLANES, 16, 2 * first, stride=first),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            width = self.layers(torch.zeros(1, PLANES, size_px, size_px)).shape[1]
        self.last = nn.Sequential(nn.Linear(width, features), nn.LayerNorm(features), nn.Tanh())
        self.register_buffer("bits", (1 << torch.arange(PLANES, dtype=torch.uint8)).view(1, -1, 1, 1), persistent=False)

    bits: Tensor

    def forward(self, views: Tensor) -> Tensor:
        """Returns features, float32 [B, F], of views uint8 [B, S, S], whose planes are told apart here."""
        planes = torch.bitwise_and(views.unsqueeze(1), self.bits).ne(0).float()
        said: Tensor = self.last(self.layers(planes))
        return said


def squash(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draws tanh(u), u ~ N(mean, std), by the reparametrisation trick.

    Args:
        mean: float32 [B, A].
        log_std: float32 [B, A].
        noise: Standard normal draws, float32 [B, A].

    Returns:
        tanh(u) [B, A] and its log density in tanh space [B].

    Source: SAC, https://arxiv.org/abs/1812.05905, appendix C, in the numerically stable form
        log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).
    """
    u = mean + log_std.exp() * noise
    log_normal = -0.5 * noise.square() - log_std - _HALF_LOG_TWO_PI
    log_jacobian = 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
    return torch.tanh(u), (log_normal - log_jacobian).sum(dim=-1)


def gaussian_logp(u: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Returns the log density of pre-squash actions u [B, A] under N(mean, std), shape [B]."""
    noise = (u - mean) / log_std.exp()
    return (-0.5 * noise.square() - log_std - _HALF_LOG_TWO_PI).sum(dim=-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Returns the entropy of diagonal Gaussians, in nat, shape [B], for log standard deviations [B, A]."""
    return (log_std + _HALF_LOG_TWO_PI + 0.5).sum(dim=-1)


def gaussian_kl(mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor) -> Tensor:
    """Returns KL(N(mean, std) || N(other_mean, other_std)) of diagonal Gaussians, in nat, shape [B].

    Tanh is a bijection, so this is also the divergence of the squashed distributions.
    """
    variance_ratio = (2.0 * (log_std - other_log_std)).exp()
    distance = ((mean - other_mean) / other_log_std.exp()).square()
    return 0.5 * (variance_ratio + distance - 1.0 - 2.0 * (log_std - other_log_std)).sum(dim=-1)
