"""A CARLA server started by a command of the user's: watched, its output in a file, its ports its own."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from carla_online.errors import SimulatorCrashed, SimulatorTimeout

_LOOK_EVERY_S: Final = 0.1
_STOP_TIMEOUT_S: Final = 5.0
_PORTS_TAKEN: Final = 3
"""A server takes its port and the two after it: calls, streams, a second GPU's link."""


class PortClaim:
    """The ports of one server, for as long as this object lives: no other run of this machine gets them meanwhile.

    A kernel lock on a file named after the port, which a killed process gives back; so a restarted server finds the
    block of the one before it, and never that of another run.

    Args:
        port: First port of the server.
        wait_s: How long to wait for a server that is still ending.

    Raises:
        SimulatorTimeout: Another run has them, or another program listens there.
    """

    def __init__(self, port: int, *, wait_s: float = 10.0) -> None:
        self.port = port
        folder = Path(tempfile.gettempdir()) / f"carla-online-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file = (folder / str(port)).open("a")
        deadline_s = time.monotonic() + wait_s
        while (taken := self._taken_by()) is not None:
            if time.monotonic() > deadline_s:
                self._file.close()
                last = port + _PORTS_TAKEN - 1
                raise SimulatorTimeout(
                    f"ports {port} to {last} aren't free: {taken}. End that, or set another port_base."
                )
            time.sleep(_LOOK_EVERY_S)

    def release(self) -> None:
        """Gives the ports back."""
        self._file.close()

    def _taken_by(self) -> str | None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return "another run of carla-online has them"
        for port in range(self.port, self.port + _PORTS_TAKEN):
            if not is_free(port):
                return f"another program listens on {port}"
        return None


def is_free(port: int) -> bool:
    """Returns whether a server of this machine can listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an ended server's connections don't matter
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


class LaunchedServer:
    """A server for the time of a `with` block; it shares the process group of who starts it, and dies with that.

    Args:
        command: Words of the command line; `{port}`, `{gpu}` and `{index}` are filled in.
        port: First of its ports.
        log: File to which standard output and error are appended: a pipe that nobody reads would stop the server.
        index: Number of the server.
        gpu: Number of its GPU, if it has one of its own.
        variables: Environment variables beside this process's.
        start_timeout_s: How long it may take until it listens.

    Raises:
        SimulatorCrashed: It ended while starting, or can't be started.
        SimulatorTimeout: It didn't listen in time, or its ports aren't free.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int,
        log: Path,
        index: int = 0,
        gpu: int | None = None,
        variables: Mapping[str, str] | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        fills = {"{port}": str(port), "{index}": str(index), "{gpu}": "" if gpu is None else str(gpu)}
        self.command = tuple(_filled(word, fills) for word in command)
        self.port, self.log = port, log
        # GPUs are counted as `nvidia-smi` lists them; CUDA's own order is by speed.
        self._environment = os.environ | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | dict(variables or {})
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._claim: PortClaim | None = None

    def __enter__(self) -> Self:
        """Starts the process and waits until it listens."""
        self._claim = PortClaim(self.port)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab", buffering=0) as out:
                self._process = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._environment
                )
        except OSError as error:
            self.__exit__(None, None, None)
            raise SimulatorCrashed(
                f"the server can't be started: {error}; correct launch.command {list(self.command)}."
            ) from error
        try:
            self._wait_until_it_listens(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops the process and all that it started: politely, then for good."""
        process, self._process = self._process, None
        if process is not None:
            family = [process.pid, *descendants(process.pid)]
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pid in family[1:]:  # CarlaUE4.sh leaves its own child behind when it is ended
                _kill(pid)
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    @property
    def process_id(self) -> int:
        """Id of the process."""
        if self._process is None:
            raise SimulatorCrashed("the server isn't running; use it in a `with` block.")
        return self._process.pid

    def output(self) -> str:
        """Returns the last lines that the server printed."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2_000))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-20:])

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + self._start_timeout_s
        while not all(_listens(port) for port in (self.port, self.port + 1)):
            if process.poll() is not None:
                raise SimulatorCrashed(
                    f"the server ended with {process.returncode} while starting; {self.log} ends with: {self.output()}"
                )
            if time.monotonic() > deadline_s:
                raise SimulatorTimeout(
                    f"the server doesn't listen on {self.port} and {self.port + 1} after {self._start_timeout_s:g} s; "
                    f"see {self.log}, or raise launch.start_timeout_s."
                )
            time.sleep(_LOOK_EVERY_S)


def descendants(pid: int) -> list[int]:
    """Returns the ids of the processes that `pid` has started, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [each for child in map(int, children) for each in (child, *descendants(child))]


def _filled(word: str, fills: Mapping[str, str]) -> str:
    for name, value in fills.items():
        word = word.replace(name, value)
    return word


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False
