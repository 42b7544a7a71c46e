"""What a picture of a world needs: where everybody is, and the lines of the road."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

POSE_COLUMNS: Final = ("x_m", "y_m", "yaw_rad", "half_length_m", "half_width_m", "speed_mps")
"""Columns of `Scene.ego` and `Scene.actors`."""

_NATIVE_COLUMNS: Final = ("x", "y", "yaw", "half_length", "half_width", "speed")


@dataclass(frozen=True, slots=True)
class Scene:
    """Boxes of one world at one moment."""

    ego: NDArray[np.float64]
    """float64 [6], see `POSE_COLUMNS`."""
    actors: NDArray[np.float64]
    """float64 [M, 6], everybody else."""
    stops: NDArray[np.float64]
    """float64 [L, 4], both ends (x, y, x, y) of the stop lines near, metres."""
    states: tuple[str, ...]
    """What holds at each of them now: `red`, `yellow`, `green`, `stop`, `yield`."""


@dataclass(frozen=True, slots=True)
class Polyline:
    """One line of the road."""

    kind: str
    """What it is: route, edge, lane line, ..."""
    points: NDArray[np.float32]
    """float32 [P, 2], metres."""


def read_scene(native: Mapping[str, Any], stops: Sequence[tuple[Sequence[float], str]] = ()) -> Scene:
    """Returns the native scene and stop lines as arrays."""
    return Scene(
        ego=_table(native["ego"])[0],
        actors=_table(native["actors"]),
        stops=np.array([ends for ends, _ in stops], np.float64).reshape(-1, 4),
        states=tuple(state for _, state in stops),
    )


def read_road(native: Sequence[tuple[str, Any]]) -> list[Polyline]:
    """Returns the native road as arrays."""
    return [Polyline(kind, np.frombuffer(points, np.float32).reshape(-1, 2).copy()) for kind, points in native]


def _table(columns: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.stack([np.atleast_1d(np.asarray(columns[name], np.float64)) for name in _NATIVE_COLUMNS], axis=1)
