"""A trainer that knows nothing of this project trains on its environment."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env


def test_stable_baselines_trains_on_the_world() -> None:
    env = gym.make("CarlaOnline/World-v0", traffic="light")
    check_env(env.unwrapped)
    model = PPO("MlpPolicy", env, n_steps=128, batch_size=64, n_epochs=2, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(512)
    assert model.num_timesteps >= 500
    changed = [not parameter.equal(old) for parameter, old in zip(model.policy.parameters(), before, strict=True)]
    assert any(changed)
    obs, _ = env.reset(seed=0)
    action, _ = model.predict(obs, deterministic=True)
    assert action.shape == (2,)
    assert np.isfinite(action).all()
