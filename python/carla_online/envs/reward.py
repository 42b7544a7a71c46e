"""From reward terms to a reward: weights in a config, or the user's own function.

The simulator delivers unscaled terms (`REWARD_TERM_NAMES`); nothing here knows about driving. A policy is
judged by the timed driving score, never by this reward: its only duty is to make learning find what the score
wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from carla_online.config import Config
from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.errors import ConfigError

DEFAULT_WEIGHTS: Final[Mapping[str, float]] = {
    "progress": 0.1,
    "collision": -10.0,
    "off_road": -10.0,
    "blocked": -10.0,
    # The finish is terminal, so without a bonus arriving would cost all that driving on is worth: at 0.1 a
    # step and a discount of 0.99 that is 4 to 6, and a learner was seen to wait before the line. A bonus of
    # about that value makes the finish neither a loss nor a prize.
    "route_finished": 5.0,
    # The term is excess over limit: driving 10 % too fast costs all the progress it rides on. The timed score
    # doesn't mind speeding: at -0.01 a learner drove 20 m/s where 15 are allowed, at -0.3 it still went over the
    # limit 1.8 times a route.
    "overspeed": -1.0,
    "ttc_deficit": -0.05,
    "steer_change": -0.05,
    "pedal_change": -0.01,
    # Crossing a line is how one overtakes.
    "lane_invasion": 0.0,
    "wrong_way": -0.1,
    "red_light": -5.0,
    "stop_sign": -5.0,
    "comfort": 0.0,
    "off_centre": 0.0,
}
"""Weights of the terms at 10 decisions a second."""

RewardFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A user's own reward: `terms` float32 [N, K] to rewards float32 [N]."""


class RewardConfig(Config):
    """Weights of the reward terms."""

    weights: dict[str, float] = Field(default_factory=dict)
    """Weight by term name; terms not named keep their default."""

    @field_validator("weights")
    @classmethod
    def _check(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = [name for name in weights if name not in REWARD_TERM_NAMES]
        if unknown:
            raise ValueError(f"unknown terms {unknown}; the terms are {', '.join(REWARD_TERM_NAMES)}")
        endless = [name for name, weight in weights.items() if not np.isfinite(weight)]
        if endless:
            raise ValueError(f"the weights of {endless} must be finite")
        return weights

    def vector(self) -> NDArray[np.float32]:
        """Returns the weights in the order of `REWARD_TERM_NAMES`: float32 [K]."""
        merged = {**DEFAULT_WEIGHTS, **self.weights}
        return np.array([merged[name] for name in REWARD_TERM_NAMES], dtype=np.float32)


class Reward:
    """Computes rewards from terms.

    Args:
        source: Weights, or a function of the terms (float32 [N, K], columns as in `REWARD_TERM_NAMES`; it
            must return N finite numbers and must not change its argument). `None` takes the default weights.
    """

    def __init__(self, source: RewardConfig | Mapping[str, Any] | RewardFunction | None = None) -> None:
        self._function: RewardFunction | None = None
        self._weights: NDArray[np.float32] = np.zeros(len(REWARD_TERM_NAMES), np.float32)
        if source is None or isinstance(source, RewardConfig):
            self._weights = (source or RewardConfig()).vector()
        elif isinstance(source, Mapping):
            self._weights = RewardConfig(weights=dict(source)).vector()
        elif callable(source):
            self._function = source
        else:
            raise ConfigError(
                f"a reward is a RewardConfig, weights by name, or a function, not {type(source).__name__}."
            )

    def __call__(self, terms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the rewards of one step.

        Args:
            terms: float32 [N, K].

        Returns:
            float32 [N].

        Raises:
            ConfigError: A user's function returned another shape or a number that isn't finite.
        """
        if self._function is None:
            # Row by row: the result of a matrix product may depend on N.
            summed: NDArray[np.float64] = (terms.astype(np.float64) * self._weights).sum(axis=1)
            return summed.astype(np.float32)
        rewards = np.asarray(self._function(terms.copy()))
        if rewards.shape != terms.shape[:1]:
            raise ConfigError(
                f"the reward function returned shape {rewards.shape} for terms of shape {terms.shape}; "
                f"it must return one number a row, shape {terms.shape[:1]}."
            )
        rewards = rewards.astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(rewards))
        if bad.size:
            row = int(bad[0])
            shown = dict(zip(REWARD_TERM_NAMES, terms[row].tolist(), strict=False))
            raise ConfigError(
                f"the reward function returned {rewards[row]} for row {row} with the terms {shown}; "
                f"rewards must be finite."
            )
        return rewards
