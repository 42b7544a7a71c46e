"""A suite: which routes judge a policy, and what counts as better on them, fixed before training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from carla_online.config import Config, NameOrParts
from carla_online.envs.seeding import Split, seed_set


class SuiteConfig(Config):
    """Routes and the rule of *better*. Commit it before training, or the comparison proves nothing."""

    name: str = Field(default="default", min_length=1, max_length=200)
    """What the suite is called in reports and files."""
    env: NameOrParts = Field(default_factory=lambda: {"kind": "world"})
    """The environment: parts of a `WorldEnvConfig`, or a Gymnasium id."""
    routes: int = Field(default=100, ge=1, le=100_000)
    """Routes, one episode each. 30 can't show a difference of 6 points; 100 usually can."""
    split: Split = Split.EVALUATION
    """Family of seeds: `evaluation` to judge, `selection` to choose checkpoints. Never `train`."""
    set_number: int = Field(default=0, ge=0, le=1_000_000)
    """Which set of seeds of the family; 0 and 1 share no route."""
    smallest_effect: float = Field(default=2.0, ge=0.0, le=100.0)
    """Points of the timed driving score that the interval's lower end must exceed."""
    finished_margin: float = Field(default=0.02, ge=0.0, le=1.0)
    """How much lower the share of finished routes may be, 0 to 1."""
    collision_margin_per_km: float = Field(default=0.05, ge=0.0, le=100.0)
    """How many more collisions per km are allowed; use 0.01 where the safety layer enforces."""
    fewest_routes: int = Field(default=20, ge=2)
    """With fewer routes nothing is called better: a bootstrap over a handful of routes is too sure of itself."""
    draws: int = Field(default=10_000, ge=1_000, le=1_000_000)
    """Bootstrap draws."""
    significance: float = Field(default=0.05, gt=0.0, lt=0.5)
    """Error level of the two-sided interval; 0.05 gives 95 %."""
    bootstrap_seed: int = Field(default=0, ge=0)
    """Seed of the bootstrap, so that a verdict can be repeated to the last digit."""

    def seeds(self) -> NDArray[np.uint64]:
        """Returns the suite's episode seeds, uint64 [routes]; a longer suite begins with the shorter one's."""
        return seed_set(self.split, self.set_number, self.routes)

    def for_selection(self, *, routes: int | None = None) -> SuiteConfig:
        """Returns this suite on selection seeds, to choose among checkpoints without touching the evaluation's.

        Args:
            routes: How many; as many as the suite has if not given.
        """
        changes: dict[str, Any] = {"split": Split.SELECTION, "name": f"{self.name} (selection)"}
        if routes is not None:
            changes["routes"] = routes
        return SuiteConfig.model_validate({**self.model_dump(), **changes})
