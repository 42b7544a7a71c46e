"""Online reinforcement learning for driving policies in CARLA."""

from carla_online import envs

__all__ = ["envs"]
