"""How well critics and policy stand on a batch, without learning from it."""

from __future__ import annotations

import torch
from torch import Tensor

from carla_online.learners.sac import SACLearner, TransitionBatch


@torch.no_grad()
def diagnose(learner: SACLearner, batch: TransitionBatch, *, generator: torch.Generator) -> dict[str, float]:
    """Returns health figures of a learner.

    Args:
        learner: Isn't changed.
        batch: B transitions.
        generator: Source of the actions drawn for the targets; the learner's own noise isn't touched.

    Returns:
        `explained_variance`: share of the targets' variance that the critics' mean explains, at most 1.
        `disagreement`: mean standard deviation between the critics over mean |Q|.
        `action_std`: standard deviation before squashing of the widest action.
    """
    q, target = _values(learner, batch, generator)
    _, log_std = learner.policy.head(learner.policy.inputs(batch.obs, batch.baseline_action))
    error = (target - q.mean(dim=0)).var(correction=0)
    return {
        "explained_variance": float(1.0 - error / target.var(correction=0).clamp_min(1e-12)),
        "disagreement": float(q.std(dim=0, correction=0).mean() / q.abs().mean().clamp_min(1e-12)),
        "action_std": float(log_std.exp().mean(dim=0).amax()),
    }


@torch.no_grad()
def td_errors(learner: SACLearner, batch: TransitionBatch, *, generator: torch.Generator) -> Tensor:
    """Returns target minus the critics' mean for each transition, [B]; see `diagnose`."""
    q, target = _values(learner, batch, generator)
    return target - q.mean(dim=0)


def _values(learner: SACLearner, batch: TransitionBatch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns Q [E, B] and targets [B]."""
    state = learner.policy.inputs(batch.obs, batch.baseline_action)
    return learner.critic(state, batch.executed_action), learner.target(batch, generator=generator)
