"""A batch with the arrays it writes into, for the tests beside this file."""

import json
from typing import Any

import numpy as np

from carla_online._native import WorldBatch

INFO = WorldBatch.info_names()
FIELDS = {name: (start, scale) for name, start, _, scale, _ in WorldBatch.layout()}


class Driven:
    """Worlds reset to `seeds`."""

    def __init__(self, seeds, config: dict[str, Any] | None = None, threads: int = 1):
        count = len(seeds)
        self.batch = WorldBatch(num_envs=count, config=json.dumps(config or {}), threads=threads)
        self.obs = np.full((count, WorldBatch.obs_dim), np.nan, np.float32)
        self.reward_terms = np.full((count, len(WorldBatch.reward_term_names())), np.nan, np.float32)
        self.terminated = np.zeros(count, np.bool_)
        self.truncated = np.zeros(count, np.bool_)
        self.info = np.full((count, len(INFO)), np.nan, np.float64)
        self.infractions = np.zeros((count, len(WorldBatch.infraction_names())), np.int32)
        self.batch.reset(np.asarray(seeds, np.uint64), None, self.obs, self.info)

    def step(self, actions, mask=None):
        """Steps all worlds, or those that `mask` names."""
        actions = np.ascontiguousarray(actions, np.float32)
        outputs = (self.obs, self.reward_terms, self.terminated, self.truncated, self.info, self.infractions)
        self.batch.step(actions, *outputs, mask)

    @property
    def running(self):
        """bool [N]: worlds whose episode goes on."""
        return ~(self.terminated | self.truncated)

    def column(self, name):
        """float64 [N], a column of the infos."""
        return self.info[:, INFO.index(name)]

    def quantity(self, name):
        """float64 [N], an observed quantity in its own unit."""
        start, scale = FIELDS[name]
        return self.obs[:, start].astype(np.float64) * scale

    def hashes(self):
        """The worlds' state hashes."""
        return [self.batch.state_hash(env) for env in range(self.batch.num_envs)]


def keep_lane(driven, speed_mps=9.0):
    """Actions float32 [N, 2] of a plain driver that stays in its lane."""
    steer = -0.06 * driven.quantity("ego/lateral_in_lane") - 0.5 * driven.quantity("ego/heading_error")
    steer += 2.2 * driven.quantity("ego/curvature_at_0_10_25_45_m")
    pedal = 0.2 * (speed_mps - driven.quantity("ego/speed")) + 0.1
    gap_m, closing_mps = (
        driven.quantity("lane_gaps/own/gap_ahead"),
        driven.quantity("lane_gaps/own/relative_speed_ahead"),
    )
    pedal = np.where(gap_m < 10.0 - 2.5 * closing_mps, -0.5, pedal)
    return np.clip(np.stack([steer, pedal], axis=1), -1.0, 1.0).astype(np.float32)
