"""Estimates along time against sums written out in exact arithmetic, and against each other."""

from __future__ import annotations

import math
from fractions import Fraction

import exact_arithmetic as exact
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online.advantage import gae, n_step, reward_to_go, v_trace, whiten
from carla_online.errors import AdvantageError

GAMMA, LAMBDA = 0.97, 0.9
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 37))
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])


class Window:
    """A random window with both kinds of ends."""

    def __init__(self, seed: int, shape: tuple[int, int], dtype: type) -> None:
        generator = np.random.default_rng(seed)
        self.rewards, self.values, self.next_values, self.log_ratio = (
            generator.normal(size=(4, *shape)) * [[[100.0]], [[100.0]], [[100.0]], [[1.0]]]
        ).astype(dtype)
        self.terminated = generator.random(shape) < 0.15
        self.truncated = generator.random(shape) < 0.15
        self.mask = generator.random(shape) < 0.8

    def column(self, name: str, column: int) -> np.ndarray:
        return getattr(self, name)[:, column]

    @property
    def ends(self) -> np.ndarray:
        return self.terminated | self.truncated


def assert_rounded(seen: np.ndarray, expected: list[Fraction]) -> None:
    """One rounding to the type, and 1e-12 for float64 sums of numbers of about 100."""
    wanted = np.array([float(value) for value in expected])
    assert np.all(np.abs(seen - wanted) <= np.finfo(seen.dtype).eps * np.abs(wanted) + 1e-11), (seen, wanted)


@given(seed=SEEDS, shape=SHAPES, dtype=DTYPES)
def test_gae_is_the_sum_over_temporal_differences(seed, shape, dtype):
    w = Window(seed, shape, dtype)
    advantages, returns = gae(
        w.rewards, w.values, w.next_values, w.terminated, w.truncated, gamma=GAMMA, gae_lambda=LAMBDA
    )
    assert advantages.dtype == returns.dtype == dtype
    for column in range(shape[1]):
        names = ("rewards", "values", "next_values", "terminated", "truncated")
        expected = exact.gae_column(*(w.column(name, column) for name in names), GAMMA, LAMBDA)
        assert_rounded(advantages[:, column], expected)
        values = exact.exact(w.column("values", column))
        assert_rounded(returns[:, column], [a + v for a, v in zip(expected, values, strict=True)])


@given(seed=SEEDS, shape=SHAPES, dtype=DTYPES)
def test_a_masked_row_is_as_if_it_were_not_there(seed, shape, dtype):
    w = Window(seed, shape, dtype)
    hidden = np.where(w.mask, w.rewards, np.array(np.nan, dtype))
    advantages, returns = gae(
        hidden, w.values, w.next_values, w.terminated, w.truncated, gamma=GAMMA, gae_lambda=LAMBDA, mask=w.mask
    )
    sums = reward_to_go(hidden, w.ends, gamma=GAMMA, mask=w.mask)
    for column in range(shape[1]):
        kept = w.column("mask", column)
        names = ("rewards", "values", "next_values", "terminated", "truncated")
        parts = [w.column(name, column)[kept][:, None].copy() for name in names]
        alone, alone_returns = gae(*parts, gamma=GAMMA, gae_lambda=LAMBDA)
        assert (advantages[kept, column] == alone[:, 0]).all()
        assert (returns[kept, column] == alone_returns[:, 0]).all()
        assert (sums[kept, column] == reward_to_go(parts[0], parts[3] | parts[4], gamma=GAMMA)[:, 0]).all()
    for result in (advantages, returns, sums):
        assert (result[~w.mask] == 0).all()


@given(seed=SEEDS, shape=SHAPES, dtype=DTYPES)
def test_one_value_an_environment_stands_for_the_next_row(seed, shape, dtype):
    w = Window(seed, shape, dtype)
    behind = w.next_values[-1].copy()
    rows = np.concatenate([w.values[1:], behind[None]])
    uncut = np.zeros(shape, np.bool_)
    uncut[-1] = w.truncated[-1]
    short = gae(w.rewards, w.values, behind, w.terminated, uncut, gamma=GAMMA, gae_lambda=LAMBDA)
    full = gae(w.rewards, w.values, rows, w.terminated, uncut, gamma=GAMMA, gae_lambda=LAMBDA)
    assert all((a == b).all() for a, b in zip(short, full, strict=True))


def test_a_truncation_needs_the_value_of_its_own_next_state():
    zeros, flags = np.zeros((4, 2)), np.zeros((4, 2), np.bool_)
    cut = flags.copy()
    cut[1, 1] = True
    with pytest.raises(AdvantageError, match=r"truncated\[1, 1\].*next_values"):
        gae(zeros, zeros, np.zeros(2), flags, cut, gamma=0.9, gae_lambda=0.9)
    autoreset = np.ones((4, 2), np.bool_)
    autoreset[2, 1] = False  # the row behind holds the true last state's value and doesn't count itself
    values = np.arange(8.0).reshape(4, 2)
    advantages, _ = gae(zeros, values, np.zeros(2), flags, cut, gamma=0.5, gae_lambda=0.9, mask=autoreset)
    assert advantages[1, 1] == 0.5 * values[2, 1] - values[1, 1]


@given(seed=SEEDS, shape=SHAPES)
def test_gae_with_lambda_one_is_reward_to_go_less_the_value(seed, shape):
    w = Window(seed, shape, np.float64)
    _, returns = gae(w.rewards, w.values, w.values, w.terminated, w.truncated, gamma=GAMMA, gae_lambda=1.0)
    _, consistent = gae(
        w.rewards,
        w.values,
        np.where(w.ends, w.next_values, np.concatenate([w.values[1:], w.next_values[-1:]])),
        w.terminated,
        w.truncated,
        gamma=GAMMA,
        gae_lambda=1.0,
    )
    behind = np.where(w.terminated, 0.0, w.next_values)
    sums = reward_to_go(w.rewards, w.ends, gamma=GAMMA, bootstrap=behind)
    assert np.allclose(consistent, sums, rtol=1e-12, atol=1e-10)
    assert returns.shape == shape


@given(seed=SEEDS, shape=SHAPES, dtype=DTYPES)
def test_reward_to_go_is_the_sum_written_out(seed, shape, dtype):
    w = Window(seed, shape, dtype)
    rows = reward_to_go(w.rewards, w.ends, gamma=GAMMA, bootstrap=w.next_values)
    last = reward_to_go(w.rewards, w.ends, gamma=GAMMA, bootstrap=w.next_values[-1].copy())
    none = reward_to_go(w.rewards, w.ends, gamma=GAMMA)
    for column in range(shape[1]):
        ends = w.column("ends", column)
        for start in range(shape[0]):
            end = exact.episode_end(ends, ends, start)
            rewards = w.rewards[start : end + 1, column]
            behind = w.next_values[end, column]
            assert_rounded(rows[start : start + 1, column], [exact.discounted(rewards, GAMMA, behind)])
            open_end = 0.0 if ends[end] else behind
            assert_rounded(last[start : start + 1, column], [exact.discounted(rewards, GAMMA, open_end)])
            assert_rounded(none[start : start + 1, column], [exact.discounted(rewards, GAMMA, 0.0)])


@given(seed=SEEDS, shape=SHAPES, dtype=DTYPES, steps=st.integers(1, 12))
def test_n_step_returns_stop_at_ends_and_at_the_window(seed, shape, dtype, steps):
    w = Window(seed, shape, dtype)
    seen = n_step(w.rewards, w.next_values, w.terminated, w.truncated, steps=steps, gamma=GAMMA)
    for column in range(shape[1]):
        ends = w.column("ends", column)
        for start in range(shape[0]):
            last = min(exact.episode_end(ends, ends, start), start + steps - 1)
            behind = 0.0 if w.terminated[last, column] else w.next_values[last, column]
            expected = exact.discounted(w.rewards[start : last + 1, column], GAMMA, behind)
            assert_rounded(seen[start : start + 1, column], [expected])


@given(seed=SEEDS, shape=SHAPES, rho_bar=st.sampled_from([0.5, 1.0, 2.0]), c_bar=st.sampled_from([0.5, 1.0]))
def test_v_trace_is_the_weighted_sum_written_out(seed, shape, rho_bar, c_bar):
    """v_s = V_s + sum over t >= s of gamma^(t-s) (product of c_i for s <= i < t) delta_t."""
    w = Window(seed, shape, np.float64)
    consecutive = np.where(w.ends, w.next_values, np.concatenate([w.values[1:], w.next_values[-1:]]))
    targets, advantages = v_trace(
        w.rewards,
        w.values,
        consecutive,
        w.log_ratio,
        w.terminated,
        w.truncated,
        gamma=GAMMA,
        rho_bar=rho_bar,
        c_bar=c_bar,
    )
    ratio = np.exp(w.log_ratio)
    rho, c = np.minimum(rho_bar, ratio), np.minimum(c_bar, ratio)
    behind = np.where(w.terminated, 0.0, consecutive)
    delta = rho * (w.rewards + GAMMA * behind - w.values)
    for column in range(shape[1]):
        ends = w.column("ends", column)
        for start in range(shape[0]):
            last = exact.episode_end(ends, ends, start)
            terms = [
                GAMMA ** (t - start) * np.prod(c[start:t, column]) * delta[t, column] for t in range(start, last + 1)
            ]
            assert targets[start, column] == pytest.approx(w.values[start, column] + math.fsum(terms), abs=1e-9)
            after = behind[start, column] if start == last else targets[start + 1, column]
            expected = rho[start, column] * (w.rewards[start, column] + GAMMA * after - w.values[start, column])
            assert advantages[start, column] == pytest.approx(expected, abs=1e-9)


@given(seed=SEEDS, shape=SHAPES)
def test_v_trace_on_policy_gives_the_returns_of_gae_with_lambda_one(seed, shape):
    w = Window(seed, shape, np.float64)
    consecutive = np.where(w.ends, w.next_values, np.concatenate([w.values[1:], w.next_values[-1:]]))
    targets, _ = v_trace(w.rewards, w.values, consecutive, np.zeros(shape), w.terminated, w.truncated, gamma=GAMMA)
    _, returns = gae(w.rewards, w.values, consecutive, w.terminated, w.truncated, gamma=GAMMA, gae_lambda=1.0)
    assert np.allclose(targets, returns, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", ["rewards", "values", "next_values", "log_ratio"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ended", [False, True])
def test_the_first_element_that_is_not_finite_is_named(name, bad, ended):
    """Even where an episode's end keeps it out of every sum."""
    w = Window(3, (6, 21), np.float32)
    w.terminated[:], w.truncated[:] = ended, ended
    getattr(w, name)[4, 19] = bad
    getattr(w, name)[2, 20] = bad
    match = rf"{name}\[2, 20\] is"
    if name != "log_ratio":
        with pytest.raises(AdvantageError, match=match) as caught:
            gae(w.rewards, w.values, w.next_values, w.terminated, w.truncated, gamma=GAMMA, gae_lambda=0.0)
        assert caught.value.index == 2 * 21 + 20
    with pytest.raises(AdvantageError, match=match):
        v_trace(w.rewards, w.values, w.next_values, w.log_ratio, w.terminated, w.truncated, gamma=GAMMA)
    if name in ("rewards", "next_values"):
        with pytest.raises(AdvantageError, match=match):
            n_step(w.rewards, w.next_values, w.terminated, w.truncated, steps=3, gamma=GAMMA)
    if name == "rewards":
        with pytest.raises(AdvantageError, match=match):
            reward_to_go(w.rewards, w.ends, gamma=GAMMA)


def test_the_number_of_threads_changes_no_bit():
    w = Window(11, (7, 1500), np.float32)
    arrays = (w.rewards, w.values, w.next_values, w.terminated, w.truncated)
    alone = gae(*arrays, gamma=GAMMA, gae_lambda=LAMBDA, threads=1)
    for threads in (2, 3, 5):
        other = gae(*arrays, gamma=GAMMA, gae_lambda=LAMBDA, threads=threads)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, other, strict=True))
    masked = [gae(*arrays, gamma=GAMMA, gae_lambda=LAMBDA, mask=w.mask, threads=threads) for threads in (1, 4)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*masked, strict=True))


def test_golden_vector_by_hand():
    """gamma 1/2, lambda 1/2; the middle step terminates, the last is truncated with value 8 behind it."""
    rewards, values = np.array([[1.0], [2.0], [4.0]]), np.array([[2.0], [4.0], [6.0]])
    next_values = np.array([[4.0], [100.0], [8.0]])
    terminated, truncated = np.array([[False], [True], [False]]), np.array([[False], [False], [True]])
    advantages, returns = gae(rewards, values, next_values, terminated, truncated, gamma=0.5, gae_lambda=0.5)
    assert advantages[:, 0].tolist() == [0.5, -2.0, 2.0]  # 1 + 2 - 2 - 2/4; 2 - 4; 4 + 4 - 6
    assert returns[:, 0].tolist() == [2.5, 2.0, 8.0]
    sums = reward_to_go(rewards, terminated | truncated, gamma=0.5, bootstrap=np.array([8.0]))
    assert sums[:, 0].tolist() == [2.0, 2.0, 4.0]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_window_gives_empty_results(shape):
    w = Window(0, shape, np.float32)
    advantages, _ = gae(w.rewards, w.values, w.next_values, w.terminated, w.truncated, gamma=1.0, gae_lambda=1.0)
    assert advantages.shape == shape
    assert n_step(w.rewards, w.next_values, w.terminated, w.truncated, steps=2, gamma=1.0).shape == shape
    assert reward_to_go(w.rewards, w.ends, gamma=1.0, bootstrap=w.next_values).shape == shape
    targets, _ = v_trace(w.rewards, w.values, w.next_values, w.log_ratio, w.terminated, w.truncated, gamma=1.0)
    assert targets.shape == shape


def test_whitening_gives_mean_zero_and_variance_one_where_the_mask_is_true():
    w = Window(5, (8, 9), np.float64)
    white = whiten(w.rewards, mask=w.mask, epsilon=0.0)
    assert (white[~w.mask] == 0).all()
    assert white[w.mask].mean() == pytest.approx(0.0, abs=1e-14)
    assert white[w.mask].var(ddof=1) == pytest.approx(1.0, rel=1e-13)
    assert not whiten(np.full((3, 4), 1000.1, np.float32)).any()
