"""Signals, crosswalks, junctions and turns against `carla.Map` of the real wheel."""

import math

import pytest

from carla_online._native import RoadMap, write_map

carla = pytest.importorskip("carla")

from carla_map import index_by_name, name_of, town_files  # noqa: E402

TEXTS = {
    "t, stop": write_map("t_junction", control="stop"),
    "t, two lanes": write_map("t_junction", lanes=2, seed=8),
    "four-way": write_map("four_way"),
    "four-way, two lanes": write_map("four_way", lanes=2, light_plan="approach", seed=2),
    "four-way, yield": write_map("four_way", control="yield"),
    "grid": write_map("grid", columns=2, rows=2, control="mixed", seed=1),
} | {path.stem: path.read_text() for path in town_files()}

CARRIAGEWAY = carla.LaneType.Driving | carla.LaneType.Shoulder | carla.LaneType.Bidirectional
CODES = {"1000001": "light", "206": "stop", "205": "yield"}


@pytest.fixture(params=TEXTS, scope="module")
def maps(request):
    return RoadMap.from_xodr(TEXTS[request.param]), carla.Map("map", TEXTS[request.param])


def test_signals_stand_where_carla_has_its_landmarks(maps):
    ours, theirs = maps
    landmarks = {mark.id: mark for mark in theirs.get_all_landmarks() if mark.type in CODES}
    signals = {signal.id: signal for signal in ours.signals() if signal.code in CODES}
    # A landmark needs a lane that it is valid for.
    assert set(landmarks) == {name for name, signal in signals.items() if signal.governs}
    for name, mark in landmarks.items():
        signal, place = signals[name], mark.transform.location
        turn = math.remainder(math.degrees(signal.yaw_rad) - mark.transform.rotation.yaw, 360.0)
        assert abs(turn) < 0.1
        assert CODES[mark.type] == signal.kind
        # libcarla moves a signal that stands on a road sideways until it doesn't; the file's place is ours.
        road = theirs.get_waypoint(carla.Location(signal.x, signal.y, signal.z), lane_type=CARRIAGEWAY)
        if (
            math.dist((signal.x, signal.y), (road.transform.location.x, road.transform.location.y))
            < road.lane_width / 2
        ):
            continue
        # libcarla puts a light's landmark a quarter of a metre further along its heading.
        ahead = 0.25 if signal.kind == "light" else 0.0
        x = signal.x + ahead * math.cos(signal.yaw_rad)
        y = signal.y + ahead * math.sin(signal.yaw_rad)
        assert (x, y) == pytest.approx((place.x, place.y), abs=0.01)
        assert signal.z == pytest.approx(place.z, abs=0.05)  # its step ahead follows the signal's pitch


def test_each_way_into_a_junction_obeys_the_signals_that_carla_names_for_it(maps):
    ours, theirs = maps
    lanes, signals = ours.lanes(), ours.signals()
    names = index_by_name(lanes)
    expected: dict[int, set[str]] = {}
    for mark in theirs.get_all_landmarks():
        for low, high in mark.get_lane_validities() if mark.type in CODES else ():
            for lane_id in range(min(low, high), max(low, high) + 1):
                waypoint = lane_id and theirs.get_waypoint_xodr(mark.road_id, lane_id, mark.s)
                if waypoint and waypoint.is_junction and waypoint.lane_type == carla.LaneType.Driving:
                    expected.setdefault(names[name_of(waypoint)], set()).add(mark.type)
    found = {}
    for approach in ours.driving_lanes():
        for line in ours.stop_lines(approach):
            assert 0.0 <= line.s_m <= lanes[approach].length_m
            if line.rule != "uncontrolled" and line.onto is not None:
                found[line.onto] = {code for code, kind in CODES.items() if kind == line.rule}
                assert (line.signal is not None) == (line.rule == "light")
                assert line.signal is None or signals[line.signal].group == line.group
    assert found == expected


def test_crosswalks_have_carlas_corners(maps):
    ours, theirs = maps
    polygons: list[list[tuple[float, float, float]]] = [[]]
    for corner in theirs.get_crosswalks():
        point = (corner.x, corner.y, corner.z)
        if len(polygons[-1]) > 2 and math.dist(polygons[-1][0], point) < 1e-4:
            polygons.append([])
        else:
            polygons[-1].append(point)
    assert polygons.pop() == []
    corners = [point for polygon in polygons for point in polygon]
    mine = [point for crosswalk in ours.crosswalks() for point in crosswalk.polygon]
    assert len(mine) == len(corners) and len(ours.crosswalks()) == len(polygons)
    for found, sought in ((mine, corners), (corners, mine)):
        for point in sought:
            nearest = min(found, key=lambda corner, point=point: math.dist(point, corner))
            assert math.dist(point[:2], nearest[:2]) < 0.01
            assert abs(point[2] - nearest[2]) < 0.1  # libcarla leaves the object's zOffset out


def test_topology_and_junctions_are_the_same(maps):
    ours, theirs = maps
    lanes = ours.lanes()
    names = index_by_name(lanes)
    topology = {(names[name_of(start)], names[name_of(end)]) for start, end in theirs.get_topology()}
    # A lane with nothing after it goes to its own end in libcarla's list.
    dead_ends = {(i, i) for i in ours.driving_lanes() if not lanes[i].successors}
    assert topology - dead_ends == {
        (i, after) for i in ours.driving_lanes() for after in lanes[i].successors if lanes[after].kind == "driving"
    }
    junctions = ours.junctions()
    for start, _ in theirs.get_topology():
        index = ours.junction_of(names[name_of(start)])
        assert start.is_junction == (index is not None)
        assert index is None or start.get_junction().id == junctions[index].id


def forward(waypoint) -> tuple[float, float]:
    vector = waypoint.transform.get_forward_vector()
    return vector.x, vector.y


def test_turns_are_those_of_carlas_route_planner(maps):
    ours, theirs = maps
    lanes = ours.lanes()
    exits: dict[int, list] = {}
    names = index_by_name(lanes)
    for start, end in theirs.get_topology():
        exits.setdefault(names[name_of(start)], []).append((start, end))
    for approach in ours.driving_lanes():
        lines = [line for line in ours.stop_lines(approach) if line.onto is not None]
        for line in lines:
            last = line.onto
            while lanes[exits[last][0][1] and names[name_of(exits[last][0][1])]].junction == lanes[last].junction:
                last = names[name_of(exits[last][0][1])]
            arriving = forward(next(end for _, end in exits[approach] if names[name_of(end)] == line.onto))
            leaving = forward(exits[last][0][1])
            cosine = arriving[0] * leaving[0] + arriving[1] * leaving[1]
            if abs(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) - 35.0) < 0.5:
                continue
            cross = arriving[0] * leaving[1] - arriving[1] * leaving[0]
            others = []
            for other in lines:
                if other.onto != line.onto:
                    start, end = exits[other.onto][0]
                    net = end.transform.location - start.transform.location
                    others.append((arriving[0] * net.y - arriving[1] * net.x) / math.hypot(net.x, net.y))
            others = others or [0.0]
            if cosine > math.cos(math.radians(35.0)):
                expected = "STRAIGHT"
            elif cross < min(others) or (cross <= max(others) and cross < 0.0):
                expected = "LEFT"
            else:
                expected = "RIGHT"
            assert line.turn == expected
