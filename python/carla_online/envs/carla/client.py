"""The connection to one CARLA server: the only place that imports the client.

Every call has a deadline, and whatever goes wrong in it comes out as a `SimulatorError`: `SimulatorTimeout` where the
server didn't answer, `SimulatorCrashed` where nothing listens any more.
"""

from __future__ import annotations

import ctypes
import socket
from dataclasses import dataclass
from typing import Any, Final

from carla_online.errors import ConfigError, MissingExtra, SimulatorCrashed, SimulatorError, SimulatorTimeout

VERSION: Final = "0.9.16"
_PROBE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long calls may take, seconds."""

    connect_s: float
    """The first calls."""
    load_s: float
    """Loading a map."""
    call_s: float
    """Everything else."""


def import_carla() -> Any:
    """Returns the module `carla`.

    Raises:
        MissingExtra: It isn't installed.
    """
    try:
        import carla
    except ImportError as error:
        raise MissingExtra(
            f"CARLA's client isn't installed; pip install 'carla-online[carla]' (carla {VERSION}: Linux x86-64, Python "
            "3.11 or 3.12)"
        ) from error
    return carla


class Connection:
    """A client of one server, in synchronous mode until `close`.

    Args:
        host: Name or address.
        port: Port of the calls.
        deadlines: How long calls may take.
        step_s: The fixed step of the simulation, seconds.
        is_ticked_beside: Code of others in this process ticks too, with our leave: frames may be left out.

    Attributes:
        carla: The client's module.
        client: The client.
        world: The episode under way.
        road: OpenDRIVE text of the road that was loaded here; None for another map.

    Raises:
        ConfigError: Client or server are of another version.
        SimulatorError: The server doesn't answer.
    """

    def __init__(
        self, host: str, port: int, deadlines: Deadlines, step_s: float, *, is_ticked_beside: bool = False
    ) -> None:
        self.carla = import_carla()
        self.address = f"{host}:{port}"
        self._host, self._port, self._deadlines, self._step_s = host, port, deadlines, step_s
        self.road: str | None = None
        self._frame: int | None = None
        self._is_ticked_beside = is_ticked_beside
        try:
            with self.guard("connecting"):
                self._connect()
        except SimulatorError:
            keep_for_ever(self)
            raise

    def guard(self, doing: str) -> Guard:
        """Returns a context that turns the client's errors into ours; `doing` says what failed.

        Within it are raised:

        - `SimulatorTimeout`: the server is there and didn't answer in time.
        - `SimulatorCrashed`: nothing listens at its port any more.
        - `SimulatorError`: it answered with an error.
        """
        return Guard(self, doing)

    def fault(self, doing: str, error: RuntimeError) -> SimulatorError:
        """Returns what an error of the client's means; `doing` says what failed."""
        reason = f"{self.address}: {doing} failed: {' '.join(str(error).split())}"
        if not self._is_listening():
            return SimulatorCrashed(f"{reason}; nothing listens there any more")
        if "time-out" in str(error):
            return SimulatorTimeout(f"{reason}; is it busy, paused or hanging?")
        return SimulatorError(reason)

    def load_road(self, xodr: str) -> None:
        """Loads a generated road.

        Actors of the old map are gone afterwards. A load in synchronous mode can hang a real server, so it is left
        for the time.

        Args:
            xodr: OpenDRIVE text.
        """
        # No walls: they would stand within the ego's half width of the edge, where the embedded world has none.
        shape = self.carla.OpendriveGenerationParameters(
            vertex_distance=2.0,
            max_road_length=500.0,
            wall_height=0.0,
            additional_width=0.6,
            smooth_junctions=True,
            enable_mesh_visibility=True,
        )
        with self.guard("loading a map"):
            self.road = None
            self._desynchronise()
            self.client.set_timeout(self._deadlines.load_s)
            self.world = self.client.generate_opendrive_world(xodr, shape, True)
            self._synchronise()
        self.road = xodr

    def load_town(self, name: str) -> None:
        """Loads one of the server's own maps, by name.

        Actors of the old map are gone afterwards. As in `load_road`, synchronous mode is left for the time.

        Raises:
            SimulatorError: The server has no such map, or failed.
        """
        with self.guard(f"loading the map {name}"):
            self.road = None
            self._desynchronise()
            self.client.set_timeout(self._deadlines.load_s)
            self.world = self.client.load_world(name)
            self._synchronise()

    def tick(self) -> Any:
        """Makes one step and returns the snapshot of exactly that frame.

        Raises:
            SimulatorError: The server failed, or somebody else ticks it too.
        """
        with self.guard("a tick"):
            frame = self.world.tick(self._deadlines.call_s)
            snapshot = self.world.get_snapshot()
        due = frame if self._frame is None or self._is_ticked_beside else self._frame + 1
        self._frame = frame
        if not due == frame == snapshot.frame:
            raise SimulatorError(
                f"{self.address}: frame {due} was due, the tick made frame {frame} and the newest state is that of "
                f"{snapshot.frame}; somebody else ticks this server. One server serves one environment."
            )
        return snapshot

    def close(self) -> None:
        """Gives the server its settings back.

        Raises:
            SimulatorError: It failed.
        """
        with self.guard("restoring the settings"):
            self.client.set_timeout(min(self._deadlines.call_s, 5.0))
            self.world.apply_settings(self._settings_before)

    def _connect(self) -> None:
        self.client = self.carla.Client(self._host, self._port)
        self.client.set_timeout(self._deadlines.connect_s)
        _require_version("client", str(self.client.get_client_version()), self.address)
        _require_version("server", str(self.client.get_server_version()), self.address)
        self.world = self.client.get_world()
        self._settings_before = self.world.get_settings()
        self._synchronise()

    def _synchronise(self) -> None:
        settings = self.world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = self._step_s
        # Tyres and engine are integrated in steps of 10 ms; fewer than these wouldn't fill the step.
        settings.substepping = True
        settings.max_substep_delta_time = 0.01
        settings.max_substeps = max(10, round(self._step_s / 0.01))
        self.client.set_timeout(self._deadlines.call_s)
        self.world.apply_settings(settings)
        self._frame = None  # until now the server has gone on by itself

    def _desynchronise(self) -> None:
        settings = self.world.get_settings()
        settings.synchronous_mode = False
        self.world.apply_settings(settings)

    def _is_listening(self) -> bool:
        try:
            with socket.create_connection((self._host, self._port), timeout=_PROBE_S):
                return True
        except OSError:
            return False


class Guard:
    """A context that turns the client's errors into ours; a class, for it is entered several times a step.

    Args:
        connection: The client's connection.
        doing: What failed, if it fails.
    """

    __slots__ = ("_connection", "_doing")

    def __init__(self, connection: Connection, doing: str) -> None:
        self._connection, self._doing = connection, doing

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raises our error in place of the client's."""
        if isinstance(error, RuntimeError):
            raise self._connection.fault(self._doing, error) from error


def keep_for_ever(*objects: object) -> None:
    """Makes sure that objects of a client whose server failed are never destroyed, not even at the process's end.

    A thread of the client's goes on trying to reconnect and may hold the last reference; 0.9.16 then joins that thread
    from within itself and ends the process (`terminate called without an active exception`: seen whenever a server was
    killed). A sensor's destructor asks the server, and ends the process with the time-out. So each failure costs the
    memory and the threads of one client.
    """
    for each in objects:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


def _require_version(who: str, seen: str, address: str) -> None:
    if seen.split("-")[0] != VERSION:
        cure = f"pip install carla=={VERSION}" if who == "client" else f"start a CARLA {VERSION} server"
        raise ConfigError(
            f"{address}: the {who} is CARLA {seen}, this environment needs {VERSION}: other versions have other "
            f"physics, messages and maps, and what was learned wouldn't be comparable; {cure}."
        )
