"""How a behaviour agent drives. Speeds are km/h, distances metres, times seconds."""

from __future__ import annotations


class Normal:
    """Drives like most people.

    Attributes:
        max_speed: Never faster than this.
        speed_lim_dist: Stays this much below the speed limit.
        speed_decrease: How much slower than a leader it becomes while too close.
        safety_time: Time to collision below which it falls back.
        min_proximity_threshold: Others are looked for at least this far away.
        braking_distance: Stops if the gap is smaller.
        tailgate_counter: Steps until it may make way again for a faster vehicle behind; -1: never does.
    """

    max_speed = 50
    speed_lim_dist = 3
    speed_decrease = 10
    safety_time = 3
    min_proximity_threshold = 10
    braking_distance = 5
    tailgate_counter = 0


class Cautious(Normal):
    """Slower, farther away from others, brakes sooner."""

    max_speed = 40
    speed_lim_dist = 6
    speed_decrease = 12
    min_proximity_threshold = 12
    braking_distance = 6


class Aggressive(Normal):
    """Faster and closer, never makes way."""

    max_speed = 70
    speed_lim_dist = 1
    speed_decrease = 8
    min_proximity_threshold = 8
    braking_distance = 4
    tailgate_counter = -1
