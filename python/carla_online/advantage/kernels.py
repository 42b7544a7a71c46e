"""The kernels in NumPy, float64 inside. The Rust extension takes their place with the same signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import AdvantageError

Floats = NDArray[Any]
Flags = NDArray[np.bool_]


def _require_finite(name: str, array: Floats, counts: Flags | None = None) -> None:
    bad = ~np.isfinite(array)
    if counts is not None:
        bad &= counts
    if bad.any():
        index = int(bad.argmax())
        place = ", ".join(str(int(i)) for i in np.unravel_index(index, array.shape))
        error = AdvantageError(f"{name}[{place}] is {array.reshape(-1)[index]}; only finite values are accepted")
        error.index = index  # type: ignore[attr-defined]
        raise error


def group_advantages(
    rewards: Floats,
    mask: Flags | None,
    lengths: Floats | None,
    offsets: NDArray[np.int64] | None,
    advantages: Floats,
    degenerate: Flags,
    group_std: Floats,
    *,
    group_size: int,
    estimator: str,
    ddof: int,
    epsilon: float,
    std_floor: float,
    scale: float | None,
    clip: float | None,
    degenerate_absolute: float,
    degenerate_relative: float,
    threads: int | None,
) -> tuple[int, int, float]:
    """Writes three outputs; returns elements, degenerate groups, pooled std."""
    groups = degenerate.size
    if offsets is None:
        offsets = np.arange(groups + 1, dtype=np.int64) * group_size
    falling = np.flatnonzero(np.diff(offsets) < 0)
    if offsets[0] != 0 or offsets[-1] != rewards.size or falling.size:
        raise AdvantageError(f"offsets must rise from 0 to {rewards.size} (the number of rewards)")
    valid = np.ones(rewards.size, np.bool_) if mask is None else mask
    _require_finite("rewards", rewards, valid)
    if lengths is not None:
        _require_finite("lengths", lengths, valid)
    total = np.zeros(rewards.size)
    degenerate[:] = True
    group_std[:] = 0.0
    sum_squares, freedom, elements = 0.0, 0, int(valid.sum())
    for g in range(groups):
        place = np.flatnonzero(valid[offsets[g] : offsets[g + 1]]) + offsets[g]
        r = rewards[place].astype(np.float64)
        if r.size < 2 or np.ptp(r) <= degenerate_absolute + degenerate_relative * np.abs(r).max():
            continue
        centred = (r - r[0]) - (r - r[0]).mean()
        degenerate[g] = False
        squares = float((centred**2).sum())
        std = np.sqrt(squares / (r.size - ddof))
        group_std[g] = std
        sum_squares, freedom = sum_squares + squares, freedom + r.size - ddof
        if estimator == "grpo":
            centred /= max(std, std_floor) + epsilon
        elif estimator == "rloo":
            centred *= r.size / (r.size - 1)
        elif lengths is not None:
            weights = lengths[place].astype(np.float64)
            if weights.min() < 0 or weights.sum() == 0:
                raise AdvantageError(f"the lengths of group {g} are negative or all 0")
            centred = r - (weights * r).sum() / weights.sum()
        total[place] = centred
    pooled = float(np.sqrt(sum_squares / freedom)) if freedom else 0.0
    if estimator in ("batch", "ema"):
        total /= max(pooled if scale is None else scale, std_floor) + epsilon or 1.0
    advantages[:] = total if clip is None else np.clip(total, -clip, clip)
    return elements, int(degenerate.sum()), pooled


def _next(values: Floats, behind: Floats) -> Floats:
    return behind if behind.ndim == 2 else np.concatenate([values[1:], behind[None]])


def gae(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    terminated: Flags,
    truncated: Flags,
    mask: Flags | None,
    advantages: Floats,
    returns: Floats,
    *,
    gamma: float,
    gae_lambda: float,
    threads: int | None,
) -> None:
    """Writes advantages and returns."""
    valid = np.ones(rewards.shape, np.bool_) if mask is None else mask
    if next_values.ndim == 1:
        wrong = np.argwhere(truncated[:-1] & valid[:-1] & valid[1:])
        if wrong.size:
            raise AdvantageError(f"truncated[{wrong[0, 0]}, {wrong[0, 1]}] is set: pass next_values [T, N]")
    behind = _next(values, next_values)
    for name, array in (("rewards", rewards), ("values", values), ("next_values", behind)):
        _require_finite(name, array, valid)
    carry = np.zeros(rewards.shape[1])
    for t in range(len(rewards) - 1, -1, -1):
        v = values[t].astype(np.float64)
        delta = rewards[t] + gamma * np.where(terminated[t], 0.0, behind[t]) - v
        fresh = delta + gamma * gae_lambda * np.where(terminated[t] | truncated[t], 0.0, carry)
        carry = np.where(valid[t], fresh, carry)
        advantages[t] = np.where(valid[t], carry, 0.0)
        returns[t] = np.where(valid[t], carry + v, 0.0)


def reward_to_go(
    rewards: Floats, ends: Flags, bootstrap: Floats | None, mask: Flags | None, out: Floats, *, gamma: float
) -> None:
    """Writes the discounted sums."""
    valid = np.ones(rewards.shape, np.bool_) if mask is None else mask
    _require_finite("rewards", rewards, valid)
    if bootstrap is not None:
        _require_finite("bootstrap", bootstrap)
    carry = np.zeros(rewards.shape[1])
    if bootstrap is not None and len(rewards):
        carry[:] = bootstrap if bootstrap.ndim == 1 else bootstrap[-1]
    for t in range(len(rewards) - 1, -1, -1):
        behind = 0.0 if bootstrap is None or bootstrap.ndim == 1 else bootstrap[t]
        fresh = rewards[t] + gamma * np.where(ends[t], behind, carry)
        carry = np.where(valid[t], fresh, carry)
        out[t] = np.where(valid[t], carry, 0.0)


def n_step(
    rewards: Floats, next_values: Floats, terminated: Flags, truncated: Flags, out: Floats, *, steps: int, gamma: float
) -> None:
    """Writes the returns."""
    _require_finite("rewards", rewards)
    _require_finite("next_values", next_values)
    length = len(rewards)
    for t in range(length):
        last = min(t + steps, length) - 1
        total = np.zeros(rewards.shape[1])
        for s in range(last, t - 1, -1):
            stop = terminated[s] | truncated[s] | (s == last)
            total = rewards[s] + gamma * np.where(stop, np.where(terminated[s], 0.0, next_values[s]), total)
        out[t] = total


def v_trace(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    log_ratio: Floats,
    terminated: Flags,
    truncated: Flags,
    targets: Floats,
    advantages: Floats,
    *,
    gamma: float,
    rho_bar: float,
    c_bar: float,
) -> None:
    """Writes targets and advantages."""
    named = (("rewards", rewards), ("values", values), ("next_values", next_values), ("log_ratio", log_ratio))
    for name, array in named:
        _require_finite(name, array)
    correction, target_behind = np.zeros(rewards.shape[1]), np.zeros(rewards.shape[1])
    for t in range(len(rewards) - 1, -1, -1):
        r, v = rewards[t].astype(np.float64), values[t].astype(np.float64)
        ratio = np.exp(np.clip(log_ratio[t].astype(np.float64), -20, 20))
        rho, c = np.minimum(rho_bar, ratio), np.minimum(c_bar, ratio)
        behind = np.where(terminated[t], 0.0, next_values[t])
        stop = terminated[t] | truncated[t] | (t == len(rewards) - 1)
        correction = rho * (r + gamma * behind - v) + gamma * c * np.where(stop, 0.0, correction)
        advantages[t] = rho * (r + gamma * np.where(stop, behind, target_behind) - v)
        target_behind = v + correction
        targets[t] = target_behind


def _check_branches(rewards: Floats, alive: Flags, bootstrap: Floats) -> Floats:
    again = alive[:, :, 1:] & ~alive[:, :, :-1]
    if again.any():
        s, g, t = np.argwhere(again)[0]
        raise AdvantageError(f"alive[{s}, {g}, {t + 1}] comes after the branch's end; once false it must stay false")
    _require_finite("rewards", rewards, alive)
    _require_finite("bootstrap", bootstrap)
    return alive.sum(axis=2)


def _centred(estimates: Floats, alive: Flags, centre: bool) -> Floats:
    count = alive.sum(axis=1, keepdims=True)
    first = np.take_along_axis(estimates, alive.argmax(axis=1)[:, None], axis=1)
    shifted = np.where(alive, estimates - first, 0.0)
    mean = shifted.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    return np.where(alive, shifted - mean if centre else estimates, 0.0)


def branch_reward_to_go(
    rewards: Floats, alive: Flags, bootstrap: Floats, out: Floats, *, gamma: float, centre: bool
) -> None:
    """Writes reward-to-go by branch."""
    taken = _check_branches(rewards, alive, bootstrap)
    estimates = np.zeros(rewards.shape)
    carry = bootstrap.astype(np.float64)
    for t in range(rewards.shape[2] - 1, -1, -1):
        carry = np.where(t < taken, np.where(t < taken, rewards[:, :, t], 0.0) + gamma * carry, carry)
        estimates[:, :, t] = carry
    out[:] = _centred(estimates, alive, centre)


def branch_gae(
    rewards: Floats,
    values: Floats,
    bootstrap: Floats,
    alive: Flags,
    terminated: Flags,
    out: Floats,
    *,
    gamma: float,
    gae_lambda: float,
    centre: bool,
) -> None:
    """Writes advantages by branch."""
    taken = _check_branches(rewards, alive, bootstrap)
    _require_finite("values", values, alive)
    estimates = np.zeros(rewards.shape)
    behind = np.where(terminated, 0.0, bootstrap.astype(np.float64))
    carry = np.zeros(bootstrap.shape)
    for t in range(rewards.shape[2] - 1, -1, -1):
        r, v = (np.where(t < taken, array[:, :, t], 0.0).astype(np.float64) for array in (rewards, values))
        fresh = r + gamma * behind - v + gamma * gae_lambda * carry
        carry = np.where(t < taken, fresh, carry)
        behind = np.where(t < taken, v, behind)
        estimates[:, :, t] = carry
    out[:] = _centred(estimates, alive, centre)
