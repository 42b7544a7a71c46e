"""The way from one place of a map to another."""

from __future__ import annotations

import carla

from .lane_graph import LaneGraph, Stop
from .local_planner import RoadOption, turn_option

# A lane change takes this long.
_LANE_CHANGE_LENGTH_M = 10.0


class GlobalRoutePlanner:
    """Plans routes over the lanes of a map, lane changes included.

    Args:
        wmap: The map.
        sampling_resolution: Metres between the waypoints of a route.
    """

    def __init__(self, wmap: carla.Map, sampling_resolution: float) -> None:
        self._wmap = wmap
        self._sampling_resolution = sampling_resolution
        self._graph = LaneGraph(wmap, sampling_resolution)

    def trace_route(
        self, origin: carla.Location | carla.Waypoint, destination: carla.Location | carla.Waypoint
    ) -> list[tuple[carla.Waypoint, RoadOption]]:
        """Returns the shortest route as waypoints with what their stretch asks for.

        In a junction that is LEFT, RIGHT or STRAIGHT, by the headings before and behind it; a lane change stands
        as two waypoints with its option: where the old lane is left and where the new one is reached.

        Raises:
            ValueError: No way leads from one place to the other.
        """
        way = self._graph.shortest(
            self._graph.locate(self._waypoint(origin)), self._graph.locate(self._waypoint(destination))
        )
        turns = self._turns(way)
        route: list[tuple[carla.Waypoint, RoadOption]] = []
        index = way[0].index
        for stop, following, option in zip(way, way[1:], turns, strict=False):
            lane = self._graph[stop.lane]
            if following.option != RoadOption.LANEFOLLOW:
                left_at = max(index, following.left_at)
                route += [(waypoint, option) for waypoint in lane.waypoints[index:left_at]]
                index = self._landing(following, way[-1])
                route.append((lane.waypoints[left_at], following.option))
                route.append((self._graph[following.lane].waypoints[index], following.option))
                index += 1
            elif following is way[-1]:
                route += [(waypoint, option) for waypoint in lane.waypoints[index : following.index + 1]]
            else:
                route += [(waypoint, option) for waypoint in lane.waypoints[index:]]
                index = following.index
        return route

    def _waypoint(self, place: carla.Location | carla.Waypoint) -> carla.Waypoint:
        return place if isinstance(place, carla.Waypoint) else self._wmap.get_waypoint(place)

    def _landing(self, change: Stop, destination: Stop) -> int:
        """Returns the sample of the new lane at which a lane change ends."""
        steps = max(round(_LANE_CHANGE_LENGTH_M / self._sampling_resolution), 1)
        last = destination.index if change.lane == destination.lane else len(self._graph[change.lane].waypoints) - 1
        return max(min(change.index + steps, last), change.index)

    def _turns(self, way: list[Stop]) -> list[RoadOption]:
        """Returns an option for each stop: in junctions the turn, all of its short lanes taken together."""
        lanes = [self._graph[stop.lane] for stop in way[:-1]]
        options = [RoadOption.LANEFOLLOW] * len(lanes)
        first = 0
        while first < len(lanes):
            last = first
            if lanes[first].start.is_junction:
                while last + 1 < len(lanes) and lanes[last + 1].start.is_junction:
                    last += 1
                before = lanes[first - 1].waypoints[-1] if first else lanes[0].start
                after = lanes[last].waypoints[-1]
                option = turn_option(before.transform.rotation.yaw, after.transform.rotation.yaw)
                options[first : last + 1] = [option] * (last + 1 - first)
            first = last + 1
        return options
