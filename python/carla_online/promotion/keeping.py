"""Writing into a registry: one writer at a time, files whole or not at all, none twice."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from carla_online.errors import RegistryError
from carla_online.files import sync_directory, write_bytes_atomically


@contextmanager
def held(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds the writers' lock; the kernel gives it free when a process ends, however it ends."""
    with path.open("a") as file:
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                # flock, not lockf: it also keeps the threads of one process apart.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise RegistryError(
                        f"another process has been writing to {path.parent} for {timeout_s:g} s. Wait for it, or end "
                        "it; its lock ends with it."
                    ) from None
                time.sleep(0.02)
        yield


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes a folder with its files, whole or not at all; called by one writer at a time."""
    versions = folder.parent
    versions.mkdir(exist_ok=True)
    for stale in versions.glob(".*.tmp"):  # of a writer that was killed: this one has the lock
        shutil.rmtree(stale)
    temporary = versions / f".{folder.name}.tmp"
    temporary.mkdir()
    for name, data in files.items():
        write_bytes_atomically(temporary / name, data)
        (temporary / name).chmod(0o444)
    temporary.rename(folder)
    sync_directory(versions)


def write_evidence(folder: Path, data: bytes) -> tuple[str, str]:
    """Writes the next evidence of a version; returns its name and SHA-256."""
    numbers = [int(each.stem.removeprefix("evidence-")) for each in folder.glob("evidence-[0-9]*.json")]
    name = f"evidence-{max(numbers, default=0) + 1:04d}.json"
    write_bytes_atomically(folder / name, data)
    (folder / name).chmod(0o444)
    return name, hashlib.sha256(data).hexdigest()
