"""A plan that changes lanes."""

from __future__ import annotations

import carla

from .local_planner import RoadOption

_LEAST_M = 0.1
_OPTIONS = {"left": RoadOption.CHANGELANELEFT, "right": RoadOption.CHANGELANERIGHT}
_PERMISSION = {"left": carla.LaneChange.Left, "right": carla.LaneChange.Right}


def lane_change_plan(
    waypoint: carla.Waypoint,
    direction: str,
    *,
    same_lane_m: float,
    other_lane_m: float,
    change_m: float,
    check: bool,
    changes: int,
    step_m: float,
) -> list[tuple[carla.Waypoint, RoadOption]]:
    """Returns a plan along the lane, over to the side, and along the new lane; empty where there is no such way.

    Args:
        waypoint: Where it begins.
        direction: `left` or `right`.
        same_lane_m: How far to stay before the change.
        other_lane_m: How far to go on behind it.
        change_m: Length of all changes together.
        check: Whether the lane marks must permit it.
        changes: How many lanes to change.
        step_m: Distance of the waypoints.
    """
    if direction not in _OPTIONS or changes < 1:
        return []
    plan = [(waypoint, RoadOption.LANEFOLLOW)]
    if not _follow(plan, same_lane_m, step_m):
        return []
    for _ in range(changes):
        ahead = plan[-1][0].next(max(change_m, _LEAST_M) / changes)
        if not ahead or (check and not int(ahead[0].lane_change) & int(_PERMISSION[direction])):
            return []
        beside = ahead[0].get_left_lane() if direction == "left" else ahead[0].get_right_lane()
        if beside is None or beside.lane_type != carla.LaneType.Driving:
            return []
        plan.append((beside, _OPTIONS[direction]))
    return plan if _follow(plan, other_lane_m, step_m) else []


def _follow(plan: list[tuple[carla.Waypoint, RoadOption]], length_m: float, step_m: float) -> bool:
    """Extends a plan along its lane; False if the lane ends before."""
    left_m = max(length_m, _LEAST_M)
    while left_m > 0.0:
        ahead = plan[-1][0].next(step_m)
        if not ahead:
            return False
        left_m -= ahead[0].transform.location.distance(plan[-1][0].transform.location)
        plan.append((ahead[0], RoadOption.LANEFOLLOW))
    return True
