"""A curriculum as data: stages of growing difficulty, and when an environment moves between them.

The curriculum changes nothing but which stage's configuration the next episode is drawn from. So it works for every
backend that draws episodes from configuration and seed, and its whole state is a few arrays that go into the
environment's snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from carla_online.config import Config, NameOrParts, validate
from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.envs.reward import RewardConfig
from carla_online.envs.seeding import hashed
from carla_online.errors import CheckpointError, ConfigError

MOST_STAGES: Final = 16
# Leaderboard charges neither lines nor speed, and a lane change crosses lines.
_UNCHARGED: Final = ("lane_invasion", "speeding")
_CHARGED: Final = [index for index, name in enumerate(INFRACTION_NAMES) if name not in _UNCHARGED]
_REHEARSES: Final = 0x52454845
_WHICH: Final = 0x57484943
_STILL_REHEARSED: Final = 0.05
"""How often a stage that never fails is rehearsed, as if it failed so often."""


class StageConfig(Config):
    """What differs in one stage; keys left out are the environment's own."""

    name: str = Field(min_length=1, max_length=40)
    """What it is called in slices and reports."""
    map: NameOrParts | None = None
    """As the environment's `map`."""
    traffic: NameOrParts | None = None
    """As the environment's `traffic`."""
    ego: dict[str, Any] | None = None
    """As the environment's `ego`."""
    simulation: dict[str, Any] | None = None
    """As the environment's `simulation`; steps and decisions must stay as long as in the other stages."""
    weather: NameOrParts | None = None
    """As the environment's `weather`."""
    reward: RewardConfig | None = None
    """As the environment's `reward`."""
    promote_at: float | None = Field(default=None, gt=0.0, le=1.0)
    """As the curriculum's `promote_at`: what a policy that still explores reaches differs between stages."""


class CurriculumConfig(Config):
    """Stages, and when to move between them."""

    stages: tuple[StageConfig, ...] = Field(min_length=1, max_length=MOST_STAGES)
    """From the easiest to the hardest."""
    promote_at: float = Field(default=0.9, gt=0.0, le=1.0)
    """Share of successes in the window that leads to the next stage."""
    demote_below: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Share below which it leads back. The gap between the two keeps it from going back and forth."""
    window: int = Field(default=100, ge=1, le=10_000)
    """Episodes of the current stage that are looked at; it is full before anything is decided, and empty after."""
    rehearsal_share: float = Field(default=0.25, ge=0.0, le=0.9)
    """Share of episodes drawn from earlier stages, against forgetting; from each the more often, the more it fails."""

    @field_validator("stages")
    @classmethod
    def _check_names(cls, stages: tuple[StageConfig, ...]) -> tuple[StageConfig, ...]:
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names):
            raise ValueError(f"the stages' names {names} must differ")
        return stages

    @model_validator(mode="after")
    def _check_hysteresis(self) -> CurriculumConfig:
        for stage in self.stages:
            if self.demote_below >= self.promotes_at(stage):
                raise ValueError(
                    f"demote_below {self.demote_below} must be lower than promote_at {self.promotes_at(stage)} of "
                    f"stage {stage.name!r}"
                )
        return self

    def promotes_at(self, stage: StageConfig) -> float:
        """Returns the share of successes that leads on from a stage."""
        return self.promote_at if stage.promote_at is None else stage.promote_at


CURRICULA: Final[Mapping[str, Mapping[str, Any] | None]] = {
    "none": None,
    "to_junctions": {
        "stages": [
            {"name": "straight", "map": "straight", "traffic": "light"},
            {"name": "lane_change", "map": "straight", "traffic": "default"},
            {"name": "intersections", "map": "four_way", "traffic": {"preset": "urban", "walkers": 0}},
        ]
    },
}
"""Curricula by name."""


def read_curriculum(source: str | Mapping[str, Any]) -> CurriculumConfig | None:
    """Returns the curriculum that a name or a mapping stands for; `None` without one.

    Raises:
        ConfigError: An unknown name, or a mapping that isn't a curriculum.
    """
    if isinstance(source, str):
        if source not in CURRICULA:
            raise ConfigError(f"unknown curriculum {source!r}; use a mapping with stages, or {', '.join(CURRICULA)}.")
        named = CURRICULA[source]
        return None if named is None else validate(CurriculumConfig, dict(named), source=f"curriculum {source}")
    return validate(CurriculumConfig, dict(source), source="curriculum")


ConfigT = TypeVar("ConfigT", bound=Config)


def staged(config: ConfigT, course: CurriculumConfig | None) -> tuple[ConfigT, ...]:
    """Returns an environment's configuration for every stage of a curriculum; without one just itself."""
    if course is None:
        return (config,)
    parts = ("map", "traffic", "ego", "simulation", "weather", "reward")
    return tuple(
        config.model_copy(
            update={"curriculum": "none"}
            | {part: value for part in parts if (value := getattr(stage, part)) is not None}
        )
        for stage in course.stages
    )


def successes(finished: NDArray[np.bool_], infractions: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns which episodes succeeded: the route driven to its end, and no infraction that Leaderboard charges.

    Args:
        finished: bool [N].
        infractions: int32 [N, J], columns as in `INFRACTION_NAMES`.
    """
    clean: NDArray[np.bool_] = finished & ~np.any(infractions[:, _CHARGED] > 0, axis=1)
    return clean


class Curriculum:
    """Which stage each environment's next episode is drawn from.

    Episodes that end in one step are taken in by the number of their environment, so what follows is a function of
    seeds and actions alone: a stage is drawn from the episode's seed, the level and the outcomes so far.

    Args:
        config: The stages.

    Attributes:
        level: The stage that is being learned.
    """

    def __init__(self, config: CurriculumConfig) -> None:
        self.config = config
        count = len(config.stages)
        self.level = 0
        self._outcomes: NDArray[np.int8] = np.full((count, config.window), -1, np.int8)
        self._ended: NDArray[np.int64] = np.zeros(count, np.int64)

    def choose(self, seeds: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Returns the stage of each episode, int64 [N], from its seed, uint64 [N]."""
        stages = np.full(len(seeds), self.level, np.int64)
        if self.level > 0:
            earlier = hashed(seeds, _REHEARSES) < self.config.rehearsal_share
            failing = 1.0 - np.nan_to_num(self.success_rates()[: self.level], nan=0.0)
            bounds = np.cumsum(failing + _STILL_REHEARSED)
            which = np.searchsorted(bounds, hashed(seeds, _WHICH) * bounds[-1], side="right")
            stages[earlier] = np.minimum(which, self.level - 1)[earlier]
        return stages

    def note(self, stages: NDArray[np.int64], succeeded: NDArray[np.bool_]) -> None:
        """Takes in episodes that ended, in order, and moves between stages.

        Args:
            stages: int64 [M], the episodes' stages.
            succeeded: bool [M].
        """
        for stage, success in zip(stages.tolist(), succeeded.tolist(), strict=True):
            self._outcomes[stage, self._ended[stage] % self.config.window] = success
            self._ended[stage] += 1
            if stage == self.level:
                self._move()

    def success_rates(self) -> NDArray[np.float64]:
        """Returns the share of successes among the last episodes of every stage; NaN where there was none."""
        known = self._outcomes >= 0
        counts = known.sum(axis=1)
        return np.where(counts > 0, (self._outcomes == 1).sum(axis=1) / np.maximum(counts, 1), np.nan)

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns everything that it remembers, as arrays by name."""
        return {
            "curriculum_level": np.array([self.level], np.int64),
            "curriculum_outcomes": self._outcomes.copy(),
            "curriculum_ended": self._ended.copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned.

        Raises:
            CheckpointError: It is damaged, or of another curriculum; nothing has changed.
        """
        own = self.state()
        for name, mine in own.items():
            seen = state.get(name)
            if seen is None or seen.dtype != mine.dtype or seen.shape != mine.shape:
                told = "missing" if seen is None else f"{seen.dtype} {list(seen.shape)}"
                raise CheckpointError(f"the snapshot's {name} is {told}, expected {mine.dtype} {list(mine.shape)}.")
        level, outcomes, ended = (state[name] for name in own)
        is_sound = 0 <= int(level[0]) < len(ended) and np.all(np.isin(outcomes, (-1, 0, 1))) and np.all(ended >= 0)
        if not is_sound:
            raise CheckpointError(
                "the snapshot's curriculum has a stage or an outcome that doesn't exist; it is damaged."
            )
        self.level = int(level[0])
        self._outcomes, self._ended = outcomes.copy(), ended.copy()

    def _move(self) -> None:
        window = self._outcomes[self.level]
        if np.any(window < 0):
            return
        share = float((window == 1).mean())
        last = len(self.config.stages) - 1
        if share >= self.config.promotes_at(self.config.stages[self.level]) and self.level < last:
            self.level += 1
        elif share < self.config.demote_below and self.level > 0:
            self.level -= 1
        else:
            return
        # The window of the stage that is taken up (again) begins empty; what was left is still told by its rate.
        self._outcomes[self.level] = -1
        self._ended[self.level] = 0
