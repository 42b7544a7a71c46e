"""The environment on servers: parity with the embedded world, failures of the server, order around it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import carla
import gymnasium as gym
import numpy as np
import psutil
import pytest
from carla_parity import FIELDS, Difference, compare, drive

from carla_online.envs import capabilities, make_vector_env
from carla_online.envs.carla import CarlaEnv, CarlaEnvConfig, CarlaVectorEnv
from carla_online.envs.carla.client import Connection, Deadlines
from carla_online.envs.transitions import TransitionSource
from carla_online.envs.world import WorldEnv
from carla_online.errors import ConfigError, SimulatorCrashed, SimulatorError, SimulatorTimeout
from carla_online.online.intake import failures_of
from carla_online.policies import scripted_baseline
from carla_online.server import LaunchedServer, PortClaim, Server, ServerConfig
from carla_online.server.launched import is_free

FORWARD = np.float32([0.0, 0.3])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(ServerConfig(map="Straight")) as running:
        yield running


def address(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


def free_block() -> int:
    """Three free ports below those that the kernel gives to connections."""
    first = 20_000 + 20 * (os.getpid() % 500)
    return next(port for port in range(first, 32_000, 20) if all(is_free(port + each) for each in range(3)))


def visit(server: Server) -> carla.World:
    """What a new client sees: `get_world` returns before the first state has come, and is empty until then."""
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(20.0)
    world = client.get_world()
    deadline_s = time.monotonic() + 20.0
    while world.get_snapshot().frame == 0:
        assert time.monotonic() < deadline_s, "the server sends no state to a new client"
        time.sleep(0.005)
    return world


def check(seen: Difference) -> None:
    """Both backends gave the same; a hundred episodes are driven by `make accept SUITE=carla`."""
    assert seen.steps > 50
    assert seen.observation < 1e-4, seen
    assert seen.reward < 1e-4, seen
    assert seen.ends[0] == seen.ends[1], seen
    assert seen.infractions[0] == seen.infractions[1], seen


class TestParity:
    @pytest.mark.parametrize(
        ("map_name", "traffic"), [("straight", "none"), ("curve", "default"), ("two_lane", "dense")]
    )
    def test_the_same_episode_gives_the_same_numbers(self, server: Server, map_name: str, traffic: str) -> None:
        world = WorldEnv(map=map_name, traffic=traffic)
        there = CarlaEnv(server=address(server), map=map_name, traffic=traffic)
        check(compare(world, there, 0, 300))
        there.close()

    @pytest.mark.parametrize("map_name", ["four_way", "town"])
    def test_lights_walkers_and_traffic_of_a_street_network_are_the_same(self, server: Server, map_name: str) -> None:
        settings = {"map": map_name, "traffic": {"preset": "urban", "walkers": 8}}
        baseline = scripted_baseline()
        there = CarlaEnv(server=address(server), **settings)
        check(compare(WorldEnv(**settings), there, 1, 150, lambda obs: baseline(obs[None])[0]))
        world = visit(server)
        lights = world.get_actors().filter("traffic.traffic_light")
        assert lights and all(light.is_frozen() for light in lights), "the server's own time goes on"
        there.close()
        world.tick()
        assert not any(light.is_frozen() for light in lights)

    def test_a_wet_road_slides_alike(self, server: Server) -> None:
        settings = {"traffic": "none", "weather": {"preset": "rain", "precipitation_deposits": [80.0, 100.0]}}
        there = CarlaEnv(server=address(server), **settings)
        seen = compare(WorldEnv(**settings), there, 5, 60, lambda obs: drive(obs, 40.0))
        assert seen.observation < 1e-4, seen
        assert CarlaEnvConfig.model_validate(settings).slice_names[0] == "carla/straight/none/dry"
        there.close()


class TestFailures:
    """Each is truncated and told, never terminal, and the next reset is on a new connection."""

    @pytest.mark.parametrize(("fault", "failure"), [("hang-at=60", "timeout"), ("crash-at=60", "crash")])
    def test_a_failure_truncates_and_a_new_server_is_taken(self, fault: str, failure: str) -> None:
        with Server(ServerConfig(map="Straight", faults=(fault,))) as failing:
            env = CarlaEnv(server=address(failing), traffic="none", call_timeout_s=3.0)
            env.reset(seed=0)
            ended = terminated = False
            while not ended:
                obs, reward, terminated, truncated, info = env.step(FORWARD)
                ended = terminated or truncated
            assert (terminated, truncated, reward) == (False, True, 0.0)
            assert info["sim_failure"] == failure
            assert info["sim_time_s"] < 10.0
            assert env.observation_space.contains(obs)
            with pytest.raises(gym.error.ResetNeeded):
                env.step(FORWARD)
        with Server(ServerConfig(map="Straight", port=failing.port)):
            _, info = env.reset()
            assert (info["sim_failure"], info["sim_time_s"]) == ("", 0.0)
            _, _, _, truncated, info = env.step(FORWARD)
            assert (truncated, info["sim_time_s"]) == (False, pytest.approx(0.1))
            env.close()

    def test_an_own_server_that_dies_is_started_again(self) -> None:
        older = set(psutil.Process().children())
        env = CarlaVectorEnv(servers=("serve",), traffic="none", autoreset_mode="SAME_STEP", call_timeout_s=3.0)
        env.reset(seed=0)
        env.step(FORWARD[None])
        (child,) = (each for each in set(psutil.Process().children()) - older if "serve" in each.cmdline())
        child.kill()
        _, reward, terminated, truncated, info = env.step(FORWARD[None])
        assert (terminated[0], truncated[0], reward[0]) == (False, True, 0.0)
        assert info["final_info"]["sim_failure"].tolist() == ["crash"]
        # SAME_STEP has begun the next episode already, on a new server.
        assert (info["sim_failure"][0], info["sim_time_s"][0]) == ("", 0.0)
        assert not env.step(FORWARD[None])[3][0]
        env.close()

    def test_a_server_that_dies_between_episodes_is_told_with_the_first_step_of_the_next(self) -> None:
        older = set(psutil.Process().children())
        env = CarlaVectorEnv(servers=("serve",), traffic="none", call_timeout_s=3.0)
        env.reset(seed=0)
        (child,) = (each for each in set(psutil.Process().children()) - older if "serve" in each.cmdline())
        child.kill()
        _, info = env.reset(seed=1)
        assert (info["sim_failure"].tolist(), info["overcome_failures"].tolist()) == ([""], [""])
        step = TransitionSource(env).step(FORWARD[None])
        failures = failures_of(step)
        assert [(each.row, each.kind, each.episode_seed) for each in failures] == [
            (0, "crash", info["episode_seed"][0])
        ]
        assert "began" in failures[0].reason and not step.truncated.any()
        assert failures_of(TransitionSource(env).step(FORWARD[None])) == []
        env.close()

    def test_slow_ticks_within_the_deadline_change_nothing_and_beyond_it_fail_the_reset(self) -> None:
        with Server(ServerConfig(map="Straight", faults=("slow=60",))) as slow:
            patient = CarlaEnv(server=address(slow), traffic="none")
            patient.reset(seed=0)
            assert patient.step(FORWARD)[4]["sim_failure"] == ""
            patient.close()
            hasty = CarlaEnv(server=address(slow), traffic="none", call_timeout_s=0.02, reconnect_attempts=0)
            with pytest.raises(SimulatorTimeout, match="time-out"):
                hasty.reset(seed=0)

    def test_a_lost_message_of_the_collision_sensor_loses_no_collision(self) -> None:
        with Server(ServerConfig(map="Straight", faults=("drop-sensor=1",))) as server:
            env = CarlaEnv(server=address(server), traffic="dense")
            world = WorldEnv(traffic="dense")
            seen = [compare(world, env, seed, 300, lambda obs: drive(obs, 18.0)) for seed in range(2)]
            assert any(each.infractions[0][0] for each in seen)
            assert [each.infractions[0][0] for each in seen] == [each.infractions[1][0] for each in seen]
            env.close()

    def test_a_server_that_stays_away_is_an_error_of_reset(self) -> None:
        env = CarlaEnv(server="127.0.0.1:1", connect_timeout_s=0.2, reconnect_attempts=1)
        with pytest.raises(SimulatorError, match="127.0.0.1:1"):
            env.reset(seed=0)


class TestSensors:
    """What a user hangs on the ego comes with the observation of its own frame."""

    def test_imu_gnss_and_speed_tell_of_the_observations_own_frame(self, server: Server) -> None:
        sensors = {
            "imu": {"blueprint": "sensor.other.imu"},
            "gnss": {"blueprint": "sensor.other.gnss"},
            "speed": {"blueprint": "speed"},
        }
        env = CarlaEnv(server=address(server), traffic="none", map={"map_variants": 1}, sensors=sensors)
        obs, _ = env.reset(seed=0)
        start, scale = FIELDS["ego/speed"]
        assert sorted(obs) == ["gnss", "imu", "speed", "vector"]
        places = []
        for _ in range(10):
            obs, _, _, _, info = env.step(FORWARD)
            assert info["sim_failure"] == "" and env.observation_space.contains(obs)
            assert obs["speed"][0] == pytest.approx(obs["vector"][start] * scale, abs=0.01)
            places.append(obs["gnss"][:2])
        metres = 111_320.0 * np.linalg.norm(np.diff(places, axis=0), axis=1)
        assert metres[-1] == pytest.approx(0.1 * obs["speed"][0], rel=0.05), "a place a decision, none twice"
        assert obs["imu"][2] == pytest.approx(9.81, abs=1.0)
        env.close()
        assert not visit(server).get_actors().filter("sensor.*")

    def test_what_the_server_doesnt_give_is_refused_with_the_cure(self, server: Server) -> None:
        camera = {"blueprint": "sensor.camera.rgb", "attributes": {"image_size_x": 64, "image_size_y": 48}}
        env = CarlaEnv(server=address(server), traffic="none", sensors={"front": camera}, sensor_timeout_s=0.5)
        assert env.observation_space["front"].shape == (48, 64, 3)
        with pytest.raises(ConfigError, match="sends nothing for sensor 'front'.*Leave it out"):
            env.reset(seed=0)
        env.close()
        wrong = [
            ({"a": {"blueprint": "sensor.other.radar"}}, "isn't known here"),
            ({"vector": {"blueprint": "speed"}}, "can't be called"),
        ]
        for sensors, message in wrong:
            with pytest.raises(ConfigError, match=message):
                CarlaEnv(sensors=sensors)


class TestOrder:
    def test_the_spectator_follows_the_ego_unless_it_is_left_alone(self, server: Server) -> None:
        for choice, follows in (("follow", True), ("leave", False)):
            env = CarlaEnv(server=address(server), traffic="none", map={"map_variants": 1}, spectator=choice)
            env.reset(seed=0)
            world = visit(server)
            spectator, before = world.get_spectator(), world.get_spectator().get_transform().location
            for _ in range(40):
                env.step(FORWARD)
            ego = next(actor for actor in world.get_actors() if actor.attributes.get("role_name") == "hero")
            after = spectator.get_transform().location
            assert (after.distance(before) > 5.0) == follows
            assert not follows or after.distance(ego.get_location()) < 30.0
            env.close()

    def test_settings_come_back_and_only_own_actors_go(self, server: Server) -> None:
        before = visit(server).get_settings()
        env = CarlaEnv(server=address(server), traffic="light", map={"map_variants": 1})
        env.reset(seed=0)
        world = visit(server)
        blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
        spots = [carla.Transform(carla.Location(5.0, 2.0 + 4.0 * lane, 0.5)) for lane in range(3)]
        guest = next(actor for spot in spots if (actor := world.try_spawn_actor(blueprint, spot)) is not None)
        for _ in range(3):
            env.step(FORWARD)
        env.reset()
        assert env._vector._batch._drives[0].mirror.scene()["actors"]["x"].count(guest.get_location().x) == 1
        env.close()
        world = visit(server)
        assert [actor.id for actor in world.get_actors().filter("vehicle.*")] == [guest.id]
        after = world.get_settings()
        assert (after.synchronous_mode, after.fixed_delta_seconds) == (
            before.synchronous_mode,
            before.fixed_delta_seconds,
        )

    def test_the_map_is_loaded_only_when_it_changes(self, server: Server) -> None:
        env = CarlaEnv(server=address(server), traffic="none", map={"map_variants": 1})
        env.reset(seed=0)
        episode = env._vector._batch._drives[0]._connection.world.id
        env.reset(seed=1)
        assert env._vector._batch._drives[0]._connection.world.id == episode
        env.close()

    def test_somebody_else_who_ticks_is_a_failure_with_its_reason(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        env = CarlaEnv(server=address(server), traffic="none")
        env.reset(seed=0)
        visit(server).apply_settings(carla.WorldSettings(synchronous_mode=False))
        failure = next(seen for _ in range(500) if (seen := env.step(FORWARD)[4]["sim_failure"]))
        assert failure == "error"
        assert "somebody else ticks" in caplog.text
        env.close()

    def test_ticks_of_others_can_be_allowed_as_scenario_runner_needs_it(self, server: Server) -> None:
        host, port = address(server).split(":")
        connection = Connection(host, int(port), Deadlines(10.0, 10.0, 10.0), 0.05, is_ticked_beside=True)
        first = connection.tick().frame
        connection.world.tick()
        assert connection.tick().frame == first + 2
        connection.close()


class TestMaking:
    def test_two_servers_are_two_rows(self, server: Server) -> None:
        config = {
            "kind": "carla",
            "servers": [address(server), "serve"],
            "traffic": "none",
            "safety": {"mode": "enforce"},
        }
        env = make_vector_env(config)
        obs, _ = env.reset(seed=3)
        assert obs.shape == (2, 144)
        world = make_vector_env({"kind": "world", "num_envs": 2, "traffic": "none"})
        np.testing.assert_allclose(obs, world.reset(seed=3)[0], atol=1e-4)
        assert capabilities(env).missing("exact_restore", "episode_seeds") == ["exact_restore"]
        env.close()

    def test_wrong_settings_are_refused_with_the_cure(self) -> None:
        wrong = [
            ({"servers": ["localhost"]}, "host:port"),
            ({"servers": ["a:1", "a:1"]}, "twice"),
            ({"ego": {"dynamics": "kinematic"}}, "start_speed_mps"),
            ({"map": "strait"}, "unknown preset 'strait'"),
            ({"servers": ["a:1"], "num_envs": 3}, "name one for each"),
            ({"town": "Town01"}, "town: unknown key"),
        ]
        for settings, message in wrong:
            with pytest.raises(ConfigError, match=message):
                gym.make_vec("CarlaOnline/Carla-v0", **settings)

    def test_another_version_is_refused_with_the_reason(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("carla_online.envs.carla.client.VERSION", "0.9.15")
        with pytest.raises(ConfigError, match=r"the client is CARLA 0\.9\.16.*pip install carla==0\.9\.15"):
            CarlaEnv(server=address(server)).reset(seed=0)

    def test_the_package_imports_without_the_client_and_making_says_what_to_install(self) -> None:
        code = (
            "import sys; sys.modules['carla'] = None\n"
            "import carla_online.envs.carla as c\n"
            "from carla_online.errors import MissingExtra\n"
            "try:\n    c.CarlaEnv()\n"
            "except MissingExtra as error:\n    assert 'carla-online[carla]' in str(error)\n"
            "else:\n    raise SystemExit('made without a client')\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestLaunching:
    """Servers that the environment starts by a command of the user's."""

    COMMAND = (sys.executable, "-m", "carla_online.cli", "serve", "--map", "Straight", "--port", "{port}")

    def test_ports_are_kept_output_is_filed_and_servers_are_renewed(self, tmp_path: Path) -> None:
        port = free_block()
        launch = {"command": self.COMMAND, "port_base": port, "log_dir": str(tmp_path), "recycle_episodes": 2}
        env = CarlaEnv(server="launch", traffic="none", map={"map_variants": 1}, launch=launch)
        seen = []
        for _ in range(3):
            env.reset()
            own = env._vector._batch._drives[0]._own_server
            seen.append((own.port, own.process_id))
            env.step(FORWARD)
        assert [each for each, _ in seen] == [port] * 3
        assert seen[0] == seen[1] != seen[2], "two episodes on the first server, then a fresh one at the same port"
        with pytest.raises(SimulatorTimeout, match="another run of carla-online has them"):
            PortClaim(port, wait_s=0.0)
        env.close()
        assert (tmp_path / "server-0.log").read_text().count(f"serving CARLA 0.9.16 on 127.0.0.1 port {port}") == 2
        PortClaim(port, wait_s=0.0).release()

    def test_an_episode_that_ends_two_servers_is_driven_no_more(self, tmp_path: Path) -> None:
        """Every server crashes at its fortieth frame, so every episode is unlucky twice."""
        command = (*self.COMMAND, "--fault", "crash-at=40")
        launch = {"command": command, "port_base": free_block(), "log_dir": str(tmp_path)}
        settings = {"traffic": "none", "call_timeout_s": 3.0, "autoreset_mode": "SAME_STEP"}
        env = CarlaVectorEnv(servers=("launch",), launch=launch, **settings)
        _, info = env.reset(seed=0)
        seeds = [int(info["episode_seed"][0])]
        while len(seeds) < 3:
            _, _, _, truncated, info = env.step(FORWARD[None])
            if truncated[0]:
                seeds.append(int(info["episode_seed"][0]))
        assert seeds[0] == seeds[1] != seeds[2]
        assert env.quarantined == {seeds[0]}
        env.close()

    def test_workers_share_servers_ports_and_gpus_without_clashes(self, tmp_path: Path) -> None:
        command = ("CarlaUE4.sh", "-carla-rpc-port={port}", "-graphicsadapter={gpu}")
        config = CarlaEnvConfig(servers=("launch",) * 4, launch={"command": command, "gpus": (0, 1)})
        shares = [config.for_worker(index, 2, port_base=3000, log_dir=tmp_path) for index in range(2)]
        assert [each.num_envs for each in shares] == [2, 2]
        ports = [each.launch.port_of(index) for each in shares for index in range(2)]
        assert ports == [3000, 3020, 3040, 3060]
        assert [each.launch.gpu_of(index) for each in shares for index in range(2)] == [0, 1, 0, 1]
        assert shares[1].launch.log_of(1) == tmp_path / "server-3.log"

    def test_a_server_that_cant_start_says_why(self, tmp_path: Path) -> None:
        words = (sys.executable, "-c", "import sys; sys.exit('no display {port}')")
        server = LaunchedServer(words, port=free_block(), log=tmp_path / "log")
        with pytest.raises(SimulatorCrashed, match="ended with 1 while starting; .*: no display"):
            server.__enter__()
        refused = [
            ({"servers": ["launch"]}, "launch.command is empty"),
            ({"launch": {"command": ["CarlaUE4.sh"]}}, "would take the same"),
            ({"launch": {"command": ["a", "{port}"], "gpus": [0]}}, r"no word of command has \{gpu\}"),
        ]
        for settings, message in refused:
            with pytest.raises(ConfigError, match=message):
                CarlaVectorEnv(**settings)
