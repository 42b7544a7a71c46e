"""Evaluation drives every named episode once, to its own end, and repeats to the bit."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from carla_online.errors import ConfigError, EvaluationError, PolicyError
from carla_online.evaluation import as_actor, evaluate_returns, evaluate_routes
from carla_online.evaluation.suite import SuiteConfig


def push_against_speed(obs):
    return -np.sign(obs[:, 2:3]).astype(np.float32)


def pendulum_return_by_hand(seed):
    env = gym.make("Pendulum-v1")
    obs, _ = env.reset(seed=seed)
    total, is_over = 0.0, False
    while not is_over:
        action = push_against_speed(obs[None])[0] * 2.0  # Pendulum's torque lies in [-2, 2]
        obs, reward, terminated, truncated, _ = env.step(action)
        total += reward
        is_over = terminated or truncated
    env.close()
    return total


def test_returns_are_those_of_episodes_run_one_by_one():
    returns = evaluate_returns(push_against_speed, "Pendulum-v1", range(40, 45))
    assert returns.episode_return.tolist() == pytest.approx([pendulum_return_by_hand(40 + index) for index in range(5)])


class Countdown(gym.Env):
    """Ends after `seed` steps; pays 1 a step."""

    observation_space = gym.spaces.Box(0.0, 1000.0, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = seed
        return np.array([self.left], np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.array([self.left], np.float32), 1.0, self.left == 0, False, {}


def countdowns(count, mode=gym.vector.AutoresetMode.DISABLED):
    return gym.vector.SyncVectorEnv([Countdown] * count, autoreset_mode=mode)


def test_episodes_of_any_length_count_each_step_once():
    # 300 episodes are three batches; the shortest ends 299 steps before the longest.
    returns = evaluate_returns(lambda obs: np.zeros((len(obs), 1)), countdowns, range(1, 301))
    assert returns.episode_return.tolist() == returns.episode_length.tolist() == list(range(1, 301))


def test_an_environment_that_resets_by_itself_is_refused():
    def make(count):
        return countdowns(count, gym.vector.AutoresetMode.NEXT_STEP)

    with pytest.raises(ConfigError, match="autoreset_mode DISABLED"):
        evaluate_returns(push_against_speed, make, [1, 2])


def test_an_action_that_is_no_number_names_its_episode():
    def fails_late(obs):
        return np.where(obs < 3.0, np.nan, 0.0)

    with pytest.raises(PolicyError, match="episode with seed 7"):
        evaluate_returns(fails_late, countdowns, [7, 8, 9])


def test_an_environment_without_scores_is_refused():
    with pytest.raises(EvaluationError, match=r"lacks timed_driving_score.*evaluate_returns"):
        evaluate_routes(lambda obs: np.zeros((len(obs), 1)), countdowns, np.array([3, 4], np.uint64))


def test_policies_callables_and_their_act_are_asked_alike():
    class Policy:
        def act(self, obs, *, deterministic=False, generator=None):
            action = np.full((len(obs), 2), 3.0 if deterministic else np.nan)
            return action, np.zeros(len(obs)), {}

    obs = np.zeros((4, 5), np.float32)
    for given in (Policy(), Policy().act, lambda rows: np.full((len(rows), 2), 3.0)):
        action = as_actor(given)(obs)
        assert action.dtype == np.float32
        assert action.tolist() == [[1.0, 1.0]] * 4  # clipped
    with pytest.raises(PolicyError, match="can't drive"):
        as_actor("policy.pt")
    with pytest.raises(PolicyError, match=r"must return \[4, actions\]"):
        as_actor(lambda rows: np.zeros(2))(obs)


def test_torch_outputs_are_accepted():
    import torch

    module = torch.nn.Linear(5, 2)
    assert as_actor(module)(torch.zeros(3, 5)).shape == (3, 2)


def test_no_episodes_are_refused():
    with pytest.raises(EvaluationError, match="nothing to drive"):
        evaluate_routes(push_against_speed, SuiteConfig(), np.array([], np.uint64))
    with pytest.raises(EvaluationError, match="nothing to run"):
        evaluate_returns(push_against_speed, "Pendulum-v1", [])
