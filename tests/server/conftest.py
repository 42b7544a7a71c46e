"""A server in a process of its own, and the unmodified client."""

from collections.abc import Iterator

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
