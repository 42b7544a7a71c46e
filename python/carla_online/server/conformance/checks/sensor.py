"""carla.Sensor: what arrives, when, and what is in it."""

from __future__ import annotations

import math
from functools import partial

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import NotServed
from carla_online.server.conformance.site import STEP_S, Site

CHECKS = Group("Sensor")


@CHECKS("listen, stop, is_listening", "get_sensor_token", "spawn_actor_with_parent")
def _listen(site: Site) -> None:
    sensor, heard = site.listen("sensor.other.imu", parent=site.car())
    frames = [site.world.tick() for _ in range(10)]
    site.await_data(heard, at_least=10)
    site.holds("one message for each step, in order", [data.frame for data in heard] == frames, len(heard))
    site.holds("it listens", sensor.is_listening())
    sensor.stop()
    site.steps(5)
    site.near("messages after stop", len(heard), 10, 0)


@CHECKS("sensor_tick", "spawn_actor")
def _period(site: Site) -> None:
    _, heard = site.listen("sensor.other.gnss", sensor_tick="0.5")
    first = site.steps(41) - 40
    site.await_data(heard, at_least=5)
    frames = [data.frame - first for data in heard]
    site.holds("messages of 41 steps come at the first and every tenth", frames == [0, 10, 20, 30, 40], frames)


@CHECKS("sensor.other.imu", "spawn_actor_with_parent")
def _imu(site: Site) -> str:
    _, heard = site.listen("sensor.other.imu", parent=site.car())
    site.steps(10)
    data = site.await_data(heard, at_least=10)[-1]
    site.near("acceleration at rest", data.accelerometer.length(), 9.81, 0.3)
    site.near("turning at rest", data.gyroscope.length(), 0.0, 0.1)
    site.holds("the compass is an angle", 0.0 <= data.compass <= math.tau + 1e-3, data.compass)
    return f"{data.accelerometer.length():.3f} m/s2 at rest"


@CHECKS("sensor.other.gnss", "spawn_actor_with_parent")
def _gnss(site: Site) -> str:
    car = site.car()
    _, heard = site.listen("sensor.other.gnss", parent=car)
    site.steps(2)
    data = site.await_data(heard, at_least=2)[-1]
    wanted = site.map.transform_to_geolocation(car.get_location())
    site.near("latitude", data.latitude, wanted.latitude, 1e-6)
    site.near("longitude", data.longitude, wanted.longitude, 1e-6)
    return f"{data.latitude:.6f}, {data.longitude:.6f}"


@CHECKS("sensor.other.collision", "spawn_actor_with_parent")
def _collision(site: Site) -> str:
    car = site.car()
    _, heard = site.listen("sensor.other.collision", parent=car)
    ahead = site.map.get_waypoint(car.get_location()).next(12.0)[0].transform
    ahead.location.z += 0.5
    wall = site.spawn("vehicle.audi.tt", ahead)
    car.set_target_velocity(car.get_transform().get_forward_vector() * 12.0)
    site.until(lambda: len(heard) > 0, 60)
    event = site.await_data(heard)[0]
    site.holds("it names the other", event.other_actor.id == wall.id, event.other_actor.type_id)
    push = event.normal_impulse
    site.holds("the push is not nothing", push.length() > 0.0)
    return f"{push.length():.0f} N s"


@CHECKS("sensor.other.obstacle", "spawn_actor_with_parent")
def _obstacle(site: Site) -> str:
    car = site.car()
    ahead = site.map.get_waypoint(car.get_location()).next(12.0)[0].transform
    ahead.location.z += 0.5
    other = site.spawn("vehicle.audi.tt", ahead)
    _, heard = site.listen("sensor.other.obstacle", parent=car, distance="20", only_dynamics="true")
    site.steps(10)
    event = site.await_data(heard)[0]
    site.holds("it names the obstacle", event.other_actor.id == other.id, event.other_actor.type_id)
    site.holds("it lies within 12 m", 2.0 < event.distance < 13.0, event.distance)
    return f"{event.distance:.2f} m"


@CHECKS("sensor.other.lane_invasion", "spawn_actor_with_parent", "get_actor_bounding_box")
def _lane_invasion(site: Site) -> str:
    car = site.car()
    _, heard = site.listen("sensor.other.lane_invasion", parent=car)
    site.steps(2)
    pose = car.get_transform()
    car.set_target_velocity(pose.get_right_vector() * 6.0)
    site.until(lambda: len(heard) > 0, 40)
    marks = site.await_data(heard)[0].crossed_lane_markings
    site.holds("a mark was crossed", len(marks) > 0)
    return ", ".join(str(mark.type) for mark in marks)


def _rendered(site: Site, pattern: str) -> str:
    """A sensor that needs rendering or rays: whether anything comes."""
    pose = site.carla.Transform(site.carla.Location(0.0, 0.0, 2.5))
    _, heard = site.listen(pattern, site.car(), pose, image_size_x="64", image_size_y="48")
    site.steps(5)
    if not site.until(lambda: len(heard) > 0, 20):
        raise NotServed("it stays silent")
    data = heard[-1]
    return f"{len(data.raw_data)} bytes" if hasattr(data, "raw_data") else "data"


for _kind in (
    "camera.rgb",
    "camera.depth",
    "camera.semantic_segmentation",
    "camera.instance_segmentation",
    "camera.normals",
    "camera.optical_flow",
    "camera.dvs",
    "lidar.ray_cast",
    "lidar.ray_cast_semantic",
    "other.radar",
):
    CHECKS(f"sensor.{_kind}", "spawn_actor_with_parent")(partial(_rendered, pattern=f"sensor.{_kind}"))


@CHECKS(
    "enable_for_ros, disable_for_ros, is_enabled_for_ros",
    "enable_sensor_for_ros",
    "disable_sensor_for_ros",
    "is_sensor_enabled_for_ros",
)
def _ros(site: Site) -> None:
    sensor, _ = site.listen("sensor.other.imu", parent=site.car())
    sensor.enable_for_ros()
    site.steps(1)
    enabled = sensor.is_enabled_for_ros()
    sensor.disable_for_ros()
    site.steps(1)
    site.seen("accepted; needs a server that was started with ROS", enabled)


@CHECKS("enable_gbuffers, listen_to_gbuffer", "enable_gbuffers", "get_gbuffer_token")
def _gbuffer(site: Site) -> None:
    camera, heard = site.listen("sensor.camera.rgb", site.car())
    camera.enable_gbuffers(True)
    camera.listen_to_gbuffer(site.carla.GBufferTextureID.SceneDepth, heard.append)
    site.steps(5)
    site.seen("accepted; nothing comes", len(heard) > 0)


@CHECKS("several clients listen to one sensor", "get_actors_by_id", "get_sensor_token")
def _shared(site: Site) -> None:
    sensor, heard = site.listen("sensor.other.gnss")
    other = site.carla.Client(site.host, site.port)
    other.set_timeout(20.0)
    twin = other.get_world().get_actor(sensor.id)
    heard_there: list[object] = []
    twin.listen(heard_there.append)
    site.steps(round(1.0 / STEP_S))
    site.await_data(heard, at_least=10)
    site.await_data(heard_there, at_least=10)
    twin.stop()
