"""Geometry and speed of actors, under the names that scripts import."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import carla

_TINY_M = 1e-3


def get_speed(vehicle: carla.Actor) -> float:
    """Returns an actor's speed in km/h."""
    return 3.6 * float(vehicle.get_velocity().length())


def draw_waypoints(world: carla.World, waypoints: Iterable[carla.Waypoint], z: float = 0.5) -> None:
    """Draws an arrow of a metre along each waypoint's lane, `z` metres above it, for a second."""
    for waypoint in waypoints:
        foot = waypoint.transform.location + carla.Location(z=z)
        tip = foot + carla.Location(waypoint.transform.get_forward_vector())
        world.debug.draw_arrow(foot, tip, arrow_size=0.3, life_time=1.0)


def get_trafficlight_trigger_location(traffic_light: carla.TrafficLight) -> carla.Location:
    """Returns the centre of the volume in which a traffic light is obeyed, in the world's frame."""
    return traffic_light.get_transform().transform(traffic_light.trigger_volume.location)


def is_within_distance(
    target_transform: carla.Transform,
    reference_transform: carla.Transform,
    max_distance: float,
    angle_interval: Sequence[float] | None = None,
) -> bool:
    """Tells whether a target is near, and in the direction asked for.

    Args:
        target_transform: Where the target is.
        reference_transform: From where it is looked at.
        max_distance: Metres, on the ground plane.
        angle_interval: Least angle (degrees, included: exactly ahead is 0) and greatest (excluded) between the
            reference's heading and the target; 180 is behind. Not checked if None. A target in the same place is
            always near.
    """
    distance_m, angle_deg = compute_magnitude_angle(
        target_transform.location, reference_transform.location, reference_transform.rotation.yaw
    )
    if distance_m < _TINY_M:
        return True
    if distance_m > max_distance:
        return False
    return angle_interval is None or angle_interval[0] <= angle_deg < angle_interval[1]


def compute_magnitude_angle(
    target_location: carla.Location, current_location: carla.Location, orientation: float
) -> tuple[float, float]:
    """Returns the distance (m) on the ground plane and the angle (0..180 degrees) to a heading `orientation`."""
    dx, dy = target_location.x - current_location.x, target_location.y - current_location.y
    turn_deg = math.degrees(math.atan2(dy, dx)) - orientation
    return math.hypot(dx, dy), abs(math.remainder(turn_deg, 360.0))


def distance_vehicle(waypoint: carla.Waypoint, vehicle_transform: carla.Transform) -> float:
    """Returns the distance (m) on the ground plane between a waypoint and a pose."""
    place, other = waypoint.transform.location, vehicle_transform.location
    return math.hypot(place.x - other.x, place.y - other.y)


def vector(location_1: carla.Location, location_2: carla.Location) -> list[float]:
    """Returns the unit vector [x, y, z] from one place to another; zeros if they are the same."""
    difference = (location_2.x - location_1.x, location_2.y - location_1.y, location_2.z - location_1.z)
    length_m = math.hypot(*difference)
    return [part / length_m for part in difference] if length_m > 0.0 else [0.0, 0.0, 0.0]


def compute_distance(location_1: carla.Location, location_2: carla.Location) -> float:
    """Returns the distance (m) between two places in space."""
    return math.dist((location_1.x, location_1.y, location_1.z), (location_2.x, location_2.y, location_2.z))


def positive(num: float) -> float:
    """Returns a number, or 0 if it is negative."""
    return max(num, 0.0)
