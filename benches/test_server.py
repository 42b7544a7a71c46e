"""Round trips through the `carla` wheel: one control and one tick, alone and with 100 more vehicles in the state.

The limit is a server of canned states (`rust/server/examples/reference.rs`), which answers from prepared bytes: what is
left is the client and the sockets, so what the ratio leaves is protocol, queue and world together. A round trip without
control and a plain call without state show the client's share.

Run: `make bench`, or `python -m pytest benches/test_server.py --benchmark-enable`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from arena import Arena
from carla_online.server import Server, ServerConfig
from rounds import Contender, repeated

carla = pytest.importorskip("carla", reason="the wheel of CARLA isn't installed: pip install carla-online[carla]")

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[1] / "target"))
REFERENCE = TARGET / "release" / "examples" / "reference"


@contextmanager
def reference(upstream: int) -> Iterator[int]:
    """A server of canned states in front of another; its port."""
    process = subprocess.Popen([REFERENCE, str(upstream)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[-1])
    finally:
        process.kill()
        process.communicate()


class Drive:
    """A client with its car among others, in synchronous mode."""

    def __init__(self, port: int, others: int) -> None:
        self.client = carla.Client("127.0.0.1", port)
        self.client.set_timeout(30.0)
        self.world = self.client.get_world()
        self.world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
        library = self.world.get_blueprint_library()
        points = self.world.get_map().get_spawn_points()
        self.car = self.world.spawn_actor(library.find("vehicle.lincoln.mkz_2017"), points[0])
        parked = [
            self.world.try_spawn_actor(library.find("vehicle.audi.tt"), point) for point in points[1 : others + 1]
        ]
        assert sum(car is not None for car in parked) == others
        self.steps = 0
        for _ in range(20):
            self.step()

    def step(self) -> None:
        """One control, different from the last, because the client sends no other; and one tick."""
        self.steps += 1
        self.car.apply_control(carla.VehicleControl(throttle=0.3, steer=0.001 * (self.steps % 2)))
        self.world.tick()

    def freeze(self) -> None:
        """Makes the reference answer by itself from now on."""
        self.world.debug.draw_point(carla.Location())
        self.step()


@pytest.mark.parametrize("others", [0, 100])
def test_round_trips(benchmark: Any, arena: Arena, others: int) -> None:
    if not REFERENCE.exists():
        pytest.skip("the reference isn't built: cargo build --release -p carla-online-server --example reference")
    config = ServerConfig(map="Straight")
    with ExitStack() as stack:
        ours = Drive(stack.enter_context(Server(config)).port, others)
        upstream = stack.enter_context(Server(config))
        canned = Drive(stack.enter_context(reference(upstream.port)), others)
        canned.freeze()
        plain: Callable[[], object] = ours.client.get_server_version
        contenders = [
            Contender("control + tick", "ours", repeated(ours.step)),
            Contender("canned states", "limit", repeated(canned.step)),
            Contender("tick alone", "reference", repeated(ours.world.tick)),
            Contender("one call", "reference", repeated(plain)),
        ]
        arena.contest(benchmark, f"server/control + tick, {others} more vehicles", contenders)
