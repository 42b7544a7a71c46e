"""Advantages of blocks against sums written out in float64, and what centring promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online.learners.credit import (
    Block,
    branch_credit,
    explained_variance,
    group_credit,
    reward_agreement,
    window_credit,
)

GAMMA, LAMBDA = 0.9, 0.8
seeds = st.integers(0, 2**32 - 1)


def random_block(seed: int, *, rows: int = 6, columns: int = 6, states: int | None = None) -> Block:
    """Columns of different lengths with endings in them; where groups begin in a state, its value is shared."""
    random = np.random.default_rng(seed)
    length = random.integers(1, rows, endpoint=True, size=columns)
    length[0] = rows
    reward, value, next_value = (random.normal(size=(rows, columns)).astype(np.float32) for _ in range(3))
    if states is not None:
        value[0] = np.tile(value[0, :states], columns // states)
    ending = random.random((rows, columns))
    filled = np.arange(rows)[:, None] < length[None, :]
    goes_on = (ending >= 0.15) & (ending <= 0.85) & np.vstack([filled[1:], np.zeros((1, columns), bool)])
    next_value = np.where(goes_on, np.vstack([value[1:], value[:1]]), next_value)
    return Block(reward, value, next_value, (ending < 0.15) & filled, (ending > 0.85) & filled, filled)


def written_out(block: Block, column: int, row: int, *, lam: float) -> float:
    """The advantage of one draw as a forward sum of discounted residuals."""
    total, weight = 0.0, 1.0
    for t in range(row, int(block.filled[:, column].sum())):
        after = 0.0 if block.terminated[t, column] else float(block.next_value[t, column])
        total += weight * (float(block.reward[t, column]) + GAMMA * after - float(block.value[t, column]))
        if block.terminated[t, column] or block.truncated[t, column]:
            break
        weight *= GAMMA * lam
    return total


def raw(block: Block, *, lam: float = LAMBDA) -> np.ndarray:
    result = np.zeros(block.reward.shape)
    for row, column in np.argwhere(block.filled):
        result[row, column] = written_out(block, column, row, lam=lam)
    return result


@given(seeds)
def test_a_window_is_credited_by_gae_less_its_mean(seed):
    block = random_block(seed)
    credit = window_credit(block, gamma=GAMMA, gae_lambda=LAMBDA)
    expected = raw(block)
    centred = np.where(block.filled, expected - expected[block.filled].mean(), 0.0)
    np.testing.assert_allclose(credit.advantage, centred, atol=1e-5)
    returns = (expected + block.value)[block.filled]
    np.testing.assert_allclose(credit.returns[block.filled], returns, atol=1e-5)
    np.testing.assert_array_equal(credit.counted, block.filled)


@given(seeds)
def test_first_draws_are_compared_in_their_group_and_later_ones_with_the_values(seed):
    block = random_block(seed, columns=6, states=2)
    credit = branch_credit(block, group_size=3, gamma=GAMMA, gae_lambda=LAMBDA, kind="first_draw")
    expected = raw(block)
    for state in range(2):
        members = [state, state + 2, state + 4]
        own = expected[0, members]
        np.testing.assert_allclose(credit.advantage[0, members], own - own.mean(), atol=1e-5)
    later = block.filled[1:]
    if later.any():
        np.testing.assert_allclose(
            credit.advantage[1:][later], expected[1:][later] - expected[1:][later].mean(), atol=1e-5
        )
    assert credit.groups == 2


@pytest.mark.parametrize("kind", ["every_draw", "monte_carlo"])
@given(seed=seeds)
def test_every_draw_is_centred_over_the_members_alive(kind, seed):
    block = random_block(seed, columns=8, states=2)
    credit = branch_credit(block, group_size=4, gamma=GAMMA, gae_lambda=LAMBDA, kind=kind)
    expected = raw(block, lam=LAMBDA if kind == "every_draw" else 1.0)
    if kind == "monte_carlo":
        expected = expected + block.value  # lambda = 1: the reward-to-go with the value at the end
    ended = np.cumsum((block.terminated | block.truncated) & block.filled, axis=0)
    alive = block.filled & (ended - (block.terminated | block.truncated) == 0)
    for row in range(len(expected)):
        for state in range(2):
            members = np.array([c for c in range(state, 8, 2) if alive[row, c]])
            if members.size:
                own = expected[row, members]
                np.testing.assert_allclose(credit.advantage[row, members], own - own.mean(), atol=2e-5)
    assert not (credit.counted & ~alive).any()


def test_members_that_cant_be_told_apart_are_left_out():
    rows, columns = 2, 4
    reward = np.ones((rows, columns), np.float32)
    reward[0, 3] = 2.0  # state 1: members 1 and 3 differ; state 0: members 0 and 2 don't
    zeros, no = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), bool)
    block = Block(reward, zeros, zeros, no, no, ~no)
    credit = branch_credit(block, group_size=2, gamma=GAMMA, gae_lambda=LAMBDA, kind="first_draw")
    assert (credit.groups, credit.degenerate) == (2, 1)
    np.testing.assert_array_equal(credit.counted[0], [False, True, False, True])
    assert credit.counted[1].all()


def test_the_groups_own_spread_hides_how_much_is_at_stake_and_plain_centring_shows_it():
    scores = np.array([[1.0, -1.0], [100.0, -100.0]], np.float32)
    plain, _ = group_credit(scores)
    own, _ = group_credit(scores, by_group_std=True)
    np.testing.assert_allclose(plain, scores)
    np.testing.assert_allclose(own[0], own[1], rtol=1e-4)


def test_explained_variance_of_good_bad_and_constant_values():
    returns = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    assert explained_variance(returns, returns) == pytest.approx(1.0)
    assert explained_variance(np.full(4, 2.5, np.float32), returns) == pytest.approx(0.0)
    assert explained_variance(-returns, returns) < 0.0
    assert explained_variance(returns, np.ones(4, np.float32)) == 0.0


def test_rewards_as_expected_agree_whatever_their_scale():
    expected = np.random.default_rng(0).normal(size=500).astype(np.float32)
    for factor in (1e-6, 0.01, 1.0, 100.0):
        found = reward_agreement((factor * expected).astype(np.float32), expected)
        assert found["reward_agreement"] == pytest.approx(1.0, abs=1e-5)
        assert found["reward_ratio"] == pytest.approx(factor, rel=1e-5)
    assert reward_agreement(-expected, expected)["reward_agreement"] == pytest.approx(-1.0, abs=1e-5)
    assert abs(reward_agreement(expected[::-1].copy(), expected)["reward_agreement"]) < 0.2
    assert reward_agreement(np.zeros(5, np.float32), expected[:5]) == {}


def test_a_few_rewards_that_nobody_expected_leave_the_agreement_as_it_is():
    random = np.random.default_rng(1)
    expected = (0.05 + 0.02 * random.normal(size=256)).astype(np.float32)
    rewards = expected.copy()
    rewards[[10, 100]] = -10.0
    found = reward_agreement(rewards, expected)
    assert found["reward_agreement"] > 0.5
    assert found["reward_ratio"] < 2.0
