"""Environments: the driving worlds behind Gymnasium's interface, and what a trainer needs of any environment.

Importing this package registers the ids with Gymnasium (which, since its 1.0, looks for no entry points) and
loads nothing else: the parts come when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from carla_online.lazy import lazy_exports

if TYPE_CHECKING:
    from carla_online.envs.carla import CarlaEnv, CarlaEnvConfig, CarlaVectorEnv
    from carla_online.envs.contract import (
        DRAW_NAMES,
        INFO_KEYS,
        INFRACTION_NAMES,
        REWARD_TERM_NAMES,
        WEATHER_CLASSES,
        Capabilities,
        InfoKey,
        Snapshot,
        capabilities,
        done_api,
        state_layer,
    )
    from carla_online.envs.reward import Reward, RewardConfig
    from carla_online.envs.safety import SAFETY_CAUSES, SafetyConfig, SafetyEnv, SafetyLayer
    from carla_online.envs.scenario_runner import (
        ScenarioConfig,
        ScenarioRunnerEnv,
        ScenarioRunnerEnvConfig,
        ScenarioRunnerVectorEnv,
    )
    from carla_online.envs.seeding import Split, episode_seed, episode_seeds, seed_set
    from carla_online.envs.toy import GymnasiumEnvConfig, ToyVectorEnv
    from carla_online.envs.transitions import Step, TransitionSource, make_vector_env
    from carla_online.envs.workers import AsyncBatch, AsyncVectorEnv, SupervisionConfig, make_async_vector_env
    from carla_online.envs.world import WorldEnv, WorldEnvConfig, WorldVectorEnv

__getattr__ = lazy_exports(
    __name__,
    {
        "carla": ("CarlaEnv", "CarlaEnvConfig", "CarlaVectorEnv"),
        "contract": (
            "INFO_KEYS",
            "INFRACTION_NAMES",
            "REWARD_TERM_NAMES",
            "DRAW_NAMES",
            "WEATHER_CLASSES",
            "Capabilities",
            "InfoKey",
            "Snapshot",
            "capabilities",
            "done_api",
            "state_layer",
        ),
        "reward": ("Reward", "RewardConfig"),
        "safety": ("SAFETY_CAUSES", "SafetyConfig", "SafetyEnv", "SafetyLayer"),
        "seeding": ("Split", "episode_seed", "episode_seeds", "seed_set"),
        "scenario_runner": (
            "ScenarioConfig",
            "ScenarioRunnerEnv",
            "ScenarioRunnerEnvConfig",
            "ScenarioRunnerVectorEnv",
        ),
        "toy": ("GymnasiumEnvConfig", "ToyVectorEnv"),
        "transitions": ("Step", "TransitionSource", "make_vector_env"),
        "workers": ("AsyncBatch", "AsyncVectorEnv", "SupervisionConfig", "make_async_vector_env"),
        "world": ("WorldEnv", "WorldEnvConfig", "WorldVectorEnv"),
    },
)

NAMESPACE: Final = "CarlaOnline"
_PRESET_IDS: Final[dict[str, dict[str, str]]] = {
    "World-v0": {},
    "Straight-v0": {"map": "straight"},
    "Curve-v0": {"map": "curve"},
    "TwoLane-v0": {"map": "two_lane"},
    "Highway-v0": {"map": "highway"},
    "TJunction-v0": {"map": "t_junction", "traffic": "urban"},
    "FourWay-v0": {"map": "four_way", "traffic": "urban"},
    "Town-v0": {"map": "town", "traffic": "urban"},
}

__all__ = [
    "INFO_KEYS",
    "INFRACTION_NAMES",
    "REWARD_TERM_NAMES",
    "DRAW_NAMES",
    "WEATHER_CLASSES",
    "Capabilities",
    "InfoKey",
    "Snapshot",
    "capabilities",
    "done_api",
    "state_layer",
    "Reward",
    "RewardConfig",
    "SAFETY_CAUSES",
    "SafetyConfig",
    "SafetyEnv",
    "SafetyLayer",
    "Split",
    "episode_seed",
    "episode_seeds",
    "seed_set",
    "Step",
    "TransitionSource",
    "make_vector_env",
    "AsyncBatch",
    "AsyncVectorEnv",
    "SupervisionConfig",
    "make_async_vector_env",
    "GymnasiumEnvConfig",
    "ToyVectorEnv",
    "WorldEnv",
    "WorldEnvConfig",
    "WorldVectorEnv",
    "CarlaEnv",
    "CarlaEnvConfig",
    "CarlaVectorEnv",
    "ScenarioConfig",
    "ScenarioRunnerEnv",
    "ScenarioRunnerEnvConfig",
    "ScenarioRunnerVectorEnv",
    "NAMESPACE",
    "register_envs",
]


def register_envs() -> None:
    """Registers the environments with Gymnasium, once; later calls do nothing.

    `CarlaOnline/World-v0` takes every argument of `WorldEnv` (`gymnasium.make`) and `WorldVectorEnv`
    (`gymnasium.make_vec`); the others, such as `Straight-v0` and `Town-v0`, are the map presets.
    `CarlaOnline/Carla-v0` takes those of `CarlaEnv` and `CarlaVectorEnv`, `CarlaOnline/ScenarioRunner-v0` those of
    `ScenarioRunnerEnv` and `ScenarioRunnerVectorEnv`.
    """
    from gymnasium.envs.registration import register, registry

    for name, kwargs in _PRESET_IDS.items():
        if f"{NAMESPACE}/{name}" not in registry:
            register(
                id=f"{NAMESPACE}/{name}",
                entry_point="carla_online.envs.world.single:WorldEnv",
                vector_entry_point="carla_online.envs.world.vector:WorldVectorEnv",
                kwargs=dict(kwargs),
            )
    if f"{NAMESPACE}/Carla-v0" not in registry:
        register(
            id=f"{NAMESPACE}/Carla-v0",
            entry_point="carla_online.envs.carla.single:CarlaEnv",
            vector_entry_point="carla_online.envs.carla.vector:CarlaVectorEnv",
        )
    if f"{NAMESPACE}/ScenarioRunner-v0" not in registry:
        register(
            id=f"{NAMESPACE}/ScenarioRunner-v0",
            entry_point="carla_online.envs.scenario_runner.single:ScenarioRunnerEnv",
            vector_entry_point="carla_online.envs.scenario_runner.vector:ScenarioRunnerVectorEnv",
        )


register_envs()
