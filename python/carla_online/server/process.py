"""Runs `carla-online serve` as a child process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from carla_online.errors import SimulatorCrashed, SimulatorTimeout

_LINES_KEPT = 200
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What to serve.

    Attributes:
        map: Name of the first map; None for the server's own.
        maps: Folder of OpenDRIVE files, served by name.
        aliases: Names under which other maps are served as well.
        traffic: Vehicles that the server itself drives.
        walkers: People that it walks at crosswalks.
        seed: Where these start and go.
        port: Port of the calls, the next one is taken too; 0 for any free pair.
        faults: Faults to inject, in the forms of `carla-online serve --fault`.
        start_timeout_s: How long the start may take.
        log: File to which what it prints is appended as well.
    """

    map: str | None = None
    maps: Path | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    traffic: int = 0
    walkers: int = 0
    seed: int = 0
    port: int = 0
    faults: tuple[str, ...] = ()
    start_timeout_s: float = 60.0
    log: Path | None = None

    def arguments(self) -> list[str]:
        """Returns the command line."""
        words = ["serve", "--port", str(self.port), "--parent", str(os.getpid())]
        if self.map is not None:
            words += ["--map", self.map]
        if self.maps is not None:
            words += ["--maps", str(self.maps)]
        for name, target in self.aliases.items():
            words += ["--alias", f"{name}={target}"]
        for flag, value in (("--traffic", self.traffic), ("--walkers", self.walkers), ("--seed", self.seed)):
            if value:
                words += [flag, str(value)]
        for fault in self.faults:
            words += ["--fault", fault]
        return words


class Server:
    """A server for the time of a `with` block, and no longer than this process lives.

    Example:
        with Server(ServerConfig(map="Straight")) as server:
            client = carla.Client("127.0.0.1", server.port)

    Raises:
        SimulatorCrashed: The process ended while starting; the message holds what it printed.
        SimulatorTimeout: It didn't start in time.
    """

    def __init__(self, config: ServerConfig | None = None) -> None:
        self._config = config or ServerConfig()
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._port: int | None = None
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        """Starts the process and waits until it serves."""
        command = [sys.executable, "-m", "carla_online.cli", *self._config.arguments()]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        deadline_s = time.monotonic() + self._config.start_timeout_s
        while not self._ready.wait(0.05):
            if self._process.poll() is not None:
                self._reader.join(_STOP_TIMEOUT_S)
                self.__exit__(None, None, None)
                raise SimulatorCrashed(f"the server ended while starting: {self.output()}")
            if time.monotonic() > deadline_s:
                self.__exit__(None, None, None)
                raise SimulatorTimeout(f"the server didn't start within {self._config.start_timeout_s} s")
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Collects what the process prints, so that it never waits for a reader."""
        assert process.stdout is not None
        with contextlib.ExitStack() as stack:
            log = None
            if self._config.log is not None:
                self._config.log.parent.mkdir(parents=True, exist_ok=True)
                log = stack.enter_context(self._config.log.open("a", encoding="utf-8", buffering=1))
            for line in process.stdout:
                self._lines.append(line.rstrip("\n"))
                if log is not None:
                    log.write(line)
                if self._port is None and line.startswith("serving "):
                    self._port = int(line.split(" port ")[1].split()[0])
                    self._ready.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops the process: politely, then for good."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(_STOP_TIMEOUT_S)
        if process.stdout is not None:
            process.stdout.close()

    @property
    def port(self) -> int:
        """Port of the calls."""
        if self._port is None:
            raise SimulatorCrashed("the server isn't running; use it in a `with` block.")
        return self._port

    @property
    def process_id(self) -> int:
        """Id of the process."""
        if self._process is None:
            raise SimulatorCrashed("the server isn't running; use it in a `with` block.")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The process's exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        """Returns the last lines that the server printed."""
        return "\n".join(self._lines)
