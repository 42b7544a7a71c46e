"""Driving scores of CARLA's leaderboards, from what was counted on one route.

| infraction | 1.0 (factor) | 2.0 (factor) | 2.1 (coefficient) |
|---|---|---|---|
| collision with a walker | 0.50 | 0.50 | 1.0 |
| collision with a vehicle | 0.60 | 0.60 | 0.7 |
| collision with the layout, leaving the road | 0.65 | 0.65 | 0.6 |
| red light | 0.70 | 0.70 | 0.4 |
| stop sign | 0.80 | 0.80 | 0.25 |
| time over, blocked | - | 0.70 | 0.4 |
| slower than the traffic, share p | - | 1 - 0.3 (1 - p) | 0.4 (1 - p) |
| share q outside of the route's lanes | 1 - q | 1 - q | 1 - q |

1.0 and 2.0 multiply all factors; 2.1 divides by one plus the sum of the coefficients. Leaving the road isn't a
leaderboard's infraction: where CARLA ends its generated roads with a wall it is a collision with the layout, and so it
is here. The score is the share of the route driven times the penalty, 0 to 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.errors import ConfigError

Leaderboard = Literal["1.0", "2.0", "2.1"]
"""Which leaderboard's arithmetic."""

_SCENARIO_TIMEOUT: Final = ("timed_out", "blocked")
_FACTORS: Final[Mapping[str, float]] = {
    "collision_walker": 0.50,
    "collision_vehicle": 0.60,
    "collision_static": 0.65,
    "off_road": 0.65,
    "red_light": 0.70,
    "stop_sign": 0.80,
}
_TIMEOUT_FACTOR: Final = 0.70
_COEFFICIENTS: Final[Mapping[str, float]] = {
    "collision_walker": 1.0,
    "collision_vehicle": 0.7,
    "collision_static": 0.6,
    "off_road": 0.6,
    "red_light": 0.4,
    "stop_sign": 0.25,
    "timed_out": 0.4,
    "blocked": 0.4,
}
_SLOW_FACTOR: Final = 0.3
_SLOW_COEFFICIENT: Final = 0.4


def penalties(
    version: Leaderboard,
    infractions: NDArray[np.integer],
    min_speed_share: NDArray[np.float64],
    outside_lanes_share: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns the factor by which infractions lower the score of each route, float64 [R], in [0, 1].

    Args:
        version: Which leaderboard's table.
        infractions: integers [R, J], counts in the order of `INFRACTION_NAMES`.
        min_speed_share: float64 [R], own mean speed over that of the traffic near; 1 where there was none.
        outside_lanes_share: float64 [R], share of the distance outside of the route's lanes.

    Raises:
        ConfigError: An unknown version.
    """
    counts = np.asarray(infractions, np.float64)
    slow = 1.0 - np.clip(min_speed_share, 0.0, 1.0)
    inside = 1.0 - np.clip(outside_lanes_share, 0.0, 1.0)
    if version == "2.1":
        charged = counts @ _row(_COEFFICIENTS, 0.0) + _SLOW_COEFFICIENT * slow
        return np.asarray(inside / (1.0 + charged))
    if version not in ("1.0", "2.0"):
        raise ConfigError(f"leaderboard {version!r} is unknown; use '1.0', '2.0' or '2.1'.")
    table = dict(_FACTORS)
    if version == "2.0":
        table |= dict.fromkeys(_SCENARIO_TIMEOUT, _TIMEOUT_FACTOR)
        inside = inside * (1.0 - _SLOW_FACTOR * slow)
    return np.asarray(inside * (_row(table, 1.0) ** counts).prod(axis=1))


def _row(table: Mapping[str, float], other: float) -> NDArray[np.float64]:
    return np.array([table.get(name, other) for name in INFRACTION_NAMES])
