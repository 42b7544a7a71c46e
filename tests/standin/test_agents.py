"""CARLA's `agents`, our stand-in, driving on our server through the real client."""

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import carla
import pytest
from carla_map import town_files

import carla_online
from carla_online.server import Server, ServerConfig
from carla_online.standin import agents_folder, provide_agents

STEP_S = 0.05


@pytest.fixture(scope="module", autouse=True)
def agents() -> Iterator[None]:
    """Ours on the path for this module, and nothing of it left behind."""
    assert provide_agents() == Path(carla_online.__file__).parent / "standin"
    yield
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(carla_online.__file__).parent / "standin")]
    for name in [name for name in sys.modules if name.split(".")[0] == "agents"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(ServerConfig()) as running:
        yield running


@pytest.fixture
def load(server: Server) -> Iterator:
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(20.0)

    def load(name: str) -> carla.World:
        world = client.load_world(name)
        world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=STEP_S))
        world.tick()
        return world

    yield load
    client.get_world().apply_settings(carla.WorldSettings(synchronous_mode=False))


def spawn(world: carla.World, pose: carla.Transform, blueprint: str = "vehicle.lincoln.mkz_2017") -> carla.Vehicle:
    pose = carla.Transform(pose.location, pose.rotation)
    pose.location.z += 0.1
    car = world.spawn_actor(world.get_blueprint_library().find(blueprint), pose)
    world.tick()
    return car


def watch_collisions(world: carla.World, car: carla.Vehicle) -> tuple[carla.Sensor, list]:
    hits: list = []
    sensor = world.spawn_actor(
        world.get_blueprint_library().find("sensor.other.collision"), carla.Transform(), attach_to=car
    )
    sensor.listen(hits.append)
    world.tick()
    return sensor, hits


def drive(world: carla.World, car: carla.Vehicle, agent, steps: int, until=lambda: False) -> int:
    """Drives until something holds; returns the steps it took, or `steps`."""
    for step in range(steps):
        if until():
            return step
        car.apply_control(agent.run_step())
        world.tick()
    return steps


def routes_of(carla_map: carla.Map, pairs: int):
    points = carla_map.get_spawn_points()
    for i in range(pairs):
        yield points[(7 * i) % len(points)].location, points[(13 * i + 5) % len(points)].location


def check_route(carla_map: carla.Map, route, step_m: float) -> None:
    """Each waypoint follows from the one before by the map's own word, with the option that the map's headings give."""
    from agents.navigation.local_planner import RoadOption

    changes = {
        RoadOption.CHANGELANELEFT: (carla.LaneChange.Left, carla.Waypoint.get_left_lane),
        RoadOption.CHANGELANERIGHT: (carla.LaneChange.Right, carla.Waypoint.get_right_lane),
    }
    for (here, option), (following, next_option) in pairwise(route):
        gap_m = here.transform.location.distance(following.transform.location)
        if option in changes and next_option == option:
            permission, beside = changes[option]
            assert int(here.lane_change) & int(permission)
            assert beside(here).lane_id == following.lane_id
            assert gap_m < 15.0
            continue
        assert gap_m < 1.5 * step_m
        reached = [w for ahead_m in (gap_m, gap_m + 0.3, gap_m + step_m) for w in here.next(max(ahead_m, 0.01))]
        assert (following.road_id, following.lane_id) in {(w.road_id, w.lane_id) for w in [here, *reached]}
        assert here.is_junction == (option in (RoadOption.LEFT, RoadOption.RIGHT, RoadOption.STRAIGHT))


def test_routes_go_where_the_map_says_and_are_as_short_as_the_roads_planner_finds(load):
    from agents.navigation.global_route_planner import GlobalRoutePlanner

    from carla_online._native import RoadMap

    for name in ("GridTown", "Highway"):
        carla_map = load(name).get_map()
        planner = GlobalRoutePlanner(carla_map, 2.0)
        ours = RoadMap.from_xodr(carla_map.to_opendrive())
        lanes = {(lane.road_id, lane.section, lane.lane_id): i for i, lane in enumerate(ours.lanes())}
        compared = 0
        for origin, destination in routes_of(carla_map, 12):
            places = []
            for location in (origin, destination):
                w = carla_map.get_waypoint(location)
                lane = lanes[w.road_id, w.section_id, w.lane_id]
                places.append((lane, ours.at_station(lane, w.s)))
            other = ours.plan_route(*places)
            if other is None:
                # Places behind a car on a road without a way back.
                with pytest.raises(ValueError, match="no way leads"):
                    planner.trace_route(origin, destination)
                continue
            route = planner.trace_route(origin, destination)
            check_route(carla_map, route, 2.0)
            places_m = [waypoint.transform.location for waypoint, _ in route]
            assert places_m[-1].distance(carla_map.get_waypoint(destination).transform.location) <= 1.1
            length_m = sum(a.distance(b) for a, b in pairwise(places_m))
            assert length_m == pytest.approx(other.length_m, rel=0.02, abs=6.0)
            theirs = [point.option for point in ours.route_points(other, 2.0)]
            assert {option.name for _, option in route} == {str(option).split(".")[-1].upper() for option in theirs}
            compared += 1
        assert compared >= 4


def drive_a_route(world: carla.World, *, least_m: float) -> None:
    """A BasicAgent drives a route with turns, stays near its lane, hits nothing and passes no red light."""
    from agents.navigation.basic_agent import BasicAgent
    from agents.navigation.local_planner import RoadOption

    carla_map = world.get_map()
    points = carla_map.get_spawn_points()
    car = spawn(world, points[0])
    sensor, hits = watch_collisions(world, car)
    agent = BasicAgent(car, 30, {"sampling_resolution": 2.0})
    turned = {RoadOption.LEFT, RoadOption.RIGHT}
    routes = (agent.trace_route(carla_map.get_waypoint(car.get_location()), point.location) for point in points[1:])
    route = next(r for r in routes if 3 * least_m > 2.0 * len(r) > least_m and turned & {option for _, option in r})
    agent.set_global_plan(route)
    worst_m, ran_red = 0.0, 0
    was_red = False

    def arrived() -> bool:
        nonlocal worst_m, ran_red, was_red
        here = carla_map.get_waypoint(car.get_location())
        worst_m = max(worst_m, here.transform.location.distance(car.get_location()))
        ran_red += was_red and here.is_junction
        was_red = (
            not here.is_junction
            and car.is_at_traffic_light()
            and car.get_traffic_light_state() == carla.TrafficLightState.Red
        )
        return agent.done()

    steps = drive(world, car, agent, round(least_m * 2 / 2.5 / STEP_S), until=arrived)
    assert agent.done(), f"not there after {steps} steps"
    assert car.get_location().distance(route[-1][0].transform.location) < 3.0
    assert worst_m < 3.0  # a lane is 3.5 to 4 m wide; bends are cut a little
    assert hits == []
    assert ran_red == 0
    sensor.stop()


def test_a_basic_agent_drives_a_whole_route(load):
    drive_a_route(load("GridTown"), least_m=150.0)


@pytest.mark.skipif(
    not any(file.stem == "Town01" for file in town_files()), reason="CARLA_ONLINE_MAPS names no folder with Town01.xodr"
)
def test_a_basic_agent_drives_a_whole_route_in_town01():
    folder = next(file for file in town_files() if file.stem == "Town01").parent
    with Server(ServerConfig(map="Town01", maps=folder)) as server:
        client = carla.Client("127.0.0.1", server.port)
        client.set_timeout(20.0)
        world = client.get_world()
        world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=STEP_S))
        drive_a_route(world, least_m=250.0)


def test_a_behavior_agent_stops_for_a_standing_car_and_goes_on_when_it_is_gone(load):
    from agents.navigation.behavior_agent import BehaviorAgent

    world = load("Straight")
    start = world.get_map().get_spawn_points()[0]
    ahead = world.get_map().get_waypoint(start.location).next(90.0)[0]
    for behavior in ("cautious", "aggressive"):
        other = spawn(world, ahead.transform, "vehicle.audi.tt")
        car = spawn(world, start)
        sensor, hits = watch_collisions(world, car)
        agent = BehaviorAgent(car, behavior=behavior)
        agent.set_destination(ahead.next(15.0)[0].transform.location)
        drive(world, car, agent, 300)
        assert car.get_velocity().length() < 0.1
        lengths_m = car.bounding_box.extent.x + other.bounding_box.extent.x
        left_m = car.get_location().distance(other.get_location()) - lengths_m
        assert 1.0 < left_m < 8.0
        assert hits == []
        other.destroy()
        assert drive(world, car, agent, 800, until=agent.done) < 800
        sensor.stop()
        sensor.destroy()
        car.destroy()
        world.tick()


def test_agents_stop_at_a_red_light_and_leave_on_green(load):
    from agents.navigation.basic_agent import BasicAgent
    from agents.navigation.behavior_agent import BehaviorAgent

    world = load("FourWay")
    light = world.get_actors().filter("traffic.traffic_light")[0]
    world.freeze_all_traffic_lights(True)
    line = light.get_stop_waypoints()[0]
    start = line.previous(40.0)[0]
    for make in (lambda car: BasicAgent(car, 30), lambda car: BehaviorAgent(car, behavior="normal")):
        light.set_state(carla.TrafficLightState.Red)
        car = spawn(world, start.transform)
        agent = make(car)
        agent.set_destination(line.next(50.0)[0].transform.location)
        drive(world, car, agent, 400)
        front = car.get_transform().transform(carla.Location(x=car.bounding_box.extent.x))
        assert car.get_velocity().length() < 0.1
        assert not world.get_map().get_waypoint(front).is_junction
        assert car.get_location().distance(line.transform.location) < 12.0
        light.set_state(carla.TrafficLightState.Green)
        assert drive(world, car, agent, 400, until=agent.done) < 400
        car.destroy()
        world.tick()


def test_a_lane_change_leads_to_the_lane_beside(load):
    from agents.navigation.basic_agent import BasicAgent

    world = load("Highway")
    carla_map = world.get_map()
    waypoints = (carla_map.get_waypoint(point.location) for point in carla_map.get_spawn_points())
    start = next(w for w in waypoints if int(w.lane_change) & int(carla.LaneChange.Left) and w.next(150.0))
    beside = start.get_left_lane()
    car = spawn(world, start.transform)
    agent = BasicAgent(car, 40)
    drive(world, car, agent, 100)
    agent.lane_change("left", other_lane_time=3, lane_change_time=2)
    assert drive(world, car, agent, 400, until=agent.done) < 400
    assert carla_map.get_waypoint(car.get_location()).lane_id == beside.lane_id


def test_a_constant_velocity_agent_holds_its_speed_until_it_hits_something(load):
    from agents.navigation.constant_velocity_agent import ConstantVelocityAgent

    world = load("Straight")
    start = world.get_map().get_spawn_points()[0]
    ahead = world.get_map().get_waypoint(start.location).next(60.0)[0]
    wall = spawn(world, ahead.transform, "vehicle.audi.tt")
    car = spawn(world, start)
    agent = ConstantVelocityAgent(car, 36, {"ignore_vehicles": True})
    drive(world, car, agent, 40)
    assert car.get_velocity().length() == pytest.approx(10.0, abs=0.05)
    drive(world, car, agent, 200, until=lambda: not agent.is_constant_velocity_active)
    assert not agent.is_constant_velocity_active
    assert wall.is_alive
    agent.destroy_sensor()


def test_the_users_own_agents_come_first(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "agents"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not entry.endswith("standin")])
    ours = Path(carla_online.__file__).parent / "standin"
    assert agents_folder() == ours
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert agents_folder() == ours  # somebody else's package of that name
    (tmp_path / "agents" / "navigation").mkdir()
    (tmp_path / "agents" / "navigation" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "agents", raising=False)
    assert agents_folder() == tmp_path
    assert provide_agents() == tmp_path
    assert str(ours) not in sys.path
