"""Policies: what acts, and how it is saved."""

from carla_online.policies.actor import ActorPolicy, DeltaPolicy, FullPolicy
from carla_online.policies.baseline import Baseline, load_baseline, wrap_baseline
from carla_online.policies.config import PolicyConfig, ScriptedBaselineConfig
from carla_online.policies.contract import Policy, check_policy
from carla_online.policies.scripted import scripted_baseline
from carla_online.policies.storage import load_policy, policy_from_bytes, policy_to_bytes

__all__ = [
    "ActorPolicy",
    "Baseline",
    "DeltaPolicy",
    "FullPolicy",
    "Policy",
    "PolicyConfig",
    "ScriptedBaselineConfig",
    "check_policy",
    "load_baseline",
    "load_policy",
    "policy_from_bytes",
    "policy_to_bytes",
    "scripted_baseline",
    "wrap_baseline",
]
