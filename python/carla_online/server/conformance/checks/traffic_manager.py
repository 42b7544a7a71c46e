"""carla.TrafficManager: it runs in the client; the server keeps its address and feeds it."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

from carla_online.server.conformance.check import Group
from carla_online.server.conformance.site import Site

CHECKS = Group("TrafficManager")

# Another process finds the manager by the server's word. It leaves without tidying up, which would end the manager.
_OTHER = """
import os, sys
import carla

client = carla.Client(sys.argv[1], int(sys.argv[2]))
client.set_timeout(10.0)
sys.stdout.write(str(client.get_trafficmanager(int(sys.argv[3])).get_port()))
sys.stdout.flush()
os._exit(0)
"""


def _manager(site: Site) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    manager = site.client.get_trafficmanager(port)
    manager.set_synchronous_mode(True)
    return manager


@CHECKS(
    "get_trafficmanager, Vehicle.set_autopilot, shut_down",
    "is_traffic_manager_running",
    "add_traffic_manager_running",
    "destroy_traffic_manager",
    "get_vehicle_light_states",
    "set_actor_simulate_physics",
    "apply_batch",
)
def _drives(site: Site) -> str:
    car = site.car()
    manager = _manager(site)
    manager.set_random_device_seed(3)
    manager.ignore_lights_percentage(car, 100.0)
    car.set_autopilot(True, manager.get_port())
    before = car.get_location()
    site.steps(120)
    place = car.get_location()
    lane = site.map.get_waypoint(place)
    car.set_autopilot(False, manager.get_port())
    manager.set_synchronous_mode(False)
    manager.shut_down()
    site.holds("it drives", place.distance(before) > 10.0, f"{place.distance(before):.1f} m in 6 s")
    aside_m = lane.transform.location.distance(place)
    site.near("distance to the lane's centre", aside_m, 0.0, 1.5)
    return f"{place.distance(before):.1f} m in 6 s, {aside_m:.2f} m beside the lane's centre"


@CHECKS("get_trafficmanager from another process", "get_traffic_manager_running")
def _found(site: Site) -> str:
    manager = _manager(site)
    words = [sys.executable, "-c", _OTHER, site.host, str(site.port), str(manager.get_port())]
    other = subprocess.run(words, capture_output=True, text=True, timeout=60.0, check=False)
    manager.set_synchronous_mode(False)
    manager.shut_down()
    port = other.stdout.strip().splitlines()[-1:]
    site.holds("another process finds it", port == [str(manager.get_port())], other.stdout + other.stderr[-200:])
    return f"port {port[0]}"
