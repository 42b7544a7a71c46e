"""Environments that the baseline alone drives, for the learner to learn from."""

from __future__ import annotations

import numpy as np

from carla_online.errors import ConfigError
from carla_online.online.collector import Draw
from carla_online.policies.actor import ActorPolicy, DeltaPolicy
from carla_online.policies.contract import FloatArray, Policy


def count_guided(share: float, policy: Policy, *, num_envs: int) -> int:
    """Returns how many environments, the first ones, are guided: at least one if any share is.

    Args:
        share: Of the environments, in [0, 1); with worker processes, of each worker's.
        policy: The policy that learns.
        num_envs: N.

    Raises:
        ConfigError: The policy has no baseline, or no environment would be left for it.
    """
    if share == 0.0:
        return 0
    if not isinstance(policy, ActorPolicy) or policy.baseline is None:
        raise ConfigError("learner.guide_share needs a policy over a baseline, which drives then. Set it to 0.")
    count = max(1, round(share * num_envs))
    if count >= num_envs:
        raise ConfigError(
            f"learner.guide_share {share:g} leaves none of {num_envs} environments to the policy. Lower it, or raise "
            "env.num_envs."
        )
    return count


def guide(draw: Draw, policy: Policy, baseline_action: FloatArray, *, count: int) -> Draw:
    """Returns a policy's draw with what leaves the baseline as it is in the first `count` environments.

    Args:
        draw: Of N environments.
        policy: The policy that learns; without a delta the baseline of a `DeltaPolicy` is left alone.
        baseline_action: float32 [N, A].
        count: As `count_guided` returned.
    """
    squashed, logp = draw.squashed.copy(), draw.logp.copy()
    squashed[:count] = 0.0 if isinstance(policy, DeltaPolicy) else np.clip(baseline_action[:count], -1.0, 1.0)
    logp[:count] = 0.0
    return Draw(squashed, logp, draw.pre_squash, draw.pre_squash_logp)
