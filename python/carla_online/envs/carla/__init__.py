"""Any CARLA 0.9.16 server, the real one or our own, as Gymnasium environments.

Importing this loads no CARLA: the client is an extra, and is asked for when an environment is made.
"""

from carla_online.envs.carla.config import CarlaEnvConfig
from carla_online.envs.carla.single import CarlaEnv
from carla_online.envs.carla.vector import CarlaVectorEnv

__all__ = ["CarlaEnv", "CarlaEnvConfig", "CarlaVectorEnv"]
