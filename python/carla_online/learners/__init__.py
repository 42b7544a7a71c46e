"""Update rules: batch in, metrics out. A learner owns networks and optimisers, nothing else."""

from carla_online.learners.config import LearnerConfig, SACConfig
from carla_online.learners.grpo import GRPOLearner, PolicyBatch, ValueBatch
from carla_online.learners.grpo_config import GRPOConfig
from carla_online.learners.sac import SACLearner, TransitionBatch

__all__ = [
    "GRPOConfig",
    "GRPOLearner",
    "LearnerConfig",
    "PolicyBatch",
    "SACConfig",
    "SACLearner",
    "TransitionBatch",
    "ValueBatch",
]
