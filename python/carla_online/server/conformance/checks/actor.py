"""carla.Actor: moving actors, and what they are made of."""

from __future__ import annotations

from typing import Any

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import STEP_S, Site

CHECKS = Group("Actor")


@CHECKS("bounding_box", "get_actor_bounding_box")
def _box(site: Site) -> str:
    extent = site.car().bounding_box.extent
    site.holds("a car's half length is 1..4 m", 1.0 < extent.x < 4.0, extent.x)
    site.holds("its half width is 0.5..1.5 m", 0.5 < extent.y < 1.5, extent.y)
    return f"{extent.x:.2f} x {extent.y:.2f} x {extent.z:.2f} m"


@CHECKS("set_location", "set_actor_location")
def _location(site: Site) -> None:
    prop = site.spawn("static.prop.*", site.points[0])
    place = site.points[1].location
    place.z += 2.0
    prop.set_location(place)
    site.steps(2)
    site.near("distance to where it was put", prop.get_location().distance(place), 0.0, 0.05)


@CHECKS("set_transform", "set_actor_transform")
def _transform(site: Site) -> None:
    car, pose = site.car(), site.points[2]
    car.set_target_velocity(site.carla.Vector3D())
    car.set_transform(pose)
    site.steps(1)
    there = car.get_transform()
    flat = site.carla.Location(there.location.x, there.location.y, pose.location.z)
    site.near("distance on the ground to its place", flat.distance(pose.location), 0.0, 0.1)
    turn = (there.rotation.yaw - pose.rotation.yaw + 180.0) % 360.0 - 180.0
    site.near("difference of its yaw", turn, 0.0, 0.1)


@CHECKS("set_target_velocity", "set_actor_target_velocity")
def _velocity(site: Site) -> None:
    car = site.car()
    ahead = car.get_transform().get_forward_vector()
    car.set_target_velocity(ahead * 10.0)
    site.steps(1)
    site.near("speed a step later", car.get_velocity().length(), 10.0, 0.3)


def _turned_deg(site: Site, car: Any, before: float) -> float:
    return float((car.get_transform().rotation.yaw - before + 180.0) % 360.0 - 180.0)


def _afloat(site: Site) -> Any:
    """A car in the air without gravity: no tyre holds it."""
    car = site.car()
    pose = car.get_transform()
    pose.location.z += 3.0
    car.set_enable_gravity(False)
    car.set_transform(pose)
    car.set_target_velocity(site.carla.Vector3D())
    site.steps(2)
    return car


@CHECKS("set_target_angular_velocity, in the air", "set_actor_target_angular_velocity")
def _angular_velocity(site: Site) -> None:
    car = _afloat(site)
    before = car.get_transform().rotation.yaw
    car.set_target_angular_velocity(site.carla.Vector3D(0.0, 0.0, 60.0))
    site.steps(2)
    site.near("degrees turned in two steps of 3", _turned_deg(site, car, before), 6.0, 1.5)


@CHECKS("set_target_angular_velocity, on the road", "set_actor_target_angular_velocity")
def _turned_on_the_road(site: Site) -> str:
    car = site.car()
    before = car.get_transform().rotation.yaw
    car.set_target_angular_velocity(site.carla.Vector3D(0.0, 0.0, 60.0))
    site.steps(5)
    turned = _turned_deg(site, car, before)
    site.seen("the tyres hold it", abs(turned) > 0.05)
    return f"{turned:.2f} degrees before the tyres stopped it"


@CHECKS("add_impulse", "add_actor_impulse")
def _impulse(site: Site) -> None:
    car = site.car()
    mass_kg = car.get_physics_control().mass
    car.add_impulse(site.carla.Vector3D(0.0, 0.0, 5.0 * mass_kg))
    site.steps(1)
    # CARLA's own example pushes upwards with ten times the mass and expects ten metres per second.
    site.near("speed upwards", car.get_velocity().z, 5.0 - 9.81 * STEP_S, 0.5)


@CHECKS("add_force", "add_actor_force")
def _force(site: Site) -> None:
    car = site.car()
    mass_kg = car.get_physics_control().mass
    car.add_force(site.carla.Vector3D(0.0, 0.0, 5.0 * mass_kg / STEP_S))
    site.steps(1)
    site.near("speed upwards after one step", car.get_velocity().z, 5.0 - 9.81 * STEP_S, 0.5)


@CHECKS("add_angular_impulse, add_torque", "add_actor_angular_impulse")
def _torque(site: Site) -> None:
    for name in ("add_angular_impulse", "add_torque"):
        car = _afloat(site)
        before = car.get_transform().rotation.yaw
        getattr(car, name)(site.carla.Vector3D(0.0, 0.0, 1e5))
        site.steps(3)
        site.seen(f"{name} turns nothing", abs(_turned_deg(site, car, before)) > 1e-3)
        site.clean(starts_over=False)


@CHECKS(
    "enable_constant_velocity, disable_constant_velocity",
    "enable_actor_constant_velocity",
    "disable_actor_constant_velocity",
)
def _constant_velocity(site: Site) -> None:
    car = site.car()
    car.enable_constant_velocity(site.carla.Vector3D(6.0, 0.0, 0.0))
    site.steps(10)
    site.near("speed while enabled", car.get_velocity().length(), 6.0, 0.2)
    car.disable_constant_velocity()
    car.apply_control(site.carla.VehicleControl(brake=1.0))
    site.steps(40)
    site.near("speed after braking", car.get_velocity().length(), 0.0, 0.5)


@CHECKS("set_simulate_physics", "set_actor_simulate_physics")
def _physics(site: Site) -> None:
    car = site.car()
    car.set_simulate_physics(False)
    before = car.get_location()
    car.apply_control(site.carla.VehicleControl(throttle=1.0))
    site.steps(20)
    site.near("way without physics", car.get_location().distance(before), 0.0, 0.01)
    car.set_simulate_physics(True)
    site.steps(40)
    site.holds("it drives with physics", car.get_location().distance(before) > 1.0)


@CHECKS("set_enable_gravity", "set_actor_enable_gravity")
def _gravity(site: Site) -> None:
    car = site.car()
    pose = car.get_transform()
    pose.location.z += 5.0
    car.set_enable_gravity(False)
    car.set_transform(pose)
    car.set_target_velocity(site.carla.Vector3D())
    site.steps(10)
    site.near("height without gravity", car.get_location().z, pose.location.z, 0.1)
    car.set_enable_gravity(True)
    site.steps(10)
    site.holds("it falls with gravity", car.get_location().z < pose.location.z - 0.5, car.get_location().z)


@CHECKS("set_collisions", "set_actor_collisions")
def _collisions(site: Site) -> None:
    first = site.car()
    second = site.spawn("vehicle.audi.tt", site.points[3])
    _, hits = site.listen("sensor.other.collision", parent=second)
    for actor in (first, second):
        actor.set_simulate_physics(False)
    second.set_collisions(False)
    second.set_transform(first.get_transform())
    site.steps(5)
    site.near("collisions while disabled", len(hits), 0, 0)


@CHECKS(
    "get_component_names, get_component_world_transform, get_component_relative_transform",
    "get_actor_component_names",
    "get_actor_component_world_transform",
    "get_actor_component_relative_transform",
)
def _components(site: Site) -> str:
    car = site.car()
    names = list(car.get_component_names())
    name = names[0] if names else "VehicleMesh"
    poses = [car.get_component_world_transform(name), car.get_component_relative_transform(name)]
    site.seen("it has no components", bool(names) and len(poses) == 2)
    return f"{len(names)} components"


@CHECKS(
    "get_bone_names, get_bone_world_transforms, get_bone_relative_transforms",
    "get_actor_bone_names",
    "get_actor_bone_world_transforms",
    "get_actor_bone_relative_transforms",
)
def _bones(site: Site) -> str:
    car = site.car()
    counts = [len(car.get_bone_names()), len(car.get_bone_world_transforms()), len(car.get_bone_relative_transforms())]
    site.holds("as many names as poses", len(set(counts)) == 1, counts)
    site.seen("it has no bones", counts[0] > 0)
    return f"{counts[0]} bones"


@CHECKS(
    "get_socket_names, get_socket_world_transforms, get_socket_relative_transforms",
    "get_actor_socket_names",
    "get_actor_socket_world_transforms",
    "get_actor_socket_relative_transforms",
)
def _sockets(site: Site) -> str:
    car = site.car()
    counts = [len(car.get_socket_names()), len(car.get_socket_world_transforms())]
    counts.append(len(car.get_socket_relative_transforms()))
    site.holds("as many names as poses", len(set(counts)) == 1, counts)
    site.seen("it has no sockets", counts[0] > 0)
    return f"{counts[0]} sockets"
