"""The environments under Gymnasium's ids."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from carla_online.envs import register_envs
from carla_online.envs.world import WorldEnv, WorldVectorEnv

IDS = [f"CarlaOnline/{name}-v0" for name in ("World", "Straight", "Curve", "TwoLane", "Highway")]


@pytest.mark.parametrize("env_id", IDS)
def test_make_and_make_vec(env_id: str) -> None:
    env = gym.make(env_id, traffic="light")
    assert isinstance(env.unwrapped, WorldEnv)
    vector = gym.make_vec(env_id, num_envs=2, traffic="light", autoreset_mode="SameStep")
    assert isinstance(vector, WorldVectorEnv)
    assert vector.spec is not None
    again = gym.make_vec(pickle.loads(pickle.dumps(gym.spec(env_id))), num_envs=2, traffic="light")
    assert env.reset(seed=4)[0].shape == (144,)
    assert vector.reset(seed=4)[0].tobytes() == again.reset(seed=4)[0].tobytes()


def test_a_made_environments_spec_makes_it_again() -> None:
    env = gym.make("CarlaOnline/Highway-v0", traffic="dense")
    twin = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert twin.unwrapped.config == env.unwrapped.config
    assert env.reset(seed=1)[0].tobytes() == twin.reset(seed=1)[0].tobytes()


def test_registering_twice_is_silent() -> None:
    spec = gym.spec(IDS[0])
    register_envs()
    assert gym.spec(IDS[0]) is spec


@pytest.mark.parametrize("module", ["carla_online", "carla_online.envs"])
def test_importing_registers(module: str) -> None:
    program = f"import {module}, gymnasium; assert 'CarlaOnline/World-v0' in gymnasium.registry"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=True, timeout=300)


def test_pictures_show_the_ego_and_the_road() -> None:
    env = gym.make("CarlaOnline/World-v0", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (240, 240, 3)
    assert picture.dtype == np.uint8
    ego_row, middle = round(240 * 0.7), 120
    assert picture[ego_row, middle].tolist() == [240, 180, 40]
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 3  # ground, lines, ego
    for _ in range(3):
        env.step(np.float32([0.0, 0.5]))
    assert not np.array_equal(env.render(), picture)
