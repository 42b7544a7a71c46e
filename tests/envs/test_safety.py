"""The safety layer around real environments."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from carla_online.envs import TransitionSource, capabilities, make_vector_env
from carla_online.envs.safety import SAFETY_CAUSES, SafetyEnv, SafetyLayer, project
from carla_online.envs.world import WorldEnv, WorldVectorEnv
from carla_online.errors import CheckpointError, ConfigError

MAP = {"map_variants": 8, "length_m": [250.0, 300.0]}
TRAFFIC = {"spread_m": 200.0}


def worlds(count: int = 6, mode: AutoresetMode = AutoresetMode.SAME_STEP, **kwargs) -> WorldVectorEnv:
    return WorldVectorEnv(count, map=MAP, traffic=TRAFFIC, autoreset_mode=mode, **kwargs)


def random_actions(seed: int, steps: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, count, 2)).astype(np.float32)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_info_calls_executed_is_what_the_world_got(mode: AutoresetMode) -> None:
    layer, bare = SafetyLayer(worlds(mode=mode), {"mode": "enforce"}), worlds(mode=mode)
    layer.reset(seed=3)
    bare.reset(seed=3)
    changed = 0
    for actions in random_actions(0, 60, 6):
        obs, reward, terminated, truncated, info = layer.step(actions)
        same_obs, same_reward, *_ = bare.step(info["executed_action"])
        np.testing.assert_array_equal(obs, same_obs)
        np.testing.assert_array_equal(reward, same_reward)
        differs = (info["executed_action"] != info["proposed_action"]).any(axis=1)
        np.testing.assert_array_equal(info["proposed_action"], actions)
        assert not (differs & ~info["safety_intervened"]).any()
        np.testing.assert_array_equal(info["safety_intervened"], info["safety_causes"] != 0)
        changed += int(differs.sum())
        ended = terminated | truncated
        if mode is AutoresetMode.DISABLED and ended.any():
            layer.reset(options={"reset_mask": ended})
            bare.reset(options={"reset_mask": ended})
    assert changed > 50


def test_monitor_tells_but_changes_nothing_and_off_is_silent() -> None:
    for mode in ("monitor", "off"):
        layer, bare = SafetyLayer(worlds(), {"mode": mode}), worlds()
        layer.reset(seed=1)
        bare.reset(seed=1)
        flagged = 0
        for actions in random_actions(1, 30, 6):
            obs, *_, info = layer.step(actions)
            np.testing.assert_array_equal(obs, bare.step(actions)[0])
            assert not info["safety_intervened"].any()
            flagged += int((info["safety_causes"] != 0).sum())
        assert (flagged > 20) == (mode == "monitor")


def test_resuming_from_a_snapshot_is_bit_equal() -> None:
    layer = SafetyLayer(worlds(), {"mode": "enforce"})
    source = TransitionSource(layer)
    assert capabilities(layer).exact_restore
    source.reset(seed=5)
    actions = random_actions(2, 50, 6)
    for row in actions[:25]:
        source.step(row)
    kept = source.snapshot()
    first = [source.step(row) for row in actions[25:]]
    other = TransitionSource(SafetyLayer(worlds(), {"mode": "enforce"}))
    other.reset(seed=99)
    other.restore(kept)
    for row, expected in zip(actions[25:], first, strict=True):
        step = other.step(row)
        np.testing.assert_array_equal(step.next_obs, expected.next_obs)
        np.testing.assert_array_equal(step.info["executed_action"], expected.info["executed_action"])
    with pytest.raises(CheckpointError, match="without the safety layer"):
        layer.restore(worlds_snapshot())


def worlds_snapshot() -> dict:
    bare = worlds()
    bare.reset(seed=0)
    return bare.snapshot()


def test_a_single_environment_gets_the_same_as_a_vector_of_one() -> None:
    single = SafetyEnv(WorldEnv(map=MAP, traffic=TRAFFIC), {"mode": "enforce"})
    vector = SafetyLayer(worlds(1, AutoresetMode.DISABLED), {"mode": "enforce"})
    obs, _ = single.reset(seed=7)
    np.testing.assert_array_equal(obs, vector.reset(seed=7)[0][0])
    for actions in random_actions(3, 30, 1):
        obs, _, terminated, truncated, info = single.step(actions[0])
        same, *_, infos = vector.step(actions)
        np.testing.assert_array_equal(obs, same[0])
        np.testing.assert_array_equal(info["executed_action"], infos["executed_action"][0])
        if terminated or truncated:
            break


def test_infractions_end_episodes_where_asked() -> None:
    config = {"kind": "world", "num_envs": 4, "map": MAP, "traffic": "none"}
    swerve = np.tile(np.array([0.08, 0.3], np.float32), (4, 1))
    for names in ((), ("lane_invasion",)):
        env = make_vector_env({**config, "safety": {"terminate_on": names}}, autoreset_mode="Disabled")
        env.reset(seed=0)
        for _ in range(200):
            *_, terminated, _, info = env.step(swerve)
            if terminated.any():
                break
        assert terminated.any()
        assert bool(info["infraction"][terminated].all()) == bool(names)


def test_wrong_spaces_settings_and_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="reads the driving world's observation"):
        SafetyLayer(gym.make_vec("Pendulum-v1", 2), {"mode": "enforce"})
    with pytest.raises(ConfigError, match=r"safety\.brake_ttc_s is -1"):
        SafetyLayer(worlds(), {"mode": "enforce", "limits": {"brake_ttc_s": -1.0}})
    with pytest.raises(ConfigError, match="mode"):
        SafetyLayer(worlds(), {"mode": "on"})
    layer = SafetyLayer(worlds(), {"mode": "enforce"})
    with pytest.raises(gym.error.ResetNeeded):
        layer.step(np.zeros((6, 2), np.float32))
    layer.reset(seed=0)
    with pytest.raises(ValueError, match=r"proposed\[2, 1\] is NaN"):
        actions = np.zeros((6, 2), np.float32)
        actions[2, 1] = np.nan
        layer.step(actions)


def test_projection_agrees_with_a_fine_grid() -> None:
    generator = np.random.default_rng(4)
    axis = np.linspace(-2, 2, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    actions = generator.uniform(-1.5, 1.5, (20, 2))
    gradients = generator.normal(size=(20, 3, 2))
    bounds = generator.uniform(0.05, 0.6, (20, 3))
    for action, normals, limits, found in zip(
        actions, gradients, bounds, project(actions, gradients, bounds), strict=True
    ):
        assert (normals @ found <= limits + 1e-9).all()
        allowed = grid[(grid @ normals.T <= limits).all(axis=1)]
        nearest = np.linalg.norm(allowed - action, axis=1).min()
        assert np.linalg.norm(found - action) == pytest.approx(nearest, abs=0.02)


def test_the_causes_have_names() -> None:
    assert len(SAFETY_CAUSES) == 7
    assert SAFETY_CAUSES[2:4] == ("distance", "time_to_collision")
