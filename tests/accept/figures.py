"""Acceptance figures: each printed with its target, what was measured, seed, commit and wall time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Figures:
    """Collects figures and says at the end whether all reached their targets."""

    def __init__(self, suite: str) -> None:
        self._suite = suite
        self._failed: list[str] = []
        self._count = 0
        self._commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()

    def check(self, name: str, *, holds: bool, measured: str, target: str, seed: str = "-", started_s: float) -> None:
        """Prints one figure."""
        self._count += 1
        if not holds:
            self._failed.append(name)
        elapsed_s = time.monotonic() - started_s
        print(
            f"[{'ok' if holds else 'SHORT'}] {name}\n      measured {measured}\n      target   {target}\n"
            f"      seed {seed}, commit {self._commit}, {elapsed_s:.0f} s",
            flush=True,
        )

    def note(self, text: str) -> None:
        """Prints something to know that has no target."""
        print(f"      {text}", flush=True)

    def run(self, parts: dict[str, Callable[[], None]], chosen: list[str]) -> int:
        """Runs the chosen parts (all if none) and returns the exit code."""
        unknown = [name for name in chosen if name not in parts]
        if unknown:
            print(f"no such part: {', '.join(unknown)}; parts: {', '.join(parts)}", file=sys.stderr)
            return 2
        for name in chosen or parts:
            print(f"== {self._suite}: {name}", flush=True)
            parts[name]()
        print(f"\n{self._count} figures, {len(self._failed)} fell short" + "".join(f"\n  {f}" for f in self._failed))
        return 1 if self._failed else 0
