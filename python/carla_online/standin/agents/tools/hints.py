"""What the agents' checks answer."""

from __future__ import annotations

from typing import NamedTuple

import carla


class ObstacleDetectionResult(NamedTuple):
    """Whether something is in the way, what, and how far its centre is (m); -1 if there is nothing."""

    obstacle_was_found: bool
    obstacle: carla.Actor | None
    distance: float


class TrafficLightDetectionResult(NamedTuple):
    """Whether a red light holds the vehicle back, and which."""

    traffic_light_was_found: bool
    traffic_light: carla.TrafficLight | None
