"""What `make bench` leaves: bench.json and the table. `python benches/report.py bench.json` prints the table again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import machine
from rounds import Contest, Spread

FORMAT = 1


def document(contests: Sequence[Contest], *, facts: dict[str, str], notes: Sequence[str]) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    return {
        "format": FORMAT,
        "commit": machine.commit(),
        "machine": facts,
        "load_average": list(os.getloadavg()),
        "notes": list(notes),
        "contests": [_contest(contest) for contest in contests],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes the document."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def _contest(contest: Contest) -> dict[str, Any]:
    entries = []
    for index, contender in enumerate(contest.contenders):
        entries.append(
            {
                "name": contender.name,
                "kind": contender.kind,
                "calls": contest.calls[index],
                "wall_us": asdict(Spread.of(1e6 * contest.wall_s[index][contest.kept])),
                "cpu_us": asdict(Spread.of(1e6 * contest.cpu_s[index][contest.kept])),
                "times_ours": asdict(contest.ratio(index)),
            }
        )
    return {
        "name": contest.name,
        "clock": contest.clock,
        "gated": contest.gated,
        "rounds": int(contest.kept.sum()),
        "rounds_thrown_away": int((~contest.kept).sum()),
        "contenders": entries,
        "skipped": contest.skipped,
    }


def ratios(contest: dict[str, Any]) -> dict[str, float]:
    """The figures of one contest that carry over between machines: times ours of the fastest library, of NumPy, and
    the share of the limit that is reached.
    """
    found: dict[str, float] = {}
    for kind, key in (("library", "fastest library"), ("numpy", "numpy"), ("limit", "limit")):
        entries = [entry for entry in contest["contenders"] if entry["kind"] == kind]
        if entries:
            entry = entries[0] if kind == "limit" else min(entries, key=lambda entry: entry["times_ours"]["median"])
            found[key] = entry["times_ours"]["median"]
    return found


def table(content: dict[str, Any]) -> str:
    """The table as Markdown: a line a contest, then every contender."""
    lines = [
        "| | ours, µs [p10 p90] | fastest library | careful NumPy | share of the limit | of one like ours |",
        "|---|---|---|---|---|---|",
    ]
    for contest in content["contests"]:
        ours = next(entry for entry in contest["contenders"] if entry["kind"] == "ours")
        found = ratios(contest)
        library = _fastest(contest)
        lines.append(
            f"| {contest['name']} | {_spread(ours[_column(contest)])} "
            f"| {library} | {_times(found.get('numpy'))} | {_share(found.get('limit'))} "
            f"| {_share(_like_ours(contest))} |"
        )
    lines += ["", "Every contender, time a call and how many times ours:", ""]
    lines += ["| | contender | µs [p10 p90] | processor µs | times ours [p10 p90] |", "|---|---|---|---|---|"]
    for contest in content["contests"]:
        for entry in contest["contenders"]:
            lines.append(
                f"| {contest['name']} | {entry['name']} ({entry['kind']}) | {_spread(entry['wall_us'])} "
                f"| {_number(entry['cpu_us']['median'])} | {_spread(entry['times_ours'])} |"
            )
        lines += [
            f"| {contest['name']} | {name} | not measured: {why} | | |" for name, why in contest["skipped"].items()
        ]
    return "\n".join(lines)


def _like_ours(contest: dict[str, Any]) -> float | None:
    """The share of the limit that is reached of a loop with the same guarantees and columns as ours."""
    found = (entry["times_ours"]["median"] for entry in contest["contenders"] if "like ours" in entry["name"])
    return next(found, None)


def _column(contest: dict[str, Any]) -> str:
    return "wall_us" if contest["clock"] == "wall" else "cpu_us"


def _fastest(contest: dict[str, Any]) -> str:
    entries = [entry for entry in contest["contenders"] if entry["kind"] == "library"]
    if not entries:
        return "-"
    entry = min(entries, key=lambda entry: entry["times_ours"]["median"])
    return f"{_times(entry['times_ours']['median'])} {entry['name']}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} x"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _spread(spread: dict[str, float]) -> str:
    return f"{_number(spread['median'])} [{_number(spread['p10'])} {_number(spread['p90'])}]"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
