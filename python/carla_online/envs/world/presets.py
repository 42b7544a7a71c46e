"""Named maps and traffics of the embedded world, as data.

A traffic preset states speeds as shares of the map's speed limit, so one preset fits a town street and a
motorway; `resolve` turns them into metres a second. Keys that a preset doesn't name keep the world's own
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MAPS: Final[Mapping[str, Mapping[str, Any]]] = {
    # The default task: overtake slow vehicles on three lanes, limit 15 m/s, two roads of three curved.
    "straight": {},
    "curve": {"curved_share": 1.0, "curve_radius_m": [90.0, 220.0]},
    "two_lane": {"lanes": 2, "length_m": [600.0, 900.0]},
    "highway": {
        "lanes": 4,
        "length_m": [1000.0, 1500.0],
        "curved_share": 0.6,
        "curve_radius_m": [450.0, 1200.0],
        "speed_limit_mps": 25.0,
    },
    # Street networks: routes by the planner, traffic everywhere, limit 50 km/h.
    "t_junction": {"kind": "t_junction", "lanes": 1, "length_m": [100.0, 280.0], "speed_limit_mps": 13.889},
    "four_way": {"kind": "four_way", "lanes": 1, "length_m": [100.0, 280.0], "speed_limit_mps": 13.889},
    "four_way_wide": {"kind": "four_way", "lanes": 2, "length_m": [100.0, 280.0], "speed_limit_mps": 13.889},
    "town": {
        "kind": "grid",
        "lanes": 1,
        "length_m": [200.0, 500.0],
        "speed_limit_mps": 13.889,
        "control": "mixed",
        "map_variants": 16,
    },
}
"""Parts laid over the world's default map."""

TRAFFICS: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {"slow_vehicles": 0, "fast_vehicles": 0},
    "light": {"slow_vehicles": 5, "fast_vehicles": 1},
    # The world's own numbers: ten slow vehicles ahead, two faster ones behind.
    "default": {},
    "dense": {"slow_vehicles": 16, "fast_vehicles": 4},
    # For street networks: more vehicles, near the route. People at crosswalks are the key `walkers`.
    "urban": {"slow_vehicles": 16, "fast_vehicles": 8, "spread_m": 150.0},
    # The same number of vehicles with other drivers: from those who keep far behind to those who crowd and overtake.
    "cautious": {
        "slow_vehicles": 16,
        "fast_vehicles": 8,
        "spread_m": 150.0,
        "lane_changes_per_100s": 0.3,
        "lane_change_s": 5.0,
        "idm": {"acceleration_mps2": 1.0, "deceleration_mps2": 1.5, "headway_s": 2.0, "standstill_gap_m": 3.0},
    },
    "assertive": {
        "slow_vehicles": 16,
        "fast_vehicles": 8,
        "spread_m": 150.0,
        "slow_speed_mps": [8.0, 12.0],
        "fast_speed_mps": [12.0, 15.0],
        "idm": {"acceleration_mps2": 2.0, "deceleration_mps2": 2.5, "headway_s": 1.0},
        "mobil": {"share": 0.5, "politeness": 0.3},
    },
    "aggressive": {
        "slow_vehicles": 16,
        "fast_vehicles": 8,
        "spread_m": 150.0,
        "slow_speed_mps": [10.0, 14.0],
        "fast_speed_mps": [14.0, 17.0],
        "lane_change_s": 2.5,
        "idm": {"acceleration_mps2": 2.5, "deceleration_mps2": 3.5, "headway_s": 0.7, "standstill_gap_m": 1.5},
        "mobil": {"share": 1.0, "politeness": 0.0, "gain_mps2": 0.1, "safe_mps2": 4.0},
    },
    # Some who make it hard for the ego: they cut in, brake for nothing, run red lights, step out from where nobody saw
    # them. People on foot come with the key `walkers`.
    "adversarial": {
        "slow_vehicles": 16,
        "fast_vehicles": 8,
        "spread_m": 150.0,
        "hard_brake_share": 0.3,
        "mobil": {"share": 0.5, "politeness": 0.1},
        "adversaries": {"cut_in_share": 0.4, "red_light_share": 0.15, "jaywalk_share": 0.4, "hidden_share": 0.4},
    },
}
"""Parts laid over the world's default traffic."""

_LIMIT_OF_DEFAULTS_MPS: Final = 15.0
_SCALED: Final = {"traffic": ("slow_speed_mps", "fast_speed_mps"), "ego": ("start_speed_mps",)}


def scale_speeds(world: dict[str, Any], *, kept: Mapping[str, Mapping[str, Any]]) -> None:
    """Scales the speed ranges of traffic and ego from the default limit to the map's, in place.

    Args:
        world: A complete world configuration.
        kept: What the user wrote, by section; the speeds named there are absolute and stay.
    """
    limit_mps = world["map"]["speed_limit_mps"]
    if not isinstance(limit_mps, int | float) or limit_mps == _LIMIT_OF_DEFAULTS_MPS:
        return  # a limit that isn't a number is the world's to refuse, with its key and range
    for section, names in _SCALED.items():
        for name in names:
            if name not in kept[section]:
                low, high = world[section][name]
                factor = limit_mps / _LIMIT_OF_DEFAULTS_MPS
                world[section][name] = [round(low * factor, 3), round(high * factor, 3)]
