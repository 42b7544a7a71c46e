"""Following a line of waypoints."""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any

import carla

from ..tools.misc import draw_waypoints, get_speed, is_within_distance
from .controller import VehiclePIDController

_LOG = logging.getLogger(__name__)
_QUEUE_LENGTH = 10_000
_LAST_WAYPOINT_REACHED_M = 1.0
# A fork's lanes begin with almost one heading; this far behind it they have parted.
_FORK_LOOK_AHEAD_M = 3.0


class RoadOption(IntEnum):
    """What a stretch of a route asks for."""

    VOID = -1
    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3
    LANEFOLLOW = 4
    CHANGELANELEFT = 5
    CHANGELANERIGHT = 6


Plan = Sequence[tuple[carla.Waypoint, RoadOption]]


class LocalPlanner:
    """Drives along a plan, or without one along random lanes.

    Args:
        vehicle: The vehicle driven.
        opt_dict: Settings, all optional: dt (s between calls), target_speed (km/h), sampling_radius (m between
            waypoints of the own making), lateral_control_dict and longitudinal_control_dict (K_P, K_I, K_D, dt),
            max_throttle, max_brake, max_steering, offset (m to the right), follow_speed_limits, base_min_distance
            (m) and distance_ratio (s): a waypoint is passed when it is nearer than their sum by speed.
        map_inst: The map, to save asking for it.
    """

    def __init__(
        self, vehicle: carla.Vehicle, opt_dict: dict[str, Any] | None = None, map_inst: carla.Map | None = None
    ) -> None:
        options = opt_dict or {}
        self._vehicle = vehicle
        self._world = vehicle.get_world()
        self._map = map_inst if isinstance(map_inst, carla.Map) else self._world.get_map()
        self._dt = options.get("dt", 0.05)
        self._target_speed = options.get("target_speed", 20.0)
        self._sampling_radius = options.get("sampling_radius", 2.0)
        self._base_min_distance = options.get("base_min_distance", 3.0)
        self._distance_ratio = options.get("distance_ratio", 0.5)
        self._follow_speed_limits = options.get("follow_speed_limits", False)
        self._min_waypoint_queue_length = 100
        self._stop_waypoint_creation = False
        self._vehicle_controller = VehiclePIDController(
            vehicle,
            options.get("lateral_control_dict", {"K_P": 1.95, "K_I": 0.05, "K_D": 0.2, "dt": self._dt}),
            options.get("longitudinal_control_dict", {"K_P": 1.0, "K_I": 0.05, "K_D": 0.0, "dt": self._dt}),
            offset=options.get("offset", 0),
            max_throttle=options.get("max_throttle", 0.75),
            max_brake=options.get("max_brake", 0.3),
            max_steering=options.get("max_steering", 0.8),
        )
        self.target_waypoint: carla.Waypoint | None = self._map.get_waypoint(vehicle.get_location())
        self.target_road_option: RoadOption | None = RoadOption.LANEFOLLOW
        self._waypoints_queue: deque[tuple[carla.Waypoint, RoadOption]] = deque(maxlen=_QUEUE_LENGTH)
        self._waypoints_queue.append((self.target_waypoint, RoadOption.LANEFOLLOW))

    def reset_vehicle(self) -> None:
        """Lets go of the vehicle."""
        self._vehicle = None

    def set_speed(self, speed: float) -> None:
        """Sets the target speed (km/h)."""
        if self._follow_speed_limits:
            _LOG.warning("set_speed(%s) has no lasting effect: the planner follows the speed limits.", speed)
        self._target_speed = speed

    def follow_speed_limits(self, value: bool = True) -> None:
        """Takes the speed limit as the target speed from now on, or stops doing so."""
        self._follow_speed_limits = value

    def set_offset(self, offset: float) -> None:
        """Drives `offset` metres to the right of the plan."""
        self._vehicle_controller.set_offset(offset)

    def set_global_plan(
        self, current_plan: Plan, stop_waypoint_creation: bool = True, clean_queue: bool = True
    ) -> None:
        """Takes a plan of (waypoint, option) pairs: in place of the old one, or behind it with `clean_queue=False`.

        With `stop_waypoint_creation=False` random lanes follow behind the plan.
        """
        kept: Iterable[tuple[carla.Waypoint, RoadOption]] = () if clean_queue else self._waypoints_queue
        whole = [*kept, *((waypoint, option) for waypoint, option in current_plan)]
        self._waypoints_queue = deque(whole, maxlen=max(_QUEUE_LENGTH, len(whole)))
        self._stop_waypoint_creation = stop_waypoint_creation

    def get_plan(self) -> deque[tuple[carla.Waypoint, RoadOption]]:
        """Returns what is still to be driven."""
        return self._waypoints_queue

    def get_incoming_waypoint_and_direction(self, steps: int = 3) -> tuple[carla.Waypoint | None, RoadOption]:
        """Returns the pair `steps` ahead in the plan, or the last; (None, VOID) at its end."""
        if not self._waypoints_queue:
            return None, RoadOption.VOID
        return self._waypoints_queue[min(steps, len(self._waypoints_queue) - 1)]

    def done(self) -> bool:
        """Tells whether the plan has been driven."""
        return not self._waypoints_queue

    def run_step(self, debug: bool = False) -> carla.VehicleControl:
        """Returns the control of this step; at the plan's end the full brake."""
        if self._follow_speed_limits:
            self._target_speed = self._vehicle.get_speed_limit()
        if not self._stop_waypoint_creation and len(self._waypoints_queue) < self._min_waypoint_queue_length:
            self._compute_next_waypoints(self._min_waypoint_queue_length)
        self._drop_passed()
        if not self._waypoints_queue:
            return carla.VehicleControl(brake=1.0)
        self.target_waypoint, self.target_road_option = self._waypoints_queue[0]
        if debug:
            draw_waypoints(self._world, [self.target_waypoint], 1.0)
        return self._vehicle_controller.run_step(self._target_speed, self.target_waypoint)

    def _drop_passed(self) -> None:
        """Drops the waypoints at the plan's head that have been reached."""
        pose = self._vehicle.get_transform()
        reach_m = self._base_min_distance + self._distance_ratio * get_speed(self._vehicle) / 3.6
        while len(self._waypoints_queue) > 1:
            if pose.location.distance(self._waypoints_queue[0][0].transform.location) >= reach_m:
                return
            self._waypoints_queue.popleft()
        if self._waypoints_queue:
            last = self._waypoints_queue[0][0].transform
            # Also reached if it lies beside or behind: a car that missed it by more would circle around it.
            near_m = pose.location.distance(last.location)
            behind = near_m < reach_m and is_within_distance(last, pose, reach_m, [90, 181])
            if near_m < _LAST_WAYPOINT_REACHED_M or behind:
                self._waypoints_queue.popleft()

    def _compute_next_waypoints(self, k: int = 1) -> None:
        """Adds up to `k` waypoints behind the plan, at forks along a random one."""
        if not self._waypoints_queue:
            here = self._map.get_waypoint(self._vehicle.get_location())
            self._waypoints_queue.append((here, RoadOption.LANEFOLLOW))
        room = (self._waypoints_queue.maxlen or k) - len(self._waypoints_queue)
        for _ in islice(range(k), room):
            last = self._waypoints_queue[-1][0]
            choices = last.next(self._sampling_radius)
            if not choices:
                return
            if len(choices) == 1:
                self._waypoints_queue.append((choices[0], RoadOption.LANEFOLLOW))
            else:
                pairs = list(zip(choices, _retrieve_options(choices, last), strict=True))
                self._waypoints_queue.append(random.choice(pairs))


def _retrieve_options(list_waypoints: Sequence[carla.Waypoint], current_waypoint: carla.Waypoint) -> list[RoadOption]:
    """Returns for each lane of a fork which way it goes."""
    ahead = (waypoint.next(_FORK_LOOK_AHEAD_M) or [waypoint] for waypoint in list_waypoints)
    return [_compute_connection(current_waypoint, choices[0]) for choices in ahead]


def _compute_connection(
    current_waypoint: carla.Waypoint, next_waypoint: carla.Waypoint, threshold: float = 35
) -> RoadOption:
    """Returns which way it goes between two headings; below `threshold` degrees it is straight on."""
    return turn_option(
        current_waypoint.transform.rotation.yaw, next_waypoint.transform.rotation.yaw, threshold_deg=threshold
    )


def turn_option(before_deg: float, after_deg: float, *, threshold_deg: float = 35) -> RoadOption:
    """Returns which way it goes between two yaws (degrees, positive to the right)."""
    turn_deg = math.remainder(after_deg - before_deg, 360.0)
    if abs(turn_deg) < threshold_deg:
        return RoadOption.STRAIGHT
    return RoadOption.LEFT if turn_deg < 0 else RoadOption.RIGHT
