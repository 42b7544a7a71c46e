"""The bindings of the road layer: conversion, errors, and the classes' promises."""

import math
import threading

import pytest

from carla_online._native import RoadMap, write_road
from carla_online.errors import MapError


@pytest.fixture(scope="module")
def road() -> RoadMap:
    return RoadMap.from_xodr(write_road([(60.3,), (40.0, 0.02)], lanes_forward=2, lanes_backward=1))


def test_a_road_reads_back_through_the_bindings(road):
    assert [lane.lane_id for lane in road.lanes()] == [1, -1, -2]
    assert road.driving_lanes() == [0, 1, 2]
    left, right = road.lanes()[1:]
    assert (left.right, right.left, left.left) == (2, 1, None)
    assert left.may_change_right and not left.may_change_left
    assert left.speed_limit_mps == pytest.approx(50 / 3.6)
    place = road.locate(30.0, 1.75, 0.0)
    assert (place.lane, place.s_m, place.lateral_m) == pytest.approx((1, 30.0, 0.0), abs=1e-4)
    assert road.locate(30.0, 1.75, 0.0, yaw_rad=math.pi).lane == 0
    assert road.project(1, 30.0, 2.75, near_s_m=0.0).lateral_m == pytest.approx(1.0)
    assert road.advance(1, 30.0, 10.0).s_m == pytest.approx(40.0)
    assert road.advance(1, 30.0, 1000.0) is None
    assert road.abreast(1, 30.0, 2) == pytest.approx(30.0, abs=1e-3)
    assert road.half_width_to_edge(1, 30.0) == pytest.approx((1.75, 5.25))
    assert road.markings(1, 30.0).right == "broken"
    assert {line.kind for line in road.polylines(2.0)} == {"centre", "left edge", "right edge"}
    assert len(road.polylines(2.0)[0].points[0]) == 3


def test_positive_curvature_bends_right(road):
    before, after = road.sample(1, 50.0), road.sample(1, 90.0)
    assert before.curvature_per_m == 0.0
    assert after.curvature_per_m > 0.0
    assert after.y > before.y and after.yaw_rad > 0.0
    assert road.sample(0, 5.0).curvature_per_m < 0.0, "the oncoming lane bends left"


def test_a_bad_map_raises_map_error_with_its_fields():
    with pytest.raises(MapError, match="document type") as caught:
        RoadMap.from_xodr('<!DOCTYPE a [<!ENTITY b "c">]><OpenDRIVE>&b;</OpenDRIVE>')
    with pytest.raises(MapError, match="levels of nesting") as caught:
        RoadMap.from_xodr("<a>" * 1000)
    assert (caught.value.count, caught.value.limit) == (65, 64)
    with pytest.raises(MapError, match="lane_width_m") as caught:
        write_road([(50.3,)], lane_width_m=math.nan)
    assert (caught.value.name, caught.value.value) == ("lane_width_m", "NaN")
    with pytest.raises(ValueError, match="4 numbers"):
        write_road([(50.3, 0.0, 0.0, 0.0)])


def test_a_lane_that_does_not_exist_is_an_index_error(road):
    for call in (
        lambda: road.sample(3, 0.0),
        lambda: road.project(3, 0.0, 0.0, near_s_m=0.0),
        lambda: road.abreast(0, 0.0, 3),
        lambda: road.advance(3, 0.0, 1.0),
        lambda: road.markings(4_000_000_000, 0.0),
    ):
        with pytest.raises(IndexError, match="the map has 3 lanes"):
            call()


def test_threads_share_one_map(road):
    expected = [road.sample(1, 0.7 * step).x for step in range(140)]
    seen: list[list[float]] = []

    def walk() -> None:
        seen.append([road.sample(1, 0.7 * step).x for step in range(140)])

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 4
