"""Our reader and writer against `carla.Map` of the real wheel, which works without a server."""

import math
import os
from pathlib import Path

import pytest

from carla_online._native import Lane, RoadMap, write_road

carla = pytest.importorskip("carla")

# Ours is stored in f32 and CARLA computes its headings there.
POSITION_TOLERANCE_M = 0.01
YAW_TOLERANCE_DEG = 0.1

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

MARK_NAMES = {
    "NONE": "none",
    "Other": "other",
    "Broken": "broken",
    "Solid": "solid",
    "SolidSolid": "solid solid",
    "SolidBroken": "solid broken",
    "BrokenSolid": "broken solid",
    "BrokenBroken": "broken broken",
    "BottsDots": "botts dots",
    "Grass": "grass",
    "Curb": "curb",
}


def index_by_name(lanes: list[Lane]) -> dict[tuple[int, int, int], int]:
    return {(lane.road_id, lane.section, lane.lane_id): i for i, lane in enumerate(lanes)}


def name_of(waypoint) -> tuple[int, int, int]:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def difference(ours: RoadMap, lane: int, waypoint) -> tuple[float, float, float]:
    """Position (m), yaw (deg) and width (m) by which a waypoint differs from our sample beside it."""
    sample = ours.sample(lane, ours.at_station(lane, waypoint.s))
    place = waypoint.transform.location
    distance = math.dist((sample.x, sample.y, sample.z), (place.x, place.y, place.z))
    turn = math.remainder(math.degrees(sample.yaw_rad) - waypoint.transform.rotation.yaw, 360.0)
    return distance, abs(turn), abs(sample.width_m - waypoint.lane_width)


def check_neighbours_and_marks(ours: RoadMap, lane: Lane, marks, waypoint, names) -> None:
    for beside, neighbour in ((waypoint.get_left_lane(), lane.left), (waypoint.get_right_lane(), lane.right)):
        is_ours = (
            beside is not None and beside.lane_type == carla.LaneType.Driving and beside.lane_id * waypoint.lane_id > 0
        )
        assert neighbour == (names[name_of(beside)] if is_ours else None)
    assert MARK_NAMES[str(waypoint.left_lane_marking.type)] == marks.left
    assert MARK_NAMES[str(waypoint.right_lane_marking.type)] == marks.right
    permitted = int(waypoint.lane_change)
    assert bool(permitted & int(carla.LaneChange.Left)) == marks.left_permits_change
    assert bool(permitted & int(carla.LaneChange.Right)) == marks.right_permits_change


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


def town_files() -> list[Path]:
    folder = os.environ.get("CARLA_ONLINE_MAPS")
    return sorted(Path(folder).glob("*.xodr")) if folder else []


@pytest.mark.skipif(not town_files(), reason="CARLA_ONLINE_MAPS names no folder with .xodr files")
@pytest.mark.parametrize("path", town_files(), ids=lambda path: path.stem)
def test_a_town_is_the_same_town_to_carla(path):
    text = path.read_text()
    ours, theirs = RoadMap.from_xodr(text), carla.Map(path.stem, text)
    lanes = ours.lanes()
    names = index_by_name(lanes)
    # An odd distance: where a mark begins exactly at a waypoint, rounding decides on both sides.
    waypoints = theirs.generate_waypoints(1.937)
    assert {name_of(waypoint) for waypoint in waypoints} == {
        (lanes[i].road_id, lanes[i].section, lanes[i].lane_id) for i in ours.driving_lanes()
    }
    for waypoint in waypoints:
        i = names[name_of(waypoint)]
        distance, turn, width = difference(ours, i, waypoint)
        assert distance < POSITION_TOLERANCE_M
        assert turn < YAW_TOLERANCE_DEG
        assert width < 1e-3
        assert waypoint.is_junction == (lanes[i].junction is not None)
        marks = ours.markings(i, ours.at_station(i, waypoint.s))
        check_neighbours_and_marks(ours, lanes[i], marks, waypoint, names)
    for i in ours.driving_lanes():
        lane = lanes[i]
        end = theirs.get_waypoint_xodr(lane.road_id, lane.lane_id, ours.station(i, lane.length_m - 0.02))
        followers = {names[name_of(waypoint)] for waypoint in end.next(0.1)}
        assert followers == {next_lane for next_lane in lane.successors if lanes[next_lane].kind == "driving"}
