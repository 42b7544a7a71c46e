"""A small picture from above, drawn with NumPy alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.world.scene import Polyline, Scene

SIZE_PX: Final = 240
_METRES_PER_PIXEL: Final = 0.4
_AHEAD_SHARE: Final = 0.7  # of the picture's height lies ahead of the ego

_BACKGROUND: Final = (38, 42, 46)
_ROAD: Final = {"route": (74, 124, 89)}
_LINE: Final = (150, 150, 150)
_STOPS: Final = {"red": (214, 39, 40), "yellow": (232, 180, 0), "green": (44, 160, 44), "stop": (178, 24, 43)}
_EGO: Final = (240, 180, 40)
_ACTOR: Final = (90, 150, 220)


def draw(scene: Scene, road: list[Polyline]) -> NDArray[np.uint8]:
    """Draws a world seen from above, the ego pointing up.

    Args:
        scene: The boxes.
        road: The lines.

    Returns:
        uint8 [240, 240, 3].
    """
    picture = np.empty((SIZE_PX, SIZE_PX, 3), np.uint8)
    picture[:] = _BACKGROUND
    for line in road:
        _draw_line(picture, _to_pixels(line.points.astype(np.float64), scene), _ROAD.get(line.kind, _LINE))
    for ends, state in zip(scene.stops, scene.states, strict=True):
        _draw_line(picture, _to_pixels(ends.reshape(2, 2), scene), _STOPS.get(state, _LINE))
    for actor in scene.actors:
        _draw_box(picture, actor, scene, _ACTOR)
    _draw_box(picture, scene.ego, scene, _EGO)
    return picture


def _to_pixels(points: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
    """Maps world points [P, 2] to (row, column) [P, 2]; the world is left-handed like CARLA's: y right."""
    offset = points - scene.ego[:2]
    cosine, sine = np.cos(scene.ego[2]), np.sin(scene.ego[2])
    ahead = offset[:, 0] * cosine + offset[:, 1] * sine
    right = -offset[:, 0] * sine + offset[:, 1] * cosine
    rows = SIZE_PX * _AHEAD_SHARE - ahead / _METRES_PER_PIXEL
    return np.stack([rows, SIZE_PX / 2 + right / _METRES_PER_PIXEL], axis=1)


def _draw_line(picture: NDArray[np.uint8], pixels: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    if len(pixels) < 2:
        return
    # A segment entirely beyond one side of the picture can't be seen; the rest is walked pixel by pixel.
    low, high = np.minimum(pixels[:-1], pixels[1:]), np.maximum(pixels[:-1], pixels[1:])
    seen = np.all((high >= 0) & (low < SIZE_PX), axis=1)
    for start, end in zip(pixels[:-1][seen], pixels[1:][seen], strict=True):
        steps = int(np.ceil(np.abs(end - start).max())) + 1
        walk = start + (end - start) * np.linspace(0.0, 1.0, steps)[:, None]
        cells = np.floor(walk).astype(np.int64)
        inside = np.all((cells >= 0) & (cells < SIZE_PX), axis=1)
        picture[cells[inside, 0], cells[inside, 1]] = colour


def _draw_box(picture: NDArray[np.uint8], box: NDArray[np.float64], scene: Scene, colour: tuple[int, int, int]) -> None:
    centre = _to_pixels(box[None, :2], scene)[0]
    reach = int(np.ceil(np.hypot(box[3], box[4]) / _METRES_PER_PIXEL)) + 1
    first = np.maximum(np.floor(centre).astype(np.int64) - reach, 0)
    last = np.minimum(np.floor(centre).astype(np.int64) + reach + 1, SIZE_PX)
    if np.any(first >= last):
        return
    rows, columns = np.mgrid[first[0] : last[0], first[1] : last[1]]
    up = (centre[0] - rows - 0.5) * _METRES_PER_PIXEL
    right = (columns + 0.5 - centre[1]) * _METRES_PER_PIXEL
    turn = box[2] - scene.ego[2]
    along = up * np.cos(turn) + right * np.sin(turn)
    across = -up * np.sin(turn) + right * np.cos(turn)
    inside = (np.abs(along) <= box[3]) & (np.abs(across) <= box[4])
    picture[rows[inside], columns[inside]] = colour
