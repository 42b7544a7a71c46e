"""Our reader and writer against `carla.Map` of the real wheel, which works without a server."""

import math

import pytest

from carla_online._native import RoadMap, write_map, write_road

carla = pytest.importorskip("carla")

from carla_map import (  # noqa: E402
    POSITION_TOLERANCE_M,
    YAW_TOLERANCE_DEG,
    check_neighbours_and_marks,
    check_whole_map,
    difference,
    index_by_name,
    town_files,
)

WRITTEN = {
    "straight": write_road([(100.37,)], lanes_forward=3, start=(20.0, -30.0, 0.7)),
    "arc left": write_road([(30.2,), (80.13, -0.02)], lanes_forward=2, shoulder_width_m=1.5),
    "arc right": write_road([(30.2,), (80.13, 0.02)], lanes_forward=2, shoulder_width_m=1.5),
    "spiral, arc, spiral": write_road(
        [(25.0, 0.0, 0.03), (40.11, 0.03), (25.0, 0.03, 0.0), (30.0, 0.0, -0.05), (30.0, -0.05, 0.0)],
        lanes_forward=4,
        lane_width_m=3.2,
        start=(-100.0, 50.0, 2.5),
    ),
    "two-way, hilly": write_road(
        [(50.3,), (30.0, 0.0, 0.02), (60.07, 0.02)],
        lanes_forward=2,
        lanes_backward=2,
        shoulder_width_m=2.0,
        elevation=[(0.0, 1.0, 0.0), (60.0, 4.0, 0.05), (130.0, 3.0, -0.04)],
    ),
    "constant spiral": write_road([(40.1, 0.02, 0.02), (30.0, 0.0, 0.0)], lanes_forward=2),
    "backward only": write_road([(60.2, 0.01)], lanes_forward=0, lanes_backward=2, shoulder_width_m=1.0),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_written_road_is_the_same_road_to_carla(name):
    text = WRITTEN[name]
    ours, theirs = RoadMap.from_xodr(text), carla.Map("road", text)
    lanes = ours.lanes()
    names = index_by_name(lanes)
    compared = 0
    for i in ours.driving_lanes():
        lane = lanes[i]
        steps = int(lane.length_m / 1.7)
        for step in range(steps + 1):
            # Not at the very ends: there CARLA finds no lane.
            s_m = 0.01 + (lane.length_m - 0.02) * step / steps
            waypoint = theirs.get_waypoint_xodr(lane.road_id, lane.lane_id, ours.station(i, s_m))
            distance, turn, width = difference(ours, i, waypoint)
            assert distance < POSITION_TOLERANCE_M
            assert turn < YAW_TOLERANCE_DEG
            assert width < 1e-4
            check_neighbours_and_marks(ours, lane, ours.markings(i, s_m), waypoint, names)
            compared += 1
    assert compared > 30


@pytest.mark.parametrize("name", WRITTEN)
def test_next_and_previous_lead_to_the_same_place(name):
    text = WRITTEN[name]
    ours, theirs = RoadMap.from_xodr(text), carla.Map("road", text)
    lanes = ours.lanes()
    for i in ours.driving_lanes():
        middle = theirs.get_waypoint_xodr(lanes[i].road_id, lanes[i].lane_id, ours.station(i, lanes[i].length_m / 2))
        # CARLA walks along the reference line, we along the lane.
        for found, way_m in ((middle.next(7.3), 7.3), (middle.previous(7.3), -7.3)):
            assert len(found) == 1
            assert difference(ours, i, found[0])[0] < POSITION_TOLERANCE_M
            moved = abs(ours.at_station(i, found[0].s) - ours.at_station(i, middle.s))
            place = ours.advance(i, ours.at_station(i, middle.s), math.copysign(moved, way_m))
            assert place is not None
            assert ours.station(i, place.s_m) == pytest.approx(found[0].s, abs=1e-3)
        assert middle.next(1000.0) == []
        assert ours.advance(i, lanes[i].length_m / 2, 1000.0) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "straight", "seed": 3},
        {"kind": "curve", "seed": 3},
        {"kind": "highway", "seed": 3},
        {"kind": "t_junction"},
        {"kind": "t_junction", "lanes": 2, "control": "stop", "lane_width_m": 3.1},
        {"kind": "four_way", "light_plan": "approach"},
        {"kind": "four_way", "lanes": 2, "seed": 5},
        {"kind": "four_way", "lanes": 3, "control": "yield", "crosswalks": False},
        {"kind": "grid", "columns": 1, "rows": 1},
        {"kind": "grid", "columns": 2, "rows": 2, "lanes": 2, "control": "mixed", "block_m": 120.0},
    ],
    ids=lambda arguments: "-".join(str(value) for value in arguments.values()),
)
def test_a_written_map_is_the_same_map_to_carla(arguments):
    check_whole_map(write_map(**arguments))


@pytest.mark.skipif(not town_files(), reason="CARLA_ONLINE_MAPS names no folder with .xodr files")
@pytest.mark.parametrize("path", town_files(), ids=lambda path: path.stem)
def test_a_town_is_the_same_town_to_carla(path):
    check_whole_map(path.read_text())
