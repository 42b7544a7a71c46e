"""Actors through the real client: spawning, moving, driving, crashing."""

import math
import queue

import carla
import pytest


def car(world, x=50.0, y=1.75, z=0.3, yaw=0.0, model="vehicle.lincoln.mkz_2017", **attributes):
    blueprint = world.get_blueprint_library().find(model)
    for name, value in attributes.items():
        blueprint.set_attribute(name, value)
    return world.spawn_actor(blueprint, carla.Transform(carla.Location(x, y, z), carla.Rotation(yaw=yaw)))


def ticks(world, count):
    for _ in range(count):
        world.tick()


def speed(actor):
    velocity = actor.get_velocity()
    return math.hypot(velocity.x, velocity.y)


def test_a_place_is_taken_in_three_dimensions(world):
    first = car(world)
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    here = carla.Transform(carla.Location(51.0, 1.75, 0.3))
    assert world.try_spawn_actor(blueprint, here) is None
    with pytest.raises(RuntimeError, match="Spawn failed because of collision at spawn position"):
        world.spawn_actor(blueprint, here)
    assert world.try_spawn_actor(blueprint, carla.Transform(carla.Location(51.0, 1.75, 100.0))) is not None
    # The client knows whom it can destroy from the last state, and a new actor isn't in one before a tick.
    world.tick()
    assert first.destroy()
    assert world.try_spawn_actor(blueprint, here) is not None


def test_a_pose_that_was_set_is_exactly_the_next_states(world):
    props = world.get_blueprint_library().filter("*vendingmachine*")
    prop = world.spawn_actor(props[0], carla.Transform(carla.Location(20.0, 30.0, 1.0)))
    for step in range(50):
        wanted = carla.Location(float(step), float(-3 * step), float(step % 7))
        prop.set_transform(carla.Transform(wanted))
        world.tick()
        assert prop.get_location() == wanted


def test_throttle_steer_and_brake_drive_the_car(world):
    vehicle = car(world)
    ticks(world, 10)
    vehicle.apply_control(carla.VehicleControl(throttle=0.7))
    ticks(world, 60)
    assert speed(vehicle) > 5.0
    assert vehicle.get_control().throttle == pytest.approx(0.7)
    assert vehicle.get_control().gear >= 1
    vehicle.apply_control(carla.VehicleControl(throttle=0.3, steer=0.3))
    ticks(world, 10)
    assert vehicle.get_transform().rotation.yaw > 3.0
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    ticks(world, 60)
    assert speed(vehicle) == 0.0
    assert vehicle.get_location().z == 0.0
    assert vehicle.get_speed_limit() > 0.0


def test_a_physics_control_comes_back_as_it_was_set(world):
    for model in ("vehicle.audi.a2", "vehicle.bh.crossbike", "vehicle.carlamotors.firetruck"):
        vehicle = car(world, x=100.0, model=model)
        control = vehicle.get_physics_control()
        assert len(control.wheels) >= 4
        control.mass, control.drag_coefficient = 1234.5, 0.71
        wheels = control.wheels
        for wheel in wheels:
            wheel.tire_friction, wheel.long_stiff_value = 1.5, 987.0
        control.wheels = wheels
        vehicle.apply_physics_control(control)
        ticks(world, 2)
        seen = vehicle.get_physics_control()
        assert (seen.mass, seen.drag_coefficient) == pytest.approx((1234.5, 0.71), abs=1e-3)
        assert seen.torque_curve == control.torque_curve and seen.steering_curve == control.steering_curve
        assert [gear.ratio for gear in seen.forward_gears] == [gear.ratio for gear in control.forward_gears]
        for wheel, wanted in zip(seen.wheels, wheels, strict=True):
            assert wheel.tire_friction == pytest.approx(1.5) and wheel.long_stiff_value == pytest.approx(987.0)
            assert wheel.radius == pytest.approx(wanted.radius, abs=1e-3)
        vehicle.destroy()


def test_without_friction_or_gravity_a_car_keeps_its_speed(client, world):
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    command = carla.command
    poses = [carla.Transform(carla.Location(x, -200.0, z), carla.Rotation(yaw=90.0)) for x, z in ((33, 0.2), (29, 0.7))]
    answers = client.apply_batch_sync([command.SpawnActor(blueprint, pose) for pose in poses], True)
    slick, floating = world.get_actors([answer.actor_id for answer in answers])
    control = slick.get_physics_control()
    control.drag_coefficient = 0.0
    wheels = control.wheels
    for wheel in wheels:
        wheel.tire_friction = 0.0
    control.wheels = wheels
    slick.apply_physics_control(control)
    floating.set_enable_gravity(False)
    for vehicle in (slick, floating):
        vehicle.set_target_velocity(carla.Vector3D(0.0, 27.778, 0.0))
    world.tick()
    assert [speed(vehicle) for vehicle in (slick, floating)] == pytest.approx([27.778] * 2, abs=1e-3)
    ticks(world, 100)
    assert [speed(vehicle) for vehicle in (slick, floating)] == pytest.approx([27.778] * 2, abs=0.1)


def test_a_control_that_does_not_stick_acts_for_one_tick(world):
    once, held = car(world, sticky_control="false"), car(world, y=30.0, sticky_control="true")
    ticks(world, 20)
    for vehicle in (once, held):
        vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    world.tick()
    held.apply_control(carla.VehicleControl())
    ticks(world, 40)
    moved = [vehicle.get_location().x for vehicle in (once, held)]
    assert moved[0] > 50.0
    assert moved[0] == pytest.approx(moved[1], abs=1e-5)


def test_an_impulse_of_ten_times_the_mass_throws_a_car_five_metres_high(world):
    vehicle = car(world)
    ticks(world, 20)
    vehicle.add_impulse(carla.Vector3D(0.0, 0.0, 10.0 * vehicle.get_physics_control().mass))
    heights = []
    for _ in range(60):
        world.tick()
        heights.append(vehicle.get_location().z)
    assert max(heights) == pytest.approx(5.1, abs=0.3)
    assert heights[-1] == 0.0


def test_a_crash_is_told_to_the_sensors_of_both(world, hear):
    one, two = car(world, x=50.0), car(world, x=62.0, yaw=180.0)
    blueprint = world.get_blueprint_library().find("sensor.other.collision")
    heard = {vehicle.id: queue.Queue() for vehicle in (one, two)}
    for vehicle in (one, two):
        hear(blueprint, heard[vehicle.id].put, attach_to=vehicle)
    ticks(world, 5)
    one.set_target_velocity(carla.Vector3D(15.0, 0.0, 0.0))
    ticks(world, 30)
    first, second = (heard[vehicle.id].get(timeout=20.0) for vehicle in (one, two))
    assert (first.actor.id, first.other_actor.id, first.other_actor.type_id) == (one.id, two.id, two.type_id)
    assert first.normal_impulse.x < -5000.0
    assert (second.actor.id, second.other_actor.id) == (two.id, one.id)
    assert second.frame == first.frame


def test_a_friction_volume_brakes_who_drives_in_it(world):
    blueprint = world.get_blueprint_library().find("static.trigger.friction")
    for name, value in {"friction": 5.0, "extent_x": 2000.0, "extent_y": 300.0, "extent_z": 700.0}.items():
        blueprint.set_attribute(name, str(value))
    world.spawn_actor(blueprint, carla.Transform(carla.Location(100.0, 1.75, 0.0)))
    vehicle = car(world)
    ticks(world, 10)
    assert vehicle.get_physics_control().wheels[0].tire_friction == pytest.approx(3.5)
    vehicle.set_location(carla.Location(100.0, 1.75, 0.0))
    ticks(world, 2)
    assert vehicle.get_physics_control().wheels[0].tire_friction == pytest.approx(5.0)


def test_a_chain_of_commands_acts_on_the_new_actor(client, world):
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    point = world.get_map().get_spawn_points()[0]
    spawn = carla.command.SpawnActor(blueprint, point)
    future = carla.command.FutureActor
    chain = spawn.then(carla.command.SetEnableGravity(future, False)).then(
        carla.command.ApplyTargetVelocity(future, carla.Vector3D(3.0, 4.0, 0.0))
    )
    answer = client.apply_batch_sync([chain], True)[0]
    assert answer.error == ""
    assert speed(world.get_actor(answer.actor_id)) == pytest.approx(5.0)


def test_one_failing_command_does_not_stop_the_rest(client, world):
    vehicle = car(world)
    destroy = carla.command.DestroyActor
    answers = client.apply_batch_sync([destroy(4_000_000), destroy(vehicle.id), destroy(vehicle.id)], True)
    assert [answer.has_error() for answer in answers] == [True, False, True]


def test_a_walker_walks_and_an_attached_sensor_rides_along(world):
    blueprint = world.get_blueprint_library().find("walker.pedestrian.0020")
    walker = world.spawn_actor(blueprint, carla.Transform(carla.Location(50.0, 12.0, 1.5)))
    mount = carla.Transform(carla.Location(z=1.0))
    imu = world.spawn_actor(world.get_blueprint_library().find("sensor.other.imu"), mount, attach_to=walker)
    ticks(world, 20)
    walker.apply_control(carla.WalkerControl(carla.Vector3D(0.0, 1.0, 0.0), 1.4, False))
    ticks(world, 20)
    assert walker.get_location().y == pytest.approx(13.4, abs=0.01)
    assert walker.get_location().z == pytest.approx(0.93, abs=0.01)
    assert imu.get_location().y == pytest.approx(walker.get_location().y, abs=1e-4)
    assert imu.parent.id == walker.id


def test_stepping_repeats_itself_bit_for_bit_after_a_reload(client, world):
    def crash():
        vehicles = [car(world, x=50.0 + 15.0 * i, y=1.75 + 0.3 * i, yaw=180.0 * (i % 2)) for i in range(3)]
        vehicles.append(car(world, x=57.0, y=1.2, model="vehicle.gazelle.omafiets"))
        ticks(world, 10)
        for i, vehicle in enumerate(vehicles):
            vehicle.set_target_velocity(carla.Vector3D(15.0 if i % 2 == 0 else -15.0, 0.0, 0.0))
        rows = []
        for _ in range(100):
            world.tick()
            for vehicle in vehicles:
                pose, turn = vehicle.get_transform(), vehicle.get_angular_velocity()
                rows.append((pose.location.x, pose.location.y, pose.rotation.yaw, turn.z, speed(vehicle)))
        return rows

    first = crash()
    client.reload_world(False)
    world.tick()
    assert crash() == first


def test_rays_name_what_they_meet_nearest_first(world):
    lorry = car(world, x=50.0, model="vehicle.carlamotors.firetruck")
    man = world.get_blueprint_library().filter("walker.pedestrian.*")[0]
    world.spawn_actor(man, carla.Transform(carla.Location(40.0, 1.75, 1.0)))
    ticks(world, 20)
    along = world.cast_ray(carla.Location(30.0, 1.75, 1.0), carla.Location(90.0, 1.75, 1.0))
    assert [hit.label for hit in along] == [carla.CityObjectLabel.Pedestrians, carla.CityObjectLabel.Truck]
    assert along[1].location.x == pytest.approx(50.0 - lorry.bounding_box.extent.x, abs=0.3)
    above = carla.Location(50.0, 1.75, 20.0)
    down = world.cast_ray(above, carla.Location(50.0, 1.75, -1.0))
    assert [hit.label for hit in down] == [carla.CityObjectLabel.Truck, carla.CityObjectLabel.Roads]
    assert down[0].location.z == pytest.approx(2.0 * lorry.bounding_box.extent.z, abs=0.01)
    assert world.ground_projection(above, 30.0).label == carla.CityObjectLabel.Truck
    assert world.ground_projection(carla.Location(70.0, 1.75, 1.0), 2.0).location.z == pytest.approx(0.0)
    assert world.ground_projection(above, 5.0) is None
