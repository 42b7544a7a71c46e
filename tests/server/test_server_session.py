"""Connecting, maps, settings and the clock, through the real client."""

import carla
import pytest


def test_the_version_is_the_clients(client):
    assert client.get_server_version() == client.get_client_version() == "0.9.16"


def test_a_version_is_told_at_once_to_an_impatient_client(server):
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(2.0)
    assert client.get_server_version() == "0.9.16"


def test_the_library_has_every_kind_and_ids_of_three_parts(world):
    library = world.get_blueprint_library()
    for pattern in ("sensor.*", "static.*", "vehicle.*", "walker.*"):
        assert len(library.filter(pattern)) > 0
    assert all(len(blueprint.id.split(".")) == 3 for blueprint in library)
    for vehicle in library.filter("vehicle.*"):
        assert int(vehicle.get_attribute("number_of_wheels")) in (2, 4)
        assert vehicle.has_attribute("role_name")


def test_maps_are_listed_loaded_and_named_as_asked_for(client):
    listed = {path.split("/")[-1] for path in client.get_available_maps()}
    assert {"Straight", "Straight_Opt", "Highway", "Town03", "Town03_Opt"} <= listed
    for name in ("Highway", "Town03_Opt", "Straight"):
        world = client.load_world(name)
        assert world.get_map().name.split("/")[-1] == name
    with pytest.raises(RuntimeError, match="not found"):
        client.load_world("Atlantis")
    assert client.get_world().get_map().name.endswith("Straight")


def test_spawn_points_lie_on_lanes(world):
    road = world.get_map()
    points = road.get_spawn_points()
    assert len(points) >= 20
    for point in points:
        waypoint = road.get_waypoint(point.location, project_to_road=False)
        assert waypoint is not None
        assert waypoint.transform.location.distance(point.location) < 0.6


def test_a_sent_map_is_served(client, world):
    text = world.get_map().to_opendrive()
    again = client.generate_opendrive_world(text)
    assert again.get_map().name.endswith("OpenDriveMap")
    assert again.get_map().to_opendrive() == text
    with pytest.raises(RuntimeError):
        client.generate_opendrive_world("<OpenDRIVE><header/></OpenDRIVE>")


def test_a_tick_returns_the_frame_of_the_snapshot_that_is_there_then(world):
    before = world.get_snapshot()
    for step in range(1, 51):
        frame = world.tick()
        snapshot = world.get_snapshot()
        assert frame == snapshot.frame == before.frame + step
        elapsed_s = snapshot.timestamp.elapsed_seconds - before.timestamp.elapsed_seconds
        assert elapsed_s == pytest.approx(0.05 * step, abs=1e-9)


def test_every_actor_is_in_every_snapshot(client, world):
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    points = world.get_map().get_spawn_points()[:10]
    answers = client.apply_batch_sync([carla.command.SpawnActor(blueprint, point) for point in points], True)
    assert [answer.error for answer in answers] == [""] * 10
    snapshot = world.get_snapshot()
    ids = {actor.id for actor in world.get_actors()}
    assert {answer.actor_id for answer in answers} < ids
    assert all(snapshot.has_actor(number) for number in ids)
    for answer, point in zip(answers, points, strict=True):
        pose = snapshot.find(answer.actor_id).get_transform()
        assert pose.location.x == pytest.approx(point.location.x, abs=0.005)
        assert pose.location.y == pytest.approx(point.location.y, abs=0.005)
        assert pose.rotation.yaw == pytest.approx(point.rotation.yaw, abs=0.005)
        assert abs(pose.rotation.pitch) < 0.005 and abs(pose.rotation.roll) < 0.005


@pytest.mark.parametrize("step_s", [0.1, 0.066667, 0.05, 0.033333, 0.016667])
def test_a_fixed_step_is_kept_in_asynchronous_mode(client, step_s):
    world = client.load_world("Straight")
    settings = world.get_settings()
    assert not settings.synchronous_mode
    settings.fixed_delta_seconds = step_s
    world.apply_settings(settings)
    for _ in range(10):
        assert world.wait_for_tick(5.0).timestamp.delta_seconds == pytest.approx(step_s, abs=5e-8)


def test_asynchronous_mode_keeps_the_pace_of_real_time(client):
    world = client.load_world("Straight")
    # A stamp tells simulated and real time of one moment, so nothing depends on when it arrives. A step that comes more
    # than 0.4 s late is cut short, as in CARLA, which a busy machine may cause.
    before = first = world.wait_for_tick(20.0).timestamp
    cut_s = 0.0
    while before.platform_timestamp - first.platform_timestamp < 1.5:
        stamp = world.wait_for_tick(20.0).timestamp
        cut_s += max(stamp.platform_timestamp - before.platform_timestamp - 0.4, 0.0)
        before = stamp
    real_s = before.platform_timestamp - first.platform_timestamp
    simulated_s = before.elapsed_seconds - first.elapsed_seconds
    assert real_s - cut_s - 0.1 < simulated_s < real_s + 0.1


def test_a_batch_moves_the_clock_only_if_it_is_asked_to(client, world):
    frame = world.get_snapshot().frame
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    point = world.get_map().get_spawn_points()[0]
    spawn = carla.command.SpawnActor(blueprint, point)
    first = client.apply_batch_sync([spawn], False)[0]
    assert world.get_snapshot().frame == frame
    # Destroying frees the place at once, without a tick.
    client.apply_batch_sync([carla.command.DestroyActor(first.actor_id)], False)
    assert client.apply_batch_sync([spawn], True)[0].error == ""
    assert world.get_snapshot().frame == frame + 1


def test_a_reload_keeps_synchronous_mode_if_told_so_and_old_handles_work(client, world):
    frame = world.get_snapshot().frame
    client.reload_world(False)
    assert world.get_settings().synchronous_mode
    assert world.tick() > frame
    client.reload_world()
    assert not world.get_settings().synchronous_mode


def test_weather_comes_back_as_it_was_set(world):
    world.set_weather(carla.WeatherParameters.HardRainSunset)
    assert world.get_weather() == carla.WeatherParameters.HardRainSunset
