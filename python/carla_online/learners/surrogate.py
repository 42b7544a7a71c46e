"""The clipped policy objective, as a pure function of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Log ratios are clamped to this size before they are exponentiated."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Value of the objective and how much of the batch was clipped; scalars."""

    loss: Tensor
    """To be minimised"""
    ratio: Tensor
    """Probability ratios [B], without gradient"""
    clipped_low: Tensor
    """Share of draws that are held at 1 - clip_low"""
    clipped_high: Tensor
    """Share of draws that are held at 1 + clip_high"""


def clipped_surrogate(
    logp: Tensor,
    behaviour_logp: Tensor,
    advantage: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
) -> Surrogate:
    """Returns the clipped objective of a batch.

    Args:
        logp: Log density of the draws under the policy that learns, [B].
        behaviour_logp: The same under the policy that drew them, [B], without gradient.
        advantage: [B], without gradient.
        clip_low: The ratio counts from 1 - clip_low.
        clip_high: The ratio counts up to 1 + clip_high.
        dual_clip: Ratio beyond which a draw with a negative advantage is left alone.

    Source: https://arxiv.org/abs/1707.06347, equation (7); unequal bounds: https://arxiv.org/abs/2503.14476,
        equation (10); dual clip: https://arxiv.org/abs/1912.09729, equation (5).
    """
    log_ratio = (logp - behaviour_logp).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    objective = torch.minimum(ratio * advantage, clipped * advantage)
    objective = torch.where(advantage < 0.0, torch.maximum(objective, dual_clip * advantage), objective)
    with torch.no_grad():
        low = ((ratio < 1.0 - clip_low) & (advantage < 0.0)).float().mean()
        high = ((ratio > 1.0 + clip_high) & (advantage > 0.0)).float().mean()
    return Surrogate(-objective.mean(), ratio.detach(), low, high)
