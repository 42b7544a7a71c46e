"""Online learning: trainers learn, the runner steps, logs, keeps and resumes."""

from carla_online.online.callbacks import Callback
from carla_online.online.experiment import ExperimentConfig
from carla_online.online.grpo import OnlineGRPOTrainer
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.runner import CARLAOnlineRunner, RunnerConfig
from carla_online.online.sac import OnlineSACTrainer
from carla_online.online.start import open_run
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer, Recovery

__all__ = [
    "CARLAOnlineRunner",
    "Callback",
    "EnvironmentFacts",
    "ExperimentConfig",
    "GuardConfig",
    "OnlineGRPOTrainer",
    "OnlineSACTrainer",
    "OnlineTrainer",
    "Recovery",
    "RunnerConfig",
    "StabilityGuard",
    "open_run",
]
