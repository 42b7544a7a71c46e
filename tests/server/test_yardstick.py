"""The numbers that CARLA's own smoke tests ask of a server, asked anew."""

import math
import subprocess
import sys
from pathlib import Path

import carla
import pytest

from carla_online._native import RoadMap
from carla_online.server import Server, ServerConfig

# CARLA's own tests leave them out where spawn points lie close together.
LONG = {"vehicle.mitsubishi.fusorosa", "vehicle.carlamotors.european_hgv", "vehicle.carlamotors.firetruck"}
# Somewhere on the plane beside every road.
OPEN = (400.0, 400.0)


def pose_at(x: float, y: float, yaw_deg: float, z: float = 0.3) -> carla.Transform:
    return carla.Transform(carla.Location(x, y, z), carla.Rotation(yaw=yaw_deg))


def spawn(world: carla.World, name: str, pose: carla.Transform, **attributes: str) -> carla.Actor:
    blueprint = world.get_blueprint_library().find(name)
    for key, value in attributes.items():
        blueprint.set_attribute(key, value)
    return world.spawn_actor(blueprint, pose)


def destroy(client: carla.Client, actors) -> None:
    client.apply_batch_sync([carla.command.DestroyActor(actor) for actor in actors], False)


def steps(world: carla.World, count: int) -> None:
    for _ in range(count):
        world.tick()


def way_of(world: carla.World, car: carla.Vehicle, count: int) -> float:
    before = car.get_location()
    steps(world, count)
    return car.get_location().distance(before)


def push(car: carla.Vehicle, speed_mps: float) -> None:
    car.set_target_velocity(car.get_transform().get_forward_vector() * speed_mps)


def change_wheels(car: carla.Vehicle, **values: float) -> None:
    control = car.get_physics_control()
    wheels = control.wheels
    for wheel in wheels:
        for name, value in values.items():
            setattr(wheel, name, value)
    control.wheels, control.drag_coefficient = wheels, 0.0
    car.apply_physics_control(control)


def test_every_vehicle_stands_as_asked_at_every_spawn_point(client, world):
    world = client.load_world("FourWay")
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    points = world.get_map().get_spawn_points()
    vehicles = [kind for kind in world.get_blueprint_library().filter("vehicle.*") if kind.id not in LONG]
    assert len(vehicles) >= 10
    for blueprint in vehicles:
        answers = client.apply_batch_sync([carla.command.SpawnActor(blueprint, point) for point in points], False)
        assert [answer.error for answer in answers if answer.has_error()] == [], blueprint.id
        frame, snapshot = world.tick(), world.get_snapshot()
        assert frame == snapshot.frame
        for answer, point in zip(answers, points, strict=True):
            pose = snapshot.find(answer.actor_id).get_transform()
            assert abs(pose.location.x - point.location.x) < 0.005
            assert abs(pose.location.y - point.location.y) < 0.005
            for angle in ("pitch", "yaw", "roll"):
                assert abs(getattr(pose.rotation, angle) - getattr(point.rotation, angle)) < 0.005
        destroy(client, [answer.actor_id for answer in answers])


def test_props_stand_above_one_another(client, world):
    props = world.get_blueprint_library().filter("static.prop.*")
    pose = world.get_map().get_spawn_points()[0]
    commands = []
    for blueprint in props:
        pose.location.z += 100.0
        commands.append(carla.command.SpawnActor(blueprint, carla.Transform(pose.location, pose.rotation)))
    answers = client.apply_batch_sync(commands, True)
    assert [answer.error for answer in answers if answer.has_error()] == []


def test_every_vehicles_physics_come_back_as_they_were_set(client, world):
    names = [blueprint.id for blueprint in world.get_blueprint_library().filter("vehicle.*")]
    x, y = OPEN
    cars = [spawn(world, name, pose_at(x + 6.0 * i, y, 90.0)) for i, name in enumerate(names)]
    world.tick()
    wanted = []
    for car in cars:
        control = car.get_physics_control()
        assert len(control.wheels) >= 4
        wheels = control.wheels
        for wheel in wheels:
            wheel.tire_friction, wheel.long_stiff_value = 1.5, 987.0
        control.wheels, control.drag_coefficient = wheels, 0.5
        car.apply_physics_control(control)
        wanted.append(control)
    steps(world, 2)
    for car, control in zip(cars, wanted, strict=True):
        after = car.get_physics_control()
        for name in ("mass", "drag_coefficient", "max_rpm", "moi", "final_ratio", "gear_switch_time"):
            assert getattr(after, name) == pytest.approx(getattr(control, name), abs=1e-3)
        for name in ("torque_curve", "steering_curve"):
            assert [(p.x, p.y) for p in getattr(after, name)] == [(p.x, p.y) for p in getattr(control, name)]
        assert [gear.ratio for gear in after.forward_gears] == [gear.ratio for gear in control.forward_gears]
        assert len(after.wheels) == len(control.wheels)
        assert all(wheel.tire_friction == pytest.approx(1.5, abs=1e-3) for wheel in after.wheels)
        assert all(wheel.long_stiff_value == pytest.approx(987.0, abs=1e-3) for wheel in after.wheels)


def test_grip_shortens_braking(client, world):
    names = [blueprint.id for blueprint in world.get_blueprint_library().filter("vehicle.*")][::3]
    x, y = OPEN
    ways = {}
    for friction in (0.0, 3.0):
        cars = [spawn(world, name, pose_at(x + 6.0 * i, y, 90.0)) for i, name in enumerate(names)]
        world.tick()
        for car in cars:
            change_wheels(car, tire_friction=friction)
            push(car, 27.8)
        steps(world, 20)
        before = [car.get_location() for car in cars]
        for car in cars:
            car.apply_control(carla.VehicleControl(brake=1.0))
        steps(world, 50)
        ways[friction] = [car.get_location().distance(place) for car, place in zip(cars, before, strict=True)]
        destroy(client, cars)
    assert all(rough < smooth for rough, smooth in zip(ways[3.0], ways[0.0], strict=True))
    assert max(ways[3.0]) < 60.0


def test_wheel_sweeps_and_tyre_stiffness_keep_their_order(client, world):
    x, y = OPEN
    ends = []
    for sweeps in (False, True):
        car = spawn(world, "vehicle.audi.a2", pose_at(x, y, 91.0))
        world.tick()
        control = car.get_physics_control()
        control.use_sweep_wheel_collision = sweeps
        car.apply_physics_control(control)
        car.set_target_velocity(carla.Vector3D(0.0, 20.0, 0.0))
        steps(world, 100)
        ends.append((car.get_velocity().length(), car.get_location().y))
        destroy(client, [car])
    assert abs(ends[0][0] - ends[1][0]) < 0.5
    assert abs(ends[0][1] - ends[1][1]) < 0.5
    ways = []
    for stiffness in (100.0, 2000.0):
        car = spawn(world, "vehicle.audi.a2", pose_at(x, y, 90.0))
        world.tick()
        change_wheels(car, long_stiff_value=stiffness)
        car.apply_control(carla.VehicleControl(throttle=1.0))
        ways.append(way_of(world, car, 100))
        destroy(client, [car])
    assert ways[1] >= ways[0] > 10.0


def test_a_sticky_control_once_is_a_control_in_every_tick(client, world):
    x, y = OPEN
    ends = []
    for sticky, repeats in (("True", False), ("True", True), ("False", True)):
        car = spawn(world, "vehicle.lincoln.mkz_2017", pose_at(x, y, 90.0), sticky_control=sticky)
        world.tick()
        for step in range(101):
            if repeats or step == 0:
                # A client doesn't send what it has just sent.
                car.apply_control(carla.VehicleControl(throttle=1.0, steer=1e-9 * (step % 2)))
            world.tick()
        ends.append((car.get_location().y, car.get_velocity().length()))
        destroy(client, [car])
    assert ends[1] == pytest.approx(ends[0], abs=1e-3)
    assert ends[2] == pytest.approx(ends[0], abs=1e-3)


COLLISIONS = {
    "head-on": [("vehicle.lincoln.mkz_2017", 0.0, 0.0, 50.0), ("vehicle.audi.tt", 60.0, 180.0, 50.0)],
    "three": [
        ("vehicle.lincoln.mkz_2017", 0.0, 0.0, 15.0),
        ("vehicle.tesla.model3", 25.0, 180.0, 15.0),
        ("vehicle.audi.tt", -15.0, 0.0, 15.0),
    ],
    "bicycle": [("vehicle.lincoln.mkz_2017", 0.0, 0.0, 30.0), ("vehicle.gazelle.omafiets", 40.0, 180.0, 12.0)],
    "walker": [("vehicle.lincoln.mkz_2017", 0.0, 0.0, 20.0), ("walker.pedestrian.0007", 30.0, 180.0, 0.0)],
}


@pytest.mark.parametrize("kind", COLLISIONS)
def test_a_collision_repeats_itself_after_a_reload(client, world, kind):
    world.apply_settings(
        carla.WorldSettings(
            synchronous_mode=True,
            fixed_delta_seconds=0.05,
            substepping=True,
            max_substep_delta_time=0.01,
            max_substeps=16,
        )
    )
    x, y = OPEN
    runs = []
    for _ in range(2):
        world = client.reload_world(False)
        actors = [spawn(world, name, pose_at(x + away, y, yaw)) for name, away, yaw, _ in COLLISIONS[kind]]
        steps(world, 10)
        for actor, (*_, speed_mps) in zip(actors, COLLISIONS[kind], strict=True):
            push(actor, speed_mps)
        rows = []
        for _ in range(100):
            world.tick()
            for actor in actors:
                place, turn, speed = actor.get_location(), actor.get_angular_velocity(), actor.get_velocity()
                rows.append((place.x, place.y, place.z, turn.z, speed.x, speed.y))
        runs.append(rows)
    assert runs[0] == runs[1]
    speeds = [math.hypot(row[4], row[5]) for row in runs[0]]
    assert all(math.isfinite(value) for row in runs[0] for value in row)
    assert min(speeds[len(speeds) // 2 :]) < max(speeds[: len(speeds) // 2]) - 3.0, "nobody lost speed in a collision"


def test_a_solid_of_the_map_is_hit(tmp_path: Path):
    (tmp_path / "Walled.xodr").write_text(RoadMap.from_kind("straight").xodr)
    (tmp_path / "Walled.solids.txt").write_text(f"building {OPEN[0]} {OPEN[1] - 34} 3 10 1 3 0\n")
    with Server(ServerConfig(map="Walled", maps=tmp_path)) as server:
        client = carla.Client("127.0.0.1", server.port)
        client.set_timeout(20.0)
        world = client.get_world()
        world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
        car = spawn(world, "vehicle.lincoln.mkz_2017", pose_at(*OPEN, -90.0, z=1.0))
        hits = []
        sensor = spawn_sensor(world, "sensor.other.collision", car)
        sensor.listen(hits.append)
        steps(world, 100)
        assert hits == []
        push(car, 10.0)
        for _ in range(100):
            world.tick()
            if hits:
                break
        assert hits
        assert car.get_location().y > OPEN[1] - 34.0
        sensor.stop()
        sensor.destroy()


def spawn_sensor(world: carla.World, name: str, parent: carla.Actor) -> carla.Sensor:
    return world.spawn_actor(world.get_blueprint_library().find(name), carla.Transform(), attach_to=parent)


LONE_LIGHT = """<?xml version="1.0"?>
<OpenDRIVE><header revMajor="1" revMinor="4" name="lone" north="0" south="0" east="0" west="0"/>
<road name="" length="200" id="1" junction="-1">
<planView><geometry s="0" x="0" y="0" hdg="0" length="200"><line/></geometry></planView>
<lanes><laneSection s="0"><center><lane id="0" type="none" level="false"/></center>
<right><lane id="-1" type="driving" level="false"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>
</laneSection></lanes>
<signals><signal s="120" t="-4" id="10" name="light" dynamic="yes" orientation="+" zOffset="0" country="OpenDRIVE"
 type="1000001" subtype="-1" value="-1"><validity fromLane="-1" toLane="-1"/></signal></signals>
</road></OpenDRIVE>
"""


def test_one_signal_outside_a_junction_is_one_light(client, world):
    world = client.generate_opendrive_world(LONE_LIGHT)
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    world.tick()
    lights = world.get_actors().filter("traffic.traffic_light*")
    assert [light.get_opendrive_id() for light in lights] == ["10"]
    assert min(lights[0].get_green_time(), lights[0].get_yellow_time(), lights[0].get_red_time()) > 0.0
    for state in (carla.TrafficLightState.Red, carla.TrafficLightState.Green):
        lights[0].set_state(state)
        world.tick()
        assert lights[0].state == state


TRAFFIC = """
import os, socket, sys
import carla

client = carla.Client("127.0.0.1", int(sys.argv[1]))
client.set_timeout(20.0)
world = client.get_world()
world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
runs = []
for _ in range(2):
    world = client.reload_world(False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    manager = client.get_trafficmanager(port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(1)
    manager.set_hybrid_physics_mode(True)
    library = world.get_blueprint_library()
    kinds = ["vehicle.carlamotors.firetruck", "vehicle.tesla.model3", "vehicle.mitsubishi.fusorosa", "vehicle.audi.tt"]
    cars = []
    for i, point in enumerate(world.get_map().get_spawn_points()[:20]):
        blueprint = library.find(kinds[i % len(kinds)])
        blueprint.set_attribute("role_name", "hero" if i == 0 else "autopilot")
        cars.append(world.spawn_actor(blueprint, point))
    world.tick()
    for car in cars:
        car.set_autopilot(True, port)
    rows = []
    for _ in range(100):
        world.tick()
        for car in cars:
            place, control = car.get_location(), car.get_control()
            assert abs(control.steer) <= 1.0 and 0.0 <= control.throttle <= 1.0
            rows.append((place.x, place.y, place.z))
    runs.append(rows)
    moved = sum(rows[i] != rows[i - 20 * 50] for i in range(len(rows) - 20, len(rows)))
    manager.set_synchronous_mode(False)
    manager.shut_down()
sys.stdout.write(f"same {runs[0] == runs[1]} moved {moved}")
sys.stdout.flush()
os._exit(0)
"""


def test_traffic_manager_repeats_itself_after_a_reload_and_drives_large_vehicles():
    # In a process of its own: the client's manager can hang or end it (carla #9172), which one retry forgives.
    for attempt in range(2):
        with Server(ServerConfig()) as server:
            words = [sys.executable, "-c", TRAFFIC, str(server.port)]
            try:
                ended = subprocess.run(words, capture_output=True, text=True, timeout=120.0, check=False)
            except subprocess.TimeoutExpired:
                assert attempt == 0, "it hung twice"
                continue
        break
    words = ended.stdout.split()[-4:]
    assert words[:2] == ["same", "True"], ended.stdout + ended.stderr
    assert int(words[3]) >= 10
