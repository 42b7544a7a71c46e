"""One server with a town on it, and the world that observes and judges there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from carla_online import _native
from carla_online.envs.carla.client import Connection, Deadlines, keep_for_ever
from carla_online.envs.carla.config import SERVE, split_address
from carla_online.envs.scenario_runner.cleaning import leftovers
from carla_online.envs.scenario_runner.config import ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.upstream import SynchronousManagers
from carla_online.errors import SimulatorError
from carla_online.server import Server, ServerConfig

logger = logging.getLogger(__name__)


class Town:
    """The connection of a worker, with one town loaded at a time.

    Args:
        config: The environment's configuration.
        index: Which of its servers this is.
        step_s: Step of the simulation, seconds.

    Attributes:
        name: The town that is loaded; empty before the first.
        own_ids: Ids of the actors that came with it.
    """

    def __init__(self, config: ScenarioRunnerEnvConfig, index: int, step_s: float) -> None:
        self._config, self._index, self._step_s = config, index, step_s
        self._own_server: Server | None = None
        self._connection: Connection | None = None
        self._managers: SynchronousManagers | None = None
        self._mirrors: dict[str, _native.WorldMirror] = {}
        self.map: Any = None
        self.name = ""
        self.own_ids: frozenset[int] = frozenset()

    @property
    def server(self) -> str:
        """Where it is, for messages."""
        return self._config.servers[self._index]

    @property
    def connection(self) -> Connection:
        """The connection, made when it is first needed.

        Raises:
            SimulatorError: The server doesn't answer.
        """
        if self._connection is None:
            host, port = self._serve() if self.server == SERVE else split_address(self.server)
            deadlines = Deadlines(
                connect_s=self._config.load_timeout_s,
                load_s=self._config.load_timeout_s,
                call_s=self._config.call_timeout_s,
            )
            # ScenarioRunner ticks by itself while it builds a scenario.
            self._connection = Connection(host, port, deadlines, self._step_s, is_ticked_beside=True)
        return self._connection

    @property
    def managers(self) -> SynchronousManagers:
        """The Traffic Manager of this process."""
        if self._managers is None:
            self._managers = SynchronousManagers(self.connection.carla)
        return self._managers

    def load(self, name: str) -> None:
        """Loads a town, if it isn't there already.

        Raises:
            SimulatorError: The server failed, or doesn't have it.
        """
        if self.name == name:
            return
        connection = self.connection
        with connection.guard("shutting down the Traffic Manager"):
            self.managers.release()
        self.name = ""
        connection.load_town(name)
        with connection.guard("looking at a town"):
            connection.tick()
            self.map = connection.world.get_map()
            strangers = leftovers(connection, ())
            self.own_ids = frozenset(int(actor.id) for actor in connection.world.get_actors()) - set(strangers)
        self.name = name

    def mirror(self) -> _native.WorldMirror:
        """Returns the world that observes and judges in this town; baked once."""
        if self.name not in self._mirrors:
            self._mirrors[self.name] = _native.WorldMirror(self._config.world_json(self.map.to_opendrive()))
        return self._mirrors[self.name]

    def close(self) -> None:
        """Gives the server its settings back and ends an own one."""
        if self._connection is not None:
            try:
                with self._connection.guard("shutting down the Traffic Manager"):
                    self.managers.release()
                self._connection.close()
            except SimulatorError as error:
                logger.warning("%s: couldn't be left as it was found: %s", self.server, error)
            keep_for_ever(self._connection, self._managers, self.map)
            self._connection = None
        if self._own_server is not None:
            self._own_server.__exit__(None, None, None)
            self._own_server = None

    def _serve(self) -> tuple[str, int]:
        if self._own_server is None:
            folder = self._config.find("maps")
            server = Server(ServerConfig(map="Straight", maps=Path(folder) if folder else None))
            server.__enter__()
            self._own_server = server
        return "127.0.0.1", self._own_server.port
