"""Delta heads that do something known: a constant shift of the baseline's action."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from carla_online.envs.transitions import make_vector_env
from carla_online.policies import Baseline, DeltaPolicy

SCALE = (0.2, 0.5)


def obs_dim_of(env: dict) -> int:
    made = make_vector_env(env, 1, autoreset_mode=AutoresetMode.DISABLED)
    try:
        return int(made.single_observation_space.shape[0])
    finally:
        made.close()


def shifted_head(baseline: Baseline, obs_dim: int, *, steer: float = 0.0, throttle: float = 0.0) -> DeltaPolicy:
    """A head that adds `steer` and `throttle` to whatever the baseline does."""
    policy = DeltaPolicy(baseline, obs_dim=obs_dim, delta_scale=SCALE, hidden_sizes=(16,))
    last = policy.head.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        shift = np.array([steer, throttle]) / np.array(SCALE)
        last.bias[:2] = torch.from_numpy(np.arctanh(shift)).float()
    return policy
