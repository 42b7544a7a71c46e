"""The strip of road that a plan will sweep, and what stands in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import carla

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]

# Somebody this much higher or lower is on another level of the road.
_LEVEL_M = 3.0


def corridor(
    start: carla.Transform, poses: Iterable[carla.Transform], *, half_width_m: float, offset_m: float, reach_m: float
) -> list[Quad]:
    """Returns the quadrilaterals between a start and the poses of a plan, as far as `reach_m` from the start.

    Args:
        start: Where the strip begins.
        poses: The plan's poses.
        half_width_m: Half the strip's width.
        offset_m: How far to the right of the poses it runs.
        reach_m: Where it ends, as the crow flies.
    """
    near = itertools.takewhile(lambda pose: pose.location.distance(start.location) <= reach_m, poses)
    edges = [_edge(pose, half_width_m, offset_m) for pose in (start, *near)]
    return [(*first, second[1], second[0]) for first, second in itertools.pairwise(edges)]


def _edge(pose: carla.Transform, half_width_m: float, offset_m: float) -> tuple[Point, Point]:
    """Returns the left and the right end of the strip across a pose."""
    right, place = pose.get_right_vector(), pose.location
    ends = (offset_m - half_width_m, offset_m + half_width_m)
    left_end, right_end = ((place.x + end * right.x, place.y + end * right.y) for end in ends)
    return left_end, right_end


def stands_in(actor: carla.Actor, strip: list[Quad], level_m: float) -> bool:
    """Tells whether an actor's box touches a strip at the height `level_m`."""
    pose = actor.get_transform()
    if not strip or abs(pose.location.z - level_m) > _LEVEL_M:
        return False
    box, extent = actor.bounding_box.location, actor.bounding_box.extent
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    corners = [pose.transform(carla.Location(box.x + a * extent.x, box.y + b * extent.y, 0.0)) for a, b in signs]
    outline = [(corner.x, corner.y) for corner in corners]
    return any(_overlap(outline, list(quad)) for quad in strip)


def _overlap(first: list[Point], second: list[Point]) -> bool:
    """Tells whether two convex shapes overlap: no edge's normal separates them."""
    for normal_x, normal_y in itertools.chain(_normals(first), _normals(second)):
        ours = [x * normal_x + y * normal_y for x, y in first]
        theirs = [x * normal_x + y * normal_y for x, y in second]
        if max(ours) < min(theirs) or max(theirs) < min(ours):
            return False
    return True


def _normals(shape: list[Point]) -> Iterator[Point]:
    for (x, y), (next_x, next_y) in itertools.pairwise([*shape, shape[0]]):
        # A degenerate edge has no direction and would separate nothing.
        if math.hypot(next_x - x, next_y - y) > 0.0:
            yield next_y - y, x - next_x
