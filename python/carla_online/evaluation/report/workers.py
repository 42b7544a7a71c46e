"""The workers of a supervised run: what each did, and every incident."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from carla_online.errors import EvaluationError
from carla_online.evaluation.files import read_json
from carla_online.evaluation.report.markup import Html, tag

FOLDER: Final = "workers"
"""Below a run's folder: `workers.json`, `incidents.jsonl`, and each worker's standard error."""
_COLUMNS: Final = (
    ("worker", "worker"),
    ("starts", "starts"),
    ("env_steps", "env steps"),
    ("env_steps_per_s", "env steps/s"),
    ("transitions", "transitions"),
    ("episodes", "episodes"),
    ("policy_version", "weights of update"),
    ("state", "last seen"),
)
_MOST_INCIDENTS: Final = 500
_LONGEST_LINE: Final = 10_000


def read_workers(run_dir: Path, missing: list[str]) -> list[Mapping[str, Any]]:
    """Returns the table of the workers, none for a run without; a fault becomes a sentence in `missing`."""
    path = run_dir / FOLDER / "workers.json"
    if not path.exists():
        return []
    try:
        rows = read_json(path)
    except EvaluationError as error:
        missing.append(f"What the workers did isn't known: {error}")
        return []
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def read_incidents(run_dir: Path) -> list[Mapping[str, Any]]:
    """Returns the incidents in the order in which they happened; torn lines, as a kill leaves them, are left out."""
    path = run_dir / FOLDER / "incidents.jsonl"
    if not path.exists():
        return []
    incidents = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line[:_LONGEST_LINE])
        except (ValueError, RecursionError):
            continue
        if isinstance(row, Mapping):
            incidents.append(row)
    return incidents


def workers_section(workers: list[Mapping[str, Any]], incidents: list[Mapping[str, Any]]) -> Html | None:
    """Returns a table of the workers and a list of the incidents; nothing for a run in one process."""
    if not workers and not incidents:
        return None
    head = tag("tr", [tag("th", title, scope="col") for _, title in _COLUMNS])
    rows = [tag("tr", [tag("td", _plain(row.get(key))) for key, _ in _COLUMNS]) for row in workers]
    table = tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="scroll", tabindex="0")
    return tag("section", tag("h2", "Workers and incidents"), table if rows else None, _list(incidents))


def _list(incidents: list[Mapping[str, Any]]) -> Html:
    if not incidents:
        return tag("p", "No incidents: no worker failed or was replaced.", class_="note")
    counts = Counter(str(row.get("kind")) for row in incidents)
    shown = incidents[-_MOST_INCIDENTS:]
    head = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    left_out = f"; the last {len(shown)} of them" if len(shown) < len(incidents) else ""
    items = [tag("li", tag("b", _when(row)), f" {_sentence(row)}") for row in shown]
    note = "A failure cuts its episode; it never counts as its end."
    return tag(
        "div", tag("p", f"{len(incidents)} incidents: {head}{left_out}. {note}"), tag("ul", items), class_="events"
    )


def _when(row: Mapping[str, Any]) -> str:
    time_s, steps = row.get("time_s"), row.get("steps")
    at = ""
    if isinstance(time_s, int | float) and 0 <= time_s < 1e11:
        at = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC, ")
    return f"{at}step {_plain(steps)}"


def _sentence(row: Mapping[str, Any]) -> str:
    seed = row.get("episode_seed")
    episode = f" in episode {seed}" if isinstance(seed, int) else ""
    return f"worker {_plain(row.get('worker'))}: {row.get('kind')}{episode}: {row.get('reason')}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "?" if value is None else str(value)
