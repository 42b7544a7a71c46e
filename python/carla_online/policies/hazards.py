"""What the scripted baseline stops for on street networks: lights, signs, and whoever crosses its way.

Everything is read from the vector observation. On a road without junctions there is nothing of the kind, and every
distance is infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online.policies.contract import FloatArray

Floats = NDArray[np.float32]

VEHICLE_SLOTS: Final = 8
WALKER_SLOTS: Final = 4
_ROUTE_POINTS_M: Final = (2, 5, 10, 15, 20, 30, 40)
_PATH_M: Final = np.arange(0.0, 40.1, 2.0, dtype=np.float32)
_TIMES_S: Final = np.arange(0.0, 5.1, 0.25, dtype=np.float32)
_FRONT_M: Final = 2.45
_STOP_BEFORE_M: Final = 1.5
# Half of both widths and a margin.
_VEHICLE_RADIUS_M: Final = 2.4
_WALKER_RADIUS_M: Final = 2.2
# Whoever stands is only in the way where the boxes would touch: two who wait for each other would wait for ever.
_STANDING_RADIUS_M: Final = 1.9
_STANDING_MPS: Final = 0.5
# Two who are in one place within this time of each other are in each other's way.
_VEHICLE_MARGIN_S: Final = 1.6
_WALKER_MARGIN_S: Final = 1.5
_SLOWEST_MPS: Final = 3.0
# Whoever drives the same way is followed, not yielded to.
_SAME_WAY_RAD: Final = 0.7
# A yellow light that needs harder braking than this is passed.
_YELLOW_MPS2: Final = 3.5
_NEAR_JUNCTION_M: Final = 40.0


class Hazards:
    """Reads distances to what must be stopped for.

    Args:
        fields: First value, size and scale of every field of the observation, by name.
    """

    def __init__(self, fields: Mapping[str, tuple[int, int, float]]) -> None:
        self._fields = fields

    def stop_m(self, obs: FloatArray, speed_mps: Floats) -> Floats:
        """Returns the room before the bumper up to where the ego must stand, float32 [N]; infinity for nowhere."""
        lines = self._lines(obs, speed_mps)
        return np.minimum(lines, self._crossing(obs, speed_mps)).astype(np.float32)

    def _read(self, obs: FloatArray, name: str) -> Floats:
        start, _, scale = self._fields[name]
        return np.asarray(obs[:, start] * np.float32(scale), np.float32)

    def _lines(self, obs: FloatArray, speed_mps: Floats) -> Floats:
        """Returns the room before the line of a light that isn't green, or of a stop sign."""
        line_m = self._read(obs, "lights/stop_line_distance")
        can_stop = speed_mps**2 <= 2.0 * _YELLOW_MPS2 * np.maximum(line_m, 0.1)
        red = self._read(obs, "lights/red") > 0.5
        yellow = (self._read(obs, "lights/yellow") > 0.5) & can_stop
        # At the line's very distance 0 the front has passed it: who stands there may leave.
        at_light = np.where((red | yellow) & ((line_m > 0.0) | (speed_mps < 2.0)), line_m, np.inf)
        sign = self._read(obs, "lights/stop_sign_ahead") > 0.5
        at_sign = np.where(sign, self._read(obs, "lights/stop_sign_distance"), np.inf)
        return np.asarray(np.minimum(at_light - 0.7, at_sign - 0.7), np.float32)

    def _crossing(self, obs: FloatArray, speed_mps: Floats) -> Floats:
        """Returns the room before the first place on the route where somebody else is about to be."""
        in_junction = self._read(obs, "lights/in_junction") > 0.5
        turns = sum(self._read(obs, f"route/{option}") for option in ("left", "right", "straight")) > 0.5
        is_near = turns & (self._read(obs, "route/manoeuvre_distance") < _NEAR_JUNCTION_M)
        has_walkers = self._read(obs, "walkers/0/mask") > 0.5
        room_m = np.full(len(obs), np.inf, np.float32)
        rows = np.flatnonzero(in_junction | is_near | has_walkers)
        if not rows.size:
            return room_m
        seen, own_mps = obs[rows], speed_mps[rows]
        path = self._path(seen)
        arrival_s = np.asarray(_PATH_M / np.maximum(own_mps, _SLOWEST_MPS)[:, None], np.float32)
        watches = (in_junction | is_near)[rows]
        for slot in range(VEHICLE_SLOTS):
            is_there, place, velocity = self._vehicle(seen, slot, own_mps)
            stands = np.linalg.norm(velocity, axis=1) < _STANDING_MPS
            radius_m = np.where(stands, _STANDING_RADIUS_M, _VEHICLE_RADIUS_M).astype(np.float32)
            near = self._meets(path, arrival_s, place, velocity, radius_m, _VEHICLE_MARGIN_S)
            room_m[rows] = np.minimum(room_m[rows], np.where(is_there & watches, near, np.inf))
        for slot in range(WALKER_SLOTS):
            is_there, place, velocity = self._walker(seen, slot)
            radius_m = np.full(len(rows), _WALKER_RADIUS_M, np.float32)
            near = self._meets(path, arrival_s, place, velocity, radius_m, _WALKER_MARGIN_S)
            room_m[rows] = np.minimum(room_m[rows], np.where(is_there, near, np.inf))
        return room_m

    def _path(self, obs: FloatArray) -> Floats:
        """Returns the route ahead in the ego's frame, float32 [N, P, 2], a point for each of `_PATH_M`."""
        points = np.zeros((len(obs), len(_ROUTE_POINTS_M) + 1, 2), np.float32)
        for index, at_m in enumerate(_ROUTE_POINTS_M):
            points[:, index + 1, 0] = self._read(obs, f"route/point_{at_m}_m/x")
            points[:, index + 1, 1] = self._read(obs, f"route/point_{at_m}_m/y")
        knots = np.array([0, *_ROUTE_POINTS_M], np.float32)
        right = np.clip(np.searchsorted(knots, _PATH_M), 1, len(knots) - 1)
        share = ((_PATH_M - knots[right - 1]) / (knots[right] - knots[right - 1]))[None, :, None]
        return np.asarray(points[:, right - 1] * (1.0 - share) + points[:, right] * share, np.float32)

    def _vehicle(self, obs: FloatArray, slot: int, own_mps: Floats) -> tuple[NDArray[np.bool_], Floats, Floats]:
        def read(name: str) -> Floats:
            return self._read(obs, f"vehicles/{slot}/{name}")

        place = np.stack([read("dx"), read("dy")], axis=1)
        velocity = np.stack([read("dvx") + own_mps, read("dvy")], axis=1)
        crosses = np.abs(read("heading_difference")) > _SAME_WAY_RAD
        return (read("mask") > 0.5) & crosses, place, velocity

    def _walker(self, obs: FloatArray, slot: int) -> tuple[NDArray[np.bool_], Floats, Floats]:
        def read(name: str) -> Floats:
            return self._read(obs, f"walkers/{slot}/{name}")

        place = np.stack([read("dx"), read("dy")], axis=1)
        return read("mask") > 0.5, place, np.stack([read("vx"), read("vy")], axis=1)

    def _meets(
        self, path: Floats, arrival_s: Floats, place: Floats, velocity: Floats, radius_m: Floats, margin_s: float
    ) -> Floats:
        """Returns the room before the first point of the path where one is at about the time of the ego."""
        # [N, T, 2] positions of the other, [N, P, T] distances to the path.
        others = place[:, None, :] + velocity[:, None, :] * _TIMES_S[None, :, None]
        apart = np.linalg.norm(path[:, :, None, :] - others[:, None, :, :], axis=-1)
        together = np.abs(arrival_s[:, :, None] - _TIMES_S[None, None, :]) < margin_s
        hit = ((apart < radius_m[:, None, None]) & together).any(axis=2) & (_PATH_M[None, :] > _FRONT_M - 1.0)
        first_m = np.where(hit.any(axis=1), _PATH_M[hit.argmax(axis=1)], np.inf)
        return np.asarray(np.maximum(first_m - _FRONT_M - _STOP_BEFORE_M - radius_m, 0.0), np.float32)
