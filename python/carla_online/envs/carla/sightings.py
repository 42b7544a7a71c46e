"""What a snapshot shows, in the form in which the embedded world judges it."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

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


class Watcher:
    """Finds the road users in snapshots; what each of them is, is asked once.

    Args:
        connection: The server of one episode.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._forms: dict[int, _Form | None] = {}

    def ego(self, snapshot: Any, actor: Any) -> EgoSighting:
        """Returns the ego as `snapshot` shows it."""
        seen = snapshot.find(actor.id)
        pose, velocity = seen.get_transform(), seen.get_velocity()
        place = pose.location
        gear = int(actor.get_control().gear)
        yaw_rate = seen.get_angular_velocity().z
        return (place.x, place.y, place.z, pose.rotation.yaw, velocity.x, velocity.y, yaw_rate, gear)

    def others(self, snapshot: Any, excluded: Collection[int]) -> list[Sighting]:
        """Returns every vehicle and walker of `snapshot` but the `excluded`, whoever spawned it."""
        seen = [actor for actor in snapshot if actor.id not in excluded]
        unknown = [actor.id for actor in seen if actor.id not in self._forms]
        if unknown:
            self._learn(unknown)
        return [_sighting(actor, form) for actor in seen if (form := self._forms[actor.id]) is not None]

    def _learn(self, ids: list[int]) -> None:
        self._forms.update(dict.fromkeys(ids))
        for actor in self._connection.world.get_actors(ids):
            kind = actor.type_id.split(".")[0]
            if kind in ("vehicle", "walker"):
                box = actor.bounding_box
                self._forms[actor.id] = _Form(kind, box.location.x, box.location.y, box.extent.x, box.extent.y)


def _sighting(actor: Any, form: _Form) -> Sighting:
    pose, velocity = actor.get_transform(), actor.get_velocity()
    yaw_rad = math.radians(pose.rotation.yaw)
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    x = pose.location.x + form.offset_x * cos - form.offset_y * sin
    y = pose.location.y + form.offset_x * sin + form.offset_y * cos
    return (
        int(actor.id), form.kind, x, y, pose.location.z, pose.rotation.yaw,
        velocity.x, velocity.y, form.half_length, form.half_width,
    )  # fmt: skip
