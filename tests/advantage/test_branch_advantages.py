"""Branches against sums written out in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import exact_arithmetic as exact
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online.advantage import branch_gae, branch_reward_to_go
from carla_online.errors import AdvantageError

GAMMA, LAMBDA = 0.95, 0.8


class Branches:
    """Random branches of 0 to H steps; what wasn't taken holds NaN."""

    def __init__(self, seed: int, shape: tuple[int, int, int], dtype: type) -> None:
        generator = np.random.default_rng(seed)
        self.taken = generator.integers(0, shape[2] + 1, size=shape[:2])
        self.alive = np.arange(shape[2]) < self.taken[:, :, None]
        self.rewards = np.where(self.alive, generator.normal(size=shape), np.nan).astype(dtype)
        self.values = np.where(self.alive, generator.normal(size=shape), np.nan).astype(dtype)
        self.bootstrap = generator.normal(size=shape[:2]).astype(dtype)
        self.terminated = generator.random(shape[:2]) < 0.3


def centred(estimates: dict[tuple[int, int, int], Fraction], shape: tuple[int, int, int]) -> np.ndarray:
    result = np.zeros(shape)
    for s, g, t in estimates:
        peers = [value for (state, _, step), value in estimates.items() if (state, step) == (s, t)]
        result[s, g, t] = float(estimates[s, g, t] - sum(peers) / len(peers))
    return result


CASES = {
    "seed": st.integers(0, 2**32 - 1),
    "shape": st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)),
    "dtype": st.sampled_from([np.float32, np.float64]),
}


@given(**CASES)
def test_reward_to_go_is_compared_among_branches_alive(seed, shape, dtype):
    b = Branches(seed, shape, dtype)
    estimates = {
        (s, g, t): exact.discounted(b.rewards[s, g, t : b.taken[s, g]], GAMMA, b.bootstrap[s, g])
        for s, g, t in zip(*np.nonzero(b.alive), strict=True)
    }
    seen = branch_reward_to_go(b.rewards, b.alive, b.bootstrap, gamma=GAMMA)
    limit = np.finfo(dtype).eps
    assert np.allclose(seen, centred(estimates, shape), rtol=limit, atol=1e-13)
    raw = branch_reward_to_go(b.rewards, b.alive, b.bootstrap, gamma=GAMMA, centre=False)
    assert all(raw[place] == pytest.approx(float(value), rel=limit, abs=1e-13) for place, value in estimates.items())
    assert (raw[~b.alive] == 0).all()


@given(**CASES)
def test_gae_is_compared_among_branches_alive(seed, shape, dtype):
    b = Branches(seed, shape, dtype)
    estimates = {}
    for s, g in np.ndindex(shape[:2]):
        taken = b.taken[s, g]
        if taken == 0:
            continue
        behind = np.append(b.values[s, g, 1:taken], b.bootstrap[s, g])
        terminated = np.zeros(taken, np.bool_)
        terminated[-1] = b.terminated[s, g]
        column = exact.gae_column(
            b.rewards[s, g, :taken], b.values[s, g, :taken], behind, terminated, terminated, GAMMA, LAMBDA
        )
        estimates |= {(s, g, t): value for t, value in enumerate(column)}
    arguments = (b.rewards, b.values, b.bootstrap, b.alive, b.terminated)
    seen = branch_gae(*arguments, gamma=GAMMA, gae_lambda=LAMBDA)
    limit = np.finfo(dtype).eps
    assert np.allclose(seen, centred(estimates, shape), rtol=limit, atol=1e-13)
    raw = branch_gae(*arguments, gamma=GAMMA, gae_lambda=LAMBDA, centre=False)
    assert all(raw[place] == pytest.approx(float(value), rel=limit, abs=1e-13) for place, value in estimates.items())


def test_branches_that_agree_get_exactly_zero():
    rewards = np.full((2, 4, 9), 1000.1, np.float32)
    alive, bootstrap = np.ones(rewards.shape, np.bool_), np.full((2, 4), 3.3, np.float32)
    assert not branch_reward_to_go(rewards, alive, bootstrap, gamma=0.99).any()
    no_end = np.zeros((2, 4), np.bool_)
    assert not branch_gae(rewards, rewards, bootstrap, alive, no_end, gamma=0.99, gae_lambda=0.95).any()


def test_a_branch_that_comes_alive_again_is_refused():
    b = Branches(1, (2, 3, 4), np.float64)
    b.alive[1, 2] = [True, False, True, False]
    with pytest.raises(AdvantageError, match=r"alive\[1, 2, 2\]"):
        branch_reward_to_go(b.rewards, b.alive, b.bootstrap, gamma=GAMMA)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_was_taken_must_be_finite(bad):
    b = Branches(1, (2, 3, 4), np.float64)
    b.alive[:] = True
    b.rewards, b.values = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    b.rewards[1, 2, 3] = b.rewards[1, 0, 2] = bad
    with pytest.raises(AdvantageError, match=r"rewards\[1, 0, 2\]") as caught:
        branch_reward_to_go(b.rewards, b.alive, b.bootstrap, gamma=GAMMA)
    assert caught.value.index == 14
    b.bootstrap[0, 1] = bad
    with pytest.raises(AdvantageError, match=r"bootstrap\[0, 1\]"):
        branch_reward_to_go(b.values, b.alive, b.bootstrap, gamma=GAMMA)


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 3, 0)])
def test_no_branches_give_empty_results(shape):
    b = Branches(0, shape, np.float32)
    assert branch_reward_to_go(b.rewards, b.alive, b.bootstrap, gamma=1.0).shape == shape
    arguments = (b.rewards, b.values, b.bootstrap, b.alive, b.terminated)
    assert branch_gae(*arguments, gamma=1.0, gae_lambda=1.0).shape == shape
