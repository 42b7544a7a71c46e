"""Online reinforcement learning for driving policies in CARLA."""
