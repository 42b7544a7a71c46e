"""Faults on demand, and the end of a server."""

import signal
import socket
import subprocess
import sys
import time

import carla
import psutil
import pytest

from carla_online.errors import SimulatorCrashed
from carla_online.server import Server, ServerConfig


def connect(server: Server, timeout_s: float = 20.0) -> carla.Client:
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(timeout_s)
    return client


def synchronous(client: carla.Client) -> carla.World:
    world = client.get_world()
    world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
    return world


def test_a_hang_is_a_time_out_for_the_client_and_the_server_still_stops():
    with Server(ServerConfig(map="Straight", faults=("hang-at=200",))) as server:
        client = connect(server)
        world = synchronous(client)
        client.set_timeout(1.0)
        with pytest.raises(RuntimeError, match="time-out"):
            for _ in range(300):
                world.tick()
        assert server.returncode is None
    assert server.returncode == 0


def test_a_refused_spawn_is_a_blocked_place_for_the_client():
    with Server(ServerConfig(map="Straight", faults=("refuse-spawn=2",))) as server:
        world = synchronous(connect(server))
        blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
        points = world.get_map().get_spawn_points()[:4]
        spawned = [world.try_spawn_actor(blueprint, point) is not None for point in points]
        assert spawned == [True, False, True, False]


def test_sigterm_ends_it_and_frees_both_ports():
    with Server(ServerConfig(map="Straight")) as server:
        port = server.port
        connect(server).get_world()
        psutil.Process(server.process_id).send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + 10.0
        while server.returncode is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert server.returncode == 0
    for each in (port, port + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", each))


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


PARENT = """
import time
from carla_online.server import Server, ServerConfig
with Server(ServerConfig(map="Straight")) as server:
    print(server.process_id, flush=True)
    time.sleep(600.0)
"""


def test_a_parent_that_is_killed_leaves_no_server_behind():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert is_running(child)
        parent.kill()
    deadline_s = time.monotonic() + 60.0
    while is_running(child) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_running(child)


def test_an_unknown_map_is_named_with_those_that_exist():
    with pytest.raises(SimulatorCrashed, match="Straight"), Server(ServerConfig(map="Atlantis")):
        pass


def test_a_port_that_is_taken_is_an_error():
    taken = Server(ServerConfig(map="Straight"))
    with taken, pytest.raises(SimulatorCrashed, match="can't listen"), Server(ServerConfig(port=taken.port)):
        pass
