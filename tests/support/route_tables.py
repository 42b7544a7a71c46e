"""Route tables made by hand."""

from __future__ import annotations

import numpy as np

from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.evaluation.table import RouteTable


def build_table(*, scores, seeds=None, finished=None, collisions=None, slices=()):
    """A table of 0.8 km routes, every value recognisable."""
    count = len(scores)
    collisions = np.zeros(count, np.int64) if collisions is None else collisions
    finished = np.ones(count, np.bool_) if finished is None else finished
    infractions = np.zeros((count, len(INFRACTION_NAMES)), np.int64)
    infractions[:, INFRACTION_NAMES.index("collision_vehicle")] = collisions
    return RouteTable(
        seeds=np.arange(1, count + 1, dtype=np.uint64) if seeds is None else seeds,
        timed_driving_score=np.asarray(scores, np.float64),
        driving_score=np.asarray(scores, np.float64),
        route_completion=np.where(finished, 1.0, 0.5),
        finished=finished,
        collisions=collisions,
        distance_km=np.full(count, 0.8),
        infractions=infractions,
        time_s=np.full(count, 80.0),
        mean_speed_mps=np.full(count, 10.0),
        episode_return=np.arange(count, dtype=np.float64),
        end_reason=tuple("finished" if value else "timed_out" for value in finished),
        infraction_names=INFRACTION_NAMES,
        slices=tuple(slices),
    )
