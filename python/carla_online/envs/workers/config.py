"""How worker processes are watched, restarted and renewed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, Field, model_validator

from carla_online.config import Config
from carla_online.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class SupervisionConfig(Config):
    """Deadlines, restarts and limits of worker processes; seconds are of the wall clock."""

    start_deadline_s: float = Field(300.0, gt=0)
    """Longest time from a worker's start to its first sign of readiness: imports, servers, maps."""
    reset_deadline_s: float = Field(120.0, gt=0)
    """Longest time of one reset."""
    step_deadline_s: float = Field(30.0, gt=0)
    """Longest time of one step."""
    backoff_s: float = Field(0.25, ge=0)
    """Wait before a failed worker is started again; doubled with each failure in a row."""
    max_backoff_s: float = Field(30.0, ge=0)
    """Longest such wait."""
    max_failures_in_a_row: int = Field(8, ge=1)
    """Failures of one worker, without a step between them, that stop everything."""
    max_failures_per_1000_steps: float = Field(50.0, gt=0)
    """Failures per 1,000 steps, over all workers, that stop everything; judged from `judge_from_failures` on."""
    judge_from_failures: int = Field(20, ge=1)
    """Fewest failures from which the rate is judged."""
    recycle_episodes: int | None = Field(None, ge=1)
    """Episodes after which a worker is replaced by a fresh process, or null for never."""
    recycle_memory_mb: int | None = Field(None, ge=1)
    """Resident megabytes of a worker and its children beyond which it is replaced after an episode, or null."""
    quarantine_after: int = Field(2, ge=1)
    """Workers that an episode must have killed to be driven no more."""
    port_base: int | None = Field(None, ge=1024, le=65_000)
    """First port of worker 0, for backends that have a `port`; null leaves the backend's own."""
    port_block: int = Field(20, ge=1, le=1_000)
    """Ports between two workers: each has a block of its own, which it keeps over restarts."""

    @model_validator(mode="after")
    def _check(self) -> SupervisionConfig:
        if self.max_backoff_s < self.backoff_s:
            raise ValueError(
                f"max_backoff_s {self.max_backoff_s:g} is below backoff_s {self.backoff_s:g}; raise it to that at least"
            )
        return self


def port_of(index: int, config: SupervisionConfig) -> int | None:
    """Returns the first port of worker `index`'s block, or None where none are handed out.

    Raises:
        ConfigError: The block would lie beyond port 65,535.
    """
    if config.port_base is None:
        return None
    port = config.port_base + index * config.port_block
    if port + config.port_block - 1 > 65_535:
        raise ConfigError(
            f"worker {index} would get the ports from {port} on, beyond 65535; lower port_base {config.port_base} or "
            f"port_block {config.port_block}."
        )
    return port


def worker_env(env: ConfigT, index: int, workers: int, config: SupervisionConfig, *, log_dir: Path) -> ConfigT:
    """Returns the configuration of one worker's environments: its own share of the servers, its own ports.

    A backend takes part by a method `for_worker(index, workers, port_base, log_dir)`, or by a field `port`; any other
    configuration is the same for every worker.

    Args:
        env: The configuration of all environments.
        index: Number of the worker.
        workers: How many share the environments.
        config: Says where the ports begin.
        log_dir: Folder for what servers print.
    """
    port = port_of(index, config)
    share: Callable[..., ConfigT] | None = getattr(env, "for_worker", None)
    if share is not None:
        return share(index, workers, port_base=config.port_base, log_dir=log_dir)
    if port is None or "port" not in type(env).model_fields:
        return env
    return env.model_copy(update={"port": port})
