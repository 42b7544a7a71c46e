"""From reward terms to a reward: a preset, weights in a config, or the user's own function.

The simulator delivers unscaled terms (`REWARD_TERM_NAMES`); nothing here knows about driving. A policy is
judged by the timed driving score, never by this reward: its only duty is to make learning find what the score
wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from carla_online._native import weigh_terms
from carla_online.config import Config, validate
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
    # Waiting for a long red gives up nearly all that driving on is worth, 10 to 13 at a discount of 0.99. At -5 and at
    # -12 learners ran one on a third of the routes, their whole delta against the baseline's brake.
    "red_light": -24.0,
    "stop_sign": -5.0,
}
"""Weights of the terms at 10 decisions a second, preset `progress`; terms not named weigh nothing."""

CARL_WEIGHTS: Final[Mapping[str, float]] = {"collision": -1.0, "red_light": -1.0, "stop_sign": -1.0}
"""What preset `carl` adds to its product: the terminal penalties."""

ROACH_WEIGHTS: Final[Mapping[str, float]] = {
    "speed_error": -1.0,
    "lateral_offset": -0.5,
    "heading_error": -1.0,
    "collision": -1.0,
    "red_light": -1.0,
    "stop_sign": -1.0,
    "off_road": -1.0,
    "blocked": -1.0,
}
"""What preset `roach` adds to its constant: speed, position and rotation, and the terminal penalties."""

_ROACH_STEER_JUMP: Final = 0.01
_ROACH_STEER_COST: Final = 0.1
_SOFT_FACTORS: Final = ("route_factor", "speed_factor", "ttc_factor", "comfort_factor", "centre_factor")

Preset = Literal["progress", "carl", "roach"]
_WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "progress": DEFAULT_WEIGHTS,
    "carl": CARL_WEIGHTS,
    "roach": ROACH_WEIGHTS,
}

RewardFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A user's own reward: `terms` float32 [N, K] to rewards float32 [N]."""


class RewardConfig(Config):
    """A preset and weights of the reward terms."""

    preset: Preset = "progress"
    """`progress`: weighted terms, the default. `carl`: completed percent of the route times soft factors, less
    terminal penalties. `roach`: how well speed, position and rotation are kept. The last two as their papers describe
    them; they pay other amounts, so `learner.value_bounds` must fit."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Weight by term name; terms not named keep their preset's."""

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
        merged = {**_WEIGHTS[self.preset], **self.weights}
        return np.array([merged.get(name, 0.0) for name in REWARD_TERM_NAMES], dtype=np.float32)


def _carl_base(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the percent of the route completed, times every soft factor.

    Source: the description of the reward in https://arxiv.org/abs/2504.17838 (CaRL).
    """
    factors = terms[:, [REWARD_TERM_NAMES.index(name) for name in _SOFT_FACTORS]]
    completed: NDArray[np.float64] = terms[:, REWARD_TERM_NAMES.index("completion")] * factors.prod(axis=1)
    return completed


def _roach_base(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns 1 for every decision, less 0.1 where the steer jumped.

    Source: the description of the reward in https://arxiv.org/abs/2108.08265 (Roach). There the speed error is
    divided by the desired top speed of 6 m/s; here by the lane's limit, which plays the same part.
    """
    jumped = terms[:, REWARD_TERM_NAMES.index("steer_change")] > _ROACH_STEER_JUMP
    return 1.0 - _ROACH_STEER_COST * jumped.astype(np.float64)


_BASES: Final[Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "carl": _carl_base,
    "roach": _roach_base,
}
"""What a preset pays beside its weighted terms."""


def read_reward(source: RewardConfig | str | Mapping[str, Any] | None) -> RewardConfig:
    """Returns the config that a preset's name, weights or nothing stand for.

    Raises:
        ConfigError: Neither, or an unknown preset or term.
    """
    if source is None or isinstance(source, RewardConfig):
        return source or RewardConfig()
    if isinstance(source, str):
        return validate(RewardConfig, {"preset": source}, source="reward")
    if isinstance(source, Mapping):
        return validate(RewardConfig, {"weights": dict(source)}, source="reward")
    raise ConfigError(
        f"a reward is a RewardConfig, a preset's name, weights by name, or a function, not {type(source).__name__}."
    )


class Reward:
    """Computes rewards from terms.

    Args:
        source: A config, a preset's name, weights over preset `progress`, or a function of the terms (float32
            [N, K], columns as in `REWARD_TERM_NAMES`; it must return N finite numbers and must not change its
            argument). `None` takes preset `progress`.

    Attributes:
        is_function: A user's own function pays, not weights.
    """

    def __init__(self, source: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None) -> None:
        self._function: RewardFunction | None = None
        if callable(source):
            self._function = source
            source = None
        self.is_function = self._function is not None
        config = read_reward(source)
        self._weights = config.vector().astype(np.float64)
        self._base = _BASES.get(config.preset)

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
            summed = np.empty(len(terms))
            weigh_terms(np.ascontiguousarray(terms), self._weights, summed)
            if self._base is not None:
                summed += self._base(terms.astype(np.float64))
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
