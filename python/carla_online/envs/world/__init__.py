"""The embedded driving world as Gymnasium environments."""

from carla_online.envs.world.config import WorldEnvConfig
from carla_online.envs.world.single import WorldEnv
from carla_online.envs.world.vector import WorldVectorEnv

__all__ = ["WorldEnv", "WorldEnvConfig", "WorldVectorEnv"]
