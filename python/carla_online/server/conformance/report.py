"""What a run found, as a file and as a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from carla_online.files import write_bytes_atomically
from carla_online.server.conformance.outcome import Outcome, Result

FORMAT_VERSION = 1


def write_json(path: Path, server: str, results: Sequence[Result]) -> None:
    """Writes a run's results: the server's address, counts, and one object for each operation."""
    counts = Counter(result.outcome for result in results)
    content = {
        "format_version": FORMAT_VERSION,
        "server": server,
        "counts": {outcome.value: counts[outcome] for outcome in Outcome},
        "results": [asdict(result) for result in results],
    }
    write_bytes_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_table(results: Sequence[Result]) -> str:
    """Returns a table for people: a block for each class, a line for each operation, the counts at the end."""
    lines = []
    for group, rows in groupby(results, key=lambda result: result.group):
        lines.append(group)
        for row in rows:
            detail = f": {row.detail}" if row.detail else ""
            lines.append(f"  {row.outcome.value:10}  {row.operation}{detail}")
    counts = Counter(result.outcome for result in results)
    lines.append(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome))
    return "\n".join(lines)
