"""Weather and what else is drawn for an episode."""

from __future__ import annotations

import numpy as np
import pytest

from carla_online.envs.contract import DRAW_NAMES, WEATHER_CLASSES
from carla_online.envs.world import WorldEnvConfig, WorldVectorEnv
from carla_online.errors import ConfigError

MAP = {"map_variants": 4}


def draws(seeds: np.ndarray, **kwargs) -> dict[str, np.ndarray]:
    env = WorldVectorEnv(len(seeds), map=MAP, **kwargs)
    _, info = env.reset(options={"episode_seeds": seeds})
    return dict(zip(DRAW_NAMES, info["draws"].T, strict=True)) | {"slice_index": info["slice_index"]}


def test_every_episode_draws_from_its_seed_within_the_ranges() -> None:
    seeds = np.arange(60, dtype=np.uint64)
    drawn = draws(seeds, weather="any", randomization="full")
    again = draws(seeds[::-1].copy(), weather="any", randomization="full")
    for name, values in drawn.items():
        np.testing.assert_array_equal(values, again[name][::-1])
    assert {WEATHER_CLASSES[index] for index in drawn["slice_index"]} == set(WEATHER_CLASSES)
    assert drawn["full_brake_mps2"].min() >= 9.0 and drawn["full_brake_mps2"].max() < 14.0
    assert len(np.unique(drawn["steer_gain"])) == 60


def test_each_weather_preset_has_its_class() -> None:
    seeds = np.arange(20, dtype=np.uint64)
    for preset, expected in (("clear", "dry"), ("wet", "wet"), ("fog", "low_visibility")):
        drawn = draws(seeds, weather=preset)
        assert {WEATHER_CLASSES[index] for index in drawn["slice_index"]} == {expected}, preset
    clear = draws(seeds)
    assert (clear["friction"] == 1.0).all() and (clear["haze"] == 0.0).all() and (clear["traffic_density"] == 1.0).all()


def test_a_wet_road_lengthens_braking() -> None:
    def braking_m(weather: dict) -> float:
        env = WorldVectorEnv(1, map=MAP, traffic="none", weather=weather, ego={"start_speed_mps": [15.0, 15.0]})
        _, before = env.reset(options={"episode_seeds": np.array([3], np.uint64)})
        for _ in range(60):
            *_, info = env.step(np.array([[0.0, -1.0]], np.float32))
        return float(info["distance_m"][0] - before["distance_m"][0])

    wet = {"wetness": [100.0, 100.0], "precipitation_deposits": [100.0, 100.0]}
    assert braking_m(wet) > 1.5 * braking_m({})


def test_fog_hides_whoever_is_far() -> None:
    seeds = np.arange(30, dtype=np.uint64)
    fog = {"fog_density": [100.0, 100.0], "fog_distance": [0.0, 0.0]}
    nearest = {}
    for name, weather in (("fog", fog), ("clear", {})):
        env = WorldVectorEnv(30, map=MAP, weather=weather)
        obs, _ = env.reset(options={"episode_seeds": seeds})
        masks = obs[:, 66:122:7]
        distances = np.hypot(40.0 * obs[:, 67:122:7], 5.0 * obs[:, 68:122:7])
        nearest[name] = np.where(masks > 0.5, distances, np.nan)
    # A fifth of the 80 m is left, and positions are blurred by at most a few percent.
    assert np.nanmax(nearest["fog"], initial=0.0) < 18.0
    assert np.nanmax(nearest["clear"]) > 60.0


def test_unknown_presets_and_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match=r"weather: unknown preset 'snow'.*clear"):
        WorldEnvConfig(weather="snow").resolve()
    with pytest.raises(ConfigError, match="randomization: unknown preset"):
        WorldEnvConfig(randomization="wild").resolve()
    with pytest.raises(ConfigError, match="fog_densty.*fog_density"):
        WorldEnvConfig(weather={"fog_densty": [0, 1]}).resolve()
