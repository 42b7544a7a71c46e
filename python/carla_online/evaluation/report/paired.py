"""The same routes, before and after, one mark a route."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online.evaluation.records import Evaluation
from carla_online.evaluation.report.charts import WIDTH, Frame, frame_for
from carla_online.evaluation.report.markup import Html, join, tag
from carla_online.evaluation.report.numbers import fixed, signed

_HEIGHT: Final = 260
_MOST_ROUTES: Final = 1000  # drawn; the figures below a picture count all of them


def paired_plots(candidate: Evaluation, other: Evaluation) -> Html:
    """Returns two figures: differences in ascending order, and each route before against after.

    Args:
        candidate: The later policy.
        other: The earlier one, on the same routes.
    """
    ours, theirs = np.argsort(candidate.table.seeds), np.argsort(other.table.seeds)
    after = candidate.table.timed_driving_score[ours]
    before = other.table.timed_driving_score[theirs]
    reasons = [
        (other.table.end_reason[right], candidate.table.end_reason[left])
        for left, right in zip(ours.tolist(), theirs.tolist(), strict=True)
    ]
    seeds = [str(seed) for seed in candidate.table.seeds[ours].tolist()]
    hints = [
        f"route {seed}: {fixed(first)} ({reason[0]}) to {fixed(second)} ({reason[1]})"
        for seed, first, second, reason in zip(seeds, before.tolist(), after.tolist(), reasons, strict=True)
    ]
    shown = np.unique(np.linspace(0, len(before) - 1, min(len(before), _MOST_ROUTES)).astype(np.int64))
    crashed = np.array(["collision" in reason[1] or "off_road" in reason[1] for reason in reasons])
    figures = _differences(after - before, hints, shown), _scatter(before, after, crashed, hints, shown)
    return tag("div", *figures, class_="charts")


def _differences(differences: NDArray[np.float64], hints: list[str], shown: NDArray[np.int64]) -> Html:
    order = np.argsort(differences, kind="stable")[shown]
    frame = frame_for([-0.5, len(order) - 0.5], [0.0, *differences.tolist()], height=_HEIGHT)
    width = max(0.6, 0.8 * (frame.x(1.0) - frame.x(0.0)))
    zero = frame.y(0.0)
    bars = []
    for place, row in enumerate(order.tolist()):
        end = frame.y(float(differences[row]))
        bars.append(
            tag(
                "rect",
                x=round(frame.x(place) - width / 2, 2),
                y=min(zero, end),
                width=round(width, 2),
                height=max(0.8, round(abs(end - zero), 2)),
                class_="gain" if differences[row] >= 0.0 else "loss",
                data_hint=f"{signed(float(differences[row]))} points, {hints[row]}",
            )
        )
    gains = int((differences > 0.0).sum())
    losses = int((differences < 0.0).sum())
    return _figure(
        "Difference of each route, ascending",
        "points of the timed driving score",
        join(frame.axes("routes"), bars, tag("line", x1=46, x2=WIDTH - 12, y1=zero, y2=zero, class_="axis")),
        f"better on {gains} routes, worse on {losses}, equal on {len(differences) - gains - losses}",
    )


def _scatter(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    crashed: NDArray[np.bool_],
    hints: list[str],
    shown: NDArray[np.int64],
) -> Html:
    frame = Frame(0.0, 100.0, 0.0, 100.0, _HEIGHT)
    diagonal = tag("line", x1=frame.x(0), y1=frame.y(0), x2=frame.x(100), y2=frame.y(100), class_="diagonal")
    dots = [
        tag(
            "circle",
            cx=frame.x(float(before[row])),
            cy=frame.y(float(after[row])),
            r=3,
            class_="dot crashed" if crashed[row] else "dot",
            data_hint=hints[row],
        )
        for row in shown.tolist()
    ]
    return _figure(
        "Each route, before and after",
        "timed driving score; above the line is better",
        join(frame.axes("before"), diagonal, dots),
        f"{int(crashed.sum())} of {len(before)} routes ended off the road or in a collision afterwards (red)",
    )


def _figure(title: str, unit: str, drawn: Html, summary: str) -> Html:
    picture = tag("svg", drawn, viewBox=f"0 0 {WIDTH} {_HEIGHT}", role="img", aria_label=f"{title}, {unit}")
    caption = tag("figcaption", tag("b", title), tag("span", unit, class_="unit"))
    return tag("figure", caption, picture, tag("output", summary))
