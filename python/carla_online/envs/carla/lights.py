"""The traffic lights of an episode: they show on the server what the embedded world's clock says."""

from __future__ import annotations

from typing import Any

from carla_online.envs.carla.client import Connection


class Lights:
    """The lights of one map, by the number of their signal in its OpenDRIVE file.

    Lights that the map doesn't name keep the server's own time.

    Args:
        connection: The server; it has the episode's map.
    """

    def __init__(self, connection: Connection) -> None:
        self._states = connection.carla.TrafficLightState
        actors = connection.world.get_actors().filter("traffic.traffic_light*")
        self._actors: dict[str, Any] = {str(actor.get_opendrive_id()): actor for actor in actors}
        self._shown: dict[str, str] = {}

    def show(self, lights: list[tuple[str, str]]) -> None:
        """Sets the lights that have changed; the next step shows it.

        Args:
            lights: Signal's number, and `green`, `yellow` or `red`.
        """
        for signal_id, colour in lights:
            actor = self._actors.get(signal_id)
            if actor is None or self._shown.get(signal_id) == colour:
                continue
            if signal_id not in self._shown:
                actor.freeze(True)
            actor.set_state(getattr(self._states, colour.capitalize()))
            self._shown[signal_id] = colour

    def release(self) -> None:
        """Lets the server's own time go on."""
        for signal_id in self._shown:
            self._actors[signal_id].freeze(False)
        self._shown.clear()
