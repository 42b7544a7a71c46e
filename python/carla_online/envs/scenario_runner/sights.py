"""What an episode's snapshots show to the world that observes and judges it."""

from __future__ import annotations

import math
from typing import Any, Final

from carla_online.envs.carla.client import Connection
from carla_online.envs.carla.sightings import EgoSighting, Sighting, Watcher

_LEVEL_M: Final = 6.0
"""ScenarioRunner parks actors below the road; who is farther up or down than this isn't there. Boxes are compared on
the plane, so neither are those on another bridge."""
_NEAR_M: Final = 105.0
"""Lights farther away aren't asked what they show: the world looks 80 m ahead, and asking all of a town's costs more
than judging the step."""
_AGAIN_M: Final = 25.0
"""Which lights are near is found out again after this way."""


class Sights:
    """Looks at one episode.

    Args:
        connection: The server.
        ego: The ego's actor.
    """

    def __init__(self, connection: Connection, ego: Any) -> None:
        self._watcher = Watcher(connection)
        self._ego = ego
        self._lights = list(connection.world.get_actors().filter("traffic.traffic_light*"))
        self._signal_ids = [str(light.get_opendrive_id()) for light in self._lights]
        places = [light.get_transform().location for light in self._lights]
        self._light_places = [(place.x, place.y) for place in places]
        self._shown: list[Any] = [light.state for light in self._lights]
        self._centre: tuple[float, float] | None = None
        self._near: list[int] = []

    def ego(self, snapshot: Any) -> EgoSighting | None:
        """Returns the ego as a snapshot shows it; None if it is gone."""
        return self._watcher.ego(snapshot, self._ego)

    def others(self, snapshot: Any, ego: EgoSighting) -> list[Sighting]:
        """Returns all other road users at the ego's level."""
        return [other for other in self._watcher.others(snapshot, {self._ego.id}) if abs(other[4] - ego[2]) < _LEVEL_M]

    def changed_lights(self, ego: EgoSighting) -> list[tuple[str, str]] | None:
        """Returns what the lights show, by signal; None if no light near the ego shows another than when last asked."""
        is_new = self._centre is None
        if self._centre is None or math.dist(ego[:2], self._centre) > _AGAIN_M:
            self._centre = ego[:2]
            self._near = [k for k, place in enumerate(self._light_places) if math.dist(ego[:2], place) < _NEAR_M]
        changed = [(k, state) for k in self._near if (state := self._lights[k].state) != self._shown[k]]
        for k, state in changed:
            self._shown[k] = state
        if not (changed or is_new):
            return None
        return list(zip(self._signal_ids, map(_colour, self._shown), strict=True))


def _colour(state: Any) -> str:
    name = str(state).lower()
    return name if name in ("green", "yellow", "red") else "green"  # switched off, it forbids nothing
