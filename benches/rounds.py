"""Contests: several ways of doing the same work, timed beside each other in rotated rounds of one process.

The machine's speed drifts, so absolute times of one moment say little about another. In each round every contender runs
for about `visit_s`, in an order that turns from round to round; what is compared are the ratios inside a round. A round
in which the limit (or, without one, the yardstick) is more than `DRIFT` from what most rounds agree on is thrown away,
and if too few rounds are left the machine was loaded: no figure is better than a wrong one.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

DRIFT = 0.15
"""A round counts if its limit took as long as in most rounds, give or take this share."""

Kind = Literal["ours", "numpy", "library", "limit", "reference"]
Clock = Literal["wall", "cpu"]


class MachineLoadedError(RuntimeError):
    """Other programs use the machine; a measurement would be wrong."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of doing the work.

    Attributes:
        name: As shown in the table.
        kind: `ours` is what the ratios refer to; `numpy` what a careful user writes in NumPy; `library` a published
            package; `limit` what the machine allows; `reference` is shown and compared with nothing.
        run: Does the work as often as its argument says.
        work: How many units of the contest's work one call does, where that differs between contenders.
    """

    name: str
    kind: Kind
    run: Callable[[int], None]
    work: float = 1.0


def repeated(function: Callable[[], object]) -> Callable[[int], None]:
    """Turns a call without arguments into a loop."""

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            function()

    return run


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and the 10 and 90 % quantiles."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        """The spread of a list of values."""
        return cls(*(float(value) for value in np.quantile(values, (0.5, 0.1, 0.9))))


@dataclass(slots=True)
class Contest:
    """A question ("how long does it take to add one row?") and everything that answers it.

    Attributes:
        name: `suite/what`, e.g. `replay/sample 256`.
        contenders: One of them is `ours`.
        skipped: What can't take part on this machine, with the reason.
        gated: Whether `make bench-check` compares it with the committed reference.
        wall_s: Seconds a unit of work by contender and round, [contenders, rounds].
        cpu_s: The same in processor time of the calling thread.
    """

    name: str
    contenders: Sequence[Contender]
    skipped: dict[str, str] = field(default_factory=dict)
    gated: bool = True
    wall_s: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    cpu_s: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    calls: list[int] = field(default_factory=list)
    kept: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    clock: Clock = "wall"

    def run(self, *, rounds: int, visit_s: float, clock: Clock) -> None:
        """Runs rounds until enough of them count.

        Raises:
            MachineLoadedError: Three times as many rounds were not enough.
        """
        self.clock = clock
        self.calls = [_calibrate(contender.run, visit_s) for contender in self.contenders]
        wall, cpu = [], []
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for number in range(3 * rounds):
                one = self._round(number)
                wall.append(one[0])
                cpu.append(one[1])
                self.wall_s, self.cpu_s = np.array(wall).T, np.array(cpu).T
                self.kept = self._steady()
                if self.kept.sum() >= rounds:
                    return
        finally:
            if was_enabled:
                gc.enable()
        raise MachineLoadedError(
            f"{self.name}: in {len(wall) - self.kept.sum()} of {len(wall)} rounds {self.yardstick.name} took more than "
            f"{DRIFT:.0%} longer or shorter than in the others; other programs use the machine"
        )

    def release(self) -> None:
        """Lets go of what the contenders hold, gigabytes in some; names and figures stay."""
        self.contenders = [replace(contender, run=_released) for contender in self.contenders]

    def run_once(self) -> None:
        """Lets every contender do its work once, untimed."""
        for contender in self.contenders:
            contender.run(1)

    @property
    def yardstick(self) -> Contender:
        """The contender whose drift decides which rounds count: the first limit, else NumPy, else our own."""
        for kind in ("limit", "reference", "numpy", "ours"):
            for contender in self.contenders:
                if contender.kind == kind:
                    return contender
        raise ValueError(f"{self.name} has no contenders")

    @property
    def ours(self) -> int:
        """Index of our contender: the first of that kind."""
        return next(index for index, contender in enumerate(self.contenders) if contender.kind == "ours")

    def seconds(self, index: int) -> np.ndarray:
        """Seconds a unit of work in the rounds that count, by the contest's clock."""
        taken = self.wall_s if self.clock == "wall" else self.cpu_s
        return taken[index][self.kept]

    def ratio(self, index: int) -> Spread:
        """How many times as long as ours a contender took, round by round."""
        return Spread.of(self.seconds(index) / self.seconds(self.ours))

    def best(self, kind: Kind) -> int | None:
        """Index of the fastest contender of a kind (the first one for limits), None if there is none."""
        of_kind = [index for index, contender in enumerate(self.contenders) if contender.kind == kind]
        if not of_kind:
            return None
        return of_kind[0] if kind == "limit" else min(of_kind, key=lambda index: float(np.median(self.seconds(index))))

    def _round(self, number: int) -> tuple[list[float], list[float]]:
        wall, cpu = [0.0] * len(self.contenders), [0.0] * len(self.contenders)
        for step in range(len(self.contenders)):
            index = (number + step) % len(self.contenders)
            contender, calls = self.contenders[index], self.calls[index]
            cpu_start, start = time.thread_time(), time.perf_counter()
            contender.run(calls)
            work = calls * contender.work
            wall[index], cpu[index] = (time.perf_counter() - start) / work, (time.thread_time() - cpu_start) / work
        return wall, cpu

    def _steady(self) -> np.ndarray:
        index = list(self.contenders).index(self.yardstick)
        taken = (self.wall_s if self.clock == "wall" else self.cpu_s)[index]
        # Where the clock has two speeds, the one that most rounds ran at; among equals the faster.
        near = np.abs(np.log(taken[:, None] / taken[None, :])) <= np.log1p(DRIFT)
        return near[min(range(len(taken)), key=lambda round_: (-near[round_].sum(), taken[round_]))]


def _released(count: int) -> None:
    raise RuntimeError(f"a contender was called {count} times after its contest was recorded")


def _calibrate(run: Callable[[int], None], visit_s: float) -> int:
    """Warms up and returns how many calls take about `visit_s`."""
    calls = 1
    while True:
        start = time.perf_counter()
        run(calls)
        taken_s = time.perf_counter() - start
        if taken_s >= 0.3 * visit_s:
            return max(1, round(calls * visit_s / taken_s))
        calls = max(calls + 1, round(min(10.0, 0.5 * visit_s / max(taken_s, 1e-9)) * calls))
