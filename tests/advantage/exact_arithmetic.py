"""The formulas in exact rational arithmetic, element by element: the oracle of these tests.

A float is a rational number, so nothing is rounded here but square roots and the last conversion to float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Numbers = Sequence[float]
ZERO = Fraction(0)


def exact(values: Numbers) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def square_root(value: Fraction) -> Fraction:
    """To 60 digits and more."""
    shift = 1 << 400
    return Fraction(math.isqrt(int(value * shift * shift)), shift)


def squares_around_mean(rewards: list[Fraction]) -> Fraction:
    mean = sum(rewards) / len(rewards)
    return sum(((reward - mean) ** 2 for reward in rewards), ZERO)


def is_degenerate(rewards: list[Fraction], absolute: float, relative: float) -> bool:
    if len(rewards) < 2:
        return True
    largest = max(abs(reward) for reward in rewards)
    return max(rewards) - min(rewards) <= Fraction(absolute) + Fraction(relative) * largest


def group_advantages(
    groups: list[Numbers],
    estimator: str,
    *,
    ddof: int = 1,
    epsilon: float = 1e-6,
    std_floor: float = 0.0,
    scale: float | None = None,
    lengths: list[Numbers] | None = None,
    thresholds: tuple[float, float] = (0.0, 0.0),
) -> list[list[float]]:
    """One list of advantages for each group."""
    members = [exact(group) for group in groups]
    live = [rewards for rewards in members if not is_degenerate(rewards, *thresholds)]
    freedom = sum(len(rewards) - ddof for rewards in live)
    pooled = square_root(sum((squares_around_mean(rewards) for rewards in live), ZERO) / freedom) if live else ZERO
    result = []
    for index, rewards in enumerate(members):
        if is_degenerate(rewards, *thresholds):
            result.append([0.0] * len(rewards))
            continue
        count = len(rewards)
        mean = sum(rewards) / count
        std = square_root(squares_around_mean(rewards) / (count - ddof))
        divisor = {
            "grpo": max(std, Fraction(std_floor)) + Fraction(epsilon),
            "batch": max(pooled, Fraction(std_floor)) + Fraction(epsilon),
            "ema": max(Fraction(scale or 0.0), Fraction(std_floor)) + Fraction(epsilon),
        }.get(estimator, Fraction(1))
        if estimator == "rloo":
            result.append([float(r - (sum(rewards) - r) / (count - 1)) for r in rewards])
            continue
        if estimator == "opo":
            assert lengths is not None
            weights = exact(lengths[index])
            mean = sum((w * r for w, r in zip(weights, rewards, strict=True)), ZERO) / sum(weights)
        result.append([float((reward - mean) / divisor) for reward in rewards])
    return result


def discounted(rewards: Numbers, gamma: float, behind: float) -> Fraction:
    """Sum of gamma^k r_k, then gamma^n times what is behind; term by term."""
    terms = [Fraction(gamma) ** k * Fraction(float(reward)) for k, reward in enumerate(rewards)]
    return sum(terms, ZERO) + Fraction(gamma) ** len(rewards) * Fraction(float(behind))


def episode_end(terminated: np.ndarray, truncated: np.ndarray, start: int) -> int:
    """Index of the last step of the episode that `start` belongs to, or of the window."""
    for step in range(start, len(terminated)):
        if terminated[step] or truncated[step]:
            return step
    return len(terminated) - 1


def gae_column(rewards, values, next_values, terminated, truncated, gamma: float, gae_lambda: float) -> list[Fraction]:
    """Sum over k of (gamma lambda)^k delta_{t+k} up to the episode's end: equation 16, not the recursion."""
    deltas = [
        Fraction(float(r)) + (ZERO if done else Fraction(gamma) * Fraction(float(after))) - Fraction(float(v))
        for r, v, after, done in zip(rewards, values, next_values, terminated, strict=True)
    ]
    trace = Fraction(gamma) * Fraction(gae_lambda)
    result = []
    for start in range(len(deltas)):
        last = episode_end(terminated, truncated, start)
        result.append(sum((trace ** (step - start) * deltas[step] for step in range(start, last + 1)), ZERO))
    return result
