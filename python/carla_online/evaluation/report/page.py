"""Puts the report together and writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from carla_online.config import to_yaml
from carla_online.evaluation.metric_rows import TIME
from carla_online.evaluation.report.curves import curves_section
from carla_online.evaluation.report.inputs import RunInputs, gather
from carla_online.evaluation.report.markup import Html, join, json_block, tag
from carla_online.evaluation.report.verdict import Group, evaluation_section, groups_of, headline
from carla_online.evaluation.report.workers import workers_section
from carla_online.files import write_bytes_atomically

# The page may run its own script and style and load nothing: even a fault in escaping couldn't call home.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def write_report(run_dir: Path, out: Path | None = None) -> Path:
    """Writes the report of a run as one HTML file, whole or not at all.

    Args:
        run_dir: The run's folder: config.yaml, metrics.jsonl, evaluation/*.json, trace.json, run.json. What is missing
            is named in the report.
        out: Where to; `run_dir/report.html` if not given.

    Returns:
        The path written.

    Raises:
        EvaluationError: There is no such folder.
        OSError: The file can't be written.
    """
    path = run_dir / "report.html" if out is None else out
    write_bytes_atomically(path, render(gather(run_dir)).encode())
    return path


def render(inputs: RunInputs) -> str:
    """Returns the page.

    Args:
        inputs: What the run holds.
    """
    assets = files("carla_online.evaluation.report") / "assets"
    style = Html((assets / "report.css").read_text(encoding="utf-8"))
    script = Html((assets / "report.js").read_text(encoding="utf-8"))
    groups = groups_of(inputs.evaluations)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{inputs.name}: report"),
        tag("style", style),
    )
    body = tag(
        "body",
        _header(inputs, groups),
        tag(
            "main",
            evaluation_section(groups),
            curves_section(inputs),
            workers_section(inputs.workers, inputs.incidents),
            _animation_section(inputs.trace),
            _settings_section(inputs),
        ),
        json_block("trace", inputs.trace) if inputs.trace is not None else None,
        tag("script", script),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _header(inputs: RunInputs, groups: list[Group]) -> Html:
    missing = [tag("li", sentence) for sentence in inputs.missing]
    return tag(
        "header",
        tag("h1", inputs.name),
        headline(groups),
        tag("div", tag("p", "Not in this report:"), tag("ul", missing), class_="missing") if missing else None,
    )


def _animation_section(trace: Mapping[str, Any] | None) -> Html | None:
    if trace is None or not trace["frames"]:
        return None
    controls = tag(
        "div",
        tag("button", "Play", id="play", type="button"),
        tag("input", id="time", type="range", min="0", max=len(trace["frames"]) - 1, value="0", aria_label="time"),
        tag("span", id="clock"),
        class_="controls",
    )
    has_stops = any("stops" in frame for frame in trace["frames"])
    legend = " Bars across lanes are lights and signs; people on foot are pink." if has_stops else ""
    route = f"route {trace.get('seed', '?')}, driven by {trace.get('label') or 'the policy'}"
    return tag(
        "section",
        tag("h2", "An evaluation episode from above"),
        tag("p", f"{route}. The ego is orange, the line behind it is its trail.{legend}", class_="note"),
        tag("canvas", id="world", role="img", aria_label="the road from above"),
        controls,
        tag("div", tag("div", id="state"), tag("div", id="terms"), class_="panels"),
    )


def _settings_section(inputs: RunInputs) -> Html:
    known = {**_training_facts(inputs), **inputs.provenance}
    rows = [tag("tr", tag("th", key, scope="row"), tag("td", _plain(value))) for key, value in known.items()]
    facts = tag("div", tag("table", tag("tbody", rows), class_="facts"), class_="scroll", tabindex="0")
    suites = {evaluation.suite.name: evaluation.suite for evaluation in inputs.evaluations}
    rules = [
        tag("details", tag("summary", f"Suite {name}: routes and rule"), tag("pre", to_yaml(suite)))
        for name, suite in suites.items()
    ]
    config = None
    if inputs.config_yaml is not None:
        config = tag("details", tag("summary", "The exact configuration"), tag("pre", inputs.config_yaml))
    return tag("section", tag("h2", "Settings, versions, machine"), facts if rows else None, join(rules), config)


def _training_facts(inputs: RunInputs) -> dict[str, Any]:
    """Returns how long the run trained, as far as its metrics tell."""
    if TIME not in inputs.metrics:
        return {}
    steps, times_s = inputs.metrics[TIME]
    if not math.isfinite(times_s[-1]):
        return {}
    minutes, seconds = divmod(round(float(times_s[-1])), 60)
    return {"trained": f"{steps[-1]:,} env steps in {minutes:,} min {seconds} s"}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(part) for part in value)
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
