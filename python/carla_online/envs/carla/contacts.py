"""What the ego's collision sensor reported, by frame."""

from __future__ import annotations

import threading
from typing import Any, Final

Contact = tuple[int, str]
"""The other's id and what it is: `vehicle`, `walker` or `layout`."""

_KINDS: Final = {"vehicle": "vehicle", "walker": "walker"}


class CollisionListener:
    """Keeps a collision sensor's messages until their frame is asked for.

    Messages come in a thread of the client's, later than the state of their frame or not at all; so they are taken by
    frame number, and one that came late counts with the next frame.

    Args:
        sensor: A collision sensor; held here, because the client drops a sensor that nobody holds.
    """

    def __init__(self, sensor: Any) -> None:
        self.sensor = sensor
        self._arrived = threading.Condition()
        self._waiting: list[tuple[int, Contact]] = []
        sensor.listen(self._hear)

    def take(self, frame: int, *, wait_s: float = 0.0) -> list[Contact]:
        """Returns the contacts of `frame`, and late ones of frames before it, each pair once.

        Args:
            frame: Number of a step that has been made.
            wait_s: How long to wait for the first one, if there is none yet.
        """
        with self._arrived:
            if wait_s > 0.0:
                self._arrived.wait_for(lambda: any(seen <= frame for seen, _ in self._waiting), wait_s)
            due = [contact for seen, contact in self._waiting if seen <= frame]
            self._waiting = [entry for entry in self._waiting if entry[0] > frame]
        return list(dict.fromkeys(due))

    def stop(self) -> None:
        """Stops listening; the sensor is still to be destroyed."""
        self.sensor.stop()

    def let_go(self) -> None:
        """Drops the sensor, whose destructor asks the server: now, not when a collector gets round to the circle."""
        self.sensor = None

    def _hear(self, event: Any) -> None:
        other = event.other_actor
        kind = _KINDS.get(other.type_id.split(".")[0], "layout")
        contact = (0 if kind == "layout" else int(other.id), kind)
        with self._arrived:
            self._waiting.append((int(event.frame), contact))
            self._arrived.notify_all()
