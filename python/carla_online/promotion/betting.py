"""Sequential tests of a mean by betting: evidence that may be looked at after every route, and stopped on.

A gambler bets against the hypothesis "the mean is at most b". Were it true, no strategy could expect to gain, so the
wealth is a non-negative supermartingale that starts at 1, and by Ville's inequality it ever reaches 1 / significance
with a probability of at most `significance`, however often one looks. Where the hypothesis is false, a good strategy
gets rich.

With values mapped to x in [0, 1] and the bound to m, the wealth after t values is

    K_t = prod_{i <= t} (1 + lambda_i (x_i - m)),    0 <= lambda_i <= c / m,    c < 1,

where lambda_i depends on the values before the i-th only. The bets are aGRAPA's, the approximate maximisers of the
expected log growth from the running mean and variance, truncated to the interval above:

    lambda_i = (mean_{i-1} - m) / (variance_{i-1} + (mean_{i-1} - m)^2).

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86(1), 2024,
    https://arxiv.org/abs/2010.09686: the capital process, section 4; aGRAPA, appendix B.3.

What it assumes: given the values before, each value's expectation is at most b under the hypothesis. Independent routes
of one distribution have it. Where a suite has several parts, the routes come in a shuffled order; draws without
replacement are negatively associated, so that for fixed bets the expected wealth is no larger than for independent
ones. For adaptive bets that is checked by simulation (`tests/promotion/test_betting.py`) rather than proved.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carla_online.errors import EvaluationError

Direction = Literal["above", "below"]
"""`above` collects evidence against "the mean is at most the bound"; `below` against "it is at least the bound"."""

LARGEST_DIFFERENCE: Final = 100.0
"""Points: driving scores lie in 0 to 100, so their differences in [-100, 100]."""
# What the running variance starts from, as one value's worth. Any number fixed beforehand is valid. The paper's is 1/4,
# the largest variance there is; differences of two policies on one route were seen to spread by 10 to 40 points.
_FIRST_SPREAD_POINTS: Final = 30.0


def betting_log_wealth(
    differences: ArrayLike, *, bound: float, direction: Direction = "above", truncation: float = 0.75
) -> NDArray[np.float64]:
    """Returns the logarithm of the wealth after each value.

    Args:
        differences: float64 [..., T] in [-100, 100], points; in the order in which they came.
        bound: The hypothesis's bound on the mean, points, in (-100, 100).
        direction: What counts as evidence.
        truncation: c in (0, 1): no bet risks a larger share of the wealth.

    Returns:
        float64 [..., T], natural logarithm. Leading dimensions are independent tests.

    Raises:
        EvaluationError: A value isn't finite or out of range, or a setting is.
    """
    values = np.asarray(differences, np.float64)
    if values.ndim == 0 or not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > LARGEST_DIFFERENCE + 1e-9:
        raise EvaluationError(f"a betting test needs finite differences in [-100, 100], got {values!r:.200}.")
    if not -LARGEST_DIFFERENCE < bound < LARGEST_DIFFERENCE:
        raise EvaluationError(f"the bound {bound} of a betting test must lie in (-100, 100).")
    if not 0.0 < truncation < 1.0:
        raise EvaluationError(f"the truncation {truncation} of a betting test must lie in (0, 1).")
    sign = 1.0 if direction == "above" else -1.0
    unit = _to_unit(sign * np.clip(values, -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE))
    return _capital(unit, float(_to_unit(np.asarray(sign * bound))), truncation)


def is_shown(log_wealth: NDArray[np.float64], significance: float) -> NDArray[np.bool_]:
    """Returns whether the wealth has ever reached 1 / significance, bool [...], for log wealth [..., T]."""
    return np.asarray(np.max(log_wealth, axis=-1, initial=0.0) >= -np.log(significance))


def first_shown(log_wealth: NDArray[np.float64], significance: float) -> int | None:
    """Returns after how many values the wealth of one test [T] first reached 1 / significance, or None."""
    reached = np.flatnonzero(log_wealth >= -np.log(significance))
    return int(reached[0]) + 1 if reached.size else None


def _to_unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((points + LARGEST_DIFFERENCE) / (2.0 * LARGEST_DIFFERENCE))


def _capital(unit: NDArray[np.float64], bound: float, truncation: float) -> NDArray[np.float64]:
    """Returns the log wealth of bets on "mean > bound" for values in [0, 1]."""
    log_wealth = np.zeros_like(unit)
    total = np.zeros(unit.shape[:-1])
    mean = np.full(unit.shape[:-1], 0.5)  # no difference
    squares = np.full(unit.shape[:-1], (_FIRST_SPREAD_POINTS / (2.0 * LARGEST_DIFFERENCE)) ** 2)
    variance = squares.copy()
    growth = np.zeros(unit.shape[:-1])
    for place in range(unit.shape[-1]):
        value = unit[..., place]
        edge = mean - bound
        bet = np.clip(edge / (variance + edge**2), 0.0, truncation / bound)
        growth = growth + np.log1p(bet * (value - bound))
        log_wealth[..., place] = growth
        # The prior counts as one value: equation for the predictable plug-in, with t + 1 in the denominators.
        total = total + value
        mean = (0.5 + total) / (place + 2.0)
        squares = squares + (value - mean) ** 2
        variance = squares / (place + 2.0)
    return log_wealth
