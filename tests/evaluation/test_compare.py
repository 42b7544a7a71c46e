"""The verdict: hand-computed cases, an independent bootstrap, and its error rate when nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carla_online.errors import EvaluationError
from carla_online.evaluation.compare import better, better_where_driven, paired_interval
from carla_online.evaluation.suite import SuiteConfig

SUITE = SuiteConfig(name="test", routes=50)


def criterion(verdict, name):
    return next(item for item in verdict.criteria if item.name == name)


def test_constant_gain_is_better_with_a_point_interval(make_table):
    verdict = better(make_table(scores=np.full(50, 76.0)), make_table(scores=np.full(50, 71.0)), SUITE)
    assert verdict.is_better
    assert (verdict.difference.mean, verdict.difference.low, verdict.difference.high) == (5.0, 5.0, 5.0)
    assert str(verdict) == (
        "timed driving score 71.0 -> 76.0, difference +5.0 [+5.0, +5.0], "
        "collisions per km 0.00 -> 0.00, finished 100% -> 100%: better"
    )


def test_gain_must_exceed_the_smallest_effect_strictly(make_table):
    verdict = better(make_table(scores=np.full(50, 73.0)), make_table(scores=np.full(50, 71.0)), SUITE)
    assert not verdict.is_better
    assert not criterion(verdict, "effect").holds
    assert "not above the smallest useful effect +2.0" in str(verdict)


def test_two_points_of_finished_share_may_be_lost_and_not_three(make_table):
    other = make_table(scores=np.full(100, 50.0))
    suite = SuiteConfig(routes=100)
    for lost, holds in ((0, True), (2, True), (3, False)):
        candidate = make_table(scores=np.full(100, 80.0), finished=np.arange(100) >= lost)
        assert criterion(better(candidate, other, suite), "finished routes").holds is holds


def test_collisions_are_pooled_per_kilometre(make_table):
    # 50 routes of 0.8 km are 40 km: two collisions are exactly the margin of 0.05 per km, three are more.
    other = make_table(scores=np.full(50, 50.0))
    for count, holds in ((2, True), (3, False)):
        collisions = np.zeros(50, np.int64)
        collisions[:count] = 1
        verdict = better(make_table(scores=np.full(50, 80.0), collisions=collisions), other, SUITE)
        assert verdict.candidate.collisions_per_km == pytest.approx(count / 40.0)
        assert criterion(verdict, "collisions").holds is holds


def test_a_handful_of_routes_never_suffices(make_table):
    verdict = better(make_table(scores=np.full(5, 99.0)), make_table(scores=np.full(5, 10.0)), SUITE)
    assert not verdict.is_better
    assert "5 routes are too few" in str(verdict)


def test_routes_are_paired_by_seed_whatever_their_order(make_table):
    scores = np.linspace(20.0, 90.0, 50)
    order = np.random.default_rng(1).permutation(50)
    ordered, other = make_table(scores=scores + 3.0), make_table(scores=scores)
    shuffled = make_table(scores=(scores + 3.0)[order], seeds=ordered.seeds[order])
    assert better(shuffled, other, SUITE) == better(ordered, other, SUITE)


def test_other_routes_are_refused_and_the_first_one_named(make_table):
    other = make_table(scores=np.full(3, 1.0), seeds=np.array([5, 6, 7], np.uint64))
    candidate = make_table(scores=np.full(3, 1.0), seeds=np.array([5, 2**63, 7], np.uint64))
    with pytest.raises(EvaluationError, match="seed 6 was driven by the other policy only"):
        better(candidate, other, SUITE)


@pytest.mark.parametrize(("lost", "is_better"), [(1, True), (2, True), (3, False)])
def test_routes_that_could_not_be_driven_are_left_out_and_too_many_forbid_a_verdict(make_table, lost, is_better):
    seeds = SUITE.seeds()
    ours = make_table(scores=np.full(50, 76.0), seeds=seeds).select(seeds[1:])
    theirs = make_table(scores=np.full(50, 71.0), seeds=seeds).select(seeds[: 50 - lost + 1])
    verdict = better_where_driven(ours, theirs, SUITE)
    assert (verdict.candidate.routes, verdict.is_better) == (50 - lost, is_better)
    assert criterion(verdict, "missing routes").holds is is_better
    with pytest.raises(EvaluationError, match="drove different routes"):
        better_where_driven(ours, theirs, SUITE, seeds=seeds[:40])  # somebody drove others than these


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(make_table, value):
    scores = np.full(50, 50.0)
    scores[7] = value
    with pytest.raises(EvaluationError, match="timed_driving_score of the route with seed"):
        make_table(scores=scores)
    with pytest.raises(EvaluationError, match="finite"):
        paired_interval(scores)


def independent_interval(differences, draws, significance, seed):
    """Multinomial counts and sorted order statistics instead of resampled rows and np.quantile."""
    generator = np.random.default_rng(seed + 12345)
    size = len(differences)
    counts = generator.multinomial(size, np.full(size, 1.0 / size), size=draws)
    means = np.sort(counts @ differences / size)
    return means[int(draws * significance / 2)], means[int(draws * (1 - significance / 2))]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(20, 150), scale=st.floats(0.5, 40.0))
def test_interval_agrees_with_an_independent_bootstrap(seed, size, scale):
    differences = np.random.default_rng(seed).normal(3.0, scale, size)
    ours = paired_interval(differences, draws=10_000, significance=0.05, seed=0)
    low, high = independent_interval(differences, 20_000, 0.05, seed)
    # The 2.5 % quantile of 10,000 draws has a standard error of about 0.027 standard errors of the mean; allow five.
    tolerance = 5 * 0.033 * scale_of_mean(differences)
    assert ours.low == pytest.approx(low, abs=tolerance)
    assert ours.high == pytest.approx(high, abs=tolerance)
    assert ours.low <= ours.mean <= ours.high


def scale_of_mean(differences):
    return differences.std() / np.sqrt(len(differences))


def test_false_alarms_stay_near_the_nominal_rate():
    # Equal policies on 100 bimodal routes, no smallest effect: the lower end may lie above 0 in 2.5 % of the cases.
    generator = np.random.default_rng(0)
    trials = 600
    alarms = 0
    for _ in range(trials):
        difficulty = generator.beta(2.0, 1.0, 100) * 100.0
        first, second = (np.clip(difficulty + generator.normal(0.0, 20.0, 100), 0.0, 100.0) for _ in range(2))
        alarms += paired_interval(first - second, draws=1_000).low > 0.0
    # Binomial(600, 0.025) exceeds 28 with a probability of about 0.1 %.
    assert alarms <= 28


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    margins=st.tuples(st.floats(0, 20), st.floats(0, 20)).map(sorted),
    drop=st.integers(0, 5),
)
def test_a_stricter_rule_never_finds_more(make_table, seed, margins, drop):
    generator = np.random.default_rng(seed)
    scores = generator.uniform(20.0, 70.0, 50)
    other = make_table(scores=scores)
    candidate = make_table(
        scores=scores + generator.normal(8.0, 12.0, 50).clip(-20, 30), finished=np.arange(50) >= drop
    )
    lenient = SuiteConfig(smallest_effect=margins[0], finished_margin=0.1, collision_margin_per_km=0.1)
    for stricter in ({"smallest_effect": margins[1]}, {"finished_margin": 0.01}, {"significance": 0.01}):
        strict = lenient.model_copy(update=stricter)
        if better(candidate, other, strict).is_better:
            assert better(candidate, other, lenient).is_better
