"""Line charts as inline SVG, themed by style sheet; a script adds a readout under the pointer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online.evaluation.report.markup import Html, join, tag
from carla_online.evaluation.report.numbers import short, ticks

WIDTH: Final = 420
HEIGHT: Final = 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 26
_MOST_POINTS: Final = 240
_FEWEST_FOR_TREND: Final = 48


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    label: str
    """Its name in the legend."""
    steps: NDArray[np.int64]
    """int64 [n], increasing."""
    values: NDArray[np.float64]
    """float64 [n]; NaN leaves a gap."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps data to the drawing; every chart of the report uses it."""

    x_low: float
    """Left end."""
    x_high: float
    """Right end."""
    y_low: float
    """Lower end."""
    y_high: float
    """Upper end."""
    height: float = HEIGHT
    """Height of the drawing, pixels."""

    def x(self, value: float) -> float:
        """Returns the horizontal place of a value, pixels."""
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * (value - self.x_low) / (self.x_high - self.x_low), 2)

    def y(self, value: float) -> float:
        """Returns the vertical place of a value, pixels from the top."""
        inner = self.height - _TOP - _BOTTOM
        return round(_TOP + inner * (1.0 - (value - self.y_low) / (self.y_high - self.y_low)), 2)

    def axes(self, x_title: str) -> Html:
        """Returns grid, tick labels and the title of the horizontal axis."""
        parts: list[Html] = []
        for value in ticks(self.y_low, self.y_high):
            place = self.y(value)
            parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=place, y2=place, class_="grid"))
            parts.append(tag("text", short(value), x=_LEFT - 6, y=place + 4, text_anchor="end"))
        floor = self.height - _BOTTOM
        for value in ticks(self.x_low, self.x_high):
            place = self.x(value)
            if place < WIDTH - _RIGHT - 70 or not x_title:
                parts.append(tag("text", short(value), x=place, y=floor + 16, text_anchor="middle"))
        parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=floor, y2=floor, class_="axis"))
        parts.append(tag("text", x_title, x=WIDTH - _RIGHT, y=floor + 16, text_anchor="end", class_="title"))
        return join(parts)


def frame_for(xs: Sequence[float], ys: Sequence[float], *, height: float = HEIGHT) -> Frame:
    """Returns a frame that holds the finite values with a little air above and below."""
    x_low, x_high = _span([x for x in xs if np.isfinite(x)], 0.0)
    y_low, y_high = _span([y for y in ys if np.isfinite(y)], 0.06)
    return Frame(x_low, x_high, y_low, y_high, height)


def line_chart(
    title: str,
    unit: str,
    lines: Sequence[Line],
    *,
    marks: Sequence[int] = (),
    warnings: Sequence[int] = (),
    note: str = "",
) -> Html:
    """Returns a figure with one chart.

    Args:
        title: What is drawn.
        unit: Its unit, empty without one.
        lines: The curves; at least one has a finite value.
        marks: Steps at which the guard stepped in, drawn as upright lines.
        warnings: Steps at which it only warned, drawn paler.
        note: How to read it.
    """
    thin = [_thinned(line) for line in lines]
    frame = frame_for(
        [float(step) for line in thin for step in line.steps], [float(value) for line in thin for value in line.values]
    )
    drawn: list[Html] = [frame.axes("env steps")]
    for steps, kind in ((warnings, "mark warned"), (marks, "mark")):
        places = sorted({frame.x(step) for step in steps if frame.x_low <= step <= frame.x_high})
        drawn += [tag("line", x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM, class_=kind) for x in places]
    for index, line in enumerate(thin):
        is_noisy = len(line.steps) >= _FEWEST_FOR_TREND
        drawn.append(tag("path", d=_path(frame, line), class_=f"curve s{index % 4}{' raw' if is_noisy else ''}"))
        if is_noisy:
            drawn.append(tag("path", d=_path(frame, _running_mean(line)), class_=f"curve s{index % 4}"))
    drawn.append(tag("line", x1=0, x2=0, y1=_TOP, y2=HEIGHT - _BOTTOM, class_="cursor"))
    picture = tag(
        "svg",
        drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}{f', {unit}' if unit else ''}",
        data_chart=json.dumps(_readout(frame, thin), separators=(",", ":")),
    )
    heading = tag("figcaption", tag("b", title), tag("span", unit, class_="unit") if unit else None)
    return tag(
        "figure",
        heading,
        _legend(lines) if len(lines) > 1 else None,
        picture,
        tag("output", _last(lines)),
        tag("p", note, class_="note") if note else None,
    )


def _span(values: Sequence[float], air: float) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if low == high:
        spread = abs(low) * 0.1 or 1.0
        return low - spread, high + spread
    return low - air * (high - low), high + air * (high - low)


def _thinned(line: Line) -> Line:
    """Averages neighbours, equally many everywhere, until the curve has no more points than can be told apart."""
    size = -(-len(line.steps) // _MOST_POINTS)
    if size == 1:
        return line
    starts = np.arange(0, len(line.steps), size)
    ends = np.minimum(starts + size, len(line.steps))
    return Line(line.label, line.steps[ends - 1], _means(line.values, starts, ends))


def _running_mean(line: Line) -> Line:
    """Returns the mean over the last tenth of a curve's points or so, a trend that never looks ahead."""
    ends = np.arange(1, len(line.values) + 1)
    return Line(line.label, line.steps, _means(line.values, np.maximum(0, ends - len(line.values) // 12), ends))


def _means(values: NDArray[np.float64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the mean of the finite values in each range; NaN where there is none."""
    is_finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(is_finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(is_finite)])
    count = counts[ends] - counts[starts]
    return np.where(count > 0, (sums[ends] - sums[starts]) / np.maximum(count, 1), np.nan)


def _path(frame: Frame, line: Line) -> str:
    parts: list[str] = []
    is_down = False
    for step, value in zip(line.steps.tolist(), line.values.tolist(), strict=True):
        if not np.isfinite(value):
            is_down = False
            continue
        parts.append(f"{'L' if is_down else 'M'}{frame.x(step)} {frame.y(value)}")
        is_down = True
    if len(parts) == 1:  # a single value would be invisible
        parts.append("h3")
    return "".join(parts)


def _readout(frame: Frame, lines: Sequence[Line]) -> dict[str, object]:
    """Returns what the script needs to tell the values under the pointer."""
    return {
        "lines": [
            {
                "label": line.label,
                "x": [frame.x(step) for step in line.steps.tolist()],
                "text": [f"{short(value)} at {step:,}" for step, value in zip(line.steps, line.values, strict=True)],
            }
            for line in lines
        ]
    }


def _legend(lines: Sequence[Line]) -> Html:
    return tag(
        "div",
        [tag("span", tag("i", class_=f"s{index % 4}"), line.label, class_="key") for index, line in enumerate(lines)],
        class_="legend",
    )


def _last(lines: Sequence[Line]) -> str:
    texts = []
    for line in lines:
        known = np.flatnonzero(np.isfinite(line.values))
        if known.size:
            value = short(float(line.values[known[-1]]))
            texts.append(value if len(lines) == 1 else f"{line.label} {value}")
    return f"last: {', '.join(texts)}"
