"""An agent that moves at a fixed speed, whatever the engine would do."""

from __future__ import annotations

import math
from typing import Any

import carla

from .basic_agent import BasicAgent
from .global_route_planner import GlobalRoutePlanner

_LIGHT_LOOK_AHEAD_S = 0.3


class ConstantVelocityAgent(BasicAgent):
    """Drives a route at a fixed speed; behind a slower vehicle at that one's, at red lights not at all.

    Bends that the speed doesn't allow are missed. A collision ends the fixed speed, for good or for `restart_time`.
    Call `destroy_sensor` when done with it.

    Args:
        vehicle: The vehicle driven.
        target_speed: km/h.
        opt_dict: As for `BasicAgent`, and restart_time (s until the fixed speed returns after a collision; default:
            never), use_basic_behavior (drive as `BasicAgent` meanwhile instead of rolling).
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
        super().__init__(vehicle, target_speed, opt_dict=opt_dict, map_inst=map_inst, grp_inst=grp_inst)
        options = opt_dict or {}
        self._restart_time = options.get("restart_time", math.inf)
        self._use_basic_behavior = options.get("use_basic_behavior", False)
        self._target_speed = target_speed / 3.6
        self._constant_velocity_stop_time: float | None = None
        self.is_constant_velocity_active = True
        self._collision_sensor: carla.Sensor | None = self._world.spawn_actor(
            self._world.get_blueprint_library().find("sensor.other.collision"), carla.Transform(), attach_to=vehicle
        )
        self._collision_sensor.listen(lambda event: self.stop_constant_velocity())
        self._set_constant_velocity(self._target_speed)

    def set_target_speed(self, speed: float) -> None:
        """Sets the target speed (km/h)."""
        self._target_speed = speed / 3.6
        self._local_planner.set_speed(speed)

    def stop_constant_velocity(self) -> None:
        """Gives the vehicle back to its engine."""
        self.is_constant_velocity_active = False
        self._vehicle.disable_constant_velocity()
        self._constant_velocity_stop_time = self._now_s()

    def restart_constant_velocity(self) -> None:
        """Takes up the fixed speed again."""
        self.is_constant_velocity_active = True
        self._set_constant_velocity(self._target_speed)

    def run_step(self) -> carla.VehicleControl:
        """Returns the control of this step; the speed itself is set past it."""
        if not self.is_constant_velocity_active:
            stopped_s = self._constant_velocity_stop_time
            if stopped_s is None or self._now_s() - stopped_s <= self._restart_time:
                return super().run_step() if self._use_basic_behavior else carla.VehicleControl()
            self.restart_constant_velocity()
        speed_mps = self._vehicle.get_velocity().length()
        wanted_mps = self._target_speed
        obstacle = self._vehicle_obstacle_detected(max_distance=self._base_vehicle_threshold + speed_mps)
        if obstacle.obstacle is not None:
            wanted_mps = min(wanted_mps, self._speed_along(obstacle.obstacle))
        light = self._affected_by_traffic_light(
            self._lights_list, self._base_tlight_threshold + _LIGHT_LOOK_AHEAD_S * speed_mps
        )
        if light.traffic_light_was_found:
            wanted_mps = 0.0
        self._set_constant_velocity(wanted_mps)
        # The throttle doesn't matter for the speed, but wheels that stand still would look wrong.
        return self._local_planner.run_step()

    def destroy_sensor(self) -> None:
        """Destroys the sensor that notices collisions."""
        if self._collision_sensor is not None:
            self._collision_sensor.stop()
            self._collision_sensor.destroy()
            self._collision_sensor = None

    def _now_s(self) -> float:
        return float(self._world.get_snapshot().timestamp.elapsed_seconds)

    def _speed_along(self, other: carla.Actor) -> float:
        """Returns how fast (m/s) somebody moves in the direction of the vehicle, 0 if against it."""
        ahead = self._vehicle.get_transform().get_forward_vector()
        return max(float(ahead.dot(other.get_velocity())), 0.0)

    def _set_constant_velocity(self, speed: float) -> None:
        self._vehicle.enable_constant_velocity(carla.Vector3D(speed, 0, 0))
