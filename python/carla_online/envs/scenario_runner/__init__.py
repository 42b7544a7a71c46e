"""ScenarioRunner's scenarios, routes and OpenSCENARIO files as Gymnasium environments.

Importing this loads neither CARLA nor ScenarioRunner: both are imported in the worker processes alone, ScenarioRunner
from the user's own checkout. None of its code is part of this package.
"""

from carla_online.envs.scenario_runner.config import ScenarioConfig, ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.single import ScenarioRunnerEnv
from carla_online.envs.scenario_runner.vector import ScenarioRunnerVectorEnv

__all__ = ["ScenarioConfig", "ScenarioRunnerEnv", "ScenarioRunnerEnvConfig", "ScenarioRunnerVectorEnv"]
