"""The betting test: its numbers by hand, its false alarms under any stopping rule, its power."""

import math

import numpy as np
import pytest

from carla_online.errors import EvaluationError
from carla_online.promotion.betting import betting_log_wealth, first_shown, is_shown

RUNS, ROUTES, LEVEL = 4_000, 200, 0.05
# Three standard errors of a share of 5 % in 4,000 runs.
MOST = LEVEL + 3.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / RUNS)
BOUND = 2.0


def by_hand(points, bound, cut):
    """The same strategy written down again, one value at a time, from the paper's formulas."""
    m = (bound + 100.0) / 200.0
    wealth, past, path = 1.0, [], []
    squares = (30.0 / 200.0) ** 2
    for x in [(point + 100.0) / 200.0 for point in points]:
        mean = (0.5 + sum(past)) / (len(past) + 1)
        variance = squares / (len(past) + 1)
        bet = (mean - m) / (variance + (mean - m) ** 2)
        bet = min(max(bet, 0.0), cut / m)
        wealth *= 1.0 + bet * (x - m)
        past.append(x)
        squares += (x - (0.5 + sum(past)) / (len(past) + 1)) ** 2
        path.append(wealth)
    return path


def test_the_wealth_is_what_the_formulas_say():
    points = [30.0, -10.0, 55.0, 0.0, 100.0, -100.0, 20.0]
    found = np.exp(betting_log_wealth(points, bound=BOUND, truncation=0.6))
    assert found == pytest.approx(by_hand(points, BOUND, 0.6), rel=1e-12)


def test_evidence_below_is_evidence_above_of_the_mirrored_values():
    values = np.random.default_rng(3).uniform(-60.0, 90.0, 50)
    below = betting_log_wealth(values, bound=BOUND, direction="below")
    assert below == pytest.approx(betting_log_wealth(-values, bound=-BOUND), rel=1e-12)


def two_modes(rng, shape):
    """Most routes alike, some won or lost altogether: +-80."""
    return np.where(rng.random(shape) < 0.3, np.where(rng.random(shape) < 0.5, 80.0, -80.0), 0.0)


def rare_disasters(rng, shape):
    """A little better nearly always, a crash now and then."""
    return np.where(rng.random(shape) < 0.05, -95.0, 5.0)


def rare_wins(rng, shape):
    return np.where(rng.random(shape) < 0.03, 97.0, -3.0)


def steady(rng, shape):
    return rng.normal(0.0, 1.5, shape)


SHAPES = (two_modes, rare_disasters, rare_wins, steady)


def at_bound(draw, shape):
    """Draws of a shape with mean 0, and a share of +100 that makes the mean the bound: clipping would move it."""
    rng = np.random.default_rng(7)
    return np.where(rng.random(shape) < BOUND / 100.0, 100.0, draw(rng, shape))


@pytest.mark.parametrize("draw", SHAPES)
@pytest.mark.parametrize("direction", ["above", "below"])
def test_looking_after_every_route_raises_no_more_false_alarms_than_promised(draw, direction):
    values = at_bound(draw, (RUNS, ROUTES))
    assert values.mean() == pytest.approx(BOUND, abs=0.25)
    wealth = betting_log_wealth(values, bound=BOUND, direction=direction)
    assert np.mean(is_shown(wealth, LEVEL)) <= MOST


def test_looking_after_every_route_by_a_t_test_would_raise_many():
    """What the simulation above can tell: the usual test, peeked at, fails it by far."""
    values = at_bound(two_modes, (1_000, ROUTES))
    count = np.arange(1, ROUTES + 1)
    mean = np.cumsum(values, axis=1) / count
    spread = np.sqrt(np.maximum(np.cumsum(values**2, axis=1) / count - mean**2, 1e-9) / count)
    peeked = ((mean - BOUND) / spread > 1.645)[:, 19:].any(axis=1)
    assert peeked.mean() > 2.0 * MOST


def test_slices_that_differ_shuffled_together_raise_no_more_false_alarms():
    """Half of a suite is won by 30 points, half lost by 26: drawn without replacement, 2 points in the mean."""
    rng = np.random.default_rng(11)
    suite = np.concatenate([np.full(ROUTES // 2, 30.0), np.full(ROUTES // 2, -26.0)])
    values = rng.permuted(np.tile(suite, (RUNS, 1)), axis=1) + rng.uniform(-20.0, 20.0, (RUNS, ROUTES))
    wealth = betting_log_wealth(values, bound=BOUND)
    assert np.mean(is_shown(wealth, LEVEL)) <= MOST


@pytest.mark.parametrize(("mean", "spread", "within"), [(12.0, 20.0, 150), (20.0, 30.0, 150), (6.0, 5.0, 150)])
def test_an_effect_worth_having_is_shown(mean, spread, within):
    values = np.clip(np.random.default_rng(5).normal(mean, spread, (1_000, within)), -100.0, 100.0)
    assert np.mean(is_shown(betting_log_wealth(values, bound=BOUND), LEVEL)) >= 0.9


def test_a_hopeless_candidate_is_given_up_and_a_large_effect_is_found_early():
    rng = np.random.default_rng(5)
    worse = np.clip(rng.normal(-15.0, 20.0, (1_000, 100)), -100.0, 100.0)
    assert np.mean(is_shown(betting_log_wealth(worse, bound=BOUND, direction="below"), LEVEL)) >= 0.95
    large = np.full(60, 35.0)
    shown = first_shown(betting_log_wealth(large, bound=BOUND), LEVEL)
    assert shown is not None
    assert shown < 25
    assert first_shown(betting_log_wealth(-large, bound=BOUND), LEVEL) is None


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ([math.nan], {"bound": 2.0}),
        ([101.0], {"bound": 2.0}),
        ([1.0], {"bound": 100.0}),
        ([1.0], {"bound": 2.0, "truncation": 1.0}),
        (1.0, {"bound": 2.0}),
    ],
)
def test_what_isnt_a_difference_of_scores_is_refused(values, settings):
    with pytest.raises(EvaluationError):
        betting_log_wealth(values, **settings)
