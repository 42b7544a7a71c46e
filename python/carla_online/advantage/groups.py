"""Advantages of groups: each reward against the others of its group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online import _native
from carla_online.advantage.arrays import (
    AnyArray,
    BoolArray,
    FloatArray,
    Output,
    as_numpy,
    flags,
    floats,
    shaped_floats,
)
from carla_online.errors import AdvantageError

Estimator = Literal["grpo", "dr_grpo", "batch", "ema", "rloo", "opo"]

DEGENERATE_RANGE = (1e-6, 1e-5)
"""Default thresholds: a range of at most 1e-6 + 1e-5 x the largest magnitude counts as no difference."""


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """What the groups of one call were like; elements that the mask leaves out count nowhere."""

    elements: int
    """Rewards that counted."""
    groups: int
    """All groups."""
    degenerate_groups: int
    """Groups whose members couldn't be told apart."""
    pooled_std: float
    """Root of (sum of squared deviations / sum of (n - ddof)) over the groups that aren't degenerate; 0 without any."""
    group_std: NDArray[Any]
    """[groups], std of each group's rewards with the call's `ddof`; 0 for degenerate groups."""
    degenerate: NDArray[np.bool_]
    """[groups], as in `GroupAdvantages`."""

    @property
    def fraction_degenerate(self) -> float:
        """Share of degenerate groups; 0 without groups."""
        return self.degenerate_groups / self.groups if self.groups else 0.0

    def std_quantiles(self, probabilities: Sequence[float] = (0.0, 0.1, 0.5, 0.9, 1.0)) -> NDArray[np.float64]:
        """Quantiles of `group_std` over the groups that aren't degenerate; zeros without any."""
        stds = self.group_std[~self.degenerate].astype(np.float64)
        if stds.size == 0:
            return np.zeros(len(probabilities))
        return np.asarray(np.quantile(stds, probabilities), np.float64)


class GroupAdvantages(NamedTuple, Generic[FloatArray]):
    """What `group` returns; unpacks into three."""

    advantages: FloatArray
    """The shape, type and kind of the rewards; 0 in degenerate groups and where the mask is false."""
    degenerate: BoolArray
    """bool [groups], of the rewards' kind: leave these groups out of the loss."""
    statistics: GroupStatistics


class Layout(NamedTuple):
    """How rewards fall into groups: rows of one size, or runs between offsets."""

    groups: int
    group_size: int
    offsets: NDArray[np.int64] | None


def group(
    rewards: FloatArray,
    *,
    offsets: AnyArray | None = None,
    group_size: int | None = None,
    estimator: Estimator = "dr_grpo",
    ddof: int = 1,
    epsilon: float = 1e-6,
    std_floor: float = 0.0,
    scale: float | None = None,
    clip: float | None = None,
    mask: BoolArray | None = None,
    lengths: FloatArray | None = None,
    degenerate_range: tuple[float, float] = DEGENERATE_RANGE,
    out: FloatArray | None = None,
    threads: int | None = None,
) -> GroupAdvantages[FloatArray]:
    """Compares each reward with the others of its group.

    With n rewards r of a group, mean m and standard deviation s (`ddof`), the advantage is

    | estimator | advantage | source |
    |---|---|---|
    | `grpo` | (r - m) / (max(s, std_floor) + epsilon) | DeepSeekMath, arXiv 2402.03300, section 4.1 |
    | `dr_grpo` | r - m | Dr. GRPO, arXiv 2503.20783 |
    | `batch` | (r - m) / (max(pooled s of all groups, std_floor) + epsilon) | |
    | `ema` | (r - m) / (max(scale, std_floor) + epsilon), `scale` from `EmaScale` | VD-GRPO, arXiv 2505.17659 |
    | `rloo` | r - mean of the others = (r - m) n / (n - 1) | arXiv 2402.14740 |
    | `opo` | r - sum(length r) / sum(length) | arXiv 2505.23585 |

    A group whose range (largest minus smallest reward) is at most `absolute + relative * largest magnitude` is
    degenerate: its advantages are exactly 0. So are groups of one (no other to compare with) and of none. Sums are
    float64 in an order fixed by a group's size alone, so a result doesn't depend on threads or on other groups.

    Args:
        rewards: [groups, G]; or [n], with `offsets` or `group_size`. Finite where the mask is true.
        offsets: int64 [groups + 1], from 0 to n, not falling: group g is rewards[offsets[g]:offsets[g + 1]].
        group_size: Rewards of a group, for rewards [n] in groups of one size; n must be a multiple of it.
        estimator: See the table.
        ddof: 1 divides squared deviations by n - 1, 0 by n.
        epsilon: Added to the divisor, 0 or more. Units of reward.
        std_floor: Smallest standard deviation to divide by, 0 or more. Units of reward.
        scale: Divisor of `ema`, above 0. Units of reward.
        clip: Advantages are limited to [-clip, clip]; None for no limit.
        mask: bool, the shape of `rewards`; false takes an element out of its group.
        lengths: The shape and type of `rewards`, weights of `opo`, 0 or more, not all 0 in a group that isn't
            degenerate.
        degenerate_range: (absolute, relative) thresholds, 0 or more.
        out: Where to write the advantages; may be `rewards`.
        threads: Threads to use; None chooses one for small inputs.

    Returns:
        Advantages, degenerate mask, statistics.

    Raises:
        AdvantageError: Shapes, offsets or settings don't fit; a reward or length is NaN or infinite (the message names
            the first one, `index` holds its place in the flattened array).
        TypeError: An array has another element type, or is no NumPy array or torch CPU tensor.
    """
    values = floats("rewards", rewards)
    layout = _layout(values, offsets, group_size)
    _check_settings(estimator, ddof=ddof, epsilon=epsilon, std_floor=std_floor, scale=scale, clip=clip)
    _check_thresholds(degenerate_range)
    shape_of = "the shape of rewards"
    valid = None if mask is None else flags("mask", mask, values.shape, shape_of)
    weights = None if lengths is None else shaped_floats("lengths", lengths, values, values.shape, shape_of)
    if (estimator == "opo") != (weights is not None):
        raise AdvantageError("lengths belong to the estimator opo: pass both or neither")
    output = Output(out, values, (values, valid, weights))
    degenerate = np.empty(layout.groups, np.bool_)
    group_std = np.empty(layout.groups, values.dtype)
    elements, degenerate_groups, pooled_std = _native.group_advantages(
        values,
        valid,
        weights,
        layout.offsets,
        output.array,
        degenerate,
        group_std,
        groups=layout.groups,
        group_size=layout.group_size,
        estimator=estimator,
        ddof=ddof,
        epsilon=epsilon,
        std_floor=std_floor,
        scale=scale,
        clip=clip,
        degenerate_absolute=degenerate_range[0],
        degenerate_relative=degenerate_range[1],
        threads=threads,
    )
    statistics = GroupStatistics(elements, layout.groups, degenerate_groups, pooled_std, group_std, degenerate)
    is_tensor = isinstance(rewards, torch.Tensor)
    return GroupAdvantages(
        output.finish(rewards), torch.from_numpy(degenerate) if is_tensor else degenerate, statistics
    )


def _layout(rewards: NDArray[Any], offsets: AnyArray | None, group_size: int | None) -> Layout:
    if offsets is not None and group_size is not None:
        raise AdvantageError("offsets and group_size were both given; pass one of them")
    if rewards.ndim == 2:
        if offsets is not None or group_size is not None:
            raise AdvantageError("rewards [groups, G] need neither offsets nor group_size; pass rewards.reshape(-1)")
        return Layout(rewards.shape[0], rewards.shape[1], None)
    if rewards.ndim != 1:
        raise AdvantageError(f"rewards have shape {list(rewards.shape)}; pass [groups, G], or [n] with offsets")
    if group_size is not None:
        if group_size < 1 or rewards.size % group_size:
            raise AdvantageError(f"{rewards.size} rewards don't fall into groups of {group_size}")
        return Layout(rewards.size // group_size, group_size, None)
    if offsets is None:
        raise AdvantageError("rewards [n] don't say where groups begin; pass offsets or group_size")
    return _ragged(rewards.size, as_numpy("offsets", offsets))


def _ragged(size: int, offsets: NDArray[Any]) -> Layout:
    if offsets.dtype != np.int64:
        raise TypeError(f"offsets: expected int64, got {offsets.dtype}; pass offsets.astype(numpy.int64)")
    if offsets.ndim != 1 or offsets.size == 0:
        raise AdvantageError(f"offsets have shape {list(offsets.shape)}; pass [groups + 1]")
    return Layout(offsets.size - 1, 0, np.ascontiguousarray(offsets))


def _check_settings(
    estimator: str, *, ddof: int, epsilon: float, std_floor: float, scale: float | None, clip: float | None
) -> None:
    if estimator not in ("grpo", "dr_grpo", "batch", "ema", "rloo", "opo"):
        raise AdvantageError(f"unknown estimator {estimator!r}; choose grpo, dr_grpo, batch, ema, rloo or opo")
    if ddof not in (0, 1):
        raise AdvantageError(f"ddof is {ddof}; choose 0 or 1")
    for name, value in (("epsilon", epsilon), ("std_floor", std_floor)):
        if not (math.isfinite(value) and value >= 0.0):
            raise AdvantageError(f"{name} is {value}; choose a finite value of at least 0")
    if (estimator == "ema") != (scale is not None):
        raise AdvantageError(f"scale is {scale} with the estimator {estimator}; ema needs one, the others take none")
    for name, limit in (("scale", scale), ("clip", clip)):
        if limit is not None and not (math.isfinite(limit) and limit > 0.0):
            raise AdvantageError(f"{name} is {limit}; choose a finite value above 0")


def _check_thresholds(degenerate_range: tuple[float, float]) -> None:
    absolute, relative = degenerate_range
    if not (math.isfinite(absolute) and math.isfinite(relative) and absolute >= 0.0 and relative >= 0.0):
        raise AdvantageError(f"degenerate_range is {degenerate_range}; both values must be finite and at least 0")
