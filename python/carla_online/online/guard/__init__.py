"""The stability guard: notices that learning has gone wrong and takes it back.

A row of detectors looks at the learner every so many updates. Until they are content the new weights don't drive; if
one of them reports a fault, the learner returns to a state from before the trouble began, what was stored since is
barred from being sampled, and learning rests until the data look healthy again.
"""

from carla_online.online.guard.config import GuardConfig, GuardLevels
from carla_online.online.guard.guard import Rollback, StabilityGuard

__all__ = ["GuardConfig", "GuardLevels", "Rollback", "StabilityGuard"]
