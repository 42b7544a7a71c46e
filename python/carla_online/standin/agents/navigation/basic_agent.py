"""An agent that follows a route and stops for vehicles and red lights."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from typing import Any

import carla

from ..tools.hints import ObstacleDetectionResult, TrafficLightDetectionResult
from ..tools.misc import compute_distance, get_speed, get_trafficlight_trigger_location, is_within_distance
from .corridor import Quad, corridor, stands_in
from .global_route_planner import GlobalRoutePlanner
from .lane_change import lane_change_plan
from .lane_graph import lane_key
from .local_planner import LocalPlanner, Plan, RoadOption

_LOG = logging.getLogger(__name__)
_NO_OBSTACLE = ObstacleDetectionResult(False, None, -1)
_NO_LIGHT = TrafficLightDetectionResult(False, None)
_STEPS_TO_INCOMING_LANE = 3
# A plan's waypoints that are looked at for a stop line; more don't lie within its distance.
_WAYPOINTS_TO_STOP_LINE = 30


class BasicAgent:
    """Drives a route; respects vehicles ahead and red lights, but not stop signs.

    Args:
        vehicle: The vehicle driven.
        target_speed: km/h.
        opt_dict: Settings, all optional: those of `LocalPlanner`, and ignore_traffic_lights, ignore_stop_signs,
            ignore_vehicles, use_bbs_detection (look at the swept strip instead of at lanes), sampling_resolution (m),
            base_tlight_threshold and base_vehicle_threshold (m), detection_speed_ratio (s: how much farther it looks
            per m/s), max_brake, offset (m to the right).
        map_inst: The map, to save asking for it.
        grp_inst: A route planner, to save making it.
    """

    def __init__(
        self,
        vehicle: carla.Vehicle,
        target_speed: float = 20,
        opt_dict: dict[str, Any] | None = None,
        map_inst: carla.Map | None = None,
        grp_inst: GlobalRoutePlanner | None = None,
    ) -> None:
        options = dict(opt_dict or {})
        self._vehicle = vehicle
        self._world = vehicle.get_world()
        self._map = map_inst if isinstance(map_inst, carla.Map) else self._world.get_map()
        self._ignore_traffic_lights = options.get("ignore_traffic_lights", False)
        self._ignore_stop_signs = options.get("ignore_stop_signs", False)
        self._ignore_vehicles = options.get("ignore_vehicles", False)
        self._use_bbs_detection = options.get("use_bbs_detection", False)
        self._sampling_resolution = options.get("sampling_resolution", 2.0)
        self._base_tlight_threshold = options.get("base_tlight_threshold", 5.0)
        self._base_vehicle_threshold = options.get("base_vehicle_threshold", 5.0)
        self._speed_ratio = options.get("detection_speed_ratio", 1)
        self._max_brake = options.get("max_brake", 0.5)
        self._offset = options.get("offset", 0)
        self._target_speed = target_speed
        self._local_planner = LocalPlanner(vehicle, {**options, "target_speed": target_speed}, self._map)
        self._global_planner = grp_inst or GlobalRoutePlanner(self._map, self._sampling_resolution)
        self._lights_list = self._world.get_actors().filter("*traffic_light*")
        self._stop_lines: dict[int, list[carla.Waypoint]] = {}
        self._last_traffic_light: carla.TrafficLight | None = None

    def run_step(self) -> carla.VehicleControl:
        """Returns the control of this step."""
        speed_mps = get_speed(self._vehicle) / 3.6
        vehicle = self._vehicle_obstacle_detected(
            max_distance=self._base_vehicle_threshold + self._speed_ratio * speed_mps
        )
        light = self._affected_by_traffic_light(
            self._lights_list, self._base_tlight_threshold + self._speed_ratio * speed_mps
        )
        control = self._local_planner.run_step()
        return self.add_emergency_stop(control) if vehicle[0] or light[0] else control

    def add_emergency_stop(self, control: carla.VehicleControl) -> carla.VehicleControl:
        """Turns a control into a stop that keeps its steering, so that a stop in a bend stays on the lane."""
        control.throttle, control.brake, control.hand_brake = 0.0, self._max_brake, False
        return control

    def set_target_speed(self, speed: float) -> None:
        """Sets the target speed (km/h)."""
        self._target_speed = speed
        self._local_planner.set_speed(speed)

    def follow_speed_limits(self, value: bool = True) -> None:
        """Drives at the speed limit from now on, or stops doing so."""
        self._local_planner.follow_speed_limits(value)

    def set_offset(self, offset: float) -> None:
        """Drives `offset` metres to the right of the lane's centre."""
        self._offset = offset
        self._local_planner.set_offset(offset)

    def get_local_planner(self) -> LocalPlanner:
        """Returns what follows the plan."""
        return self._local_planner

    def get_global_planner(self) -> GlobalRoutePlanner:
        """Returns what plans routes."""
        return self._global_planner

    def ignore_traffic_lights(self, active: bool = True) -> None:
        """Drives through red lights from now on, or stops doing so."""
        self._ignore_traffic_lights = active

    def ignore_stop_signs(self, active: bool = True) -> None:
        """Kept for scripts that set it: this agent ignores stop signs anyway."""
        self._ignore_stop_signs = active

    def ignore_vehicles(self, active: bool = True) -> None:
        """Takes no notice of other vehicles from now on, or stops doing so."""
        self._ignore_vehicles = active

    def done(self) -> bool:
        """Tells whether the route has been driven."""
        return self._local_planner.done()

    def set_destination(
        self,
        end_location: carla.Location,
        start_location: carla.Location | None = None,
        clean_queue: bool = True,
    ) -> None:
        """Plans a route to a place and drives it.

        Args:
            end_location: Where to; a waypoint does as well.
            start_location: Where from; None for the waypoint being driven at, or the end of the present plan where
                the new one is appended.
            clean_queue: Whether the new route takes the place of the present plan or is appended to it.
        """
        if start_location is None:
            plan = self._local_planner.get_plan()
            waypoint = plan[-1][0] if plan and not clean_queue else self._local_planner.target_waypoint
            start_location = waypoint.transform.location if waypoint else self._vehicle.get_location()
        end = end_location if isinstance(end_location, carla.Waypoint) else self._map.get_waypoint(end_location)
        route = self.trace_route(self._map.get_waypoint(start_location), end)
        self._local_planner.set_global_plan(route, clean_queue=clean_queue)

    def set_global_plan(self, plan: Plan, stop_waypoint_creation: bool = True, clean_queue: bool = True) -> None:
        """Drives a plan of (waypoint, option) pairs; see `LocalPlanner.set_global_plan`."""
        self._local_planner.set_global_plan(plan, stop_waypoint_creation, clean_queue)

    def trace_route(
        self, start_waypoint: carla.Waypoint, end_waypoint: carla.Waypoint
    ) -> list[tuple[carla.Waypoint, RoadOption]]:
        """Returns the shortest route between two waypoints or places."""
        return self._global_planner.trace_route(start_waypoint, end_waypoint)

    def lane_change(
        self, direction: str, same_lane_time: float = 0, other_lane_time: float = 0, lane_change_time: float = 2
    ) -> None:
        """Changes to the `left` or `right` lane; the times (s) say how long each part takes at the present speed."""
        speed_mps = self._vehicle.get_velocity().length()
        plan = self._generate_lane_change_path(
            self._map.get_waypoint(self._vehicle.get_location()),
            direction,
            same_lane_time * speed_mps,
            other_lane_time * speed_mps,
            lane_change_time * speed_mps,
            check=False,
            step_distance=self._sampling_resolution,
        )
        if not plan:
            _LOG.warning("no lane lies to the %s, or it ends too soon: the lane change is left out", direction)
            return
        self.set_global_plan(plan)

    @staticmethod
    def _generate_lane_change_path(
        waypoint: carla.Waypoint,
        direction: str = "left",
        distance_same_lane: float = 10,
        distance_other_lane: float = 25,
        lane_change_distance: float = 25,
        check: bool = True,
        lane_changes: int = 1,
        step_distance: float = 2,
    ) -> list[tuple[carla.Waypoint, RoadOption]]:
        return lane_change_plan(
            waypoint,
            direction,
            same_lane_m=distance_same_lane,
            other_lane_m=distance_other_lane,
            change_m=lane_change_distance,
            check=check,
            changes=lane_changes,
            step_m=step_distance,
        )

    def _affected_by_traffic_light(
        self, lights_list: Iterable[carla.TrafficLight] | None = None, max_distance: float | None = None
    ) -> TrafficLightDetectionResult:
        """Tells whether a red light's stop line lies ahead on the way within `max_distance` (m)."""
        if self._ignore_traffic_lights:
            return _NO_LIGHT
        if self._last_traffic_light is not None:
            if self._last_traffic_light.state == carla.TrafficLightState.Red:
                return TrafficLightDetectionResult(True, self._last_traffic_light)
            self._last_traffic_light = None
        reach_m = max_distance or self._base_tlight_threshold
        pose = self._vehicle.get_transform()
        ahead = (waypoint for waypoint, _ in islice(self._local_planner.get_plan(), _WAYPOINTS_TO_STOP_LINE))
        lanes = {lane_key(self._map.get_waypoint(pose.location)), *map(lane_key, ahead)}
        for light in lights_list or self._world.get_actors().filter("*traffic_light*"):
            if light.state != carla.TrafficLightState.Red:
                continue
            lines = (line for line in self._stop_lines_of(light) if lane_key(line) in lanes)
            if any(is_within_distance(line.transform, pose, reach_m, [0, 90]) for line in lines):
                self._last_traffic_light = light
                return TrafficLightDetectionResult(True, light)
        return _NO_LIGHT

    def _stop_lines_of(self, light: carla.TrafficLight) -> list[carla.Waypoint]:
        """Returns where a light makes each of its lanes stop; a lane before the junction for each."""
        if light.id not in self._stop_lines:
            lines = light.get_stop_waypoints()
            self._stop_lines[light.id] = lines or [self._map.get_waypoint(get_trafficlight_trigger_location(light))]
        return self._stop_lines[light.id]

    def _vehicle_obstacle_detected(
        self,
        vehicle_list: Iterable[carla.Actor] | None = None,
        max_distance: float | None = None,
        up_angle_th: float = 90,
        low_angle_th: float = 0,
        lane_offset: int = 0,
    ) -> ObstacleDetectionResult:
        """Looks for somebody in the way.

        Args:
            vehicle_list: Whom to look at; None for all vehicles.
            max_distance: How far (m).
            up_angle_th: Greatest angle to the heading (degrees).
            low_angle_th: Least angle; 160 looks behind.
            lane_offset: Looks at the lane so many to the right (negative: left) instead.
        """
        if self._ignore_vehicles:
            return _NO_OBSTACLE
        reach_m = max_distance or self._base_vehicle_threshold
        others = self._world.get_actors().filter("*vehicle*") if vehicle_list is None else vehicle_list
        pose = self._vehicle.get_transform()
        near = [
            other
            for other in others
            if other.id != self._vehicle.id and other.get_location().distance(pose.location) <= reach_m
        ]
        if not near:
            return _NO_OBSTACLE
        here = self._map.get_waypoint(pose.location)
        strip = self._strip(pose, reach_m) if lane_offset == 0 and low_angle_th == 0 else []
        leaves_lane = abs(self._offset) + self._vehicle.bounding_box.extent.y > here.lane_width / 2
        by_strip = self._use_bbs_detection or leaves_lane or here.is_junction
        for other in near:
            there = self._map.get_waypoint(other.get_location(), lane_type=carla.LaneType.Any)
            if strip and (by_strip or there.is_junction):
                is_hit = stands_in(other, strip, pose.location.z)
            else:
                is_hit = self._shares_lane(here, there, lane_offset) and self._is_towards(
                    other, pose, reach_m, [low_angle_th, up_angle_th]
                )
            if is_hit:
                return ObstacleDetectionResult(True, other, compute_distance(other.get_location(), pose.location))
        return _NO_OBSTACLE

    def _strip(self, pose: carla.Transform, reach_m: float) -> list[Quad]:
        poses = (waypoint.transform for waypoint, _ in self._local_planner.get_plan())
        half_width_m = self._vehicle.bounding_box.extent.y
        return corridor(pose, poses, half_width_m=half_width_m, offset_m=self._offset, reach_m=reach_m)

    def _shares_lane(self, here: carla.Waypoint, there: carla.Waypoint, lane_offset: int) -> bool:
        """Tells whether a place is on the lane of the vehicle, or on the one it drives to."""
        incoming, _ = self._local_planner.get_incoming_waypoint_and_direction(_STEPS_TO_INCOMING_LANE)
        for waypoint in (here, incoming):
            if waypoint is None:
                continue
            # Lanes with negative ids count away from the centre line towards the right.
            lane_id = waypoint.lane_id + (lane_offset if waypoint.lane_id > 0 else -lane_offset)
            if (there.road_id, there.lane_id) == (waypoint.road_id, lane_id):
                return True
        return False

    def _is_towards(self, other: carla.Actor, pose: carla.Transform, reach_m: float, angles_deg: list[float]) -> bool:
        """Tells whether somebody's rear is near the front of the vehicle, within an interval of angles."""
        front = pose.transform(carla.Location(x=self._vehicle.bounding_box.extent.x))
        rear = other.get_transform().transform(carla.Location(x=-other.bounding_box.extent.x))
        return is_within_distance(carla.Transform(rear), carla.Transform(front, pose.rotation), reach_m, angles_deg)
