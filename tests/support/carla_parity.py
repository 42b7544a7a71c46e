"""The same episode in the embedded world and on a server, step by step, for the tests beside this file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from carla_online._native import WorldBatch
from carla_online.envs.carla import CarlaEnv
from carla_online.envs.world import WorldEnv

FIELDS = {name: (start, scale) for name, start, _, scale, _ in WorldBatch.layout()}
_TURN = np.full(sum(size for _, _, size, *_ in WorldBatch.layout()), np.inf)
"""A whole turn, for what is a difference of headings: half a turn to the left is half a turn to the right."""
for _name, _start, _size, _scale, _ in WorldBatch.layout():
    if "heading" in _name:
        _TURN[_start : _start + _size] = 2.0 * np.pi / _scale


def gaps_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far two observations are apart, quantity by quantity."""
    gaps = np.abs(one - other)
    return np.minimum(gaps, np.abs(_TURN - gaps))


def drive(obs: np.ndarray, speed_mps: float = 9.0) -> np.ndarray:
    """A plain driver that keeps its lane and doesn't look ahead: action float32 [2]."""

    def quantity(name: str) -> float:
        start, scale = FIELDS[name]
        return float(obs[start]) * scale

    steer = -0.06 * quantity("ego/lateral_in_lane") - 0.5 * quantity("ego/heading_error")
    steer += 2.2 * quantity("ego/curvature_at_0_10_25_45_m")
    return np.clip(np.float32([steer, 0.2 * (speed_mps - quantity("ego/speed")) + 0.1]), -1.0, 1.0)


def name_of(index: int) -> str:
    """The observed quantity at a place of the observation."""
    return next(name for name, start, size, *_ in WorldBatch.layout() if start <= index < start + size)


@dataclass
class Difference:
    """How far two drives of one episode were apart."""

    steps: int
    observation: float
    worst_name: str
    reward: float
    last_observation: float
    ends: list[tuple[bool, bool]]
    infractions: list[list[int]]


def compare(
    world: WorldEnv, server: CarlaEnv, seed: int, most_steps: int, driver: Callable[[np.ndarray], np.ndarray] = drive
) -> Difference:
    """Drives both with the actions that the driver takes in the world."""
    mine, told = world.reset(options={"episode_seed": seed})
    theirs, told_there = server.reset(options={"episode_seed": seed})
    assert told["route_length_m"] == told_there["route_length_m"]
    worst, worst_name, reward_gap, last = 0.0, "", 0.0, 0.0
    for step in range(most_steps):
        gaps = gaps_between(mine, theirs)
        if gaps.max() > worst:
            worst, worst_name = float(gaps.max()), f"{name_of(int(gaps.argmax()))} at step {step}"
        action = driver(mine)
        mine, reward, *ends, told = world.step(action)
        theirs, reward_there, *ends_there, told_there = server.step(action)
        assert told_there["sim_failure"] == ""
        is_over = any(ends) or any(ends_there)
        if is_over:
            last = float(gaps_between(mine, theirs).max())
        else:
            reward_gap = max(reward_gap, abs(reward - reward_there))
        if is_over:
            break
    tell: Any = [list(info["infractions"]) for info in (told, told_there)]
    return Difference(step + 1, worst, worst_name, reward_gap, last, [tuple(ends), tuple(ends_there)], tell)
