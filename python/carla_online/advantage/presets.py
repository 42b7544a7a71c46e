"""Other libraries' group advantages under their names, computed without their rounding.

A preset gives what the library's formula says in exact arithmetic, rounded once. Where the library itself loses
precision (float32 sums, one-pass variances, a standard deviation of rounding errors divided by itself) the numbers
differ, and these are right; `docs/guide/advantages.md` has a table. Token-level estimators (whitening over tokens,
returns along tokens) are `gae`, `reward_to_go` and `whiten`.

Source: trl f2cd577 (July 2026), verl b178a3c (January 2026), RIFT 49d643c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from carla_online.advantage.arrays import AnyArray, BoolArray, FloatArray, as_numpy
from carla_online.advantage.groups import Estimator, GroupAdvantages, group
from carla_online.errors import AdvantageError


@dataclass(frozen=True, slots=True)
class Preset:
    """How a library computes group advantages."""

    formula: str
    """In words."""
    estimator: Estimator
    """What centres and scales the groups."""
    ddof: int = 1
    """Of the standard deviation."""
    epsilon: float = 0.0
    """Added to it."""
    std_floor: float = 0.0
    """Its smallest value."""
    raw_singletons: bool = False
    """Whether a group of one keeps its reward, divided by 1 + epsilon, as its advantage; else 0."""
    extra: Literal["", "raw_batch_std", "best_only", "nonzero_share"] = ""
    """What the library does beyond the estimator."""


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "trl:grpo": Preset("(r - mean) / (std + 1e-4)", "grpo", epsilon=1e-4),
        "trl:batch": Preset("(r - mean) / (std of all raw rewards + 1e-4)", "ema", epsilon=1e-4, extra="raw_batch_std"),
        "trl:dr_grpo": Preset("r - mean", "dr_grpo"),
        "trl:rloo": Preset("r - mean of the others", "rloo"),
        "verl:grpo": Preset("(r - mean) / (std + 1e-6)", "grpo", epsilon=1e-6, raw_singletons=True),
        "verl:dr_grpo": Preset("r - mean", "dr_grpo", raw_singletons=True),
        "verl:grpo_vectorized": Preset(
            "(r - mean) / (max(std, 1e-3) + 1e-6)", "grpo", epsilon=1e-6, std_floor=1e-3, raw_singletons=True
        ),
        "verl:grpo_passk": Preset(
            "(best - second best) / (std + 1e-6) for the best, 0 for the others",
            "grpo",
            epsilon=1e-6,
            extra="best_only",
        ),
        "verl:rloo": Preset("n / (n - 1) (r - mean)", "rloo", raw_singletons=True),
        "verl:rloo_vectorized": Preset("(n r - sum) / (n - 1)", "rloo"),
        "verl:opo": Preset("r - sum(length r) / sum(length)", "opo", raw_singletons=True),
        "verl:gpg": Preset(
            "rewards / nonzero rewards x (r - mean)", "dr_grpo", raw_singletons=True, extra="nonzero_share"
        ),
        "rift": Preset("(r - mean) / (std with ddof 0 + 1e-5)", "grpo", ddof=0, epsilon=1e-5),
    }
)
"""Every preset by name."""


def preset(
    name: str,
    rewards: FloatArray,
    *,
    offsets: AnyArray | None = None,
    group_size: int | None = None,
    mask: BoolArray | None = None,
    lengths: FloatArray | None = None,
    out: FloatArray | None = None,
    threads: int | None = None,
) -> GroupAdvantages[FloatArray]:
    """Computes group advantages as another library defines them.

    Args:
        name: A key of `PRESETS`.
        rewards: As in `group`, and so the other arguments.
        offsets: As in `group`.
        group_size: As in `group`.
        mask: As in `group`.
        lengths: Of `verl:opo`, as in `group`.
        out: As in `group`.
        threads: As in `group`.

    Returns:
        As `group`. Groups count as degenerate only if all their rewards are equal; the libraries leave none of them
        out.

    Raises:
        AdvantageError: The name is unknown, a group of `verl:grpo_passk` has fewer than two rewards, or as `group`.
        TypeError: As `group`.
    """
    chosen = PRESETS.get(name)
    if chosen is None:
        raise AdvantageError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    given = np.array(as_numpy("rewards", rewards)).reshape(-1)  # a copy: `out` may be `rewards`
    valid = np.ones(given.size, np.bool_) if mask is None else np.array(as_numpy("mask", mask)).reshape(-1)
    scale = _raw_std(given, valid) if chosen.extra == "raw_batch_std" else None
    result = group(
        rewards,
        offsets=offsets,
        group_size=group_size,
        estimator="dr_grpo" if chosen.extra == "best_only" else chosen.estimator,
        ddof=chosen.ddof,
        epsilon=chosen.epsilon,
        std_floor=chosen.std_floor,
        scale=scale,
        mask=mask,
        lengths=lengths,
        degenerate_range=(0.0, 0.0),
        out=out,
        threads=threads,
    )
    if chosen.raw_singletons or chosen.extra in ("best_only", "nonzero_share"):
        advantages = as_numpy("advantages", result.advantages)
        shape = as_numpy("rewards", rewards).shape
        names = _group_names(shape, offsets, group_size)
        changed = _beyond_the_estimator(chosen, given, valid, names, result)
        advantages[...] = changed.reshape(shape)
    return result


def _raw_std(rewards: NDArray[Any], valid: NDArray[np.bool_]) -> float:
    """Std of all rewards, not centred by group; 1 where it is 0 or there is none, as every advantage is 0 then."""
    counted = rewards[valid].astype(np.float64)
    if counted.size < 2 or np.ptp(counted) == 0.0:
        return 1.0
    std = float(counted.std(ddof=1))
    return std if np.isfinite(std) else 1.0  # `group` will name the reward that isn't finite


def _group_names(shape: tuple[int, ...], offsets: AnyArray | None, group_size: int | None) -> NDArray[np.int64]:
    """The group of each element, [n]."""
    if offsets is not None:
        sizes = np.diff(as_numpy("offsets", offsets))
        return np.repeat(np.arange(sizes.size), sizes)
    return np.arange(int(np.prod(shape))) // (group_size or shape[-1] or 1)


def _beyond_the_estimator(
    chosen: Preset,
    rewards: NDArray[Any],
    valid: NDArray[np.bool_],
    names: NDArray[np.int64],
    result: GroupAdvantages[Any],
) -> NDArray[np.float64]:
    groups = result.statistics.groups
    sizes = np.bincount(names[valid], minlength=groups)
    if chosen.extra == "best_only":
        return _best_only(chosen, rewards, valid, names, result)
    advantages = as_numpy("advantages", result.advantages).reshape(-1).astype(np.float64)
    single = valid & (sizes[names] == 1)
    if chosen.raw_singletons:
        divisor = 1.0 + chosen.epsilon if chosen.estimator == "grpo" else 1.0
        advantages[single] = rewards[single] / divisor
    if chosen.extra == "nonzero_share":
        advantages *= valid.sum() / max(np.count_nonzero(rewards[valid]), 1)
    return advantages


def _best_only(
    chosen: Preset,
    rewards: NDArray[Any],
    valid: NDArray[np.bool_],
    names: NDArray[np.int64],
    result: GroupAdvantages[Any],
) -> NDArray[np.float64]:
    groups = result.statistics.groups
    sizes = np.bincount(names[valid], minlength=groups)
    if groups and sizes.min() < 2:
        group_name = int(sizes.argmin())
        raise AdvantageError(
            f"group {group_name} has {sizes[group_name]} rewards; verl:grpo_passk compares the best two of each group"
        )
    places = np.flatnonzero(valid)
    order = places[np.lexsort((-places, rewards[places].astype(np.float64), names[places]))]  # of equals the first wins
    ends = np.cumsum(sizes)
    best, second = order[ends - 1], order[ends - 2]
    advantages = np.zeros(rewards.size)
    gap = rewards[best].astype(np.float64) - rewards[second]
    advantages[best] = gap / (result.statistics.group_std.astype(np.float64) + chosen.epsilon)
    return advantages
