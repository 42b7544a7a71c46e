"""People on foot: AI walkers on the map's navigation mesh, and residents of the server."""

import math
import socket
from collections.abc import Iterator

import carla
import pytest

from carla_online.server import Server, ServerConfig

WALKERS = 8
# A lane of our town is 3.5 m wide, with one lane each way.
ROAD_HALF_M = 3.5


@pytest.fixture(scope="module")
def town() -> Iterator[Server]:
    with Server(ServerConfig(map="GridTown")) as running:
        yield running


@pytest.fixture
def client(town: Server) -> carla.Client:
    client = carla.Client("127.0.0.1", town.port)
    client.set_timeout(20.0)
    return client


@pytest.fixture
def world(client: carla.Client) -> Iterator[carla.World]:
    world = client.load_world("GridTown")
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    world.tick()
    yield world
    world.apply_settings(carla.WorldSettings(synchronous_mode=False))


def spawn_walkers(world: carla.World, count: int) -> list[tuple[carla.Actor, carla.Actor]]:
    """Puts people on the mesh, each with its controller; a place that is taken is drawn anew."""
    library = world.get_blueprint_library()
    pairs = []
    for _ in range(10 * count):
        if len(pairs) == count:
            break
        pose = carla.Transform(world.get_random_location_from_navigation())
        walker = world.try_spawn_actor(library.find("walker.pedestrian.0015"), pose)
        if walker is not None:
            controller = world.spawn_actor(library.find("controller.ai.walker"), carla.Transform(), walker)
            pairs.append((walker, controller))
    world.tick()
    return pairs


def on_the_road(road_map: carla.Map, location: carla.Location) -> bool:
    """Whether a place lies on a driving lane."""
    return road_map.get_waypoint(location, project_to_road=False, lane_type=carla.LaneType.Driving) is not None


def test_random_places_lie_on_sidewalks(world):
    road_map = world.get_map()
    for _ in range(200):
        location = world.get_random_location_from_navigation()
        waypoint = road_map.get_waypoint(location, lane_type=carla.LaneType.Sidewalk)
        beside_m = waypoint.transform.location.distance(location)
        # A corner between two streets belongs to no lane.
        assert not on_the_road(road_map, location)
        assert beside_m < 16.0


def test_ai_walkers_walk_at_their_speed_and_mostly_beside_the_road(world):
    pairs = spawn_walkers(world, WALKERS)
    assert len(pairs) == WALKERS
    for _, controller in pairs:
        controller.start()
        controller.set_max_speed(1.4)
        controller.go_to_location(world.get_random_location_from_navigation())
    before = [walker.get_location() for walker, _ in pairs]
    for _ in range(200):
        world.tick()
    moved_m = [walker.get_location().distance(start) for (walker, _), start in zip(pairs, before, strict=True)]
    assert sum(way > 3.0 for way in moved_m) >= WALKERS - 2, moved_m
    assert max(moved_m) < 1.4 * 10.0 + 1.0
    for walker, _ in pairs:
        velocity = walker.get_velocity()
        assert math.hypot(velocity.x, velocity.y) < 1.6
        assert abs(walker.get_location().z - 0.93) < 0.3
    for walker, controller in pairs:
        controller.stop()
        controller.destroy()
        walker.destroy()


def test_a_walker_goes_where_it_is_sent_over_a_crosswalk_and_not_elsewhere_over_the_road(world):
    road_map = world.get_map()
    crosswalks = road_map.get_crosswalks()
    (walker, controller), *_ = spawn_walkers(world, 1)
    controller.start()
    controller.set_max_speed(3.0)
    arrived = 0
    for _ in range(3):
        target = world.get_random_location_from_navigation()
        controller.go_to_location(target)
        # The client draws a new target by itself on arrival, so arrival is looked for at every step.
        for _ in range(1500):
            world.tick()
            location = walker.get_location()
            if on_the_road(road_map, location):
                assert min(corner.distance(location) for corner in crosswalks) < 8.0, location
            if math.hypot(location.x - target.x, location.y - target.y) < 2.5:
                arrived += 1
                break
    assert arrived >= 2
    controller.stop()


def test_the_mesh_is_another_file_for_another_map_and_none_without_sidewalks(client):
    files = {}
    for name in ("GridTown", "FourWay", "Highway"):
        client.load_world(name)
        files[name] = client.get_required_files("Nav", False)
    assert len(files["GridTown"]) == len(files["FourWay"]) == 1
    assert files["GridTown"] != files["FourWay"]
    assert files["Highway"] == []
    assert client.load_world("Highway").get_random_location_from_navigation() is None


def test_no_other_file_is_handed_out(client):
    client.load_world("GridTown")
    for path in ("../../etc/passwd", "/etc/passwd", "Nav/GridTown.bin"):
        client.request_file(path)
    assert client.get_server_version() == "0.9.16"


def control(port: int, name: str, value: str) -> bytes:
    """The one call that isn't CARLA's, packed by hand: the wheel has no function for it."""
    texts = b"".join(bytes([0xA0 | len(text)]) + text.encode() for text in (name, value))
    message = b"\x94\x00\x01\xb4carla_online_control\x93\x91\xc2" + texts
    with socket.create_connection(("127.0.0.1", port), timeout=20.0) as connection:
        connection.sendall(message)
        return connection.recv(4096)


def trace(config: ServerConfig, ticks: int) -> list[tuple[float, float]]:
    """Where the residents of a new server are after some ticks."""
    with Server(config) as server:
        client = carla.Client("127.0.0.1", server.port)
        client.set_timeout(20.0)
        world = client.get_world()
        world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
        client.reload_world(False)
        # How many steps there were so far depends on when the client came.
        control(server.port, "seed", str(config.seed))
        for _ in range(ticks):
            world.tick()
        places = [
            actor.get_location() for actor in world.get_actors() if actor.attributes.get("role_name") == "resident"
        ]
        return [(place.x, place.y) for place in places]


def test_residents_drive_and_walk_and_their_seed_decides_where():
    first = trace(ServerConfig(traffic=20, walkers=10, seed=3), 60)
    assert len(first) >= 28
    assert trace(ServerConfig(traffic=20, walkers=10, seed=3), 60) == first
    assert trace(ServerConfig(traffic=20, walkers=10, seed=4), 60) != first


def test_a_seed_that_is_no_number_is_refused_with_words(town):
    assert b"whole number" in control(town.port, "seed", "seven")
    assert b"fault, seed" in control(town.port, "weather", "1")
