"""carla.TrafficLight and carla.TrafficSign."""

from __future__ import annotations

from typing import Any

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import NotServed
from carla_online.server.conformance.site import Site

CHECKS = Group("TrafficLight")


def _light(site: Site) -> Any:
    lights = site.world.get_actors().filter("traffic.traffic_light")
    if len(lights) == 0:
        raise NotServed(f"map {site.map.name} has no lights; load one that has")
    return lights[0]


@CHECKS("set_state, get_state", "set_traffic_light_state")
def _state(site: Site) -> None:
    light, states = _light(site), site.carla.TrafficLightState
    for state in (states.Green, states.Red, states.Yellow):
        light.set_state(state)
        site.steps(1)
        site.holds("the state is the one set", light.state == state, f"{light.state}, wanted {state}")


@CHECKS(
    "set_green_time, set_yellow_time, set_red_time",
    "set_traffic_light_green_time",
    "set_traffic_light_yellow_time",
    "set_traffic_light_red_time",
)
def _times(site: Site) -> None:
    light = _light(site)
    before = (light.get_green_time(), light.get_yellow_time(), light.get_red_time())
    light.set_green_time(7.0)
    light.set_yellow_time(2.5)
    light.set_red_time(1.5)
    site.steps(2)
    site.near("green", light.get_green_time(), 7.0, 1e-4)
    site.near("yellow", light.get_yellow_time(), 2.5, 1e-4)
    site.near("red", light.get_red_time(), 1.5, 1e-4)
    light.set_green_time(before[0])
    light.set_yellow_time(before[1])
    light.set_red_time(before[2])


@CHECKS("freeze, World.freeze_all_traffic_lights", "freeze_all_traffic_lights")
def _freeze(site: Site) -> None:
    light = _light(site)
    site.world.freeze_all_traffic_lights(True)
    site.steps(2)
    site.holds("it is frozen", light.is_frozen())
    elapsed = light.get_elapsed_time()
    site.steps(20)
    site.near("seconds counted while frozen", light.get_elapsed_time() - elapsed, 0.0, 0.01)
    light.freeze(False)
    site.steps(2)
    site.holds("it isn't any more", not light.is_frozen())


@CHECKS("get_group_traffic_lights, reset_group", "get_group_traffic_lights", "reset_traffic_light_group")
def _group(site: Site) -> str:
    light = _light(site)
    group = light.get_group_traffic_lights()
    site.holds("it belongs to its own group", light.id in {other.id for other in group})
    light.reset_group()
    site.steps(1)
    return f"{len(group)} lights"


@CHECKS("World.reset_all_traffic_lights", "reset_all_traffic_lights")
def _reset(site: Site) -> None:
    site.world.reset_all_traffic_lights()
    site.steps(2)
    site.holds("the time counts anew", _light(site).get_elapsed_time() < 1.0, _light(site).get_elapsed_time())


@CHECKS("get_light_boxes", "get_light_boxes")
def _boxes(site: Site) -> str:
    boxes = _light(site).get_light_boxes()
    site.seen("it has no boxes", len(boxes) > 0)
    return f"{len(boxes)} boxes"


@CHECKS("trigger_volume, get_stop_waypoints, get_affected_lane_waypoints, get_opendrive_id, get_pole_index")
def _place(site: Site) -> str:
    light = _light(site)
    signals = {mark.id for mark in site.map.get_all_landmarks_of_type("1000001")}
    site.holds("its id is that of a signal of the map", light.get_opendrive_id() in signals, light.get_opendrive_id())
    lines = light.get_stop_waypoints()
    site.holds("it stops a lane before a junction", bool(lines) and not any(line.is_junction for line in lines))
    return f"signal {light.get_opendrive_id()} of pole {light.get_pole_index()}, {len(lines)} lanes"


@CHECKS("Vehicle.is_at_traffic_light, get_traffic_light, get_traffic_light_state", "set_traffic_light_state")
def _at_light(site: Site) -> None:
    light, red = _light(site), site.carla.TrafficLightState.Red
    light.set_state(red)
    site.world.freeze_all_traffic_lights(True)
    pose = light.get_stop_waypoints()[0].transform
    pose.location.z += 0.5
    car = site.spawn("vehicle.tesla.model3", pose)
    held = site.until(car.is_at_traffic_light, 20)
    state = car.get_traffic_light_state()
    site.world.freeze_all_traffic_lights(False)
    site.holds("a car at the stop line is at its light", held and state == red, state)


@CHECKS("World.get_traffic_light_from_opendrive_id, get_traffic_lights_in_junction, _from_waypoint")
def _lookups(site: Site) -> None:
    light = _light(site)
    found = site.world.get_traffic_light_from_opendrive_id(light.get_opendrive_id())
    site.holds("the id leads to the light", found is not None and found.id == light.id)
    before = light.get_stop_waypoints()[0]
    near = site.world.get_traffic_lights_from_waypoint(before, 50.0)
    site.holds("so does the way ahead", light.id in {other.id for other in near}, len(near))


@CHECKS("TrafficSign.trigger_volume")
def _signs(site: Site) -> str:
    signs = [actor for actor in site.world.get_actors().filter("traffic.*") if "traffic_light" not in actor.type_id]
    site.seen(f"map {site.map.name} has no signs", len(signs) > 0)
    volumes = [sign.trigger_volume.extent for sign in signs]
    site.seen("signs have no trigger volumes", any(extent.x > 0.0 for extent in volumes))
    return f"{len(signs)} signs"
