"""The ego's way: places that the observing world plans its route through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from carla_online.envs.scenario_runner.config import Turn
from carla_online.errors import SimulatorError

Place = tuple[float, float, float, float]
"""x, y, z (m) and heading (degrees)."""

_STEP_M: Final = 2.0
_APART_M: Final = 12.0
_TURN_DEG: Final = 35.0
"""A junction left within this angle of the way in is crossed straight on, as CARLA's planner has it."""


def along_the_road(carla_map: Any, start: Any, length_m: float, turn: Turn) -> list[Place]:
    """Returns places along the road from a transform on.

    Args:
        carla_map: The map.
        start: Transform of the ego.
        length_m: How far; less where the road ends.
        turn: Where to go at the first junction; straight on at the others, as far as that leads.

    Raises:
        SimulatorError: The ego isn't on a road.
    """
    waypoint = carla_map.get_waypoint(start.location)
    if waypoint is None:
        raise SimulatorError(f"the scenario's ego at {start.location} isn't on a road.")
    places, driven_m, wanted = [_place(waypoint)], 0.0, turn
    was_inside = bool(waypoint.is_junction)
    last_m = 0.0
    while driven_m < length_m:
        choices = waypoint.next(_STEP_M)
        if not choices:
            break
        enters = any(choice.is_junction for choice in choices) and not was_inside
        following = choices[0] if len(choices) == 1 else _choose(choices, wanted)
        if enters:
            wanted = "straight"
        waypoint, was_inside = following, bool(following.is_junction)
        driven_m += _STEP_M
        if not was_inside and driven_m - last_m >= _APART_M:
            places.append(_place(waypoint))
            last_m = driven_m
    if not waypoint.is_junction and driven_m > last_m:
        places.append(_place(waypoint))
    return places


def along_a_route(carla_map: Any, transforms: Sequence[Any]) -> list[Place]:
    """Returns places along a dense route, none of them in a junction, where lanes lie over one another.

    Raises:
        SimulatorError: The route has no place on a road.
    """
    places: list[Place] = []
    last: Any = None
    for number, transform in enumerate(transforms):
        is_end = number + 1 == len(transforms)
        waypoint = carla_map.get_waypoint(transform.location)
        if waypoint is None or waypoint.is_junction:
            continue
        if last is not None and not is_end and last.distance(transform.location) < _APART_M:
            continue
        places.append(_place(waypoint))
        last = transform.location
    if len(places) < 2:
        raise SimulatorError("the scenario's route has no two places on a road outside of junctions.")
    return places


def _place(waypoint: Any) -> Place:
    pose = waypoint.transform
    return (pose.location.x, pose.location.y, pose.location.z, pose.rotation.yaw)


def _choose(choices: list[Any], turn: Turn) -> Any:
    """Returns the way on whose junction is left in the direction that is wanted; the straightest if there is none."""
    turned = [(_turned_deg(choice), choice) for choice in choices]
    if turn == "left":
        fitting = [pair for pair in turned if pair[0] < -_TURN_DEG]
    elif turn == "right":
        fitting = [pair for pair in turned if pair[0] > _TURN_DEG]
    else:
        fitting = []
    return min(fitting or turned, key=lambda pair: abs(pair[0]))[1]


def _turned_deg(waypoint: Any) -> float:
    """Returns how far a way turns until it has left its junction; positive to the right."""
    begun_deg = waypoint.transform.rotation.yaw
    here = waypoint
    for _ in range(100):
        ahead = here.next(_STEP_M)
        if not ahead:
            break
        here = ahead[0]
        if not here.is_junction:
            break
    return math.remainder(here.transform.rotation.yaw - begun_deg, 360.0)
