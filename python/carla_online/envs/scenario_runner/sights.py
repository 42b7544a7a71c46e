"""What an episode's snapshots show to the world that observes and judges it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from carla_online._native import WorldMirror
from carla_online.envs.carla.client import Connection
from carla_online.envs.carla.sightings import EgoSighting, Sighting, Watcher

_LEVEL_M: Final = 6.0
"""ScenarioRunner parks actors below the road; who is farther up or down than this isn't there. Boxes are compared on
the plane, so neither are those on another bridge."""
_AHEAD_M: Final = 105.0
"""Lights farther along the ego's ways aren't asked what they show: the world looks 80 m ahead, and asking all of a
town's costs more than judging the step."""
_AGAIN_M: Final = 20.0
"""Which lights are ahead is found out again after this way."""


class Sights:
    """Looks at one episode.

    Args:
        connection: The server.
        ego: The ego's actor.
        mirror: The world that judges.
    """

    def __init__(self, connection: Connection, ego: Any, mirror: WorldMirror) -> None:
        self._watcher = Watcher(connection)
        self._ego = ego
        self._lights = list(connection.world.get_actors().filter("traffic.traffic_light*"))
        self._signal_ids = [str(light.get_opendrive_id()) for light in self._lights]
        self._shown: list[Any] = [light.state for light in self._lights]
        self._mirror = mirror
        self._centre: tuple[float, float] | None = None
        self._ahead: list[int] = []

    def ego(self, snapshot: Any) -> EgoSighting | None:
        """Returns the ego as a snapshot shows it; None if it is gone."""
        return self._watcher.ego(snapshot, self._ego)

    def others(self, snapshot: Any, ego: EgoSighting) -> list[Sighting]:
        """Returns all other road users at the ego's level."""
        return [other for other in self._watcher.others(snapshot, {self._ego.id}) if abs(other[4] - ego[2]) < _LEVEL_M]

    def changed_lights(self, ego: EgoSighting) -> list[tuple[str, str]] | None:
        """Returns what the lights show, by signal; None if no light ahead shows another than when last asked."""
        is_new = self._centre is None
        if self._centre is None or math.dist(ego[:2], self._centre) > _AGAIN_M:
            self._centre = ego[:2]
            ahead = set(self._mirror.lights_ahead(_AHEAD_M))
            self._ahead = [k for k, signal_id in enumerate(self._signal_ids) if signal_id in ahead]
        changed = self._ask(self._ahead)
        return self._told() if changed or is_new else None

    def all_lights(self) -> list[tuple[str, str]]:
        """Returns what all lights show, by signal."""
        self._ask(range(len(self._lights)))
        return self._told()

    def _ask(self, lights: Iterable[int]) -> bool:
        """Asks lights what they show; returns whether that's anything new."""
        changed = [(k, state) for k in lights if (state := self._lights[k].state) != self._shown[k]]
        for k, state in changed:
            self._shown[k] = state
        return bool(changed)

    def _told(self) -> list[tuple[str, str]]:
        return list(zip(self._signal_ids, map(_colour, self._shown), strict=True))


def _colour(state: Any) -> str:
    name = str(state).lower()
    return name if name in ("green", "yellow", "red") else "green"  # switched off, it forbids nothing
