"""What `tests/accept/server.py` runs in a process of its own: vehicles and people under Traffic Manager, watched.

The wheel can hang in its Traffic Manager, or crash while it clears up, so this is a process that can be killed.
"""

from __future__ import annotations

import os
import sys

import carla

VEHICLES, WALKERS = 20, 10
STEP_S = 0.05
# Whoever enters within this of the light's turning red was on the way.
JUST_RED_S = 1.0
MOST_OFF_M, MOST_ACCELERATION_MPS2 = 0.05, 25.0
"""A car's way in a step against its mean velocity; CARLA's tyres grip with more than 1 g."""


class Watch:
    """Notes collisions, leaps, and vehicles whose nose enters a junction past a red light.

    Drivers may collide; the server's physics may not make them. So of every vehicle that collides it is told whether it
    had moved as its velocity says, and changed that no faster than tyres allow, in the second before.
    """

    def __init__(self, world: carla.World, vehicles: list[carla.Actor]) -> None:
        self._world = world
        self._vehicles = vehicles
        self._last: dict[int, tuple[carla.Location, carla.Vector3D]] = {}
        self._leapt: dict[int, list[int]] = {}
        self._collided_at: dict[tuple[int, int], int] = {}
        self._map = world.get_map()
        self._red_since: dict[int, float] = {}
        self._was_inside: dict[int, bool] = {}
        self.collisions: dict[tuple[int, int], str] = {}
        self.red_runs: list[str] = []
        blueprint = world.get_blueprint_library().find("sensor.other.collision")
        self._sensors = [world.spawn_actor(blueprint, carla.Transform(), attach_to=car) for car in vehicles]
        for sensor in self._sensors:
            sensor.listen(self._collide)

    def look(self, tick: int) -> None:
        """Looks at everybody after a tick."""
        self._watch_motion()
        for car in self._vehicles:
            light = car.get_traffic_light() if car.is_alive and car.is_at_traffic_light() else None
            if light is None:
                self._was_inside.pop(car.id, None)
                continue
            is_red, place = self._is_red(light, tick), car.get_transform()
            nose = place.transform(carla.Location(car.bounding_box.extent.x, 0.0, 0.0))
            is_inside = self._map.get_waypoint(nose).is_junction
            # Who stands at a light with the nose in the junction already entered it earlier, and may leave it.
            if is_inside and not self._was_inside.get(car.id, is_inside) and is_red:
                self.red_runs.append(
                    f"tick {tick}: car {car.id} with {car.get_velocity().length():.1f} m/s at ({nose.x:.1f}, "
                    f"{nose.y:.1f}), light {light.id} red for {(tick - self._red_since[light.id]) * STEP_S:.2f} s"
                )
            self._was_inside[car.id] = is_inside

    def _watch_motion(self) -> None:
        frame = self._world.get_snapshot().frame
        for car in self._vehicles:
            place, velocity = car.get_location(), car.get_velocity()
            if car.id in self._last:
                before, speed = self._last[car.id]
                off_m = (place - before - 0.5 * STEP_S * carla.Location(velocity + speed)).length()
                if off_m > MOST_OFF_M or (velocity - speed).length() > MOST_ACCELERATION_MPS2 * STEP_S:
                    self._leapt.setdefault(car.id, []).append(frame)
            self._last[car.id] = (place, velocity)

    def caused(self) -> list[str]:
        """Collisions before which one of the two had moved as no car does."""
        last = round(1.0 / STEP_S)

        def has_leapt(car: int, frame: int) -> bool:
            return any(0 < frame - leapt <= last for leapt in self._leapt.get(car, []))

        pairs = self.collisions.items()
        return [story for pair, story in pairs if any(has_leapt(car, self._collided_at[pair]) for car in pair)]

    def _collide(self, event: carla.CollisionEvent) -> None:
        one, other = event.actor, event.other_actor
        if (one.id, other.id) not in self.collisions:
            self._collided_at[one.id, other.id] = event.frame
            self.collisions[one.id, other.id] = f"frame {event.frame}: " + " into ".join(
                f"{actor.type_id} {actor.id} at ({place.location.x:.1f}, {place.location.y:.1f}) heading "
                f"{place.rotation.yaw:.0f} with {actor.get_velocity().length():.1f} m/s"
                for actor in (one, other)
                for place in [actor.get_transform()]
            )

    def _is_red(self, light: carla.Actor, tick: int) -> bool:
        """Whether a light has been red for some time."""
        if light.state != carla.TrafficLightState.Red:
            self._red_since.pop(light.id, None)
            return False
        return (tick - self._red_since.setdefault(light.id, tick)) * STEP_S > JUST_RED_S


def people(world: carla.World, client: carla.Client) -> int:
    """Puts people on the mesh and sends them away; how many there are."""
    library = world.get_blueprint_library()
    looks = library.filter("walker.pedestrian.*")
    places = [world.get_random_location_from_navigation() for _ in range(3 * WALKERS)]
    spawns = [
        carla.command.SpawnActor(looks[number % len(looks)], carla.Transform(place))
        for number, place in enumerate(places)
        if place is not None
    ]
    answers = client.apply_batch_sync(spawns, True)
    ids = [answer.actor_id for answer in answers if not answer.error]
    client.apply_batch_sync([carla.command.DestroyActor(number) for number in ids[WALKERS:]], True)
    blueprint = library.find("controller.ai.walker")
    controllers = client.apply_batch_sync(
        [carla.command.SpawnActor(blueprint, carla.Transform(), number) for number in ids[:WALKERS]], True
    )
    for answer in controllers:
        controller = world.get_actor(answer.actor_id)
        controller.start()
        controller.go_to_location(world.get_random_location_from_navigation())
        controller.set_max_speed(1.4)
    return len(ids[:WALKERS])


def main(port: int, manager_port: int, seed: int, ticks: int) -> None:
    """Drives and prints one line of figures."""
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(60.0)
    world = client.get_world()
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=STEP_S))
    world.set_pedestrians_seed(seed)
    manager = client.get_trafficmanager(manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(seed)
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    autopilot = carla.command.SetAutopilot(carla.command.FutureActor, True, manager_port)
    every = max(1, len(world.get_map().get_spawn_points()) // VEHICLES)
    points = world.get_map().get_spawn_points()[::every][:VEHICLES]
    chains = [carla.command.SpawnActor(blueprint, point).then(autopilot) for point in points]
    ids = [answer.actor_id for answer in client.apply_batch_sync(chains, True)]
    walkers = people(world, client)
    watch = Watch(world, [world.get_actor(number) for number in ids])
    for tick in range(ticks):
        world.tick()
        watch.look(tick)
    left = len(world.get_actors(ids))
    print(
        f"left {left} of {len(ids)} walkers {walkers} red {len(watch.red_runs)} collisions {len(watch.caused())}",
        flush=True,
    )
    print(*watch.red_runs, *watch.collisions.values(), sep="\n", file=sys.stderr, flush=True)
    os._exit(0)  # the wheel may crash while it clears up


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
