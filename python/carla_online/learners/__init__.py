"""Update rules: batch in, metrics out. A learner owns networks and optimisers, nothing else."""

from carla_online.learners.config import SACConfig
from carla_online.learners.sac import SACLearner, TransitionBatch

__all__ = ["SACConfig", "SACLearner", "TransitionBatch"]
