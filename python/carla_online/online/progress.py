"""What a user sees while a run goes on: a live display on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_LIVE_INTERVAL_S: Final = 0.25
_LOG_INTERVAL_S: Final = 10.0
_SPEED_WINDOW_S: Final = 30.0

_SHOWN: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("score", ("rollout/episode_timed_driving_score", "rollout/timed_driving_score"), ".1f"),
    ("return", ("rollout/episode_return",), ".1f"),
    ("finished", ("rollout/episode_finished", "rollout/finished_share"), ".0%"),
    ("entropy", ("train/entropy",), ".2f"),
    ("KL to start", ("train/kl_to_initial", "train/kl_initial"), ".3f"),
    ("Q", ("train/q_mean",), ".2f"),
    ("rollbacks", ("train/guard_rollbacks",), ".0f"),
    ("updates/s", ("time/updates_per_s",), ".0f"),
)
"""Label, the tags that can hold it (the first one found counts), and its format."""


class Progress:
    """Shows how far a run is; a context manager.

    `update` may be called at every step: it draws four times a second at most, and writes a line every ten seconds
    where the output isn't a terminal.

    Args:
        total_steps: Environment steps of the whole run.
        console: Where to; the standard error stream if not given, so that a command's own output stays clean.
        enabled: Without it nothing is shown.
        clock: Seconds from any origin, never going back.
    """

    def __init__(
        self,
        total_steps: int,
        console: Console | None = None,
        *,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = max(1, total_steps)
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._is_enabled = enabled
        self._clock = clock
        self._live: Live | None = None
        self._step = 0
        self._values: dict[str, float] = {}
        self._speed = _Speed()
        self._shown_s = -math.inf
        self.detail: list[str] = []
        """Lines below the figures: who does what at this moment."""

    def __enter__(self) -> Progress:
        if self._is_enabled and self._console.is_terminal:
            self._live = Live(self._render(), console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._is_enabled:
            return
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
            self._live.stop()
            self._live = None
        elif self._step:
            self._console.print(self._line(), markup=False, highlight=False)

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the newest figures and shows them when it is time.

        Args:
            step: Environment steps so far.
            values: Newest metrics by tag.
        """
        self._step = step
        if not self._is_enabled:
            return
        now_s = self._clock()
        interval_s = _LIVE_INTERVAL_S if self._live is not None else _LOG_INTERVAL_S
        if now_s - self._shown_s < interval_s:
            return
        self._shown_s = now_s
        self._speed.add(now_s, step)
        self._values = dict(values)
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
        else:
            self._console.print(self._line(), markup=False, highlight=False)

    def message(self, text: str) -> None:
        """Shows a sentence that stays, above the display or as a line of its own."""
        if self._is_enabled:
            self._console.print(text, markup=False, highlight=False)

    def _figures(self) -> list[tuple[str, str]]:
        # The run's own figure leaves evaluations out.
        speed = self._values.get("time/env_steps_per_s", self._speed.of_late)
        figures = [("env steps/s", f"{speed:,.0f}")] if speed > 0.0 else []
        for label, tags, pattern in _SHOWN:
            value = next((self._values[tag] for tag in tags if tag in self._values), None)
            if value is not None:
                figures.append((label, format(value, pattern) if math.isfinite(value) else "not a number"))
        return figures

    def _left(self) -> str:
        if self._step >= self._total:
            return "done"
        speed = self._speed.overall
        return f"{_duration((self._total - self._step) / speed)} left" if speed > 0.0 else "time left unknown"

    def _line(self) -> str:
        share = min(1.0, self._step / self._total)
        figures = ", ".join(f"{label} {value}" for label, value in self._figures())
        head = f"{self._step:,} of {self._total:,} env steps ({share:.0%}), {self._left()}"
        return f"{head}; {figures}" if figures else head

    def _render(self) -> Any:
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        counts = Text(f"{self._step:,} / {self._total:,} env steps  {self._left()}")
        head.add_row(ProgressBar(total=self._total, completed=min(self._step, self._total)), counts)
        figures = Text("   ").join(Text.assemble((f"{label} ", "dim"), value) for label, value in self._figures())
        return Group(head, figures, *(Text(line, style="dim") for line in self.detail))


class _Speed:
    """Steps a second: of late, and since the display began.

    The time left follows from the second, because it contains what interrupts stepping, such as evaluations.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None

    def add(self, now_s: float, step: int) -> None:
        self._first = self._first or (now_s, step)
        self._points.append((now_s, step))
        while now_s - self._points[0][0] > _SPEED_WINDOW_S and len(self._points) > 2:
            self._points.popleft()

    @property
    def of_late(self) -> float:
        return _slope(self._points[0], self._points[-1]) if self._points else 0.0

    @property
    def overall(self) -> float:
        return _slope(self._first, self._points[-1]) if self._first else 0.0


def _slope(first: tuple[float, int], last: tuple[float, int]) -> float:
    return (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0


def _duration(seconds: float) -> str:
    if seconds < 60.0:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60.0)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
