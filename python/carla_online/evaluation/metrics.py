"""Driving metrics of a table, in total and by slice.

Scores are printed with the leaderboard whose arithmetic they follow. Three figures are in the manner of Bench2Drive and
derived anew, so they aren't its numbers:

- *success rate*: routes that were finished without any infraction that a leaderboard charges;
- *efficiency*: own mean speed in percent of that of the traffic near, at most 100; routes without traffic are left out;
- *comfort*: percent of the decisions in which the accelerations forward, backward and sideways kept their limits
  (2.40, 4.05 and 4.89 m/s2).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.envs.scores import Leaderboard, penalties
from carla_online.errors import EvaluationError
from carla_online.evaluation.table import RouteTable

CHARGED: Final = (
    "collision_vehicle",
    "collision_static",
    "collision_walker",
    "off_road",
    "red_light",
    "stop_sign",
    "blocked",
    "timed_out",
    "route_deviation",
    "outside_route_lanes",
)
"""Infractions that keep a route from being a success."""
_VERSIONS: Final[tuple[Leaderboard, ...]] = ("1.0", "2.0", "2.1")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of some routes."""

    routes: int
    """How many."""
    leaderboard_1_0: float
    """Mean driving score by Leaderboard 1.0, 0 to 100."""
    leaderboard_2_0: float
    """Mean driving score by Leaderboard 2.0."""
    leaderboard_2_1: float
    """Mean driving score by Leaderboard 2.1."""
    timed_driving_score: float
    """Mean of the 2.1 score with the time factor: the primary metric."""
    route_completion: float
    """Mean share of the route driven, percent."""
    success_rate: float
    """Routes finished without a charged infraction, percent."""
    efficiency: float | None
    """Mean percent of the speed of the traffic near; None without any."""
    comfort: float | None
    """Mean percent of decisions within the limits of comfort; None if that wasn't measured."""
    distance_km: float
    """Kilometres driven."""
    infractions_per_km: dict[str, float]
    """Infractions over kilometres, by name, those that happened."""

    @property
    def charged_per_km(self) -> float:
        """Infractions that a leaderboard charges, over kilometres."""
        return sum(rate for name, rate in self.infractions_per_km.items() if name in CHARGED)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def driving_scores(table: RouteTable, version: Leaderboard) -> NDArray[np.float64]:
    """Returns each route's driving score by a leaderboard's arithmetic, float64 [R], 0 to 100.

    Raises:
        EvaluationError: The table counts other infractions.
    """
    if table.infraction_names != INFRACTION_NAMES:
        raise EvaluationError(f"the table counts {list(table.infraction_names)}, not {list(INFRACTION_NAMES)}.")
    penalty = penalties(version, table.infractions, table.min_speed_share, table.outside_lanes_share)
    return np.asarray(100.0 * table.route_completion * penalty)


def metrics_of(table: RouteTable) -> Metrics:
    """Returns the figures of all routes of a table."""
    scores = {version: float(driving_scores(table, version).mean()) for version in _VERSIONS}
    distance_km = float(table.distance_km.sum())
    counts = table.infraction_counts()
    charged = [table.infraction_names.index(name) for name in CHARGED]
    success = table.finished & (table.infractions[:, charged].sum(axis=1) == 0)
    return Metrics(
        routes=len(table),
        leaderboard_1_0=scores["1.0"],
        leaderboard_2_0=scores["2.0"],
        leaderboard_2_1=scores["2.1"],
        timed_driving_score=float(table.timed_driving_score.mean()),
        route_completion=100.0 * float(table.route_completion.mean()),
        success_rate=100.0 * float(success.mean()),
        efficiency=_mean(table.efficiency),
        comfort=_mean(table.comfort),
        distance_km=distance_km,
        infractions_per_km={name: count / distance_km for name, count in counts.items() if count and distance_km > 0.0},
    )


def metrics_by_slice(table: RouteTable) -> dict[str, Metrics]:
    """Returns the figures of each slice, in the order in which the slices first come."""
    names = list(dict.fromkeys(table.slices))
    places = np.array(table.slices, dtype=object)
    return {name: metrics_of(table.select(table.seeds[places == name])) for name in names}


def _mean(column: NDArray[np.float64]) -> float | None:
    known = column[np.isfinite(column)]
    return float(known.mean()) if known.size else None
