"""What an episode's snapshots show to the world that observes and judges it."""

from __future__ import annotations

from typing import Any, Final

from carla_online.envs.carla.client import Connection
from carla_online.envs.carla.sightings import EgoSighting, Sighting, Watcher

_LEVEL_M: Final = 6.0
"""ScenarioRunner parks actors below the road; who is farther up or down than this isn't there. Boxes are compared on
the plane, so neither are those on another bridge."""


class Sights:
    """Looks at one episode.

    Args:
        connection: The server.
        ego: The ego's actor.
    """

    def __init__(self, connection: Connection, ego: Any) -> None:
        self._watcher = Watcher(connection)
        self._ego = ego
        lights = connection.world.get_actors().filter("traffic.traffic_light*")
        self._lights = list(lights)
        self._signal_ids = [str(light.get_opendrive_id()) for light in self._lights]
        self._shown: list[Any] | None = None

    def is_there(self, snapshot: Any) -> bool:
        """Whether the ego still exists."""
        return snapshot.find(self._ego.id) is not None

    def ego(self, snapshot: Any) -> EgoSighting:
        """Returns the ego as a snapshot shows it."""
        return self._watcher.ego(snapshot, self._ego)

    def others(self, snapshot: Any, ego: EgoSighting) -> list[Sighting]:
        """Returns all other road users at the ego's level."""
        return [other for other in self._watcher.others(snapshot, {self._ego.id}) if abs(other[4] - ego[2]) < _LEVEL_M]

    def changed_lights(self) -> list[tuple[str, str]] | None:
        """Returns what the lights show, by signal; None if it is what they showed when last asked."""
        states = [light.state for light in self._lights]
        if states == self._shown:  # asked in every step, so the words are made only when something has changed
            return None
        self._shown = states
        return list(zip(self._signal_ids, map(_colour, states), strict=True))


def _colour(state: Any) -> str:
    name = str(state).lower()
    return name if name in ("green", "yellow", "red") else "green"  # switched off, it forbids nothing
