"""The board: a page of shared memory on which learner and workers tell each other where they are.

Each number has one writer, apart from the counter of transitions, which a kernel lock guards: a lock that the kernel
takes back when its holder is killed, so no dead worker can block the others.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

STARTING: Final = 0
RESETTING: Final = 1
STEPPING: Final = 2
WAITING: Final = 3
STORING: Final = 4
PHASES: Final = ("starting", "resetting", "stepping", "waiting for the learner", "storing")
"""What a worker does, by number."""

_CONTROL: Final = np.dtype([("stop", "u8"), ("allowed", "u8"), ("next_id", "u8"), ("weights_version", "u8")])
_WORKER: Final = np.dtype(
    [
        ("beat_s", "f8"),
        ("phase", "u8"),
        ("retire", "u8"),
        ("env_steps", "u8"),
        ("transitions", "u8"),
        ("episodes", "u8"),
        ("version", "u8"),
        ("last_id", "u8"),
        ("episode_seed", "u8"),
    ]
)


class Board:
    """The page.

    Args:
        workers: How many workers.
        lock: File whose kernel lock guards the counter.
        fd: The page's file descriptor, which is closed; a new page is made if None.
    """

    def __init__(self, workers: int, lock: Path, *, fd: int | None = None) -> None:
        size = _CONTROL.itemsize + workers * _WORKER.itemsize
        self.fd = os.memfd_create("carla-online-board") if fd is None else fd
        if fd is None:
            os.truncate(self.fd, size)
        memory = mmap.mmap(self.fd, size)
        self.control = np.ndarray((1,), _CONTROL, buffer=memory)
        self.workers = np.ndarray((workers,), _WORKER, buffer=memory, offset=_CONTROL.itemsize)
        self._lock = lock.open("a")

    @property
    def next_id(self) -> int:
        """Number of the next transition."""
        return int(self.control["next_id"][0])

    @property
    def must_stop(self) -> bool:
        """Whether the workers shall end."""
        return bool(self.control["stop"][0])

    @property
    def may_drive(self) -> bool:
        """Whether more transitions are wanted for now."""
        return self.next_id < int(self.control["allowed"][0])

    def reserve(self, count: int) -> int:
        """Returns the first of `count` numbers that nobody else gets.

        They are taken before the rows are stored: a worker that is killed in between leaves them unused, whereas taken
        afterwards they could be given out twice.
        """
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            first = self.next_id
            self.control["next_id"][0] = first + count
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return first

    def beat(self, worker: int, phase: int) -> None:
        """Says what the worker does from now on; its deadline begins anew."""
        row = self.workers[worker : worker + 1]
        row["phase"] = phase
        row["beat_s"] = time.monotonic()

    def marker(self, worker: int) -> Callable[[str], None]:
        """Returns a function that says `reset` or `step` for the worker."""

        def mark(call: str) -> None:
            self.beat(worker, RESETTING if call == "reset" else STEPPING)

        return mark

    def add(self, worker: int, **counts: int) -> None:
        """Adds to the worker's own counters."""
        for name, count in counts.items():
            self.workers[name][worker] += np.uint64(count)

    def close(self) -> None:
        """Closes page and lock."""
        self._lock.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
