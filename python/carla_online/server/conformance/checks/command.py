"""carla.command: batches."""

from __future__ import annotations

import math
from typing import Any

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import Differs
from carla_online.server.conformance.site import STEP_S, Site

CHECKS = Group("command")


def _apply(site: Site, *commands: Any) -> list[Any]:
    """Applies a batch and steps; refusals raise."""
    answers = site.client.apply_batch_sync(list(commands), True)
    for answer in answers:
        if answer.has_error():
            raise Differs(f"refused: {answer.error}")
    # The client doesn't wait for the state of a batch's tick.
    site.steps(1)
    return list(answers)


def _track(site: Site, number: int) -> Any:
    """Returns a spawned actor, destroyed after the check."""
    actor = site.world.get_actor(number)
    site.actors.append(actor)
    return actor


@CHECKS("apply_batch_sync", "apply_batch", "tick_cue")
def _batch(site: Site) -> None:
    command = site.carla.command
    blueprint = site.blueprints.filter("vehicle.tesla.model3")[0]
    before = site.world.get_snapshot().frame
    first = site.client.apply_batch_sync([command.SpawnActor(blueprint, site.points[0])], False)[0]
    site.near("frames that a batch without tick takes", site.world.get_snapshot().frame - before, 0, 0)
    second = site.client.apply_batch_sync([command.SpawnActor(blueprint, site.points[0])], True)[0]
    site.wait(lambda: site.world.get_snapshot().frame > before)
    site.near("frames that a batch with tick takes", site.world.get_snapshot().frame - before, 1, 0)
    _track(site, first.actor_id)
    site.holds("an occupied place is refused, the rest goes on", second.has_error())
    gone = site.client.apply_batch_sync([command.DestroyActor(first.actor_id)], False)[0]
    again = site.client.apply_batch_sync([command.SpawnActor(blueprint, site.points[0])], True)[0]
    site.holds("a destroyed actor's place is free at once", not gone.has_error() and not again.has_error())
    _track(site, again.actor_id)


@CHECKS("apply_batch", "apply_batch")
def _asynchronous(site: Site) -> None:
    car = site.car()
    site.client.apply_batch([site.carla.command.ApplyVehicleControl(car.id, site.carla.VehicleControl(throttle=0.6))])
    site.steps(2)
    site.near("throttle in the state", car.get_control().throttle, 0.6, 1e-5)


@CHECKS("SpawnActor.then, FutureActor", "apply_batch")
def _chain(site: Site) -> None:
    command = site.carla.command
    blueprint = site.blueprints.filter("vehicle.tesla.model3")[0]
    velocity = site.points[0].get_forward_vector() * 8.0
    spawn = command.SpawnActor(blueprint, site.points[0]).then(
        command.ApplyTargetVelocity(command.FutureActor, site.carla.Vector3D(velocity.x, velocity.y, 0.0))
    )
    car = _track(site, _apply(site, spawn)[0].actor_id)
    site.near("speed of the car", math.hypot(car.get_velocity().x, car.get_velocity().y), 8.0, 0.5)


@CHECKS("ApplyVehicleControl, ApplyVehicleAckermannControl, ApplyVehiclePhysicsControl", "apply_batch")
def _vehicle(site: Site) -> None:
    car, command = site.car(), site.carla.command
    physics = car.get_physics_control()
    physics.mass += 50.0
    _apply(
        site,
        command.ApplyVehiclePhysicsControl(car.id, physics),
        command.ApplyVehicleControl(car.id, site.carla.VehicleControl(throttle=0.5)),
    )
    site.near("throttle", car.get_control().throttle, 0.5, 1e-5)
    site.near("mass", car.get_physics_control().mass, physics.mass, 1e-2)
    _apply(site, command.ApplyVehicleAckermannControl(car.id, site.carla.VehicleAckermannControl(speed=4.0)))
    site.steps(100)
    site.near("speed", car.get_velocity().length(), 4.0, 2.0)


@CHECKS("ApplyTransform, ApplyTargetVelocity, ApplyTargetAngularVelocity", "apply_batch")
def _motion(site: Site) -> None:
    car, command = site.car(), site.carla.command
    pose = site.points[2]
    _apply(
        site,
        command.ApplyTargetVelocity(car.id, site.carla.Vector3D()),
        command.ApplyTargetAngularVelocity(car.id, site.carla.Vector3D()),
        command.ApplyTransform(car.id, pose),
    )
    place = car.get_location()
    away_m = math.hypot(place.x - pose.location.x, place.y - pose.location.y)
    site.near("distance to its place", away_m, 0.0, 0.1)


@CHECKS("ApplyImpulse, ApplyForce, ApplyAngularImpulse, ApplyTorque", "apply_batch")
def _pushes(site: Site) -> None:
    car, command = site.car(), site.carla.command
    push = site.carla.Vector3D(0.0, 0.0, 4.0 * car.get_physics_control().mass)
    turn = site.carla.Vector3D(0.0, 0.0, 1.0)
    _apply(site, command.ApplyImpulse(car.id, push))
    site.near("speed upwards", car.get_velocity().z, 4.0 - 9.81 * 2 * STEP_S, 0.5)
    _apply(
        site,
        command.ApplyForce(car.id, turn),
        command.ApplyAngularImpulse(car.id, turn),
        command.ApplyTorque(car.id, turn),
    )


@CHECKS("SetSimulatePhysics, SetEnableGravity", "apply_batch")
def _physics(site: Site) -> None:
    car, command = site.car(), site.carla.command
    _apply(site, command.SetSimulatePhysics(car.id, False), command.SetEnableGravity(car.id, True))
    pose = car.get_transform()
    pose.location.z += 3.0
    _apply(site, command.ApplyTransform(car.id, pose))
    site.steps(5)
    site.near("height without physics", car.get_location().z, pose.location.z, 0.01)


@CHECKS("ApplyWalkerControl, ApplyWalkerState", "apply_batch")
def _walker(site: Site) -> None:
    walker, command = site.walker(), site.carla.command
    before = walker.get_location()
    control = site.carla.WalkerControl(site.carla.Vector3D(0.0, 1.0, 0.0), 1.0, False)
    _apply(site, command.ApplyWalkerControl(walker.id, control))
    site.steps(19)
    site.near("metres in a second at 1 m/s", walker.get_location().y - before.y, 1.0, 0.3)
    pose = walker.get_transform()
    pose.location.x += 2.0
    _apply(site, command.ApplyWalkerState(walker.id, pose, 0.0))
    site.near("x where it was put", walker.get_location().x, pose.location.x, 0.2)


@CHECKS("SetVehicleLightState, SetAutopilot(False), DestroyActor", "apply_batch")
def _rest(site: Site) -> None:
    car, command = site.car(), site.carla.command
    fog = site.carla.VehicleLightState(site.carla.VehicleLightState.Fog)
    _apply(site, command.SetVehicleLightState(car.id, fog))
    site.holds("the lights are on", int(car.get_light_state()) == int(fog))
    _apply(site, command.DestroyActor(car.id))
    # is_alive isn't asked: for an actor that a batch has destroyed, the client reads memory that nobody has written.
    site.holds("it is out of the snapshot", not site.world.get_snapshot().has_actor(car.id))
    missing = site.client.apply_batch_sync([command.DestroyActor(car.id)], True)[0]
    site.holds("destroying it again is an error of that command alone", missing.has_error())
