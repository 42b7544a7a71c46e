"""What the ego sees of the road, against `carla.Map` of the real wheel on the same OpenDRIVE."""

import math

import numpy as np
import pytest

from .driven import Driven

carla = pytest.importorskip("carla")

# `carla.Map.get_waypoint` itself is up to 10 cm off on arcs when given a waypoint's own place.
LATERAL_TOLERANCE_M = 0.12
HEADING_TOLERANCE_RAD = 0.006


def weave(driven, step):
    """Drives in waves that cross lines."""
    aim_m = 2.0 * math.sin(step / 25.0)
    error_m = driven.quantity("ego/lateral_in_lane") - aim_m
    steer = -0.03 * error_m - 0.35 * driven.quantity("ego/heading_error")
    steer += 2.2 * driven.quantity("ego/curvature_at_0_10_25_45_m")
    pedal = 0.2 * (9.0 - driven.quantity("ego/speed"))
    return np.clip(np.stack([steer, pedal], axis=1), -1.0, 1.0)


def test_lane_and_heading_are_those_that_carla_sees():
    config = {
        "map": {"lanes": 3, "length_m": [300.0, 420.0], "curved_share": 1.0},
        "traffic": {"slow_vehicles": 0, "fast_vehicles": 0},
    }
    seeds = range(4)
    driven = Driven(seeds, config)
    maps = [carla.Map(f"seed{seed}", driven.batch.xodr(seed)) for seed in seeds]
    lanes_seen = set()
    for step in range(240):
        driven.step(weave(driven, step), driven.running)
        for env in np.flatnonzero(driven.running):
            ego = {name: values[0] for name, values in driven.batch.scene(env)["ego"].items()}
            waypoint = maps[env].get_waypoint(carla.Location(ego["x"], ego["y"], 0.0))
            centre, yaw = waypoint.transform.location, math.radians(waypoint.transform.rotation.yaw)
            lateral_m = (ego["y"] - centre.y) * math.cos(yaw) - (ego["x"] - centre.x) * math.sin(yaw)
            if abs(lateral_m) > 0.5 * waypoint.lane_width - LATERAL_TOLERANCE_M:
                continue  # so near to the line, either lane is right
            lanes_seen.add(waypoint.lane_id)
            heading = math.remainder(ego["yaw"] - yaw, math.tau)
            left = waypoint.get_left_lane()
            assert driven.quantity("ego/lateral_in_lane")[env] == pytest.approx(lateral_m, abs=LATERAL_TOLERANCE_M)
            assert driven.quantity("ego/heading_error")[env] == pytest.approx(heading, abs=HEADING_TOLERANCE_RAD)
            assert driven.quantity("ego/lane_width")[env] == pytest.approx(waypoint.lane_width, abs=1e-3)
            has_left = left is not None and left.lane_type == carla.LaneType.Driving
            assert driven.quantity("ego/lane_exists_left")[env] == has_left
            may_left = bool(waypoint.lane_change & carla.LaneChange.Left)
            assert driven.quantity("ego/change_allowed_left")[env] == may_left
    assert len(lanes_seen) >= 2
