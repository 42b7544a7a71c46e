"""Environments in processes of their own: stepped without waiting for each other, restarted alone when one fails.

`AsyncBatch` is the EnvPool-like face (`send`, then `recv` the first that are ready), `AsyncVectorEnv` Gymnasium's.
The pieces below them (`process`, `incidents`) also carry the collecting workers of `carla_online.online`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carla_online.lazy import lazy_exports

if TYPE_CHECKING:
    from carla_online.envs.workers.batch import AsyncBatch, Results
    from carla_online.envs.workers.config import SupervisionConfig, port_of, worker_env
    from carla_online.envs.workers.incidents import Incident, IncidentLog
    from carla_online.envs.workers.vector import AsyncVectorEnv, make_async_vector_env

__getattr__ = lazy_exports(
    __name__,
    {
        "batch": ("AsyncBatch", "Results"),
        "config": ("SupervisionConfig", "port_of", "worker_env"),
        "incidents": ("Incident", "IncidentLog"),
        "vector": ("AsyncVectorEnv", "make_async_vector_env"),
    },
)

__all__ = [
    "AsyncBatch",
    "Results",
    "AsyncVectorEnv",
    "make_async_vector_env",
    "SupervisionConfig",
    "port_of",
    "worker_env",
    "Incident",
    "IncidentLog",
]
