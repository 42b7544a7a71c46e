"""Presets and parts of the embedded world's configuration."""

from __future__ import annotations

import json

import pytest

from carla_online import _native
from carla_online.config import validate
from carla_online.envs.world import WorldEnvConfig, WorldVectorEnv
from carla_online.envs.world.presets import MAPS, TRAFFICS
from carla_online.errors import ConfigError

DEFAULTS = json.loads(_native.WorldBatch.default_config())


def test_the_default_is_the_worlds_own() -> None:
    assert WorldEnvConfig().resolve() == DEFAULTS


def test_presets_name_only_keys_that_the_world_knows() -> None:
    for section, presets in (("map", MAPS), ("traffic", TRAFFICS)):
        for name, parts in presets.items():
            assert set(parts) <= set(DEFAULTS[section]), name


def test_parts_lie_over_their_preset() -> None:
    config = WorldEnvConfig(map={"preset": "highway", "lanes": 3}, traffic={"slow_vehicles": 4})
    world = config.resolve()
    assert (world["map"]["lanes"], world["map"]["speed_limit_mps"]) == (3, 25.0)
    assert world["traffic"]["slow_vehicles"] == 4
    assert world["traffic"]["fast_vehicles"] == DEFAULTS["traffic"]["fast_vehicles"]


def test_speeds_follow_the_limit_unless_written_down() -> None:
    default = DEFAULTS["traffic"]["slow_speed_mps"]
    world = WorldEnvConfig(map={"speed_limit_mps": 30.0}).resolve()
    assert world["traffic"]["slow_speed_mps"] == [2 * speed for speed in default]
    assert world["ego"]["start_speed_mps"] == [2 * speed for speed in DEFAULTS["ego"]["start_speed_mps"]]
    fixed = WorldEnvConfig(map={"speed_limit_mps": 30.0}, traffic={"slow_speed_mps": [3.0, 4.0]}).resolve()
    assert fixed["traffic"]["slow_speed_mps"] == [3.0, 4.0]


def test_all_faults_are_told_at_once() -> None:
    config = WorldEnvConfig(
        map={"preset": "motorway", "lane": 2},
        traffic="heavy",
        ego={"dynamics": "kinematic", "wings": 2},
        simulation={"decision_step": 4, "map": {}},
    )
    with pytest.raises(ConfigError) as caught:
        config.resolve()
    message = str(caught.value)
    assert len(message.splitlines()) == 6
    for part in (
        "'motorway'",
        "did you mean 'lanes'",
        "'heavy'",
        "ego.wings",
        "'decision_steps'",
        "simulation.map",
    ):
        assert part in message


def test_ranges_are_the_worlds_to_check() -> None:
    with pytest.raises(ValueError, match=r"lanes"):
        WorldVectorEnv(1, map={"lanes": 40})
    with pytest.raises(ValueError, match=r"speed_limit_mps"):
        WorldVectorEnv(1, map={"speed_limit_mps": "fast"})


def test_a_config_survives_the_way_through_json() -> None:
    config = WorldEnvConfig(num_envs=4, map="curve", traffic="dense", reward={"weights": {"comfort": -0.1}})
    assert validate(WorldEnvConfig, json.loads(config.model_dump_json()), source="json") == config
