"""carla.World: the clock, settings, snapshots, spawning, weather."""

from __future__ import annotations

import math
import time

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import Differs
from carla_online.server.conformance.site import STEP_S, Site

CHECKS = Group("World")


@CHECKS("tick, get_snapshot", "tick_cue")
def _tick(site: Site) -> str:
    before = site.world.get_snapshot()
    for step in range(1, 11):
        frame, snapshot = site.world.tick(), site.world.get_snapshot()
        site.holds("tick returns the snapshot's frame", frame == snapshot.frame, f"{frame}, {snapshot.frame}")
        site.near("frames counted", frame - before.frame, step, 0)
    passed_s = site.world.get_snapshot().elapsed_seconds - before.elapsed_seconds
    site.near("seconds of 10 steps", passed_s, 10 * STEP_S, 1e-5)
    return f"10 steps are {passed_s:.6g} s"


@CHECKS("get_settings, apply_settings", "get_episode_settings", "set_episode_settings")
def _settings(site: Site) -> str:
    steps_s = (0.1, 0.02)
    for step_s in steps_s:
        settings = site.world.get_settings()
        settings.fixed_delta_seconds, settings.substepping, settings.max_substeps = step_s, True, 16
        settings.max_substep_delta_time = 0.01
        site.world.apply_settings(settings)
        site.world.tick()
        site.near("step", site.world.get_snapshot().delta_seconds, step_s, 5e-8)
        site.near("substeps kept", site.world.get_settings().max_substeps, 16, 0)
    site.synchronous()
    return f"steps of {steps_s} s"


@CHECKS("wait_for_tick, on_tick, remove_on_tick")
def _asynchronous(site: Site) -> str:
    frames: list[int] = []
    site.asynchronous()
    number = site.world.on_tick(lambda snapshot: frames.append(snapshot.frame))
    began_s = time.monotonic()
    first = site.world.wait_for_tick(10.0)
    last = first
    while last.elapsed_seconds - first.elapsed_seconds < 1.0:
        last = site.world.wait_for_tick(10.0)
    wall_s = time.monotonic() - began_s
    site.world.remove_on_tick(number)
    site.synchronous()
    site.holds("callbacks come in order", frames == sorted(set(frames)) and len(frames) > 1, frames[:5])
    pace = (last.elapsed_seconds - first.elapsed_seconds) / wall_s
    site.holds("asynchronous time keeps the pace of the clock", 0.5 < pace < 1.5, f"{pace:.2f} s a second")
    return f"{pace:.2f} simulated seconds a second"


@CHECKS("get_actors, get_actor", "get_actors_by_id")
def _actors(site: Site) -> str:
    car = site.car()
    other = site.carla.Client(site.host, site.port)
    other.set_timeout(20.0)
    found = other.get_world().get_actor(car.id)
    site.holds("another client finds the car", found is not None and found.type_id == car.type_id)
    present = {actor.id for actor in site.world.get_actors()}
    snapshot = site.world.get_snapshot()
    site.holds("every actor is in the snapshot", all(snapshot.has_actor(number) for number in present))
    return f"{len(present)} actors"


@CHECKS("get_blueprint_library", "get_actor_definitions")
def _library(site: Site) -> str:
    counts = {kind: len(site.blueprints.filter(kind + ".*")) for kind in ("vehicle", "walker", "static", "sensor")}
    site.holds("every kind is there", min(counts.values()) > 0, counts)
    odd = [blueprint.id for blueprint in site.blueprints if blueprint.id.count(".") != 2]
    site.holds("every id has three parts", not odd, odd[:3])
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


@CHECKS("get_map", "get_map_info", "get_map_data")
def _map(site: Site) -> str:
    site.holds("the map has text", len(site.world.get_map().to_opendrive()) > 100)
    return f"{site.map.name}, {len(site.points)} spawn points"


@CHECKS("get_spectator", "get_spectator", "set_actor_transform")
def _spectator(site: Site) -> None:
    spectator = site.world.get_spectator()
    pose = site.carla.Transform(site.carla.Location(12.0, -7.0, 30.0), site.carla.Rotation(-40.0, 30.0, 0.0))
    spectator.set_transform(pose)
    site.steps(2)
    there = spectator.get_transform()
    site.near("distance to where it was put", there.location.distance(pose.location), 0.0, 0.01)
    site.near("its yaw", there.rotation.yaw, 30.0, 0.01)


@CHECKS("spawn_actor, Actor.destroy", "spawn_actor", "destroy_actor")
def _spawn(site: Site) -> str:
    car = site.spawn("vehicle.tesla.model3", site.points[0], role_name="conformance")
    place, wanted = car.get_location(), site.points[0].location
    site.near("distance on the ground to its place", math.hypot(place.x - wanted.x, place.y - wanted.y), 0.0, 0.05)
    site.holds("attributes are kept", car.attributes["role_name"] == "conformance", car.attributes)
    site.holds("destroy tells that it did", car.destroy())
    site.steps(1)
    site.holds("it lives no more", not car.is_alive)
    site.holds("it is out of the snapshot", not site.world.get_snapshot().has_actor(car.id))
    return f"actor {car.id}"


@CHECKS("try_spawn_actor", "spawn_actor")
def _blocked(site: Site) -> None:
    site.car()
    blueprint = site.blueprints.filter("vehicle.tesla.model3")[0]
    site.holds("an occupied place is refused", site.world.try_spawn_actor(blueprint, site.points[0]) is None)
    try:
        site.world.spawn_actor(blueprint, site.points[0])
    except RuntimeError as error:
        site.holds("spawn_actor says collision", "collision" in str(error), error)
        return
    raise Differs("spawn_actor put a vehicle into another")


@CHECKS("spawn_actor(attach_to)", "spawn_actor_with_parent")
def _attached(site: Site) -> None:
    car = site.car()
    pose = site.carla.Transform(site.carla.Location(1.0, 0.5, 2.0), site.carla.Rotation(0.0, 90.0, 0.0))
    imu = site.spawn("sensor.other.imu", pose, parent=car)
    site.holds("the parent is the car", imu.parent is not None and imu.parent.id == car.id)
    wanted = car.get_transform().transform(site.carla.Location(1.0, 0.5, 2.0))
    site.near("distance to its place on the car", imu.get_location().distance(wanted), 0.0, 0.05)


@CHECKS("get_weather, set_weather", "get_weather_parameters", "set_weather_parameters")
def _weather(site: Site) -> None:
    before = site.world.get_weather()
    wanted = site.carla.WeatherParameters(cloudiness=12.0, precipitation=34.0, sun_altitude_angle=-5.0, wetness=67.0)
    site.world.set_weather(wanted)
    site.steps(1)
    now = site.world.get_weather()
    for name in ("cloudiness", "precipitation", "sun_altitude_angle", "wetness"):
        site.near(name, getattr(now, name), getattr(wanted, name), 1e-3)
    site.world.set_weather(before)


@CHECKS("get_vehicles_light_states", "get_vehicle_light_states")
def _light_states(site: Site) -> None:
    car = site.car()
    low = site.carla.VehicleLightState.LowBeam
    car.set_light_state(site.carla.VehicleLightState(low))
    site.steps(2)
    states = site.world.get_vehicles_light_states()
    site.holds("the car's lights are listed", int(states.get(car.id, 0)) == int(low), states)


@CHECKS("set_imui_sensor_gravity, get_imui_sensor_gravity", "set_imui_gravity", "get_imui_gravity")
def _gravity(site: Site) -> None:
    before = site.world.get_imui_sensor_gravity()
    site.near("gravity", before, 9.81, 0.02)
    site.world.set_imui_sensor_gravity(5.0)
    after = site.world.get_imui_sensor_gravity()
    site.world.set_imui_sensor_gravity(before)
    site.seen("accepted; it stays as it was", abs(after - 5.0) < 1e-3)
