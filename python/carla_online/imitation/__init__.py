"""Learning from good episodes without driving: what went well online becomes a policy by supervised learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carla_online.lazy import lazy_exports

if TYPE_CHECKING:
    from carla_online.imitation.config import DistilConfig, GoodEpisodesConfig
    from carla_online.imitation.episodes import BufferFacts, GoodEpisodes, good_episodes
    from carla_online.imitation.fitting import Distilled, distil

__getattr__ = lazy_exports(
    __name__,
    {
        "config": ("DistilConfig", "GoodEpisodesConfig"),
        "episodes": ("BufferFacts", "GoodEpisodes", "good_episodes"),
        "fitting": ("Distilled", "distil"),
    },
)

__all__ = [
    "good_episodes",
    "GoodEpisodes",
    "GoodEpisodesConfig",
    "BufferFacts",
    "distil",
    "Distilled",
    "DistilConfig",
]
