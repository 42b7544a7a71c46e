"""The checks, a module for each class of the API, in the order of its reference."""

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.checks import (
    actor,
    client,
    command,
    debug,
    light_manager,
    recorder,
    road_map,
    scenery,
    sensor,
    traffic_light,
    traffic_manager,
    vehicle,
    walker,
    world,
)

GROUPS: tuple[Group, ...] = (
    client.CHECKS,
    recorder.CHECKS,
    world.CHECKS,
    scenery.CHECKS,
    road_map.CHECKS,
    actor.CHECKS,
    vehicle.CHECKS,
    walker.CHECKS,
    traffic_light.CHECKS,
    sensor.CHECKS,
    command.CHECKS,
    light_manager.CHECKS,
    debug.CHECKS,
    traffic_manager.CHECKS,
)

__all__ = ["GROUPS"]
