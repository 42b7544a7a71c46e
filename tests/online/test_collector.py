"""Held draws: one row for each draw, nothing lost and nothing doubled, whatever ends when."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carla_online.envs.transitions import Step
from carla_online.errors import SimulatorError
from carla_online.online.collector import Collector
from carla_online.policies import DeltaPolicy, wrap_baseline


def clock_baseline(obs: np.ndarray) -> np.ndarray:
    """An action that tells which observation it belongs to."""
    return np.stack([obs[:, 0] / 10_000.0, -obs[:, 0] / 10_000.0], axis=1).astype(np.float32)


def collect(ends: np.ndarray, invalid: np.ndarray, hold: int, gamma: float = 0.9):
    """Drives a counting world [T, N] through a collector and returns its rows by environment."""
    steps, count = ends.shape
    policy = DeltaPolicy(wrap_baseline(clock_baseline), obs_dim=1, delta_scale=(0.1, 0.1), hidden_sizes=(8,))
    collector = Collector(policy, num_envs=count, action_dim=2, reward_terms=1, hold_steps=hold, gamma=gamma)
    generator = torch.Generator().manual_seed(0)
    clock = np.zeros((count, 1), dtype=np.float32)
    rows = [[] for _ in range(count)]
    for t in range(steps):
        actions = collector.act(clock, collector.propose(clock, generator=generator)).copy()
        following = clock + 1
        valid, ended = ~invalid[t], ends[t] & ~invalid[t]
        obs = np.where(ended[:, None], following + 100, following).astype(np.float32)
        step = Step(
            obs=obs,
            next_obs=following,
            reward=clock[:, 0].copy(),
            terminated=ended & (np.arange(count) % 2 == 0),
            truncated=ended & (np.arange(count) % 2 == 1),
            valid=valid,
            info={"reward_terms": clock.copy()},
        )
        closed, values, following_values = collector.observe(step)
        for index in np.flatnonzero(closed):
            row = {name: np.array(value[index]) for name, value in values.items()}
            row |= {f"next_{name}": np.array(value[index]) for name, value in following_values.items()}
            row["action_now"] = actions[index]
            rows[index].append(row)
        clock = obs
    return rows


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_rows_tile_every_episode_without_gap_or_overlap(hold, seed):
    rng = np.random.default_rng(seed)
    ends = rng.random((40, 3)) < 0.12
    rows = collect(ends, np.zeros_like(ends), hold)
    for index, mine in enumerate(rows):
        position = 0.0
        for row in mine:
            start, stop = float(row["obs"][0]), float(row["next_obs"][0])
            assert start == position
            length = int(stop - start)
            ended = bool(row["terminated"] or row["truncated"])
            assert 1 <= length <= hold
            assert length == hold or ended
            assert bool(row["terminated"]) == (ended and index % 2 == 0)
            discounted = sum(0.9**k * (start + k) for k in range(length))
            assert float(row["reward"]) == pytest.approx(discounted, rel=1e-5)
            assert float(row["reward_terms"][0]) == pytest.approx(sum(start + k for k in range(length)))
            np.testing.assert_allclose(row["baseline_action"], clock_baseline(row["obs"][None])[0])
            np.testing.assert_allclose(row["next_baseline_action"], clock_baseline(row["next_obs"][None])[0])
            position = stop + 100 if ended else stop


def test_a_held_delta_stays_while_the_baseline_moves_on():
    policy = DeltaPolicy(wrap_baseline(clock_baseline), obs_dim=1, delta_scale=(0.1, 0.1), hidden_sizes=(8,))
    collector = Collector(policy, num_envs=1, action_dim=2, reward_terms=0, hold_steps=3, gamma=1.0)
    generator = torch.Generator().manual_seed(4)
    deltas = []
    for t in range(6):
        obs = np.array([[float(t)]], dtype=np.float32)
        action = collector.act(obs, collector.propose(obs, generator=generator))
        deltas.append(action - clock_baseline(obs))
        no, yes = np.zeros(1, dtype=bool), np.ones(1, dtype=bool)
        collector.observe(Step(obs + 1, obs + 1, np.zeros(1, np.float32), no, no, yes, {}))
    np.testing.assert_allclose(deltas[0], deltas[2], atol=1e-6)
    np.testing.assert_allclose(deltas[3], deltas[5], atol=1e-6)
    assert np.abs(deltas[0] - deltas[3]).max() > 1e-4


def test_steps_that_were_no_transition_leave_no_trace():
    ends = np.zeros((6, 1), dtype=bool)
    ends[2] = True
    invalid = np.zeros_like(ends)
    invalid[3] = True
    rows = collect(ends, invalid, hold=2)[0]
    assert [float(row["obs"][0]) for row in rows] == [0.0, 2.0, 104.0]


@pytest.mark.parametrize("field", ["next_obs", "reward"])
def test_what_is_not_finite_is_refused_by_name(field):
    policy = DeltaPolicy(wrap_baseline(clock_baseline), obs_dim=1, delta_scale=(0.1, 0.1))
    collector = Collector(policy, num_envs=2, action_dim=2, reward_terms=0, hold_steps=1, gamma=1.0)
    obs = np.zeros((2, 1), dtype=np.float32)
    collector.act(obs, collector.propose(obs, generator=torch.Generator()))
    values = {"obs": obs, "next_obs": obs.copy(), "reward": np.zeros(2, dtype=np.float32)}
    values[field][1] = np.nan
    no, yes = np.zeros(2, dtype=bool), np.ones(2, dtype=bool)
    with pytest.raises(SimulatorError, match="environment 1"):
        collector.observe(Step(terminated=no, truncated=no, valid=yes, info={}, **values))
