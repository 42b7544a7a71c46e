"""Comparisons of our map with `carla.Map` of the real wheel, which works without a server."""

from __future__ import annotations

import math
import os
from pathlib import Path

import carla

from carla_online._native import Lane, RoadMap

# Ours is stored in f32 and CARLA computes its headings there.
POSITION_TOLERANCE_M = 0.01
YAW_TOLERANCE_DEG = 0.1

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


def compare_whole_map(text: str) -> tuple[int, float, float, list[str]]:
    """Every waypoint: place, yaw, width, marks, neighbours, junction flag; every lane's followers and forerunners.

    Returns:
        Waypoints compared, largest distance (m) and turn (degrees), and a sentence for each relation that differs.
    """
    ours, theirs = RoadMap.from_xodr(text), carla.Map("map", text)
    lanes = ours.lanes()
    names = index_by_name(lanes)
    unequal: list[str] = []
    # An odd distance: where a mark begins exactly at a waypoint, rounding decides on both sides.
    waypoints = theirs.generate_waypoints(1.937)
    driven = {(lanes[i].road_id, lanes[i].section, lanes[i].lane_id) for i in ours.driving_lanes()}
    if {name_of(waypoint) for waypoint in waypoints} != driven:
        unequal.append("the driving lanes differ")
    farthest_m = widest_turn = 0.0
    for waypoint in waypoints:
        i = names.get(name_of(waypoint))
        if i is None:
            continue
        distance, turn, width = difference(ours, i, waypoint)
        farthest_m, widest_turn = max(farthest_m, distance), max(widest_turn, turn)
        if width >= 1e-3:
            unequal.append(f"{name_of(waypoint)} at {waypoint.s:.2f}: width by {width:.4f} m")
        if waypoint.is_junction != (lanes[i].junction is not None):
            unequal.append(f"{name_of(waypoint)}: junction flag")
        marks = ours.markings(i, ours.at_station(i, waypoint.s))
        try:
            check_neighbours_and_marks(ours, lanes[i], marks, waypoint, names)
        except AssertionError as error:
            unequal.append(f"{name_of(waypoint)} at {waypoint.s:.2f}: neighbours or marks {error}")
    for i in ours.driving_lanes():
        lane = lanes[i]
        for s_m, is_ahead in ((lane.length_m - 0.02, True), (0.02, False)):
            place = theirs.get_waypoint_xodr(lane.road_id, lane.lane_id, ours.station(i, max(s_m, 0.0)))
            found = place.next(0.1) if is_ahead else place.previous(0.1)
            seen = {names[name_of(waypoint)] for waypoint in found}
            listed = lane.successors if is_ahead else lane.predecessors
            if seen != {other for other in listed if lanes[other].kind == "driving"}:
                unequal.append(f"lane {i}: {'followers' if is_ahead else 'forerunners'} {sorted(seen)}, {listed}")
    return len(waypoints), farthest_m, widest_turn, unequal


def check_whole_map(text: str) -> None:
    """As `compare_whole_map`, for tests."""
    _, farthest_m, widest_turn, unequal = compare_whole_map(text)
    assert farthest_m < POSITION_TOLERANCE_M
    assert widest_turn < YAW_TOLERANCE_DEG
    assert not unequal


def town_files() -> list[Path]:
    folder = os.environ.get("CARLA_ONLINE_MAPS")
    return sorted(Path(folder).glob("*.xodr")) if folder else []
