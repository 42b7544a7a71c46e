"""The world in which checks try things."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from carla_online.server.conformance.outcome import Differs, Neutral, NotServed

STEP_S = 0.05
# Server and callbacks are different threads: data of a tick may arrive a little after it.
_DATA_TIMEOUT_S = 2.0
_SETTLE_STEPS = 20


class Site:
    """A synchronous world at 20 Hz, with helpers that spawn, wait and compare.

    Args:
        host: The server's host.
        port: Its port.
        timeout_s: How long a call may take.

    Raises:
        RuntimeError: No server answers there.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.carla: Any = importlib.import_module("carla")
        self.host, self.port = host, port
        self.client = self.carla.Client(host, port)
        self.client.set_timeout(timeout_s)
        self.actors: list[Any] = []
        self.world: Any = None
        self.start_over()

    def start_over(self) -> None:
        """Takes up the server's present episode, synchronously."""
        self.actors.clear()
        self.world = self.client.get_world()
        self.synchronous()
        self.map = self.world.get_map()
        self.blueprints = self.world.get_blueprint_library()
        points = self.map.get_spawn_points()
        if not points:
            raise RuntimeError(f"map {self.map.name} has no spawn points; load another one.")
        self.points: Sequence[Any] = points

    def synchronous(self) -> None:
        """Steps of 50 ms, only when asked for."""
        self.world.apply_settings(self.carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=STEP_S))
        self.world.tick()

    def asynchronous(self) -> None:
        """Lets the server run by itself, as checks of that mode need and as it is left at the end."""
        settings = self.world.get_settings()
        settings.synchronous_mode = False
        self.world.apply_settings(settings)

    def clean(self, *, starts_over: bool) -> None:
        """Destroys what a check has spawned, children first; takes up the new episode where there is one."""
        if starts_over:
            self.start_over()
            return
        for actor in reversed(self.actors):
            if actor.is_alive:
                if isinstance(actor, self.carla.Sensor) and actor.is_listening():
                    actor.stop()
                actor.destroy()
        if self.actors:
            self.world.tick()
        self.actors.clear()

    def steps(self, count: int) -> int:
        """Ticks; returns the last frame."""
        frame = 0
        for _ in range(count):
            frame = self.world.tick()
        return frame

    def spawn(self, pattern: str, pose: Any = None, *, parent: Any = None, **attributes: str) -> Any:
        """Spawns the first blueprint that matches, with attributes; it is destroyed after the check."""
        blueprint = self.blueprints.filter(pattern)[0]
        for name, value in attributes.items():
            if blueprint.has_attribute(name):
                blueprint.set_attribute(name, value)
        actor = self.world.spawn_actor(blueprint, pose or self.carla.Transform(), attach_to=parent)
        self.actors.append(actor)
        self.world.tick()
        return actor

    def car(self, index: int = 0) -> Any:
        """Spawns a four-wheeled car at a spawn point and lets it settle on the road."""
        car = self.spawn("vehicle.tesla.model3", self.points[index])
        self.steps(_SETTLE_STEPS)
        return car

    def walker(self, index: int = 1) -> Any:
        """Spawns a pedestrian at a spawn point and lets it settle."""
        walker = self.spawn("walker.pedestrian.*", self.points[index])
        self.steps(_SETTLE_STEPS)
        return walker

    def listen(self, pattern: str, parent: Any = None, pose: Any = None, **attributes: str) -> tuple[Any, list[Any]]:
        """Spawns a sensor, listens, and returns it with the list that its data goes to."""
        sensor = self.spawn(pattern, pose, parent=parent, **attributes)
        heard: list[Any] = []
        sensor.listen(heard.append)
        return sensor, heard

    def wait(self, statement: Callable[[], bool]) -> bool:
        """Waits without ticking until a statement holds, a little while; tells whether it holds."""
        deadline_s = time.monotonic() + _DATA_TIMEOUT_S
        while not statement() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        return statement()

    def await_data(self, heard: list[Any], *, at_least: int = 1) -> list[Any]:
        """Waits until data has arrived.

        Raises:
            NotServed: It hasn't.
        """
        if not self.wait(lambda: len(heard) >= at_least):
            raise NotServed(f"{len(heard)} of {at_least} messages came")
        return heard

    def near(self, what: str, measured: float, wanted: float, tolerance: float) -> None:
        """Compares a number.

        Raises:
            Differs: It is farther away than the tolerance, or no number.
        """
        if not math.isfinite(measured) or abs(measured - wanted) > tolerance:
            raise Differs(f"{what}: {measured:.6g}, wanted {wanted:.6g} within {tolerance:.3g}")

    def holds(self, what: str, statement: bool, measured: object = "") -> None:
        """Checks a statement.

        Raises:
            Differs: It doesn't hold.
        """
        if not statement:
            raise Differs(f"{what}: {measured}" if measured != "" else f"not so: {what}")

    def seen(self, what: str, statement: bool) -> None:
        """Checks that an operation had an effect at all.

        Raises:
            Neutral: It hadn't.
        """
        if not statement:
            raise Neutral(what)

    def until(self, statement: Callable[[], bool], steps: int) -> bool:
        """Ticks until a statement holds, or so many times; tells whether it holds."""
        for _ in range(steps):
            if statement():
                return True
            self.world.tick()
        return statement()
