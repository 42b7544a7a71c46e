"""Group advantages against exact arithmetic, and the identities that define them."""

from __future__ import annotations

import exact_arithmetic as exact
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from carla_online.advantage import group
from carla_online.errors import AdvantageError

DTYPES = st.sampled_from([np.float32, np.float64])
ESTIMATORS = ("grpo", "dr_grpo", "batch", "ema", "rloo", "opo")
NO_THRESHOLD = (0.0, 0.0)
# Quarter steps make equal rewards and degenerate groups likely; the offsets try the digits.
REWARD = st.builds(
    lambda quarter, offset: quarter / 4 + offset, st.integers(-40, 40), st.sampled_from([0.0, 0.1, 1000.1, -3e5])
)


def settings(estimator: str) -> dict[str, float]:
    return {"scale": 0.7} if estimator == "ema" else {}


def assert_close(seen: np.ndarray, expected: list[float], groups: list[list[float]], factor: float) -> None:
    """Up to one rounding to the result's type, and 1e-13 of the range for the float64 sums and quotients before it."""
    spread = max((max(g) - min(g) for g in groups if g), default=0.0)
    limit = np.finfo(seen.dtype).eps * np.abs(expected) + 1e-13 * spread * factor
    assert np.all(np.abs(seen.astype(np.float64) - expected) <= limit), (seen, expected)


@given(
    data=st.data(),
    dtype=DTYPES,
    estimator=st.sampled_from(ESTIMATORS),
    ddof=st.sampled_from([0, 1]),
    std_floor=st.sampled_from([0.0, 0.5]),
)
def test_ragged_groups_agree_with_exact_arithmetic(data, dtype, estimator, ddof, std_floor):
    drawn = data.draw(st.lists(st.lists(REWARD, max_size=20), max_size=8))
    groups = [np.array(rewards, dtype) for rewards in drawn]
    lengths = [np.arange(1, len(rewards) + 1).astype(dtype) for rewards in drawn]
    rewards = np.concatenate([*groups, np.empty(0, dtype)])
    offsets = np.cumsum([0, *map(len, groups)])
    advantages, degenerate, statistics = group(
        rewards,
        offsets=offsets,
        estimator=estimator,
        ddof=ddof,
        std_floor=std_floor,
        epsilon=1e-3,
        lengths=np.concatenate([*lengths, np.empty(0, dtype)]) if estimator == "opo" else None,
        degenerate_range=NO_THRESHOLD,
        **settings(estimator),
    )
    expected = exact.group_advantages(
        groups,
        estimator,
        ddof=ddof,
        std_floor=std_floor,
        epsilon=1e-3,
        scale=0.7,
        lengths=lengths,
    )
    assert advantages.dtype == dtype
    # Divisors are at least 1e-3, a leave-one-out factor at most 2.
    assert_close(advantages, [value for values in expected for value in values], [g.tolist() for g in groups], 1e3)
    assert degenerate.tolist() == [len(set(g.tolist())) < 2 for g in groups]
    assert statistics.elements == rewards.size
    assert statistics.degenerate_groups == degenerate.sum()


@given(data=st.data(), dtype=DTYPES, estimator=st.sampled_from(ESTIMATORS[:5]), size=st.integers(1, 40))
def test_rows_and_runs_give_the_same_bits(data, dtype, estimator, size):
    """Groups of one size are computed eight at a time, runs one by one."""
    rewards = np.array(data.draw(st.lists(REWARD, min_size=size * 11, max_size=size * 11)), dtype).reshape(11, size)
    dense = group(rewards, estimator=estimator, **settings(estimator))
    offsets = np.arange(12) * size
    ragged = group(rewards.reshape(-1), offsets=offsets, estimator=estimator, **settings(estimator))
    flat = group(rewards.reshape(-1), group_size=size, estimator=estimator, **settings(estimator))
    for other in (ragged, flat):
        assert other.advantages.tobytes() == dense.advantages.tobytes()
        assert other.degenerate.tolist() == dense.degenerate.tolist()
        assert other.statistics.group_std.tobytes() == dense.statistics.group_std.tobytes()


@given(
    rewards=st.lists(st.lists(st.integers(-1000, 1000), min_size=5, max_size=5), min_size=9, max_size=9),
    shift=st.integers(-(2**40), 2**40),
    power=st.integers(-20, 20),
)
def test_a_shift_changes_nothing_and_a_scale_goes_through(rewards, shift, power):
    """In float64 these shifts and powers of two are exact, so the bits must agree."""
    array = np.array(rewards, np.float64)
    centred = group(array, degenerate_range=NO_THRESHOLD).advantages
    assert group(array + shift, degenerate_range=NO_THRESHOLD).advantages.tobytes() == centred.tobytes()
    scaled = group(array * 2.0**power, degenerate_range=NO_THRESHOLD).advantages
    assert scaled.tobytes() == (centred * 2.0**power).tobytes()
    normal = group(array, estimator="grpo", epsilon=0.0, degenerate_range=NO_THRESHOLD).advantages
    again = group(array * 2.0**power + 2.0**power * shift, estimator="grpo", epsilon=0.0, degenerate_range=NO_THRESHOLD)
    assert again.advantages.tobytes() == normal.tobytes()


@given(data=st.data(), estimator=st.sampled_from(ESTIMATORS[:5]))
def test_the_order_of_groups_doesnt_matter(data, estimator):
    drawn = data.draw(st.lists(st.lists(REWARD, max_size=12), min_size=1, max_size=20))
    order = data.draw(st.permutations(range(len(drawn))))
    offsets = np.cumsum([0, *map(len, drawn)])
    there = group(
        np.concatenate(drawn).astype(np.float64),
        offsets=offsets,
        estimator=estimator,
        **settings(estimator),
    )
    moved = [drawn[index] for index in order]
    moved_offsets = np.cumsum([0, *map(len, moved)])
    back = group(
        np.concatenate(moved).astype(np.float64),
        offsets=moved_offsets,
        estimator=estimator,
        **settings(estimator),
    )
    for place, index in enumerate(order):
        before = there.advantages[offsets[index] : offsets[index + 1]]
        after = back.advantages[moved_offsets[place] : moved_offsets[place + 1]]
        # Only the pooled sum may round otherwise in another order.
        assert np.allclose(after, before, rtol=1e-14, atol=0.0) if estimator == "batch" else (after == before).all()


@given(rewards=st.lists(REWARD, min_size=2, max_size=16), data=st.data())
def test_the_order_within_a_group_moves_advantages_along(rewards, data):
    order = list(data.draw(st.permutations(range(len(rewards)))))
    array = np.array([rewards], np.float64)
    before = group(array, estimator="grpo").advantages[0]
    after = group(array[:, order], estimator="grpo").advantages[0]
    assert np.allclose(after, before[order], rtol=1e-12, atol=1e-12)


@given(rewards=st.lists(REWARD, min_size=2, max_size=16))
def test_leave_one_out_is_the_reward_against_the_mean_of_the_others(rewards):
    assume(len(set(rewards)) > 1)
    seen = group(np.array([rewards]), estimator="rloo", degenerate_range=NO_THRESHOLD).advantages[0]
    for index, reward in enumerate(rewards):
        others = exact.exact(rewards[:index] + rewards[index + 1 :])
        expected = float(exact.exact([reward])[0] - sum(others) / len(others))
        assert seen[index] == pytest.approx(expected, rel=1e-13, abs=1e-13 * (max(rewards) - min(rewards)))


@given(data=st.data(), dtype=DTYPES, estimator=st.sampled_from(ESTIMATORS))
def test_a_mask_is_as_if_the_others_were_alone(data, dtype, estimator):
    sizes = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=10))
    total = sum(sizes)
    rewards = np.array(data.draw(st.lists(REWARD, min_size=total, max_size=total)), dtype)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)), np.bool_)
    lengths = np.arange(1, total + 1).astype(dtype)
    hidden = np.where(mask, rewards, np.array(np.nan, dtype))
    offsets = np.cumsum([0, *sizes])
    kept_offsets = np.concatenate([[0], np.cumsum(mask)])[offsets]
    weights = {"lengths": np.where(mask, lengths, np.nan).astype(dtype)} if estimator == "opo" else {}
    kept_weights = {"lengths": lengths[mask]} if estimator == "opo" else {}
    masked = group(hidden, offsets=offsets, mask=mask, estimator=estimator, **weights, **settings(estimator))
    kept = group(rewards[mask], offsets=kept_offsets, estimator=estimator, **kept_weights, **settings(estimator))
    assert (masked.advantages[~mask] == 0).all()
    # Elements take other lanes, so only the last digits may differ.
    limit = 4 * np.finfo(dtype).eps
    assert np.allclose(masked.advantages[mask], kept.advantages, rtol=limit, atol=1e-9)
    assert masked.degenerate.tolist() == kept.degenerate.tolist()
    assert masked.statistics.elements == kept.statistics.elements == mask.sum()
    assert masked.statistics.pooled_std == pytest.approx(kept.statistics.pooled_std, rel=1e-12)


@given(
    data=st.data(),
    dtype=DTYPES,
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 20)),
)
def test_the_first_reward_that_is_not_finite_is_named(data, dtype, bad, shape):
    rewards = np.zeros(shape, dtype)
    places = data.draw(st.lists(st.integers(0, rewards.size - 1), min_size=1, max_size=4))
    rewards.reshape(-1)[places] = bad
    row, column = divmod(min(places), shape[1])
    with pytest.raises(AdvantageError, match=rf"rewards\[{row}, {column}\] is .*(nan|NaN|inf)") as caught:
        group(rewards)
    assert caught.value.index == min(places)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reward", [1000.1, 12345.678, 0.1, -1e-30, 3e30])
@pytest.mark.parametrize("size", [2, 3, 7, 8, 33, 100])
def test_equal_rewards_give_exactly_zero(dtype, reward, size):
    """Rounding keeps a standard deviation of equal numbers from being 0; dividing by it would give +-1."""
    rewards = np.full((20, size), reward, dtype)
    for estimator in ESTIMATORS:
        lengths = np.ones_like(rewards) if estimator == "opo" else None
        result = group(
            rewards,
            estimator=estimator,
            epsilon=0.0,
            lengths=lengths,
            degenerate_range=NO_THRESHOLD,
            **settings(estimator),
        )
        assert not result.advantages.any()
        assert not np.signbit(result.advantages).any()
        assert result.degenerate.all()
        assert result.statistics.pooled_std == 0.0
        assert result.statistics.fraction_degenerate == 1.0


def test_the_range_decides_what_is_degenerate():
    rewards = np.array([[100.0, 100.0009], [100.0, 100.0011], [0.0, 9e-7], [0.0, 1.1e-6]])
    _, degenerate, statistics = group(rewards)  # 1e-6 + 1e-5 x 100.001
    assert degenerate.tolist() == [True, False, True, False]
    assert statistics.fraction_degenerate == 0.5
    assert group(rewards, degenerate_range=(1.0, 0.0)).degenerate.all()
    assert not group(rewards, degenerate_range=NO_THRESHOLD).degenerate.any()


def test_groups_of_one_and_of_none_are_degenerate():
    rewards = np.array([5.0, 1.0, 3.0])
    advantages, degenerate, statistics = group(rewards, offsets=np.array([0, 1, 1, 3]), estimator="rloo")
    assert advantages.tolist() == [0.0, -2.0, 2.0]
    assert degenerate.tolist() == [True, True, False]
    assert statistics.group_std.tolist() == [0.0, 0.0, pytest.approx(2**0.5)]
    assert group(np.empty((3, 0))).degenerate.tolist() == [True] * 3


@pytest.mark.parametrize("estimator", ESTIMATORS[:5])
def test_no_groups_give_nothing(estimator):
    for rewards, layout in ((np.empty((0, 4)), {}), (np.empty(0), {"offsets": np.zeros(1, np.int64)})):
        advantages, degenerate, statistics = group(rewards, estimator=estimator, **layout, **settings(estimator))
        assert advantages.shape == rewards.shape
        assert degenerate.shape == (0,)
        assert (statistics.fraction_degenerate, statistics.pooled_std) == (0.0, 0.0)
        assert statistics.std_quantiles().tolist() == [0.0] * 5


def test_statistics_leave_degenerate_groups_out():
    rewards = np.array([[0.0, 2.0], [7.0, 7.0], [0.0, 4.0]])
    statistics = group(rewards).statistics
    assert statistics.pooled_std == pytest.approx(5.0**0.5)  # squares 2 + 8 over 1 + 1
    assert statistics.std_quantiles([0.0, 0.5, 1.0]).tolist() == pytest.approx([2**0.5, 1.5 * 2**0.5, 8**0.5])


def test_golden_vectors_by_hand():
    rewards = np.array([[1.0, 2.0, 3.0, 6.0]])  # mean 3, deviations -2 -1 0 3, squares 14
    assert group(rewards).advantages.tolist() == [[-2.0, -1.0, 0.0, 3.0]]
    assert np.allclose(group(rewards, estimator="rloo").advantages, [[-8 / 3, -4 / 3, 0.0, 4.0]], rtol=1e-15)
    s = (14 / 3) ** 0.5
    assert np.allclose(
        group(rewards, estimator="grpo", epsilon=0.0).advantages, [[-2 / s, -1 / s, 0.0, 3 / s]], rtol=1e-15
    )
    lengths = np.array([[1.0, 1.0, 2.0, 4.0]])  # (1 + 2 + 6 + 24) / 8 = 4.125
    opo = group(rewards, estimator="opo", lengths=lengths).advantages
    assert opo.tolist() == [[-3.125, -2.125, -1.125, 1.875]]
    assert group(rewards, clip=1.5).advantages.tolist() == [[-1.5, -1.0, 0.0, 1.5]]
    two = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 4.0]])  # squares 14 + 12 over 6
    batch = group(two, estimator="batch", epsilon=0.0).advantages
    assert np.allclose(batch[0], np.array([-2.0, -1.0, 0.0, 3.0]) / (26 / 6) ** 0.5, rtol=1e-15)


@pytest.mark.parametrize("estimator", ESTIMATORS[:5])
def test_the_number_of_threads_changes_no_bit(estimator):
    generator = np.random.default_rng(7)
    rewards = generator.normal(100.0, 3.0, size=(3001, 8)).astype(np.float32)
    rewards[generator.random(3001) < 0.2] = 1000.1
    alone = group(rewards, estimator=estimator, threads=1, **settings(estimator))
    for threads in (2, 3, 5):
        other = group(rewards, estimator=estimator, threads=threads, **settings(estimator))
        assert other.advantages.tobytes() == alone.advantages.tobytes()
        assert other.statistics.pooled_std == alone.statistics.pooled_std
        assert other.degenerate.tobytes() == alone.degenerate.tobytes()


def test_the_first_bad_reward_is_named_by_many_threads_too():
    rewards = np.zeros((4000, 4), np.float32)
    rewards[[1999, 3500], 2] = np.nan
    with pytest.raises(AdvantageError, match=r"rewards\[1999, 2\]"):
        group(rewards, threads=3)


def test_a_spread_too_large_for_the_type_is_refused():
    with pytest.raises(AdvantageError, match="too large"):
        group(np.array([[1e200, -1e200]]))
    with pytest.raises(AdvantageError, match="too large"):
        group(np.array([[3e38, -3e38]], np.float32), estimator="ema", scale=1e-3)
