"""An agent with a temper: cautious, normal or aggressive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import carla

from ..tools.hints import ObstacleDetectionResult
from ..tools.misc import get_speed, positive
from .basic_agent import BasicAgent
from .behavior_types import Aggressive, Cautious, Normal
from .global_route_planner import GlobalRoutePlanner
from .local_planner import RoadOption

_BEHAVIORS = {"cautious": Cautious, "normal": Normal, "aggressive": Aggressive}
_VEHICLES_WITHIN_M = 45.0
_WALKERS_WITHIN_M = 10.0
# Below these speeds (km/h) it neither makes way nor follows.
_MAKE_WAY_ABOVE = 10.0
_FOLLOW_AT_LEAST = 5.0
_TURN_BELOW_LIMIT = 5.0
# Steps until it makes way again.
_MAKE_WAY_PAUSE = 200
# About what the planner's largest brake of 0.3 gives.
_COMFORTABLE_BRAKE_MPS2 = 3.0
_SIDES = {RoadOption.CHANGELANELEFT: -1, RoadOption.CHANGELANERIGHT: 1}


class BehaviorAgent(BasicAgent):
    """Drives a route at the speed limit; keeps a distance in time, stops for people, makes way for faster vehicles.

    Args:
        vehicle: The vehicle driven.
        behavior: `cautious`, `normal` or `aggressive`.
        opt_dict: As for `BasicAgent`.
        map_inst: The map, to save asking for it.
        grp_inst: A route planner, to save making it.

    Raises:
        ValueError: There is no such behavior.
    """

    def __init__(
        self,
        vehicle: carla.Vehicle,
        behavior: str = "normal",
        opt_dict: dict[str, Any] | None = None,
        map_inst: carla.Map | None = None,
        grp_inst: GlobalRoutePlanner | None = None,
    ) -> None:
        if behavior not in _BEHAVIORS:
            raise ValueError(f"behavior is {behavior!r}; choose one of {', '.join(_BEHAVIORS)}.")
        super().__init__(vehicle, opt_dict=opt_dict, map_inst=map_inst, grp_inst=grp_inst)
        self._behavior = _BEHAVIORS[behavior]()
        self._speed = 0.0
        self._speed_limit = 0.0
        self._direction = RoadOption.LANEFOLLOW
        self._incoming_waypoint: carla.Waypoint | None = None
        self._incoming_direction = RoadOption.LANEFOLLOW

    def run_step(self, debug: bool = False) -> carla.VehicleControl:
        """Returns the control of this step."""
        self._update_information()
        if self._behavior.tailgate_counter > 0:
            self._behavior.tailgate_counter -= 1
        here = self._map.get_waypoint(self._vehicle.get_location())
        if self.traffic_light_manager():
            return self.emergency_stop()
        found, walker, distance_m = self.pedestrian_avoid_manager(here)
        if found and self._gap(walker, distance_m) < self._behavior.braking_distance:
            return self.emergency_stop()
        found, vehicle, distance_m = self.collision_and_car_avoid_manager(here)
        if found:
            gap_m = self._gap(vehicle, distance_m)
            if gap_m < self._behavior.braking_distance:
                return self.emergency_stop()
            return self.car_following_manager(vehicle, gap_m, debug=debug)
        turns = self._incoming_direction in (RoadOption.LEFT, RoadOption.RIGHT)
        if turns and self._incoming_waypoint is not None and self._incoming_waypoint.is_junction:
            return self._drive(self._speed_limit - _TURN_BELOW_LIMIT, debug=debug)
        return self._drive(self._speed_limit - self._behavior.speed_lim_dist, debug=debug)

    def emergency_stop(self) -> carla.VehicleControl:
        """Returns a control that stops; the wheels straight."""
        return carla.VehicleControl(brake=self._max_brake)

    def traffic_light_manager(self) -> bool:
        """Tells whether a red light holds the vehicle back."""
        reach_m = self._base_tlight_threshold + self._speed_ratio * self._speed / 3.6
        return self._affected_by_traffic_light(self._lights_list, reach_m).traffic_light_was_found

    def pedestrian_avoid_manager(self, waypoint: carla.Waypoint) -> ObstacleDetectionResult:
        """Looks for people in the way of a vehicle at `waypoint`."""
        near = self._near("*walker.pedestrian*", waypoint, _WALKERS_WITHIN_M)
        side = _SIDES.get(self._direction, 0)
        return self._vehicle_obstacle_detected(near, self._reach(2 if side else 3), 90 if side else 60, 0, side)

    def collision_and_car_avoid_manager(self, waypoint: carla.Waypoint) -> ObstacleDetectionResult:
        """Looks for vehicles in the way of a vehicle at `waypoint`; makes way for faster ones behind it."""
        near = self._near("*vehicle*", waypoint, _VEHICLES_WITHIN_M)
        side = _SIDES.get(self._direction, 0)
        result = self._vehicle_obstacle_detected(near, self._reach(2 if side else 3), 180 if side else 30, 0, side)
        may_make_way = self._speed > _MAKE_WAY_ABOVE and self._behavior.tailgate_counter == 0
        follows = self._direction == RoadOption.LANEFOLLOW and not waypoint.is_junction
        if not result.obstacle_was_found and may_make_way and follows:
            self._tailgating(waypoint, near)
        return result

    def car_following_manager(self, vehicle: carla.Actor, distance: float, debug: bool = False) -> carla.VehicleControl:
        """Returns the control behind a vehicle: slower than it while too close, then as fast, then free.

        Args:
            vehicle: The vehicle ahead.
            distance: The gap (m).
            debug: Draws the waypoint being driven at.
        """
        ahead = get_speed(vehicle)
        closing_mps = max(1.0, (self._speed - ahead) / 3.6)
        contact_s = distance / closing_mps
        free = self._speed_limit - self._behavior.speed_lim_dist
        if contact_s < self._behavior.safety_time:
            return self._drive(min(positive(ahead - self._behavior.speed_decrease), free), debug=debug)
        if contact_s < 2 * self._behavior.safety_time:
            return self._drive(min(max(_FOLLOW_AT_LEAST, ahead), free), debug=debug)
        return self._drive(free, debug=debug)

    def _drive(self, speed: float, *, debug: bool) -> carla.VehicleControl:
        """Returns the control along the plan at a speed (km/h), never above the behaviour's own."""
        self._local_planner.set_speed(min(speed, self._behavior.max_speed))
        return self._local_planner.run_step(debug=debug)

    def _update_information(self) -> None:
        self._speed = get_speed(self._vehicle)
        self._speed_limit = self._vehicle.get_speed_limit()
        self._direction = self._local_planner.target_road_option or RoadOption.LANEFOLLOW
        steps = int(self._speed_limit / 10)
        self._incoming_waypoint, self._incoming_direction = self._local_planner.get_incoming_waypoint_and_direction(
            steps
        )

    def _near(self, pattern: str, waypoint: carla.Waypoint, within_m: float) -> list[carla.Actor]:
        place = waypoint.transform.location
        actors = self._world.get_actors().filter(pattern)
        return [a for a in actors if a.id != self._vehicle.id and a.get_location().distance(place) < within_m]

    def _reach(self, divisor: float) -> float:
        """Returns how far to look (m): the speed limit by a divisor, or farther where that is too near to stop."""
        stopping_m = (self._speed / 3.6) ** 2 / (2 * _COMFORTABLE_BRAKE_MPS2) + self._behavior.braking_distance
        return float(max(self._behavior.min_proximity_threshold, self._speed_limit / divisor, stopping_m))

    def _gap(self, other: carla.Actor | None, distance_m: float) -> float:
        """Returns the room between two boxes, from the distance of their centres along their longer sides."""
        if other is None:
            return distance_m
        extents = (other.bounding_box.extent, self._vehicle.bounding_box.extent)
        return distance_m - sum(float(max(extent.x, extent.y)) for extent in extents)

    def _tailgating(self, waypoint: carla.Waypoint, vehicle_list: Iterable[carla.Actor]) -> None:
        """Moves to a free lane beside if a faster vehicle is close behind: to the right first."""
        vehicles = list(vehicle_list)
        behind = self._vehicle_obstacle_detected(vehicles, self._reach(2), 180, 160)
        if behind.obstacle is None or self._speed >= get_speed(behind.obstacle):
            return
        for side, permission in ((1, carla.LaneChange.Right), (-1, carla.LaneChange.Left)):
            beside = waypoint.get_right_lane() if side > 0 else waypoint.get_left_lane()
            if not int(waypoint.lane_change) & int(permission) or beside is None:
                continue
            if beside.lane_type != carla.LaneType.Driving or beside.lane_id * waypoint.lane_id < 0:
                continue
            if not self._vehicle_obstacle_detected(vehicles, self._reach(2), 180, 0, side).obstacle_was_found:
                plan = self._local_planner.get_plan()
                if plan:
                    self._behavior.tailgate_counter = _MAKE_WAY_PAUSE
                    self.set_destination(plan[-1][0].transform.location, beside.transform.location)
                return
