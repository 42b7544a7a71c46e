"""Named weathers and randomisations, as data: ranges from which the world draws once for every episode.

Draws are a function of the episode's seed; `info["draws"]` tells them, in the order of `DRAW_NAMES`. Weather keeps
CARLA's parameters and names, so a range here is one for CARLA too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WEATHERS: Final[Mapping[str, Mapping[str, Any]]] = {
    # The world's own numbers: CARLA's ClearNoon, but for its trace of fog, which nobody sees.
    "clear": {},
    "wet": {"wetness": [30.0, 100.0], "precipitation_deposits": [0.0, 60.0], "cloudiness": [20.0, 80.0]},
    "rain": {
        "precipitation": [20.0, 100.0],
        "wetness": [60.0, 100.0],
        "precipitation_deposits": [20.0, 100.0],
        "cloudiness": [60.0, 100.0],
    },
    "fog": {"fog_density": [60.0, 100.0], "fog_distance": [0.0, 10.0], "cloudiness": [40.0, 100.0]},
    # About four episodes of ten dry and clear, three wet, three of low visibility.
    "any": {
        "precipitation": [0.0, 60.0],
        "wetness": [30.0, 100.0],
        "precipitation_deposits": [0.0, 100.0],
        "fog_density": [60.0, 100.0],
        "fog_distance": [0.0, 10.0],
        "cloudiness": [0.0, 100.0],
        "rain_share": 0.4,
        "fog_share": 0.3,
    },
}
"""Parts laid over the world's `weather` section."""

RANDOMIZATIONS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "none": {},
    "traffic": {"traffic": {"density": [0.5, 1.3]}},
    # Within the residuals of the dynamics model on recorded CARLA drives: throttle lag 0.1 to 0.25 s, full brake 9 to
    # 14 m/s2, gain 10 % either way.
    "dynamics": {
        "ego": {"throttle_lag_s": [0.1, 0.25], "full_brake_mps2": [9.0, 14.0], "steer_gain": [0.9, 1.1]},
    },
    "full": {
        "ego": {"throttle_lag_s": [0.1, 0.25], "full_brake_mps2": [9.0, 14.0], "steer_gain": [0.9, 1.1]},
        "traffic": {"density": [0.5, 1.3]},
    },
}
"""Parts laid over the world's `ego` and `traffic` sections."""
