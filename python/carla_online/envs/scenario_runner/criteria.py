"""What ScenarioRunner's criteria have found so far, read after every tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from carla_online.envs.contract import INFRACTION_NAMES

EVENT_INFRACTIONS: Final[Mapping[str, str]] = {
    "COLLISION_STATIC": "collision_static",
    "COLLISION_VEHICLE": "collision_vehicle",
    "COLLISION_PEDESTRIAN": "collision_walker",
    "TRAFFIC_LIGHT_INFRACTION": "red_light",
    "STOP_INFRACTION": "stop_sign",
    "WRONG_WAY_INFRACTION": "wrong_way",
    "ON_SIDEWALK_INFRACTION": "off_road",
    "OUTSIDE_LANE_INFRACTION": "lane_invasion",
    "OUTSIDE_ROUTE_LANES_INFRACTION": "outside_route_lanes",
    "ROUTE_DEVIATION": "route_deviation",
    "VEHICLE_BLOCKED": "blocked",
    "SCENARIO_TIMEOUT": "timed_out",
}
"""The infraction that each of ScenarioRunner's events counts as; the others say how the scenario went."""

_JUDGES: Final[Mapping[str, tuple[str, ...]]] = {
    "CollisionTest": ("collision_static", "collision_vehicle", "collision_walker"),
    "RunningRedLightTest": ("red_light",),
    "RunningStopTest": ("stop_sign",),
    "InRouteTest": ("route_deviation",),
    "OutsideRouteLanesTest": ("outside_route_lanes",),
    "ActorBlockedTest": ("blocked",),
}
"""What a criterion's class judges, whether or not it has found anything."""


_NONE: Final = (0,) * len(INFRACTION_NAMES)


class Findings(NamedTuple):
    """The criteria after a tick."""

    counts: tuple[int, ...] = _NONE
    """Events so far, in the order of `INFRACTION_NAMES`."""
    watched: tuple[bool, ...] = (False,) * len(INFRACTION_NAMES)
    """Whether a criterion of the scenario watches for them."""
    route_completion: float | None = None
    """Share of the route, [0, 1]; None where no criterion follows a route."""
    outside_lanes_share: float | None = None
    """Share of the distance outside of the route's lanes; None where no criterion looks."""


class CriteriaReader:
    """Reads a scenario's criteria; they are collected once, for that walks through the whole tree.

    Args:
        criteria: ScenarioRunner's criteria.
    """

    def __init__(self, criteria: Iterable[Any]) -> None:
        self._criteria = list(criteria)
        kinds = [{base.__name__ for base in type(criterion).__mro__} for criterion in self._criteria]
        watched = {name for names in kinds for kind in names for name in _JUDGES.get(kind, ())}
        self._watched = tuple(name in watched for name in INFRACTION_NAMES)
        self._counts, self._events = _NONE, 0
        self._by_kind: dict[str, Any] = {
            kind: criterion
            for criterion, names in zip(self._criteria, kinds, strict=True)
            for kind in ("RouteCompletionTest", "OutsideRouteLanesTest")
            if kind in names
        }

    def read(self) -> Findings:
        """Returns what the criteria have found so far."""
        # Most decisions find nothing new; a sensor's thread may add an event meanwhile, which is then read next time.
        events = sum(len(criterion.events) for criterion in self._criteria)
        if events != self._events:
            self._counts, self._events = self._count(), events
        return Findings(self._counts, self._watched, self._share("RouteCompletionTest"), self._outside())

    def _count(self) -> tuple[int, ...]:
        found = [_type_name(event) for criterion in self._criteria for event in list(criterion.events)]
        names = [EVENT_INFRACTIONS.get(name) for name in found]
        return tuple(names.count(name) for name in INFRACTION_NAMES)

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Returns every criterion's status and value, by its name."""
        told: dict[str, dict[str, Any]] = {}
        for criterion in self._criteria:
            name = str(criterion.name)
            while name in told:
                name += "+"
            value = criterion.actual_value
            told[name] = {
                "status": str(criterion.test_status),
                "value": float(value) if isinstance(value, int | float) else str(value),
                "events": [_type_name(event) for event in criterion.events],
            }
        return told

    def _share(self, kind: str) -> float | None:
        criterion = self._by_kind.get(kind)
        if criterion is None:
            return None
        return min(1.0, max(0.0, float(criterion.actual_value) / 100.0))

    def _outside(self) -> float | None:
        """This criterion has one event, whose percentage grows."""
        criterion = self._by_kind.get("OutsideRouteLanesTest")
        if criterion is None:
            return None
        shares = [float((event.get_dict() or {}).get("percentage", 0.0)) for event in criterion.events]
        return min(1.0, max(shares, default=0.0) / 100.0)


def _type_name(event: Any) -> str:
    return str(event.get_type().name)
