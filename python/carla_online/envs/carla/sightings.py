"""What a snapshot shows, in the form in which the embedded world judges it."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from carla_online.envs.carla.client import Connection

EgoSighting = tuple[float, float, float, float, float, float, float, int]
"""x, y, z (m), yaw (degrees), velocity x, y (m/s), yaw rate (degrees/s, clockwise), gear."""
Sighting = tuple[int, str, float, float, float, float, float, float, float, float]
"""Id, `vehicle` or `walker`, x, y, z of the box (m), yaw (degrees), velocity x, y (m/s), half length and width (m)."""


class _Form(NamedTuple):
    kind: str
    offset_x: float
    offset_y: float
    half_length: float
    half_width: float


_LOOKS: Final = 20
"""All actors are looked through again after so many steps, whether or not their number has changed."""


class Watcher:
    """Finds the road users in snapshots; what each of them is, is asked once.

    Args:
        connection: The server of one episode.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._forms: dict[int, _Form | None] = {}
        self._road_users: list[tuple[int, _Form]] = []
        self._count, self._looks = -1, 0

    def ego(self, snapshot: Any, actor: Any) -> EgoSighting | None:
        """Returns the ego as `snapshot` shows it; None if it isn't there."""
        seen = snapshot.find(actor.id)
        if seen is None:
            return None
        pose, velocity = seen.get_transform(), seen.get_velocity()
        place = pose.location
        gear = int(actor.get_control().gear)
        yaw_rate = seen.get_angular_velocity().z
        return (place.x, place.y, place.z, pose.rotation.yaw, velocity.x, velocity.y, yaw_rate, gear)

    def others(self, snapshot: Any, excluded: Collection[int]) -> list[Sighting]:
        """Returns every vehicle and walker of `snapshot` but the `excluded`, whoever spawned it."""
        seen = self._again(snapshot)
        if seen is None:
            seen = self._all(snapshot)
        return [_sighting(actor, form) for actor, form in seen if actor.id not in excluded]

    def _again(self, snapshot: Any) -> list[tuple[Any, _Form]] | None:
        """Finds those who were there when all were looked through; None if anybody may have come or gone.

        A town's lights and signs are actors too, so looking through all takes most of the time of a step's judgement.
        Somebody who comes in the very step in which a sensor, say, goes is seen when all are looked through next.
        """
        self._looks += 1
        if len(snapshot) != self._count or self._looks >= _LOOKS:
            return None
        found = [(snapshot.find(number), form) for number, form in self._road_users]
        return None if any(actor is None for actor, _ in found) else found

    def _all(self, snapshot: Any) -> list[tuple[Any, _Form]]:
        forms, actors = self._forms, list(snapshot)
        unknown = [actor.id for actor in actors if actor.id not in forms]
        if unknown:
            self._learn(unknown)
        found = [(actor, form) for actor in actors if (form := forms[actor.id]) is not None]
        self._count, self._looks = len(actors), 0
        self._road_users = [(actor.id, form) for actor, form in found]
        return found

    def _learn(self, ids: list[int]) -> None:
        self._forms.update(dict.fromkeys(ids))
        for actor in self._connection.world.get_actors(ids):
            kind = actor.type_id.split(".")[0]
            if kind in ("vehicle", "walker"):
                box = actor.bounding_box
                self._forms[actor.id] = _Form(kind, box.location.x, box.location.y, box.extent.x, box.extent.y)


def _sighting(actor: Any, form: _Form) -> Sighting:
    pose, velocity = actor.get_transform(), actor.get_velocity()
    place, yaw_deg = pose.location, pose.rotation.yaw
    yaw_rad = math.radians(yaw_deg)
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    x = place.x + form.offset_x * cos - form.offset_y * sin
    y = place.y + form.offset_x * sin + form.offset_y * cos
    return (
        actor.id, form.kind, x, y, place.z, yaw_deg,
        velocity.x, velocity.y, form.half_length, form.half_width,
    )  # fmt: skip
