"""PID control of a vehicle's speed and steering."""

from __future__ import annotations

import math
from collections import deque

import carla

from ..tools.misc import get_speed

# How much the steering may change in one call: a servo, not a switch.
_STEER_RATE = 0.1
_MEMORY_STEPS = 10


class _PID:
    """A PID rule over the last ten errors, answers clipped to [-1, 1]."""

    # Names of the gains as in the dictionaries that scripts pass.
    def __init__(self, vehicle: carla.Vehicle, *, K_P: float, K_I: float, K_D: float, dt: float) -> None:  # noqa: N803
        self._vehicle = vehicle
        self._errors: deque[float] = deque(maxlen=_MEMORY_STEPS)
        self.change_parameters(K_P=K_P, K_I=K_I, K_D=K_D, dt=dt)

    def change_parameters(self, K_P: float, K_I: float, K_D: float, dt: float) -> None:  # noqa: N803
        """Sets the gains and the time between calls (s)."""
        self._k_p, self._k_i, self._k_d, self._dt = K_P, K_I, K_D, dt

    def _answer(self, error: float) -> float:
        self._errors.append(error)
        answer = self._k_p * error
        # One error alone has no slope, and its integral would count a step that hasn't passed.
        if len(self._errors) > 1:
            answer += self._k_d * (self._errors[-1] - self._errors[-2]) / self._dt
            answer += self._k_i * sum(self._errors) * self._dt
        return min(max(answer, -1.0), 1.0)


class PIDLongitudinalController(_PID):
    """From a target speed to throttle (positive) or brake (negative)."""

    def __init__(
        self,
        vehicle: carla.Vehicle,
        K_P: float = 1.0,  # noqa: N803
        K_I: float = 0.0,  # noqa: N803
        K_D: float = 0.0,  # noqa: N803
        dt: float = 0.03,
    ) -> None:
        super().__init__(vehicle, K_P=K_P, K_I=K_I, K_D=K_D, dt=dt)

    def run_step(self, target_speed: float, debug: bool = False) -> float:
        """Returns the acceleration asked for, in [-1, 1], towards `target_speed` (km/h)."""
        return self._answer(target_speed - get_speed(self._vehicle))


class PIDLateralController(_PID):
    """From a waypoint to steering: the error is the angle (rad) between heading and waypoint."""

    def __init__(
        self,
        vehicle: carla.Vehicle,
        offset: float = 0,
        K_P: float = 1.0,  # noqa: N803
        K_I: float = 0.0,  # noqa: N803
        K_D: float = 0.0,  # noqa: N803
        dt: float = 0.03,
    ) -> None:
        super().__init__(vehicle, K_P=K_P, K_I=K_I, K_D=K_D, dt=dt)
        self._offset = offset

    def set_offset(self, offset: float) -> None:
        """Drives `offset` metres to the right of the waypoints; negative: to the left."""
        self._offset = offset

    def run_step(self, waypoint: carla.Waypoint) -> float:
        """Returns the steering towards a waypoint, in [-1, 1], positive to the right."""
        pose = self._vehicle.get_transform()
        target = waypoint.transform.location + carla.Location(
            waypoint.transform.get_right_vector() * float(self._offset)
        )
        dx, dy = target.x - pose.location.x, target.y - pose.location.y
        if dx == 0.0 and dy == 0.0:
            return self._answer(0.0)
        return self._answer(math.remainder(math.atan2(dy, dx) - math.radians(pose.rotation.yaw), math.tau))


class VehiclePIDController:
    """Throttle, brake and steering from a target speed and a waypoint.

    Args:
        vehicle: The vehicle driven.
        args_lateral: K_P, K_I, K_D and dt (s) of the steering.
        args_longitudinal: The same of the speed.
        offset: Metres to the right of the waypoints.
        max_throttle: Largest throttle.
        max_brake: Largest brake.
        max_steering: Largest steering to either side.
    """

    def __init__(
        self,
        vehicle: carla.Vehicle,
        args_lateral: dict[str, float],
        args_longitudinal: dict[str, float],
        offset: float = 0,
        max_throttle: float = 0.75,
        max_brake: float = 0.3,
        max_steering: float = 0.8,
    ) -> None:
        self.max_throt, self.max_brake, self.max_steer = max_throttle, max_brake, max_steering
        self._vehicle = vehicle
        self.past_steering = vehicle.get_control().steer
        self._lon_controller = PIDLongitudinalController(vehicle, **args_longitudinal)
        self._lat_controller = PIDLateralController(vehicle, offset, **args_lateral)

    def run_step(self, target_speed: float, waypoint: carla.Waypoint) -> carla.VehicleControl:
        """Returns the control towards a waypoint at `target_speed` (km/h)."""
        push = self._lon_controller.run_step(target_speed)
        steer = self._lat_controller.run_step(waypoint)
        steer = min(max(steer, self.past_steering - _STEER_RATE), self.past_steering + _STEER_RATE)
        self.past_steering = min(max(steer, -self.max_steer), self.max_steer)
        return carla.VehicleControl(
            throttle=min(max(push, 0.0), self.max_throt),
            brake=min(max(-push, 0.0), self.max_brake),
            steer=self.past_steering,
        )

    def change_longitudinal_PID(self, args_longitudinal: dict[str, float]) -> None:  # noqa: N802
        """Sets the gains of the speed."""
        self._lon_controller.change_parameters(**args_longitudinal)

    def change_lateral_PID(self, args_lateral: dict[str, float]) -> None:  # noqa: N802
        """Sets the gains of the steering."""
        self._lat_controller.change_parameters(**args_lateral)

    def set_offset(self, offset: float) -> None:
        """Drives `offset` metres to the right of the waypoints."""
        self._lat_controller.set_offset(offset)
