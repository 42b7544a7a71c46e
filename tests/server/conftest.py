"""A server in a process of its own, and the unmodified client."""

from collections.abc import Callable, Iterator

import carla
import pytest

from carla_online.server import Server, ServerConfig


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(ServerConfig(map="Straight", aliases={"Town03": "Straight"})) as running:
        yield running


@pytest.fixture
def client(server: Server) -> carla.Client:
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(20.0)
    return client


@pytest.fixture
def world(client: carla.Client) -> Iterator[carla.World]:
    """A new episode in synchronous mode, 50 ms a step."""
    world = client.load_world("Straight")
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    world.tick()
    yield world
    world.apply_settings(carla.WorldSettings(synchronous_mode=False))


@pytest.fixture
def hear(world: carla.World) -> Iterator[Callable[..., carla.Actor]]:
    """Spawns sensors, listens to them, and stops and destroys them when the test is over.

    The client unsubscribes a sensor that nobody holds any more. In 0.9.16 that reads freed memory if it happens while
    the subscription is still being made, so `spawn_actor(...).listen(...)` in one go may end the process.
    """
    sensors: list[carla.Actor] = []

    def start(
        blueprint: carla.ActorBlueprint,
        callback: Callable[[carla.SensorData], object],
        pose: carla.Transform | None = None,
        attach_to: carla.Actor | None = None,
    ) -> carla.Actor:
        sensor = world.spawn_actor(blueprint, pose or carla.Transform(), attach_to=attach_to)
        sensors.append(sensor)
        sensor.listen(callback)
        return sensor

    yield start
    for sensor in sensors:
        if sensor.is_listening():
            sensor.stop()
        if sensor.is_alive:
            sensor.destroy()
