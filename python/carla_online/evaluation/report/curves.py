"""Which metrics are drawn together, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from carla_online.evaluation.metric_rows import TIME, Series
from carla_online.evaluation.report.charts import Line, line_chart
from carla_online.evaluation.report.inputs import RunInputs
from carla_online.evaluation.report.markup import Html, tag

_MOST_EVENTS: Final = 50


@dataclass(frozen=True, slots=True)
class ChartSpec:
    """One chart: its tags in order, each with the label of its curve."""

    title: str
    """What is drawn."""
    unit: str
    """Unit of the values."""
    tags: tuple[tuple[str, str], ...]
    """(tag, label); tags that a run doesn't have are left out."""
    note: str = ""
    """How to read it."""


SPECS: Final = (
    ChartSpec("Online reward", "return of an episode", (("rollout/episode_return", "return"),)),
    ChartSpec(
        "Driving score of training episodes",
        "points",
        (("rollout/episode_timed_driving_score", "timed"), ("rollout/episode_driving_score", "untimed")),
        "With exploration noise, on other routes than the evaluation's: not to be compared with the table.",
    ),
    ChartSpec(
        "Selection routes",
        "timed driving score",
        (
            ("eval/timed_driving_score", "policy"),
            ("eval/baseline_timed_driving_score", "baseline"),
            ("eval/best_timed_driving_score", "best kept"),
        ),
        "Checkpoints are chosen here, on seeds that the final evaluation doesn't use.",
    ),
    ChartSpec(
        "Selection episodes",
        "return",
        (("eval/episode_return", "policy"), ("eval/best_episode_return", "best kept")),
    ),
    ChartSpec(
        "How training episodes end",
        "share",
        (
            ("rollout/episode_finished", "finished"),
            ("rollout/episode_collision", "collision"),
            ("rollout/episode_off_road", "off road"),
            ("rollout/episode_timed_out", "timed out"),
        ),
    ),
    ChartSpec("Route completion of training episodes", "share", (("rollout/episode_route_completion", "completion"),)),
    ChartSpec("Finished, selection routes", "share", (("eval/finished_share", "finished"),)),
    ChartSpec("Collisions per km, selection routes", "1/km", (("eval/collisions_per_km", "collisions"),)),
    ChartSpec("Policy entropy", "nats", (("train/entropy", "entropy"),)),
    ChartSpec(
        "KL drift against the initial policy",
        "nats",
        (("train/kl_to_initial", "KL"),),
        "How far the policy has moved from where it began.",
    ),
    ChartSpec(
        "KL drift of one update",
        "nats",
        (("train/kl_to_previous", "KL"),),
        "From the policy that drove the window to the one that learned from it.",
    ),
    ChartSpec(
        "Clipped draws",
        "share",
        (("train/clip_fraction_low", "at the lower bound"), ("train/clip_fraction_high", "at the upper bound")),
    ),
    ChartSpec(
        "Log of the mean ratio",
        "nats",
        (("train/log_mean_ratio", "log E[ratio]"),),
        "Near 0 while clipping works; falling away from it, the ratio no longer limits the update.",
    ),
    ChartSpec("Explained variance", "share", (("train/explained_variance", "of the returns"),), "1: perfect values."),
    ChartSpec("Standard deviation of the pre-squash action", "", (("train/action_std", "std"),)),
    ChartSpec("Q values", "return", (("train/q_mean", "mean"), ("train/q_max", "largest |Q|"))),
    ChartSpec("Critic loss", "", (("train/q_loss", "critic loss"), ("train/value_loss", "value loss"))),
    ChartSpec("Actor loss", "", (("train/actor_loss", "actor loss"), ("train/policy_loss", "policy loss"))),
    ChartSpec("Temperature", "", (("train/temperature", "temperature"),)),
    ChartSpec("Saturated actions", "share", (("train/saturation", "saturated"),)),
    ChartSpec("Safety interventions", "share of decisions", (("rollout/safety_interventions", "interventions"),)),
    ChartSpec("Degenerate groups", "share", (("train/degenerate_groups", "degenerate"),)),
    ChartSpec("Speed", "env steps/s", (("time/env_steps_per_s", "env steps/s"),)),
    ChartSpec("Learning speed", "updates/s", (("time/updates_per_s", "updates/s"),)),
    ChartSpec("Guard", "rollbacks so far", (("train/guard_rollbacks", "rollbacks"),)),
)


def curves_section(inputs: RunInputs) -> Html:
    """Returns the curves, the guard's messages, and every metric that has no chart of its own."""
    marks = [step for step, name, _ in inputs.events if name == "guard"]
    used: set[str] = {TIME}
    charts: list[Html] = []
    for spec in SPECS:
        used |= {name for name, _ in spec.tags}
        lines = _lines(spec.tags, inputs.metrics)
        if lines:
            charts.append(line_chart(spec.title, spec.unit, lines, marks=marks, note=spec.note))
    rest = [
        line_chart(name, "", lines, marks=marks)
        for name in sorted(set(inputs.metrics) - used)
        if (lines := _lines(((name, name),), inputs.metrics))
    ]
    if not charts and not rest:
        return tag("section", tag("h2", "Training"), tag("p", "This run has no metrics."))
    return tag(
        "section",
        tag("h2", "Training"),
        tag(
            "p", "Pale: as logged; strong: mean over the last twelfth of the points; dashed: the guard.", class_="note"
        ),
        tag("div", charts, class_="charts"),
        _events([event for event in inputs.events if event[1] == "guard"]),
        tag("details", tag("summary", f"{len(rest)} other metrics"), tag("div", rest, class_="charts"))
        if rest
        else None,
    )


def _lines(tags: tuple[tuple[str, str], ...], metrics: Mapping[str, Series]) -> list[Line]:
    found = [Line(label, *metrics[name]) for name, label in tags if name in metrics]
    return [line for line in found if np.isfinite(line.values).any()]


def _events(events: list[tuple[int, str, str]]) -> Html:
    if not events:
        return tag("p", "Guard: it never stepped in.", class_="note")
    rows = [tag("li", tag("b", f"step {step:,}"), f" {name}: {text}") for step, name, text in events[-_MOST_EVENTS:]]
    left_out = len(events) - len(rows)
    head = f"Messages of the guard: {len(events)}" + (f", the last {len(rows)} of them:" if left_out else ":")
    return tag("div", tag("p", head), tag("ul", rows), class_="events")
