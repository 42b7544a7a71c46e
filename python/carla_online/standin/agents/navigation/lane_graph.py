"""The lanes of a map as a graph, and the shortest way through it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import carla

from .local_planner import RoadOption

# What a lane change costs beside the way itself: without it the shortest route would weave.
_LANE_CHANGE_COST_M = 10.0

LaneKey = tuple[int, int, int]


def lane_key(waypoint: carla.Waypoint) -> LaneKey:
    """Returns the name of a waypoint's lane: road, section, lane."""
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _place(waypoint: carla.Waypoint) -> tuple[float, float, float]:
    location = waypoint.transform.location
    return location.x, location.y, location.z


def _walk(
    waypoint: carla.Waypoint, step: Callable[[carla.Waypoint, float], list[carla.Waypoint]], step_m: float
) -> Iterator[carla.Waypoint]:
    """Yields a waypoint and those that follow in one direction on its lane.

    The client's own `next_until_lane_end` and `previous_until_lane_start` go on into a road's other sections where the
    lane has another number there, and read freed memory where the road ends.
    """
    key = lane_key(waypoint)
    current: carla.Waypoint | None = waypoint
    while current is not None:
        yield current
        current = next((found for found in step(current, step_m) if lane_key(found) == key), None)


@dataclass(slots=True)
class Lane:
    """One driving lane of one section, in driving direction.

    Attributes:
        start: Its first waypoint.
        successors: The lanes that its end leads to.
        waypoints: Samples from the first to the last metre.
        places: Their positions.
        travelled_m: Their distances from the start along the samples.
    """

    start: carla.Waypoint
    successors: list[LaneKey] = field(default_factory=list)
    waypoints: list[carla.Waypoint] = field(default_factory=list)
    places: list[tuple[float, float, float]] = field(default_factory=list)
    travelled_m: list[float] = field(default_factory=list)

    def sample(self, step_m: float) -> None:
        """Fills the samples, once: only lanes that a search meets are sampled."""
        if self.waypoints:
            return
        self.waypoints = list(_walk(self.start, carla.Waypoint.next, step_m))
        self.places = [_place(waypoint) for waypoint in self.waypoints]
        steps_m = itertools.starmap(math.dist, itertools.pairwise(self.places))
        self.travelled_m = list(itertools.accumulate(steps_m, initial=0.0))

    def nearest(self, place: tuple[float, float, float]) -> int:
        """Returns the index of the sample nearest to a place."""
        return min(range(len(self.places)), key=lambda index: math.dist(self.places[index], place))


@dataclass(frozen=True, slots=True)
class Stop:
    """A place on the way: sample `index` of a lane, and how the way came there.

    `option` is LANEFOLLOW along lanes; after a lane change its direction, and `left_at` the sample at which the old
    lane was left.
    """

    lane: LaneKey
    index: int
    option: RoadOption = RoadOption.LANEFOLLOW
    left_at: int = 0


class LaneGraph:
    """All driving lanes of a map."""

    def __init__(self, carla_map: carla.Map, step_m: float) -> None:
        self._map = carla_map
        self._step_m = step_m
        self._lanes: dict[LaneKey, Lane] = {}
        for first, second in carla_map.get_topology():
            lane = self._lanes.setdefault(lane_key(first), Lane(first))
            # A lane that leads nowhere is listed with its own end.
            if lane_key(second) != lane_key(first) or second.s == first.s:
                lane.successors.append(lane_key(second))

    def __getitem__(self, key: LaneKey) -> Lane:
        lane = self._lanes[key]
        lane.sample(self._step_m)
        return lane

    def locate(self, waypoint: carla.Waypoint) -> Stop:
        """Returns the sample nearest to a waypoint."""
        return Stop(lane_key(waypoint), self._lane_of(waypoint).nearest(_place(waypoint)))

    def _lane_of(self, waypoint: carla.Waypoint) -> Lane:
        """Returns a waypoint's lane; adds it if the map's topology doesn't list it, as it does for roads that end."""
        key = lane_key(waypoint)
        if key not in self._lanes:
            self._lanes[key] = Lane(list(_walk(waypoint, carla.Waypoint.previous, self._step_m))[-1])
        return self[key]

    def shortest(self, origin: Stop, destination: Stop) -> list[Stop]:
        """Returns the places where the way enters lanes, from `origin` to `destination`; A* with the air line.

        Raises:
            ValueError: No way leads there.
        """
        goal = self[destination.lane].places[destination.index]
        best_m: dict[tuple[LaneKey, int], float] = {}
        came_from: dict[int, tuple[Stop, int | None]] = {}
        numbers = itertools.count()
        queue: list[tuple[float, int, float, Stop, int | None]] = [(0.0, next(numbers), 0.0, origin, None)]
        while queue:
            _, number, cost_m, stop, before = heapq.heappop(queue)
            came_from[number] = (stop, before)
            if stop is destination:
                return _way_back(came_from, number)
            if best_m.get((stop.lane, stop.index), math.inf) <= cost_m:
                continue
            best_m[stop.lane, stop.index] = cost_m
            for following, way_m in self._onward(stop, destination):
                air_m = math.dist(self[following.lane].places[following.index], goal)
                reached_m = cost_m + way_m
                heapq.heappush(queue, (reached_m + air_m, next(numbers), reached_m, following, number))
        raise ValueError(f"no way leads from lane {origin.lane} to lane {destination.lane}.")

    def _onward(self, stop: Stop, destination: Stop) -> Iterator[tuple[Stop, float]]:
        """Yields where one can go from a place, with the metres to there."""
        lane = self[stop.lane]
        if stop.lane == destination.lane and stop.index <= destination.index:
            yield destination, lane.travelled_m[destination.index] - lane.travelled_m[stop.index]
        for key in lane.successors:
            if key in self._lanes:
                yield Stop(key, 0), lane.travelled_m[-1] - lane.travelled_m[stop.index]
        if not lane.start.is_junction:
            yield from self._changes(stop, lane)

    def _changes(self, stop: Stop, lane: Lane) -> Iterator[tuple[Stop, float]]:
        """Yields the first place for a lane change to either side."""
        for side, option in (
            (carla.LaneChange.Left, RoadOption.CHANGELANELEFT),
            (carla.LaneChange.Right, RoadOption.CHANGELANERIGHT),
        ):
            for index in range(stop.index, len(lane.waypoints)):
                here = lane.waypoints[index]
                if not int(here.lane_change) & int(side):
                    continue
                beside = here.get_left_lane() if side == carla.LaneChange.Left else here.get_right_lane()
                if beside is None or beside.lane_type != carla.LaneType.Driving or beside.lane_id * here.lane_id < 0:
                    break
                way_m = lane.travelled_m[index] - lane.travelled_m[stop.index] + _LANE_CHANGE_COST_M
                yield Stop(lane_key(beside), self._lane_of(beside).nearest(lane.places[index]), option, index), way_m
                break


def _way_back(came_from: dict[int, tuple[Stop, int | None]], number: int) -> list[Stop]:
    way = []
    current: int | None = number
    while current is not None:
        stop, current = came_from[current]
        way.append(stop)
    return way[::-1]
