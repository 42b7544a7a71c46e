"""A mirror along a given route: where it leads, what it sees, and whose lights count."""

import json

import numpy as np
import pytest

from carla_online._native import WorldBatch, WorldMirror
from carla_online.envs.world import WorldEnvConfig
from carla_online.errors import MapError

LIGHT = next((start, size) for name, start, size, _, _ in WorldBatch.layout() if "light" in name)


def _town() -> tuple[WorldMirror, list[tuple[float, float, float, float]]]:
    drawn = WorldMirror(WorldEnvConfig(map="four_way", traffic="none").world_json())
    start = drawn.reset(7)
    text = drawn.xodr()
    config = json.loads(WorldEnvConfig(map={"preset": "town", "kind": "xodr", "xodr": text}).world_json())
    config["traffic"] |= {"slow_vehicles": 0, "fast_vehicles": 0}
    x, y, z, yaw_deg, *_ = start
    ahead = np.deg2rad(yaw_deg)
    goal = (x + 40.0 * np.cos(ahead), y + 40.0 * np.sin(ahead), z, yaw_deg)
    return WorldMirror(json.dumps(config)), [(x, y, z, yaw_deg), goal]


def _look(mirror: WorldMirror) -> tuple[np.ndarray, dict[str, float]]:
    obs, row = np.zeros(WorldBatch.obs_dim, np.float32), np.zeros(len(WorldBatch.info_names()))
    mirror.observe(obs, row)
    return obs, dict(zip(WorldBatch.info_names(), row.tolist(), strict=True))


def test_the_route_is_as_long_as_the_way_between_its_places():
    mirror, places = _town()
    mirror.enter(3, places)
    _, info = _look(mirror)
    assert info["route_length_m"] == pytest.approx(40.0, abs=1.0)


def test_the_ego_is_where_it_was_put_in_neutral_and_drives_on_from_there():
    mirror, places = _town()
    mirror.enter(3, places)
    x, y, z, yaw_deg = places[0]
    cos, sin = np.cos(np.deg2rad(yaw_deg)), np.sin(np.deg2rad(yaw_deg))
    mirror.place((x + 5.0 * cos, y + 5.0 * sin, z, yaw_deg, 4.0 * cos, 4.0 * sin, 0.0, 0))
    assert _look(mirror)[1]["speed_mps"] == pytest.approx(4.0, abs=1e-3)
    mirror.decide(0.0, 0.0)
    mirror.plan()
    mirror.look((x + 15.0 * cos, y + 15.0 * sin, z, yaw_deg, 4.0 * cos, 4.0 * sin, 0.0, 0), [], [])
    assert _look(mirror)[1]["route_completion"] == pytest.approx(15.0 / 40.0, abs=0.02)


def test_the_lights_are_those_that_the_simulator_shows():
    mirror, places = _town()
    mirror.enter(3, places)
    ids = [signal_id for signal_id, _ in mirror.lights()]
    assert ids
    mirror.show_lights([(signal_id, "green") for signal_id in ids])
    assert {colour for _, colour in mirror.lights()} == {"green"}
    mirror.show_lights([])
    assert {colour for _, colour in mirror.lights()} == {"red"}


def test_places_that_make_no_route_are_refused():
    mirror, places = _town()
    far = (1e6, 1e6, 0.0, 0.0)
    with pytest.raises(MapError, match="place 1 of the route"):
        mirror.enter(3, [places[0], far])
    with pytest.raises(MapError, match="shorter than 10 m"):
        mirror.enter(3, places[:1])
    with pytest.raises(MapError, match="kind xodr"):
        WorldMirror(WorldEnvConfig().world_json()).enter(3, places)
