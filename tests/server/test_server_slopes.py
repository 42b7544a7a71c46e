"""Roads that rise, noise that was asked for, signs that have a place."""

import math
import statistics

import carla
import pytest

from carla_online.server import Server, ServerConfig

RISE = 0.06
ROAD = f"""<?xml version="1.0"?>
<OpenDRIVE><header revMajor="1" revMinor="4" name="slope"><geoReference>+proj=tmerc</geoReference></header>
<road name="" length="300.0" id="1" junction="-1"><link/><type s="0" type="town"/>
<planView><geometry s="0" x="0" y="0" hdg="0" length="300.0"><line/></geometry></planView>
<elevationProfile><elevation s="0" a="0" b="{RISE}" c="0" d="0"/></elevationProfile><lateralProfile/>
<lanes><laneSection s="0"><left><lane id="1" type="driving" level="false"><link/>
<width sOffset="0" a="3.5" b="0" c="0" d="0"/>
</lane></left><center><lane id="0" type="none" level="false"/></center><right>
<lane id="-1" type="driving" level="false"><link/>
<width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right></laneSection></lanes></road></OpenDRIVE>"""


@pytest.fixture(scope="module")
def slope():
    with Server(ServerConfig(map="Straight")) as server:
        client = carla.Client("127.0.0.1", server.port)
        client.set_timeout(20.0)
        world = client.generate_opendrive_world(ROAD)
        world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
        world.tick()
        yield world


def test_a_vehicle_lies_on_the_slope_of_its_road(slope):
    tilt_deg = math.degrees(math.atan(RISE))
    blueprint = slope.get_blueprint_library().find("vehicle.lincoln.mkz_2017")
    for yaw, pitch, roll in ((0, tilt_deg, 0), (180, -tilt_deg, 0), (90, 0, tilt_deg)):
        pose = carla.Transform(carla.Location(100.0, 1.75, 100.0 * RISE + 0.3), carla.Rotation(yaw=yaw))
        car = slope.spawn_actor(blueprint, pose)
        for _ in range(20):
            slope.tick()
        rotation = car.get_transform().rotation
        assert rotation.pitch == pytest.approx(pitch, abs=0.05)
        assert rotation.roll == pytest.approx(roll, abs=0.05)
        car.destroy()


def test_noise_is_as_large_as_asked_for_and_repeats_with_its_seed(slope):
    def listen(seed: int, ticks: int = 150) -> list[float]:
        blueprint = slope.get_blueprint_library().find("sensor.other.gnss")
        blueprint.set_attribute("noise_alt_bias", "5.0")
        blueprint.set_attribute("noise_alt_stddev", "0.5")
        blueprint.set_attribute("noise_seed", str(seed))
        sensor = slope.spawn_actor(blueprint, carla.Transform(carla.Location(z=2.0)))
        heard: list[float] = []
        sensor.listen(lambda data: heard.append(data.altitude))
        for _ in range(ticks):
            slope.tick()
        sensor.stop()
        sensor.destroy()
        return heard[: ticks - 5]

    first = listen(1)
    assert statistics.fmean(first) == pytest.approx(7.0, abs=0.2)
    assert statistics.stdev(first) == pytest.approx(0.5, abs=0.1)
    assert listen(1) == first
    assert listen(2) != first
