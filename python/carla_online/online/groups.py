"""From recorded draws to what the learner takes in: one function for each way of making groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.advantage import EmaScale
from carla_online.learners.credit import (
    Block,
    Credit,
    branch_credit,
    explained_variance,
    group_credit,
    reward_agreement,
    window_credit,
)
from carla_online.learners.grpo import GRPOLearner, PolicyBatch, ValueBatch
from carla_online.learners.grpo_config import GRPOConfig
from carla_online.online.rollouts import Rollouts

FloatArray = NDArray[np.float32]
_FEWEST_COMPARED = 500
"""Fewer rewards than this aren't compared with what was expected: one rare event among them would be a fault's size."""


@dataclass(frozen=True, slots=True)
class Part:
    """Draws with their credit, and targets for the value network; some of the data of an update."""

    inputs: FloatArray
    """[B, S]"""
    pre_squash: FloatArray
    """[B, A]"""
    logp: FloatArray
    """[B]: under the policy that drew"""
    advantage: FloatArray
    """[B]: centred"""
    is_scaled: bool = False
    """The advantages need no further scale"""
    groups: int = 0
    """Groups that were compared"""
    degenerate: int = 0
    """Groups whose members couldn't be told apart"""
    value_inputs: FloatArray | None = None
    """[C, S]"""
    value_targets: FloatArray | None = None
    """[C]"""
    metrics: dict[str, float] = field(default_factory=dict)


def window_part(window: Rollouts, learner: GRPOLearner) -> Part:
    """The window's own steps, by generalised advantage estimation."""
    config = learner.config
    block = _block(window, learner)
    credit = window_credit(block, gamma=_draw_gamma(config), gae_lambda=config.gae_lambda)
    return _part(window, block, credit, gamma=_draw_gamma(config))


def branch_part(branches: Rollouts, learner: GRPOLearner) -> Part:
    """Branches from one moment: groups of draws from the very same states."""
    config = learner.config
    block = _block(branches, learner)
    credit = branch_credit(
        block,
        group_size=config.group_size,
        gamma=_draw_gamma(config),
        gae_lambda=config.gae_lambda,
        kind=config.branch_credit,
        by_group_std=config.advantage_scale == "group",
    )
    return _part(branches, block, credit, gamma=_draw_gamma(config))


def episode_part(episodes: Rollouts, lengths: NDArray[np.int64], learner: GRPOLearner) -> Part:
    """Whole episodes: a draw is worth what its episode returned beyond the others on the same route.

    Args:
        episodes: One episode at the top of each column; columns g * G to g * G + G - 1 are one group.
        lengths: int64 [M], draws of these episodes.
        learner: Gives the settings; its value network isn't used.
    """
    config = learner.config
    within = np.arange(int(lengths.max()))[:, None] < lengths[None, :]
    reward = np.where(within, _floats(episodes["reward"])[: len(within)], np.float32(0.0))
    total = reward.sum(axis=0, dtype=np.float64).astype(np.float32).reshape(-1, config.group_size)
    centred, degenerate = group_credit(total, by_group_std=config.advantage_scale == "group")
    counted = within & ~np.repeat(degenerate, config.group_size)[None, :]
    scalar = np.broadcast_to(centred.reshape(-1), within.shape)
    inputs, pre_squash, logp = (
        _floats(episodes[name])[: len(within)][counted] for name in ("inputs", "pre_squash", "logp")
    )
    return Part(
        inputs,
        pre_squash,
        logp,
        scalar[counted],
        is_scaled=config.advantage_scale == "group",
        groups=len(degenerate),
        degenerate=int(degenerate.sum()),
        metrics={"group_start_gap": _start_gap(_floats(episodes["inputs"])[0], config.group_size)},
    )


def _start_gap(first: FloatArray, group_size: int) -> float:
    """Returns the largest difference between first observations of a group; 0 where all began alike."""
    starts = first.reshape(-1, group_size, first.shape[-1])
    return float(np.max(np.ptp(starts, axis=1), initial=0.0))


def critic_part(window: Rollouts, learner: GRPOLearner) -> tuple[Part, ValueBatch]:
    """Other draws at the window's observations, scored by the critics as they were before this window.

    Returns:
        The candidates, and what the critics learn from: states with the executed action, and the returns.
    """
    config = learner.config
    block = _block(window, learner)
    credit = window_credit(block, gamma=_draw_gamma(config), gae_lambda=config.gae_lambda)
    own = _part(window, block, credit, gamma=_draw_gamma(config))
    state = torch.from_numpy(own.inputs)
    baseline = torch.from_numpy(_floats(window["baseline_action"])[credit.counted])
    executed = torch.from_numpy(_floats(window["executed_action"])[credit.counted])
    pre_squash, logp, scores = learner.candidates(state, baseline, count=config.group_size)
    centred, degenerate = group_credit(scores.numpy(), by_group_std=config.advantage_scale == "group")
    kept = ~degenerate
    part = Part(
        np.repeat(own.inputs[kept], config.group_size, axis=0),
        pre_squash.numpy()[kept].reshape(-1, pre_squash.shape[-1]),
        logp.numpy()[kept].reshape(-1),
        centred[kept].reshape(-1),
        is_scaled=config.advantage_scale == "group",
        groups=len(degenerate),
        degenerate=int(degenerate.sum()),
        value_inputs=own.value_inputs,
        value_targets=own.value_targets,
        metrics=own.metrics,
    )
    assert own.value_targets is not None  # a window always gives returns
    return part, ValueBatch(torch.cat([state, executed], dim=1), torch.from_numpy(own.value_targets))


def assemble(
    parts: Sequence[Part], scale: EmaScale, config: GRPOConfig
) -> tuple[PolicyBatch, ValueBatch, dict[str, float]]:
    """Joins parts and scales their advantages; returns policy batch, value batch and metrics."""
    unscaled = np.concatenate([part.advantage for part in parts if not part.is_scaled] or [np.zeros(0, np.float32)])
    spread = float(np.sqrt(np.mean(np.square(unscaled, dtype=np.float64)))) if unscaled.size else 0.0
    divisor = _divisor(spread, scale, config)
    limit = np.float32(config.advantage_limit)
    scaled = [part.advantage if part.is_scaled else part.advantage / np.float32(divisor) for part in parts]
    policy = PolicyBatch(
        torch.from_numpy(np.concatenate([part.inputs for part in parts])),
        torch.from_numpy(np.concatenate([part.pre_squash for part in parts])),
        torch.from_numpy(np.concatenate([part.logp for part in parts])),
        torch.from_numpy(np.concatenate([np.clip(advantage, -limit, limit) for advantage in scaled])),
    )
    inputs = [part.value_inputs for part in parts if part.value_inputs is not None]
    targets = [part.value_targets for part in parts if part.value_targets is not None]
    width = policy.inputs.shape[1]
    values = ValueBatch(
        torch.from_numpy(np.concatenate(inputs or [np.zeros((0, width), np.float32)])),
        torch.from_numpy(np.concatenate(targets or [np.zeros(0, np.float32)])),
    )
    metrics = {"advantage_spread": spread, "advantage_scale": divisor}
    groups = sum(part.groups for part in parts)
    if groups:
        metrics["degenerate_groups"] = sum(part.degenerate for part in parts) / groups
    return policy, values, metrics | parts[0].metrics


def _divisor(spread: float, scale: EmaScale, config: GRPOConfig) -> float:
    if config.advantage_scale == "ema":
        return scale.update(spread)
    return 1.0 if config.advantage_scale == "none" else max(spread, 1e-6)


def _block(rollouts: Rollouts, learner: GRPOLearner) -> Block:
    filled = rollouts.filled
    values = [np.zeros(filled.shape, np.float32) for _ in range(2)]
    for value, name in zip(values, ("inputs", "next_inputs"), strict=True):
        value[filled] = learner.values(torch.from_numpy(_floats(rollouts[name])[filled])).numpy()
    terminated, truncated = (np.asarray(rollouts[name], np.bool_) & filled for name in ("terminated", "truncated"))
    return Block(_floats(rollouts["reward"]), values[0], values[1], terminated, truncated, filled)


def _part(rollouts: Rollouts, block: Block, credit: Credit, *, gamma: float) -> Part:
    inputs, filled = _floats(rollouts["inputs"]), block.filled
    returns = credit.returns[filled]
    following = np.where(block.terminated, np.float32(0.0), block.next_value)
    expected = (block.value - np.float32(gamma) * following).astype(np.float32)
    metrics = {"explained_variance": explained_variance(block.value[filled], returns)}
    if len(returns) >= _FEWEST_COMPARED:
        metrics |= reward_agreement(block.reward[filled], expected[filled])
    return Part(
        inputs[credit.counted],
        _floats(rollouts["pre_squash"])[credit.counted],
        _floats(rollouts["logp"])[credit.counted],
        credit.advantage[credit.counted],
        is_scaled=credit.is_scaled,
        groups=credit.groups,
        degenerate=credit.degenerate,
        value_inputs=inputs[filled],
        value_targets=returns,
        metrics=metrics,
    )


def _draw_gamma(config: GRPOConfig) -> float:
    return float(config.gamma**config.hold_steps)


def _floats(array: NDArray[np.generic]) -> FloatArray:
    return np.asarray(array, dtype=np.float32)
