"""What the machine is, and whether it is free enough to measure on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADED_SHARE = 0.10
"""Of the processors' time, what other programs may use before a measurement."""


def commit() -> str:
    """The commit, `-dirty` if files differ from it."""
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def describe() -> dict[str, str]:
    """Processor, memory, kernel and the versions of what is measured."""
    facts = {
        "processor": _from_file("/proc/cpuinfo", "model name"),
        "cores": str(os.cpu_count()),
        "memory": _from_file("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    hugepages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if hugepages.exists():
        facts["transparent huge pages"] = hugepages.read_text().split("[")[-1].split("]")[0]
    return facts


def version_of(package: str) -> str:
    """A package's version, empty if it isn't installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def busy_share(window_s: float = 1.0) -> float:
    """The share of all processors' time that other programs use while this one sleeps, [0, 1]."""
    before = _processor_ticks()
    time.sleep(window_s)
    after = _processor_ticks()
    total = sum(after) - sum(before)
    # Columns 4 and 5 of /proc/stat: idle, and idle while a disk works.
    idle = after[3] + after[4] - before[3] - before[4]
    return 0.0 if total == 0 else 1.0 - idle / total


def _processor_ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def _from_file(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "unknown"
