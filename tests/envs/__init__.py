"""Tests of carla_online.envs."""
