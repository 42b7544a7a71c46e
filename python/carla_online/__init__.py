"""Online reinforcement learning for driving policies in CARLA.

A policy that was trained offline keeps improving while it drives, safely; a better version is promoted only on
evidence. Start with `carla-online train sac_straight`, or in Python with `DeltaPolicy`, `OnlineSACTrainer` and
`CARLAOnlineRunner`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carla_online._native import __version__
from carla_online.envs import register_envs
from carla_online.lazy import lazy_exports

if TYPE_CHECKING:
    from carla_online import advantage
    from carla_online.envs.contract import Capabilities, capabilities, done_api
    from carla_online.envs.transitions import make_vector_env
    from carla_online.evaluation import RouteTable, SuiteConfig, Verdict, better, evaluate, write_report
    from carla_online.imitation import DistilConfig, distil, good_episodes
    from carla_online.learners import GRPOConfig, GRPOLearner, SACConfig, SACLearner
    from carla_online.online import (
        Callback,
        CARLAOnlineRunner,
        ExperimentConfig,
        GuardConfig,
        OnlineGRPOTrainer,
        OnlineSACTrainer,
        OnlineTrainer,
        RunnerConfig,
        open_run,
    )
    from carla_online.policies import (
        Baseline,
        DeltaPolicy,
        FullPolicy,
        Policy,
        ScriptedBaselineConfig,
        check_policy,
        load_baseline,
        load_policy,
        scripted_baseline,
        wrap_baseline,
    )
    from carla_online.promotion import GateConfig, Registry, load_champion, promote
    from carla_online.replay import ReplayBuffer, ReplaySchema

__getattr__ = lazy_exports(
    __name__,
    {
        "advantage": (),
        "envs.contract": ("Capabilities", "capabilities", "done_api"),
        "envs.transitions": ("make_vector_env",),
        "evaluation": ("RouteTable", "SuiteConfig", "Verdict", "better", "evaluate", "write_report"),
        "imitation": ("DistilConfig", "distil", "good_episodes"),
        "learners": ("GRPOConfig", "GRPOLearner", "SACConfig", "SACLearner"),
        "online": (
            "Callback",
            "CARLAOnlineRunner",
            "ExperimentConfig",
            "GuardConfig",
            "OnlineGRPOTrainer",
            "OnlineSACTrainer",
            "OnlineTrainer",
            "RunnerConfig",
            "open_run",
        ),
        "policies": (
            "Baseline",
            "DeltaPolicy",
            "FullPolicy",
            "Policy",
            "ScriptedBaselineConfig",
            "check_policy",
            "load_baseline",
            "load_policy",
            "scripted_baseline",
            "wrap_baseline",
        ),
        "promotion": ("GateConfig", "Registry", "load_champion", "promote"),
        "replay": ("ReplayBuffer", "ReplaySchema"),
    },
)

register_envs()

__all__ = [
    "__version__",
    # environments
    "Capabilities",
    "capabilities",
    "done_api",
    "make_vector_env",
    "register_envs",
    # policies
    "Baseline",
    "DeltaPolicy",
    "FullPolicy",
    "Policy",
    "ScriptedBaselineConfig",
    "check_policy",
    "load_baseline",
    "load_policy",
    "scripted_baseline",
    "wrap_baseline",
    # learning
    "SACConfig",
    "SACLearner",
    "GRPOConfig",
    "GRPOLearner",
    "OnlineTrainer",
    "OnlineSACTrainer",
    "OnlineGRPOTrainer",
    "GuardConfig",
    "CARLAOnlineRunner",
    "RunnerConfig",
    "ExperimentConfig",
    "Callback",
    "open_run",
    # advantages
    "advantage",
    # experience
    "ReplayBuffer",
    "ReplaySchema",
    # evidence
    "RouteTable",
    "SuiteConfig",
    "Verdict",
    "better",
    "evaluate",
    "write_report",
    # from candidate to champion
    "DistilConfig",
    "distil",
    "good_episodes",
    "GateConfig",
    "Registry",
    "load_champion",
    "promote",
]
