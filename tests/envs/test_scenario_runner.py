"""ScenarioRunner's own scenarios through our server. Needs a checkout and a town; says what is missing otherwise."""

import os
import signal
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from carla_online.envs import capabilities
from carla_online.envs.contract import DRAW_NAMES, INFO_KEYS, INFRACTION_NAMES, WEATHER_CLASSES
from carla_online.envs.scenario_runner import ScenarioRunnerEnv
from carla_online.envs.scenario_runner.config import MAPS_VARIABLE, ROOT_VARIABLE
from carla_online.policies import scripted_baseline

pytest.importorskip("carla", reason="needs CARLA's client")
_ROOT, _MAPS = os.environ.get(ROOT_VARIABLE, ""), os.environ.get(MAPS_VARIABLE, "")
pytestmark = [
    pytest.mark.skipif(not _ROOT, reason=f"{ROOT_VARIABLE} names no checkout of ScenarioRunner 0.9.16"),
    pytest.mark.skipif(
        not (Path(_MAPS) / "Town01.xodr").is_file(), reason=f"{MAPS_VARIABLE} names no folder with Town01.xodr"
    ),
    pytest.mark.timeout(900),  # a worker starts, imports ScenarioRunner and bakes a town; a busy machine takes minutes
]
SCENARIOS = [
    {"name": "FollowLeadingVehicle_1", "parameters": {"_first_vehicle_speed": [6.0, 12.0]}, "reference_time_s": 33.0},
    {"name": "ControlLoss_1"},
]


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    made = gym.make(
        "CarlaOnline/ScenarioRunner-v0",
        scenarios=SCENARIOS,
        weather="any",
        log_dir=tmp_path_factory.mktemp("log"),
        disable_env_checker=True,
    )
    yield made
    made.close()


def _drive(env, seed, policy):
    obs, first = env.reset(options={"episode_seed": seed})
    rewards = []
    while True:
        obs, reward, over, cut, info = env.step(policy(obs[None])[0])
        rewards.append(reward)
        if over or cut:
            return first, info, rewards


def test_the_baseline_follows_the_leading_vehicle_to_the_end(env):
    first, info, rewards = _drive(env, 0, scripted_baseline())
    assert (bool(info["finished"]), bool(info["collision"]), info["sim_failure"]) == (True, False, "")
    assert info["driving_score"] == pytest.approx(100.0)
    assert info["scenario"]["ended"] == "succeeded"
    assert info["scenario"]["left_over"] == 0
    assert 6.0 <= first["drawn"]["first_vehicle_speed"] <= 12.0
    again = _drive(env, 0, scripted_baseline())
    assert again[2] == pytest.approx(rewards, abs=1e-4)


def test_an_ego_that_never_brakes_runs_into_the_other_and_pays_for_it(env):
    _, info, rewards = _drive(env, 2, lambda obs: np.array([[0.0, 0.6]], np.float32))
    assert bool(info["collision"])
    assert info["infractions"][INFRACTION_NAMES.index("collision_vehicle")] == 1
    assert rewards[-1] < -5.0
    assert info["scenario"]["criteria"]["CollisionTest"]["status"] == "FAILURE"


def test_weather_is_drawn_by_the_seed_and_named(env):
    drawn = [env.reset(options={"episode_seed": seed})[1]["draws"] for seed in (0, 2, 4, 0)]
    np.testing.assert_array_equal(drawn[0], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1])
    place = DRAW_NAMES.index("weather_class")
    assert all(0 <= row[place] < len(WEATHER_CLASSES) for row in drawn)


def test_info_has_the_contracts_keys_from_reset_on(env):
    _, info = env.reset(options={"episode_seed": 1})
    assert {key.name for key in INFO_KEYS} <= info.keys()
    assert int(info["slice_index"]) == 1
    assert capabilities(env).episode_seeds


def test_a_server_that_hangs_is_a_failure_of_the_simulator_and_not_of_the_driving(tmp_path):
    env = ScenarioRunnerEnv(
        scenarios=SCENARIOS[1:], log_dir=tmp_path, supervision={"step_deadline_s": 3.0, "backoff_s": 0.0}
    )
    try:
        env.reset(options={"episode_seed": 1})
        worker = env._vector.batch.pids[0]
        os.killpg(worker, signal.SIGSTOP)
        _, reward, over, cut, info = env.step(np.zeros(2, np.float32))
        assert (reward, over, cut, info["sim_failure"]) == (0.0, False, True, "timeout")
        _, info = env.reset(options={"episode_seed": 3})
        assert info["sim_failure"] == ""
        assert env._vector.batch.pids[0] != worker
    finally:
        env.close()
