"""Traffic lights through the real client."""

import carla
import pytest

from carla_online._native import RoadMap


@pytest.fixture
def junction(client):
    world = client.load_world("FourWay")
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    world.tick()
    yield world
    world.apply_settings(carla.WorldSettings(synchronous_mode=False))


def lights_of(world):
    return list(world.get_actors().filter("traffic.traffic_light"))


def test_the_lights_are_the_maps_signals_and_belong_together(junction):
    lights = lights_of(junction)
    signals = {mark.id for mark in junction.get_map().get_all_landmarks_of_type("1000001")}
    assert {light.get_opendrive_id() for light in lights} == signals
    assert len(lights) == 4
    assert {light.id for light in lights[0].get_group_traffic_lights()} == {light.id for light in lights}
    assert (lights[0].get_green_time(), lights[0].get_yellow_time(), lights[0].get_red_time()) == (10.0, 3.0, 2.0)
    for light in lights:
        junctions = {waypoint.is_junction for waypoint in light.get_stop_waypoints()}
        assert junctions == {False}


def test_green_goes_round_and_freezing_holds_it(junction):
    lights = lights_of(junction)
    green = carla.TrafficLightState.Green
    seen = set()
    for _ in range(2 * 15 * 20):
        junction.tick()
        seen |= {light.id for light in lights if light.state == green}
    assert seen == {light.id for light in lights}
    junction.freeze_all_traffic_lights(True)
    junction.tick()
    held = [light.state for light in lights]
    for _ in range(15 * 20):
        junction.tick()
    assert [light.state for light in lights] == held
    lights[0].set_state(carla.TrafficLightState.Off)
    junction.tick()
    assert lights[0].state == carla.TrafficLightState.Off
    assert lights[0].is_frozen()


def test_a_car_before_the_line_is_at_its_light_and_sees_its_colour(junction):
    light = lights_of(junction)[0]
    waypoint = light.get_stop_waypoints()[0]
    blueprint = junction.get_blueprint_library().find("vehicle.audi.tt")
    pose = waypoint.transform
    pose.location.z += 0.3
    car = junction.spawn_actor(blueprint, pose)
    junction.freeze_all_traffic_lights(True)
    for state in (carla.TrafficLightState.Red, carla.TrafficLightState.Green):
        light.set_state(state)
        junction.tick()
        assert car.is_at_traffic_light()
        assert car.get_traffic_light().id == light.id
        assert car.get_traffic_light_state() == state
    back = carla.Transform(pose.location - 20.0 * pose.get_forward_vector(), pose.rotation)
    car.set_transform(back)
    junction.tick()
    assert not car.is_at_traffic_light()


@pytest.fixture
def traffic(server, client):
    """A world with a Traffic Manager. Its threads end the process if they outlive the server."""
    world = client.load_world("GridTown")
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    manager = client.get_trafficmanager(server.port + 2)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(3)
    yield world, manager
    manager.set_synchronous_mode(False)
    manager.shut_down()
    world.apply_settings(carla.WorldSettings(synchronous_mode=False))


def test_twenty_vehicles_under_traffic_manager_keep_driving_and_stop_at_red(client, traffic):
    world, manager = traffic
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    points = world.get_map().get_spawn_points()[::4][:20]
    spawn, autopilot = carla.command.SpawnActor, carla.command.SetAutopilot
    chains = [spawn(blueprint, p).then(autopilot(carla.command.FutureActor, True, manager.get_port())) for p in points]
    ids = [answer.actor_id for answer in client.apply_batch_sync(chains, True)]
    moved, waited = dict.fromkeys(ids, 0.0), 0
    for _ in range(600):
        world.tick()
        for car in world.get_actors(ids):
            moved[car.id] += 0.05 * car.get_velocity().length()
            waited += car.is_at_traffic_light() and car.get_traffic_light_state() == carla.TrafficLightState.Red
    assert len(world.get_actors(ids)) == len(points)
    assert sum(distance > 30.0 for distance in moved.values()) >= 0.8 * len(points)
    assert waited > 0


@pytest.mark.parametrize("rule", ["stop", "yield"])
def test_a_sign_has_its_place_on_the_lane_that_it_governs(client, rule):
    world = client.generate_opendrive_world(RoadMap.from_kind("four_way", control=rule).xodr)
    road_map = world.get_map()
    signs = world.get_actors().filter(f"traffic.{rule}")
    assert len(signs) >= 2
    for sign in signs:
        box = sign.trigger_volume
        assert min(box.extent.x, box.extent.y) > 1.0
        place = sign.get_transform().transform(carla.Location(box.location))
        waypoint = road_map.get_waypoint(place, project_to_road=False)
        assert waypoint is not None and not waypoint.is_junction
        # Within a few metres the lane ends in the junction.
        assert any(ahead.is_junction for ahead in waypoint.next(12.0))
