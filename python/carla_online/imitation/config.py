"""Settings of distillation: which episodes are good, and how they are learnt from."""

from __future__ import annotations

from pydantic import Field

from carla_online.config import Config


class GoodEpisodesConfig(Config):
    """Which episodes of a replay are worth imitating. Only complete ones are looked at."""

    infractions: tuple[str, ...] = ("collision", "off_road", "blocked", "wrong_way", "red_light", "stop_sign")
    """Reward terms that must be zero throughout (`carla_online.envs.contract.REWARD_TERM_NAMES`)."""
    finished: bool = True
    """Whether the route must have been driven to its end (`route_finished`)."""
    interventions: bool = False
    """Whether episodes in which the safety layer changed an action are taken, too."""
    oldest_version: int = Field(0, ge=0)
    """Episodes with a row of an older policy version are left out: early ones may be good by luck alone."""
    top_share: float = Field(1.0, gt=0, le=1)
    """Share of each slice's good episodes that is kept, those with the highest returns; at least one a slice."""
    fewest_episodes: int = Field(10, ge=2)
    """With fewer good episodes there is no distillation: some are held back to see when to stop."""
    most_rows: int = Field(500_000, ge=100, le=100_000_000)
    """Rows held in memory; beyond that, whole episodes are left out at random, by the seed."""
    backbone: str | None = None
    """Hash of the frozen network whose features the starting policy saw; buffers with others are refused. None takes
    the first buffer's: a policy file doesn't say."""
    reward_terms: tuple[str, ...] | None = None
    """Names of the rows' reward terms, in order; None for the contract's own."""


class DistilConfig(Config):
    """How a policy is fitted to the executed actions of good episodes."""

    episodes: GoodEpisodesConfig = GoodEpisodesConfig()
    """Which episodes."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seeds the fresh head, the split and the order of the rows."""
    lr: float = Field(1e-3, gt=0, le=0.1)
    """Adam's learning rate."""
    batch_size: int = Field(256, ge=1, le=1_000_000)
    """Rows of one gradient step."""
    epochs: int = Field(100, ge=1, le=100_000)
    """Passes over the training rows, at most."""
    patience: int = Field(10, ge=1, le=100_000)
    """Passes without a better validation loss, after which training stops; the best weights are kept."""
    validation_share: float = Field(0.2, gt=0, lt=1)
    """Share of the episodes that is held back to see when to stop; never rows of one episode on both sides."""
    gradient_clip: float = Field(10.0, gt=0)
    """Largest norm of a gradient."""
    log_std: float | None = Field(None, ge=-5, le=1)
    """Log standard deviation of the distilled head, the same in every state; None for the starting policy's
    `log_std_bias`. Supervised learning says nothing about how much to explore."""
