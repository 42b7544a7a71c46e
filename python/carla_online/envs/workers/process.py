"""One worker process: started afresh, tied to its parent's life, its errors kept in a file.

Why not `multiprocessing.Process`: its `spawn` imports the parent's main module in every child, and a training script
imports torch (seconds of start, hundreds of megabytes) for a child that only steps a simulator. This starts a bare
interpreter that imports what its target needs and nothing else. Nothing is ever forked.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final

_LAUNCH: Final = "from carla_online.envs.workers.process import main; main()"
_LAST_LINES: Final = 4
WORKER_VARIABLE: Final = "CARLA_ONLINE_WORKER"
"""Environment variable that holds the worker's index in a worker process, and isn't set elsewhere."""


class WorkerProcess:
    """A child process with a connection, in a process group of its own.

    The kernel kills the whole group when the parent ends, however it ends: the child holds the reading end of a pipe
    whose only writing end is the parent's, and has asked for SIGKILL to its group when that pipe is closed. So even a
    child that hangs in native code, and the simulator it started, don't outlive the run.

    Args:
        target: `module:function`, called in the child as `function(connection, payload)`.
        payload: Pickled for the child.
        index: Number of the worker.
        stderr: File to which the child's standard output and error are appended; the parent's own if None.
        variables: Environment variables beside the parent's.
    """

    def __init__(
        self,
        target: str,
        payload: object,
        *,
        index: int,
        stderr: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.connection, theirs = Pipe()
        lifeline, self._life = os.pipe()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), WORKER_VARIABLE: str(index)}
        environment |= variables or {}
        fds = (theirs.fileno(), lifeline)
        words = [sys.executable, "-P", "-c", _LAUNCH, *map(str, fds), target]
        out = None if stderr is None else stderr.open("ab", buffering=0)
        try:
            self._process = subprocess.Popen(
                words,
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(lifeline)
            theirs.close()
            if out is not None:
                out.close()
        self.pid = self._process.pid
        self.stderr = stderr
        with contextlib.suppress(OSError):  # if it died at once, the next receive says so
            self.connection.send(payload)

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def describe_end(self) -> str:
        """Returns how the process ended, with the last lines it wrote."""
        code = self._process.poll()
        if code is None:
            how = "closed its connection"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        last = self.last_lines()
        return f"{how}: {last}" if last and (code is None or code > 0) else how

    def last_lines(self) -> str:
        """Returns the last lines of the standard error on one line, or nothing where they weren't kept."""
        if self.stderr is None:
            return ""
        with self.stderr.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2_000))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())[-500:]

    def wait(self, timeout_s: float) -> bool:
        """Returns whether the process has ended within the time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kills the process and all that it started, and lets go of it; further calls do nothing."""
        if self._life < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        os.close(self._life)
        self._life = -1


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process and its descendants, 0 where there is no such process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident_bytes(int(child)) for child in children)


def main() -> None:
    """Runs in the child: ties it to its parent and calls the target."""
    connection_fd, lifeline, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for fd in (connection_fd, lifeline):
        os.set_inheritable(fd, False)
    _die_with_parent(lifeline)
    # Ctrl-C and a run's SIGTERM are the parent's matter: it stops its workers in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(connection_fd)
    module, _, function = target.partition(":")
    work: Callable[[Connection[Any, Any], Any], None] = getattr(importlib.import_module(module), function)
    try:
        work(connection, connection.recv())
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent has let go
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # threads of a simulator's client may not want to end
    sys.stdout.flush()
    os._exit(0)  # what mattered was closed; unloading the libraries takes seconds


def _die_with_parent(lifeline: int) -> None:
    """Has the kernel kill this process group when the other end of `lifeline` is closed."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0.0)[0]:  # it had gone before the kernel was asked
        os.killpg(0, signal.SIGKILL)
