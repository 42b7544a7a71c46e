"""A toy environment whose every observation carries its own number, and an independent account of what it
does."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

Row = tuple[int, int, int, int, float, bool, bool]
"""(episode, step, next episode, next step, reward, terminated, truncated)"""


class NumberedEnv(gym.Env):
    """Observes (episode, step); pays episode + step / 100; ends after given lengths, odd episodes by
    truncation."""

    def __init__(self, lengths: list[int]) -> None:
        self.observation_space = Box(0.0, 1e6, (2,), np.float32)
        self.action_space = Box(-2.0, 2.0, (1,), np.float32)
        self.lengths = lengths
        self.episode = -1
        self.step_number = 0
        self.last_action = np.zeros(1, np.float32)

    def _observe(self) -> np.ndarray:
        return np.array([self.episode, self.step_number], np.float32)

    def _info(self) -> dict:
        return {"episode_number": self.episode, "step_number": self.step_number}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.step_number = 0
        return self._observe(), self._info()

    def step(self, action):
        self.last_action = np.array(action)
        self.step_number += 1
        ended = self.step_number >= self.lengths[self.episode % len(self.lengths)]
        cut = ended and self.episode % 2 == 1
        reward = self.episode + self.step_number / 100
        return self._observe(), reward, ended and not cut, cut, self._info()


def expected_rows(lengths: list[int], count: int) -> list[Row]:
    """The first `count` transitions of one `NumberedEnv`, written down without running it."""
    rows: list[Row] = []
    episode = 0
    while len(rows) < count:
        length = lengths[episode % len(lengths)]
        for step in range(length):
            last = step + 1 == length
            reward = np.float32(episode + (step + 1) / 100)
            rows.append(
                (
                    episode,
                    step,
                    episode,
                    step + 1,
                    float(reward),
                    last and episode % 2 == 0,
                    last and episode % 2 == 1,
                )
            )
        episode += 1
    return rows[:count]
