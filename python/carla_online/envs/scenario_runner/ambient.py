"""Traffic and people on foot beside a scenario's own, by the episode's seed."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from carla_online.envs.carla.client import Connection
from carla_online.envs.scenario_runner.upstream import SynchronousManagers
from carla_online.errors import ConfigError

_CLEAR_M: Final = 25.0
"""Nobody is put nearer to the ego."""
_NEAR_M: Final = 200.0
_WALK_MPS: Final = 1.4


class Ambient:
    """Those who belong to no scenario.

    Args:
        connection: The server.
        managers: The Traffic Manager of this process.

    Attributes:
        vehicles: How many vehicles found a place.
        walkers: How many people did.
    """

    def __init__(self, connection: Connection, managers: SynchronousManagers) -> None:
        self._connection, self._managers = connection, managers
        self._controllers: list[Any] = []
        self.vehicles = 0
        self.walkers = 0

    def enter(self, ego: Any, vehicles: int, walkers: int, generator: np.random.Generator) -> None:
        """Spawns them around the ego and sends them on their way.

        Raises:
            ConfigError: The server has no navigation mesh, so that nobody can walk.
        """
        if vehicles:
            self._spawn_vehicles(ego, vehicles, generator)
        if walkers:
            self._spawn_walkers(walkers, generator)

    def leave(self) -> None:
        """Stops the controllers; the actors are destroyed with all others."""
        for controller in self._controllers:
            if controller.is_alive:
                controller.stop()
        self._controllers.clear()

    def _spawn_vehicles(self, ego: Any, count: int, generator: np.random.Generator) -> None:
        world, carla = self._connection.world, self._connection.carla
        here = ego.get_transform().location
        points = [point for point in world.get_map().get_spawn_points() if here.distance(point.location) > _CLEAR_M]
        near = [point for point in points if here.distance(point.location) < _NEAR_M] or points
        blueprints = [
            blueprint
            for blueprint in sorted(world.get_blueprint_library().filter("vehicle.*"), key=lambda each: str(each.id))
            if int(blueprint.get_attribute("number_of_wheels")) == 4
        ]
        spawned = []
        for place in generator.permutation(len(near))[: 2 * count]:
            blueprint = blueprints[int(generator.integers(len(blueprints)))]
            blueprint.set_attribute("role_name", "ambient")
            point = near[int(place)]
            actor = world.try_spawn_actor(blueprint, carla.Transform(point.location, point.rotation))
            if actor is not None:
                spawned.append(actor)
            if len(spawned) == count:
                break
        self._connection.tick()
        for actor in spawned:
            actor.set_autopilot(True, self._managers.port)
        self.vehicles = len(spawned)

    def _spawn_walkers(self, count: int, generator: np.random.Generator) -> None:
        world, carla = self._connection.world, self._connection.carla
        world.set_pedestrians_seed(int(generator.integers(2**31)))
        library = world.get_blueprint_library()
        looks = sorted(library.filter("walker.pedestrian.*"), key=lambda blueprint: str(blueprint.id))
        control = library.find("controller.ai.walker")
        for _ in range(count):
            place = world.get_random_location_from_navigation()
            if place is None:
                raise ConfigError(
                    f"{self._connection.address} has no navigation mesh for this town, so nobody can walk; set "
                    "`pedestrians` to [0, 0]."
                )
            blueprint = looks[int(generator.integers(len(looks)))]
            yaw_deg = math.degrees(generator.uniform(-math.pi, math.pi))
            walker = world.try_spawn_actor(blueprint, carla.Transform(place, carla.Rotation(0.0, yaw_deg, 0.0)))
            if walker is not None:
                self._controllers.append(world.spawn_actor(control, carla.Transform(), attach_to=walker))
        self._connection.tick()
        for controller in self._controllers:
            controller.start()
            controller.go_to_location(world.get_random_location_from_navigation())
            controller.set_max_speed(_WALK_MPS)
        self.walkers = len(self._controllers)
