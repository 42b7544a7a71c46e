"""One server and the episodes driven on it."""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.envs.carla.cast import Cast, Pedestrian, Scripted, Start
from carla_online.envs.carla.client import Connection, Deadlines, import_carla, keep_for_ever
from carla_online.envs.carla.config import LAUNCH, SERVE, CarlaEnvConfig, split_address
from carla_online.envs.carla.contacts import Contact
from carla_online.envs.carla.launch import OwnServer, renewal_reason, start_command, start_serve
from carla_online.envs.carla.lights import Lights
from carla_online.envs.carla.sensors import Sensors
from carla_online.envs.carla.sightings import EgoSighting, Sighting, Watcher
from carla_online.envs.contract import DRAW_NAMES
from carla_online.errors import SimulatorCrashed, SimulatorError, SimulatorTimeout

logger = logging.getLogger(__name__)

_CLOSE_M: Final = 0.1
"""Whoever is nearer than this may touch in this very step: its message is waited for."""
_MESSAGE_WAIT_S: Final = 0.2
_ASTRAY_M: Final = 0.5
"""Scripted vehicles may be this far from where they were put; more means that the server didn't put them there."""
_FIRST_BACKOFF_S: Final = 0.25
_FRICTION: Final = DRAW_NAMES.index("friction")
DEATHS: Final = ("timeout", "crash")
"""Failures after which the server is gone."""
_WEATHER_NAMES: Final = DRAW_NAMES[:14]


class CarlaDrive:
    """Drives episodes on one server; the embedded world's `WorldMirror` judges them.

    Args:
        config: The environment's configuration.
        index: Which of its servers this is.
        step_s: Step of the simulation, seconds.
        decision_steps: Steps for which an action is held.

    Raises:
        MissingExtra: The client isn't installed.
        ConfigError: The world's configuration is wrong.
    """

    def __init__(self, config: CarlaEnvConfig, index: int, *, step_s: float, decision_steps: int) -> None:
        import_carla()
        self._config, self._index = config, index
        self._step_s, self._decision_steps = step_s, decision_steps
        self._by_manager = config.traffic_by == "traffic_manager"
        self._mirrors = [_native.WorldMirror(stage.world_json()) for stage in config.stage_configs()]
        self.mirror = self._mirrors[0]
        self._readings: Mapping[str, NDArray[Any]] = {}
        self._own_server: OwnServer | None = None
        self._server_episodes = 0
        self._connection: Connection | None = None
        self._cast: Cast | None = None
        self._watcher: Watcher | None = None
        self._lights: Lights | None = None
        self._sensors: Sensors | None = None
        self._manager: Any = None
        self._overcome: list[str] = []

    @property
    def server(self) -> str:
        """Where it drives, for messages."""
        return self._config.servers[self._index]

    def assign(self, stage: int) -> None:
        """Lets the next reset draw its episode from a stage of the curriculum."""
        self.mirror = self._mirrors[stage]

    def reset(self, seed: int) -> None:
        """Begins the episode of `seed`, on a new connection if the last one failed.

        Raises:
            ConfigError: The server is of another version, or lacks what the configuration asks for.
            SimulatorError: Every attempt failed; the last failure.
        """
        for attempt in range(self._config.reconnect_attempts + 1):
            try:
                self._begin(seed)
                return
            except SimulatorError as error:
                logger.warning("%s: reset attempt %d failed: %s", self.server, attempt + 1, error)
                self._abandon()
                self._overcome.append(failure_name(error))
                if attempt == self._config.reconnect_attempts:
                    raise
                time.sleep(_FIRST_BACKOFF_S * 2**attempt)

    def take_overcome(self) -> list[str]:
        """Returns and forgets the failures after which a reset began anew: `timeout`, `crash` or `error` each."""
        overcome, self._overcome = self._overcome, []
        return overcome

    def show_sensors(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Has the sensors' readings of each decision written into row `index` of these arrays."""
        self._readings = arrays

    def step(self, steer: float, pedal: float) -> str:
        """Drives for one decision; what it led to, the mirror tells.

        Returns:
            Empty, or how the simulator failed: `timeout`, `crash` or `error`. The next reset then connects anew.
        """
        self.mirror.decide(steer, pedal)
        try:
            for step in range(self._decision_steps):
                if self._advance((steer, pedal) if step == 0 else None):
                    break
            self._sense()
        except SimulatorError as error:
            logger.warning("%s: the episode ends as truncated: %s", self.server, error)
            self._abandon()
            return failure_name(error)
        return ""

    def close(self) -> None:
        """Destroys own actors, restores the settings, ends an own server."""
        connection = self._connection
        if connection is None:
            return
        try:
            with connection.guard("clearing up"):
                if self._lights is not None:
                    self._lights.release()
                if self._cast is not None:
                    self._cast.leave()
            self._release_manager(connection)
            connection.close()
        except SimulatorError as error:
            logger.warning("%s: couldn't be left as it was found: %s", self.server, error)
            self._abandon()
        self._connection = self._cast = self._watcher = self._lights = self._sensors = None
        del connection  # the client's objects go while their server still answers, see `keep_for_ever`
        self._end_server()

    def _begin(self, seed: int) -> None:
        start = Start(*self.mirror.reset(seed))
        self._renew()
        connection = self._connect()
        self._server_episodes += 1
        if self._cast is not None:
            with connection.guard("clearing up"):
                self._cast.leave()
            self._cast = None
        road = self.mirror.xodr()
        if connection.road != road:
            self._release_manager(connection)
            connection.load_road(road)
        draws = np.zeros(len(DRAW_NAMES))
        self.mirror.draws(draws)
        with connection.guard("beginning an episode"):
            self._set_weather(connection, draws)
            self._cast = cast = Cast(connection)
            self._watcher = Watcher(connection)
            scripted = self._scripted()
            cast.enter(start, scripted, self._walkers(), self._config.ego_blueprint, with_physics=self._by_manager)
            if self._config.spectator == "follow":
                cast.show()
            if self._config.sensors:
                self._sensors = cast.equip(self._config.sensors, self._config.sensor_timeout_s)
            if draws[_FRICTION] < 1.0:
                cast.wet(float(draws[_FRICTION]))
            if self._by_manager:
                self._manager = cast.hand_over(self._manager_port(), scripted, seed)
                self.mirror.release_scripted()
            self.mirror.name_scripted(cast.scripted_ids, cast.walker_ids)
            self._lights = Lights(connection)
            self._lights.show(self.mirror.lights())
            if self._config.walkers:
                cast.let_walk(self._config.walkers, seed)
            cast.set_off(start)
            self.mirror.meet(self._others(connection.world.get_snapshot()))
        self._sense()

    def _advance(self, control: tuple[float, float] | None) -> bool:
        """Makes one step of the simulation; returns whether the episode has ended."""
        connection, cast, watcher = self._connection, self._cast, self._watcher
        if connection is None or cast is None or watcher is None or self._lights is None:
            raise SimulatorCrashed(f"{self.server}: there is no connection; reset first.")
        self.mirror.plan()
        scripted, walkers = self._scripted(), self._walkers()
        with connection.guard("acting"):
            if cast.act(scripted, walkers, control):
                self.mirror.name_scripted(cast.scripted_ids, cast.walker_ids)
            self._lights.show(self.mirror.lights())
        snapshot = connection.tick()
        with connection.guard("reading a snapshot"):
            self._check_places(snapshot, cast.scripted_ids, scripted)
            self._check_places(snapshot, cast.walker_ids, walkers)
            ego = watcher.ego(snapshot, cast.ego)
            others = self._others(snapshot)
        if ego is None:
            raise SimulatorError(
                f"{self.server}: the ego is gone, destroyed by another client. One server serves one environment."
            )
        return self.mirror.look(ego, others, self._felt(snapshot.frame, ego, others))

    def _sense(self) -> None:
        """Reads the sensors in the newest frame, which is that of the last own tick."""
        if self._sensors is not None and self._connection is not None:
            with self._connection.guard("reading the sensors"):
                self._sensors.read(self._connection.world.get_snapshot(), self._readings, self._index)

    def _felt(self, frame: int, ego: EgoSighting, others: list[Sighting]) -> list[Contact]:
        if self._cast is None or self._cast.listener is None:
            return []
        is_close = self.mirror.is_close(ego, others, _CLOSE_M)
        return self._cast.listener.take(frame, wait_s=_MESSAGE_WAIT_S if is_close else 0.0)

    def _others(self, snapshot: Any) -> list[Sighting]:
        if self._cast is None or self._watcher is None:
            return []
        return self._watcher.others(snapshot, {self._cast.ego.id, *self._cast.scripted_ids, *self._cast.walker_ids})

    def _scripted(self) -> list[Scripted]:
        return [Scripted(*vehicle) for vehicle in self.mirror.scripted()]

    def _walkers(self) -> list[Pedestrian]:
        return [Pedestrian(*walker) for walker in self.mirror.scripted_walkers()]

    def _check_places(self, snapshot: Any, ids: Sequence[int], planned: Sequence[Scripted | Pedestrian]) -> None:
        """The world's own road users are observed where they were put, so they have to be there."""
        for actor_id, user in zip(ids, planned, strict=True):
            seen = snapshot.find(actor_id) if actor_id else None
            if actor_id and seen is None:
                raise SimulatorError(f"{self.server}: scripted actor {actor_id} has vanished.")
            if seen is not None:
                place = seen.get_transform().location
                astray_m = math.hypot(place.x - user.x, place.y - user.y)
                if astray_m > _ASTRAY_M:
                    raise SimulatorError(
                        f"{self.server}: scripted actor {actor_id} is {astray_m:.1f} m from where it was put."
                    )

    def _set_weather(self, connection: Connection, draws: NDArray[np.float64]) -> None:
        weather = connection.carla.WeatherParameters()
        for name, value in zip(_WEATHER_NAMES, draws, strict=False):
            setattr(weather, name, float(value))
        connection.world.set_weather(weather)

    def _connect(self) -> Connection:
        if self._connection is None:
            host, port = self._start() if self.server in (SERVE, LAUNCH) else split_address(self.server)
            deadlines = Deadlines(
                connect_s=self._config.connect_timeout_s,
                load_s=self._config.load_timeout_s,
                call_s=self._config.call_timeout_s,
            )
            self._connection = Connection(host, port, deadlines, self._step_s)
        return self._connection

    def _start(self) -> tuple[str, int]:
        if self._own_server is None:
            start = start_serve if self.server == SERVE else start_command
            self._own_server, self._server_episodes = start(self._config.launch, self._index), 0
        return "127.0.0.1", self._own_server.port

    def _renew(self) -> None:
        """Ends an own server that has had its time; the episode begins on a fresh one."""
        if self._own_server is None:
            return
        reason = renewal_reason(self._config.launch, self._own_server, self._server_episodes)
        if reason:
            logger.info("%s: the server at port %d is renewed: %s", self.server, self._own_server.port, reason)
            self.close()

    def _release_manager(self, connection: Connection) -> None:
        """Shuts the Traffic Manager down: it knows one map only, and a load in its synchronous mode would hang."""
        if self._manager is not None:
            with connection.guard("shutting down the Traffic Manager"):
                self._manager.set_synchronous_mode(False)
                self._manager.shut_down()
            self._manager = None

    def _manager_port(self) -> int:
        if self._manager is not None:
            return int(self._manager.get_port())
        if self._config.traffic_manager_port:
            return self._config.traffic_manager_port + self._index
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def _abandon(self) -> None:
        """Lets go of a connection that failed; an own server is ended, for it may hang.

        A server that only hangs may be dead by the time at which the client's objects would be destroyed.
        """
        keep_for_ever(self._connection, self._cast, self._manager)
        if self._cast is not None:
            self._cast.abandon()
        self._connection = self._cast = self._watcher = self._manager = self._lights = self._sensors = None
        self._end_server()

    def _end_server(self) -> None:
        if self._own_server is not None:
            self._own_server.__exit__(None, None, None)
            self._own_server = None


def failure_name(error: SimulatorError) -> str:
    """Returns the word for `info["sim_failure"]`."""
    if isinstance(error, SimulatorTimeout):
        return "timeout"
    return "crash" if isinstance(error, SimulatorCrashed) else "error"
