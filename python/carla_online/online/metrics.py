"""Where metrics go: JSON lines that survive a kill, TensorBoard, and whatever else a user plugs in.

The x axis is environment steps. Tags are grouped by a prefix: `rollout/` (what training drives), `train/` (the
learner), `eval/` (selection routes), `time/`, `replay/`. The report knows the usual tags and shows the others as well.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from carla_online.evaluation.metric_rows import STEP, TIME, parse_row, read_events, read_metrics

__all__ = ["JsonLinesWriter", "MetricHub", "MetricWriter", "TensorBoardWriter", "read_events", "read_metrics"]


class MetricWriter(Protocol):
    """Takes metrics. A subclass must bring `scalar`; the rest has defaults."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Takes one value.

        Args:
            tag: Name, with its group before a slash.
            value: The value; NaN and infinity are allowed.
            step: Environment steps so far; never less than before.
        """
        ...

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Takes the values of one step together."""
        for tag, value in values.items():
            self.scalar(tag, value, step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Takes a message, such as the guard's; ignored unless overridden."""

    def flush(self) -> None:
        """Brings everything to the disk."""

    def close(self) -> None:
        """Flushes and lets go of files. May be called twice."""


class JsonLinesWriter(MetricWriter):
    """Appends one JSON object a line, each in one write: a kill loses at most the line being written.

    On opening, a torn last line is cut off, and with `resume_step` every row beyond it, so no step appears twice after
    training has gone back to a checkpoint. `time_s` goes on where the kept rows end.

    Args:
        path: The file; made if missing.
        resume_step: Environment steps at which training goes on; keep all rows if `None`.
        clock: Seconds from any origin, never going back.

    Raises:
        OSError: The file can't be written.
    """

    def __init__(
        self, path: Path, *, resume_step: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+", buffering=0)
        self._clock = clock
        kept_bytes, self._last_step, kept_s = _kept(path, resume_step)
        if self._file.seek(0, os.SEEK_END) != kept_bytes:
            self._file.truncate(kept_bytes)
        self._origin_s = clock() - kept_s

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Writes a line with one value; `scalars` puts the values of a step on one line."""
        self.scalars({tag: value}, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes one line; NaN and infinity become null.

        Raises:
            ValueError: `step` is less than that of an earlier line, or a tag is `step` or `time_s`.
        """
        self._write({tag: _number(value) for tag, value in values.items()}, step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Writes one line with a message."""
        self._write({tag: text}, step)

    def flush(self) -> None:
        """Brings everything to the disk, so that it survives a power cut too."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flushes and closes; further calls do nothing."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def _write(self, values: Mapping[str, float | str | None], step: int) -> None:
        if step < self._last_step:
            raise ValueError(
                f"metrics of step {step} came after those of step {self._last_step}; steps may not go back."
            )
        if STEP in values or TIME in values:
            raise ValueError(f"the tags {STEP!r} and {TIME!r} are taken; rename the metric.")
        row = {STEP: int(step), TIME: round(self._clock() - self._origin_s, 3), **values}
        line = json.dumps(row, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:  # a write to a nearly full disk may take only a part
                line = line[self._file.write(line) :]
        except OSError:
            self._file.truncate(end)  # or the next row would follow on half a line
            raise
        self._last_step = int(step)


class TensorBoardWriter(MetricWriter):
    """Writes event files for TensorBoard.

    Args:
        folder: Where; made if missing.
        resume_step: Environment steps at which training goes on; TensorBoard then hides what earlier files hold beyond
            it.
    """

    def __init__(self, folder: Path, *, resume_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        purge_step = None if resume_step is None or not folder.exists() else resume_step + 1
        self._writer: Any = SummaryWriter(str(folder), purge_step=purge_step)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Writes one value."""
        self._writer.add_scalar(tag, value, step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Writes a message."""
        self._writer.add_text(tag, text, step)

    def flush(self) -> None:
        """Brings everything to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


class MetricHub(MetricWriter):
    """Hands everything on to several writers.

    Args:
        writers: In the order in which they are called.
    """

    def __init__(self, writers: Iterable[MetricWriter]) -> None:
        self._writers = tuple(writers)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Hands on one value."""
        for writer in self._writers:
            writer.scalar(tag, value, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Hands on the values of one step together."""
        for writer in self._writers:
            writer.scalars(values, step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Hands on a message."""
        for writer in self._writers:
            writer.text(tag, text, step)

    def flush(self) -> None:
        """Flushes all writers."""
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        """Closes all writers."""
        for writer in self._writers:
            writer.close()


def _number(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _kept(path: Path, resume_step: int | None) -> tuple[int, int, float]:
    """Returns how many bytes of the file stay, and the last step and time in them."""
    kept_bytes, last_step, last_s = 0, 0, 0.0
    with path.open("rb") as file:
        for line in file:
            row = parse_row(line)
            if row is None and not line.endswith(b"\n"):
                break
            if row is not None:
                if resume_step is not None and row[STEP] > resume_step:
                    break  # steps never go back, so all that follows is newer too
                last_step = max(last_step, row[STEP])
                last_s = _seconds(row, last_s)
            kept_bytes += len(line)
    return kept_bytes, last_step, last_s


def _seconds(row: Mapping[str, Any], otherwise: float) -> float:
    value = row.get(TIME)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
