"""Own servers: how they are started, where their output goes, which ports and GPU they have, when they are renewed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final, Protocol, Self

from pydantic import Field, field_validator, model_validator

from carla_online.config import Config
from carla_online.envs.workers.process import resident_bytes
from carla_online.server import LaunchedServer, Server, ServerConfig

_FIRST_MAP: Final = "Straight"
"""What `carla-online serve` shows before its first episode: the cheapest."""
_DEFAULT_PORT: Final = 2000


class LaunchConfig(Config):
    """How servers of one's own are started and renewed."""

    command: tuple[str, ...] = ()
    """Words that start a server, for `servers: [launch]`; `{port}`, `{gpu}` and `{index}` are filled in. For one
    `[/opt/carla/CarlaUE4.sh, -RenderOffScreen, -nosound, "-carla-rpc-port={port}", "-graphicsadapter={gpu}"]`."""
    port_base: int | None = Field(default=None, ge=1024, le=65_000)
    """First port of the first server; null takes any free ones for `serve`, and 2000 for `launch`."""
    port_block: int = Field(default=20, ge=3, le=1_000)
    """Ports between two servers: each has a block of its own, which it keeps over restarts."""
    gpus: tuple[int, ...] = ()
    """GPUs on which the servers take turns, numbered as `nvidia-smi` lists them."""
    log_dir: str | None = None
    """Folder for what the servers print, `server-N.log`; the run's `workers` folder, or a temporary one, if null."""
    start_timeout_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """How long a start may take."""
    recycle_episodes: int | None = Field(default=None, ge=1)
    """Episodes after which a server is replaced by a fresh one, or null for never."""
    recycle_memory_mb: int | None = Field(default=None, ge=1)
    """Resident megabytes of a server beyond which it is replaced before the next episode, or null."""
    first: int = Field(default=0, ge=0)
    """Number of the first of these servers; workers that share the servers set it."""

    @field_validator("command")
    @classmethod
    def _check_command(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not any("{port}" in word for word in command):
            raise ValueError("no word has {port} in it, so every server would take the same; add it")
        return command

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        if self.gpus and self.command and not any("{gpu}" in word for word in self.command):
            raise ValueError("gpus are given, but no word of command has {gpu} in it; add it, or leave gpus out")
        return self

    def port_of(self, index: int) -> int | None:
        """Returns the first port of server `index`, or None for any free one."""
        return None if self.port_base is None else self.command_port_of(index)

    def command_port_of(self, index: int) -> int:
        """Returns the first port of server `index` where a command has to be told one."""
        return (self.port_base or _DEFAULT_PORT) + (self.first + index) * self.port_block

    def gpu_of(self, index: int) -> int | None:
        """Returns the GPU of server `index`, or None."""
        return self.gpus[(self.first + index) % len(self.gpus)] if self.gpus else None

    def log_of(self, index: int) -> Path:
        """Returns the file for what server `index` prints."""
        folder = Path(self.log_dir) if self.log_dir else Path(tempfile.gettempdir()) / "carla-online-servers"
        return folder / f"server-{self.first + index}.log"


class OwnServer(Protocol):
    """A server that this process has started."""

    @property
    def port(self) -> int:
        """Port of the calls."""

    @property
    def process_id(self) -> int:
        """Id of its process."""

    def __exit__(self, kind: None, error: None, trace: None, /) -> None:
        """Ends it."""


def start_serve(config: LaunchConfig, index: int) -> OwnServer:
    """Starts `carla-online serve`.

    Raises:
        SimulatorError: It doesn't start.
    """
    log = config.log_of(index) if config.log_dir else None
    port = config.port_of(index) or 0
    return Server(ServerConfig(map=_FIRST_MAP, port=port, start_timeout_s=config.start_timeout_s, log=log)).__enter__()


def start_command(config: LaunchConfig, index: int) -> OwnServer:
    """Starts the command.

    Raises:
        SimulatorError: It doesn't start, or its ports aren't free.
    """
    server = LaunchedServer(
        config.command,
        port=config.command_port_of(index),
        log=config.log_of(index),
        index=config.first + index,
        gpu=config.gpu_of(index),
        start_timeout_s=config.start_timeout_s,
    )
    return server.__enter__()


def renewal_reason(config: LaunchConfig, server: OwnServer, episodes: int) -> str:
    """Returns why a server has had its time, or nothing."""
    if config.recycle_episodes is not None and episodes >= config.recycle_episodes:
        return f"{episodes} episodes"
    if config.recycle_memory_mb is not None and episodes:
        used_mb = resident_bytes(server.process_id) / 1e6
        return f"{used_mb:,.0f} MB resident" if used_mb > config.recycle_memory_mb else ""
    return ""
