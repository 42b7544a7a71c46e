"""Streams through the real client."""

import queue
import threading

import carla
import pytest


def drain(messages, count, timeout_s=20.0):
    return [messages.get(timeout=timeout_s) for _ in range(count)]


def test_a_sensor_tick_of_twenty_steps_gives_three_messages_in_fifty(world, hear):
    blueprint = world.get_blueprint_library().find("sensor.other.gnss")
    blueprint.set_attribute("sensor_tick", "1.0")
    messages = queue.Queue()
    hear(blueprint, messages.put)
    frames = [world.tick() for _ in range(50)]
    seen = [message.frame for message in drain(messages, 3)]
    assert seen == [frames[0], frames[20], frames[40]]
    assert messages.empty()


def test_every_tick_gives_one_message_with_the_ticks_frame_and_pose(world, hear):
    library = world.get_blueprint_library()
    vehicle = world.spawn_actor(library.find("vehicle.ford.mustang"), world.get_map().get_spawn_points()[0])
    mount = carla.Transform(carla.Location(z=1.6))
    inboxes = []
    for name in ("sensor.other.gnss", "sensor.other.imu"):
        messages = queue.Queue()
        inboxes.append((hear(library.find(name), messages.put, mount, vehicle), messages))
    vehicle.apply_control(carla.VehicleControl(throttle=0.5))
    for _ in range(100):
        frame = world.tick()
        for sensor, messages in inboxes:
            (message,) = drain(messages, 1)
            assert message.frame == frame
            assert messages.empty()
            assert message.transform.location == sensor.get_transform().location


def test_gravity_and_north_are_where_they_belong(world, hear):
    messages = queue.Queue()
    north = carla.Transform(rotation=carla.Rotation(yaw=-90.0))
    hear(world.get_blueprint_library().find("sensor.other.imu"), messages.put, north)
    world.tick()
    (message,) = drain(messages, 1)
    assert message.accelerometer.z == pytest.approx(9.81, abs=0.01)
    assert message.compass == pytest.approx(0.0, abs=1e-3)


def test_gnss_agrees_with_the_maps_own_projection(world, hear):
    road = world.get_map()
    place = carla.Location(120.0, -35.0, 2.0)
    messages = queue.Queue()
    hear(world.get_blueprint_library().find("sensor.other.gnss"), messages.put, carla.Transform(place))
    world.tick()
    (message,), expected = drain(messages, 1), road.transform_to_geolocation(place)
    # A nanodegree is a tenth of a millimetre.
    assert message.latitude == pytest.approx(expected.latitude, abs=1e-9)
    assert message.longitude == pytest.approx(expected.longitude, abs=1e-9)
    assert message.altitude == pytest.approx(2.0, abs=1e-3)


def test_other_clients_hear_a_sensor_too_and_one_stopping_leaves_the_rest(server, client):
    world = client.load_world("Straight")
    owner = world.spawn_actor(world.get_blueprint_library().find("sensor.other.gnss"), carla.Transform())
    world.wait_for_tick(5.0)
    counts, barrier = [0, 0, 0], threading.Barrier(3)
    # A client that goes away joins its threads while it holds Python's lock, for which a callback may be waiting.
    others = [carla.Client("127.0.0.1", server.port) for _ in range(3)]

    def listen(index):
        others[index].set_timeout(20.0)
        sensor = others[index].get_world().get_actor(owner.id)
        messages = queue.Queue()
        sensor.listen(messages.put)
        counts[index] += len(drain(messages, 5))
        barrier.wait(20.0)
        if index == 0:
            sensor.stop()
        else:
            counts[index] += len(drain(messages, 10))
            sensor.stop()

    threads = [threading.Thread(target=listen, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert counts == [5, 15, 15]


def test_an_obstacle_ahead_is_measured(world, hear):
    library = world.get_blueprint_library()
    vehicle = world.spawn_actor(library.find("vehicle.audi.tt"), carla.Transform(carla.Location(50.0, 1.75, 0.0)))
    world.spawn_actor(library.find("static.prop.vendingmachine"), carla.Transform(carla.Location(60.0, 1.75, 0.0)))
    blueprint = library.find("sensor.other.obstacle")
    blueprint.set_attribute("distance", "30")
    mount = carla.Transform(carla.Location(x=2.0, z=0.8))
    messages = queue.Queue()
    hear(blueprint, messages.put, mount, vehicle)
    world.tick()
    (message,) = drain(messages, 1)
    assert message.other_actor.type_id == "static.prop.vendingmachine"
    # 10 m less the mount, half the prop and the width of the look.
    assert message.distance == pytest.approx(8.0 - 0.45 - 0.5, abs=0.05)
