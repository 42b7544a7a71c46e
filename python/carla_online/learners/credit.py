"""Who gets the credit: from rewards and values to centred advantages, by array arithmetic alone.

A block is [T, M]: M columns of at most T draws each, row t + 1 of a column following its row t. A branch block has
M = G * S columns, member g of the group that began in state s being column g * S + s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from carla_online import advantage

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
_LARGEST_REWARD: Final = 3.0
"""In mean sizes."""
BranchCredit = Literal["first_draw", "every_draw", "monte_carlo"]


@dataclass(frozen=True, slots=True)
class Block:
    """Draws, their rewards and what the value network expected around them."""

    reward: FloatArray
    """[T, M]"""
    value: FloatArray
    """[T, M]: of the state drawn in"""
    next_value: FloatArray
    """[T, M]: of the state that the draw led to, also where the episode was cut"""
    terminated: BoolArray
    """[T, M]"""
    truncated: BoolArray
    """[T, M]"""
    filled: BoolArray
    """[T, M]: places that hold a draw; a column's come first"""


@dataclass(frozen=True, slots=True)
class Credit:
    """What a block's draws were worth."""

    advantage: FloatArray
    """[T, M]: centred, in units of reward unless `is_scaled`"""
    returns: FloatArray
    """[T, M]: targets of the value network"""
    counted: BoolArray
    """[T, M]: draws that the policy learns from"""
    groups: int = 0
    """Groups that were compared"""
    degenerate: int = 0
    """Groups whose members couldn't be told apart"""
    is_scaled: bool = False
    """Divided by each group's own spread already"""


def window_credit(block: Block, *, gamma: float, gae_lambda: float) -> Credit:
    """Generalised advantage estimation, centred over all draws; the window's end bootstraps.

    Source: https://arxiv.org/abs/1506.02438, equation (16).
    """
    estimate, returns = _gae(block, gamma=gamma, gae_lambda=gae_lambda)
    centred = np.where(block.filled, estimate - _mean(estimate, block.filled), np.float32(0.0))
    return Credit(centred.astype(np.float32), returns, block.filled)


def branch_credit(
    block: Block, *, group_size: int, gamma: float, gae_lambda: float, kind: BranchCredit, by_group_std: bool = False
) -> Credit:
    """Compares the members of groups that began in one state.

    Args:
        block: Branches, [H, G * S].
        group_size: G.
        gamma: Discount for one draw.
        gae_lambda: Weight of longer returns.
        kind: `first_draw`: GAE; at the first draw, where the members share a state, their mean is the yardstick in the
            value network's place. `every_draw`: GAE less the mean of the members alive. `monte_carlo`: reward-to-go
            with the value at the end, less that mean.
        by_group_std: Divide what is compared in a group by the group's own spread.

    Notes:
        Behind the first draw the members are in different states, and their mean says little about any of them: what
        one of them gained by its first draw counts for all its later draws as well.
    """
    estimate, returns = _gae(block, gamma=gamma, gae_lambda=gae_lambda)
    compared = advantage.group(
        np.ascontiguousarray(estimate[0].reshape(group_size, -1).T),
        estimator="grpo" if by_group_std else "dr_grpo",
        mask=np.ascontiguousarray(block.filled[0].reshape(group_size, -1).T),
    )
    groups, degenerate = len(compared.degenerate), int(np.sum(compared.degenerate))
    counted = block.filled.copy()
    counted[0] &= ~np.tile(np.asarray(compared.degenerate), group_size)
    if kind == "first_draw":
        centred = np.where(block.filled, estimate - _mean(estimate[1:], block.filled[1:]), np.float32(0.0))
        centred[0] = np.asarray(compared.advantages).T.reshape(-1)
        if by_group_std:
            spread = (
                float(np.sqrt(np.mean(np.square(centred[1:][block.filled[1:]])))) if block.filled[1:].any() else 1.0
            )
            centred[1:] /= max(spread, 1e-6)
        return Credit(centred.astype(np.float32), returns, counted, groups, degenerate, by_group_std)
    alive = block.filled & ~_ended_before(block)
    centred = _centred_at_every_draw(block, alive, group_size, gamma=gamma, gae_lambda=gae_lambda, kind=kind)
    if by_group_std:
        centred /= np.maximum(_spread_of_members(centred, alive, group_size), np.float32(1e-6))
    return Credit(centred, returns, counted & alive, groups, degenerate, by_group_std)


def group_credit(scores: FloatArray, *, by_group_std: bool = False) -> tuple[FloatArray, BoolArray]:
    """Centres scores [groups, G] in their groups; returns them and which groups are degenerate, bool [groups]."""
    compared = advantage.group(scores, estimator="grpo" if by_group_std else "dr_grpo")
    return np.asarray(compared.advantages), np.asarray(compared.degenerate)


def explained_variance(values: FloatArray, returns: FloatArray) -> float:
    """Returns 1 - Var(returns - values) / Var(returns): 1 for a perfect value network, 0 for a constant one."""
    variance = float(np.var(returns, dtype=np.float64)) if returns.size else 0.0
    return 0.0 if variance < 1e-12 else 1.0 - float(np.var(returns - values, dtype=np.float64)) / variance


def reward_agreement(rewards: FloatArray, expected: FloatArray) -> dict[str, float]:
    """Compares rewards with those that value estimates let expect: Q(s, a) - gamma V(s'), both [B].

    Returns:
        `reward_agreement`, the cosine of the angle between them: 1 if all are right but for a factor, 0 if they have
        nothing to do with each other, -1 if a sign is wrong; and `reward_ratio`, mean size over mean size. Nothing
        where either is all zero. Values beyond three times the mean size count as that.
    """
    sizes = [float(np.abs(values).mean(dtype=np.float64)) for values in (rewards, expected)]
    if min(sizes) <= 0.0:
        return {}
    # A single collision, which nobody could expect, must not outweigh hundreds of ordinary rewards.
    limited = [
        np.clip(values / np.float64(size), -_LARGEST_REWARD, _LARGEST_REWARD)
        for values, size in zip((rewards, expected), sizes, strict=True)
    ]
    size, expected_size = (size * float(np.abs(values).mean()) for values, size in zip(limited, sizes, strict=True))
    norms = float(np.linalg.norm(limited[0]) * np.linalg.norm(limited[1]))
    return {"reward_agreement": float(limited[0] @ limited[1]) / norms, "reward_ratio": size / expected_size}


def _gae(block: Block, *, gamma: float, gae_lambda: float) -> tuple[FloatArray, FloatArray]:
    last = block.filled & ~np.vstack([block.filled[1:], np.zeros_like(block.filled[:1])])
    estimate, returns = advantage.gae(
        block.reward,
        block.value,
        block.next_value,
        block.terminated,
        (block.truncated | last) & ~block.terminated,
        gamma=gamma,
        gae_lambda=gae_lambda,
        mask=block.filled,
    )
    return np.asarray(estimate), np.asarray(returns)


def _centred_at_every_draw(
    block: Block, alive: BoolArray, group_size: int, *, gamma: float, gae_lambda: float, kind: BranchCredit
) -> FloatArray:
    shape = (len(block.reward), group_size, -1)

    def by_group(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(array.reshape(shape).transpose(2, 1, 0))  # [S, G, H]

    last = np.maximum(alive.sum(axis=0) - 1, 0)
    columns = np.arange(alive.shape[1])
    ends = block.terminated[last, columns] & alive[last, columns]
    bootstrap = np.where(ends, np.float32(0.0), block.next_value[last, columns])
    bootstrap = np.ascontiguousarray(bootstrap.reshape(group_size, -1).T.astype(np.float32))
    rewards, living = by_group(block.reward), by_group(alive)
    if kind == "monte_carlo":
        result = advantage.branch_reward_to_go(rewards, living, bootstrap, gamma=gamma)
    else:
        terminated = np.ascontiguousarray(ends.reshape(group_size, -1).T)
        result = advantage.branch_gae(
            rewards, by_group(block.value), bootstrap, living, terminated, gamma=gamma, gae_lambda=gae_lambda
        )
    return np.ascontiguousarray(np.asarray(result).transpose(2, 1, 0).reshape(alive.shape))


def _ended_before(block: Block) -> BoolArray:
    ended = (block.terminated | block.truncated) & block.filled
    before = np.zeros_like(ended)
    before[1:] = np.logical_or.accumulate(ended, axis=0)[:-1]
    return before


def _spread_of_members(centred: FloatArray, alive: BoolArray, group_size: int) -> FloatArray:
    """Returns each draw's group spread at its place in time, [H, M]."""
    shape = (len(centred), group_size, -1)
    squares, count = np.square(centred).reshape(shape).sum(axis=1), alive.reshape(shape).sum(axis=1)
    return np.tile(np.sqrt(squares / np.maximum(count - 1, 1)), (1, group_size)).astype(np.float32)


def _mean(values: FloatArray, mask: BoolArray) -> np.float32:
    return np.float32(np.mean(values[mask], dtype=np.float64)) if mask.any() else np.float32(0.0)
