"""`make bench-check`: the ratios of a fresh measurement beside those of the committed reference.

Only what ran on one thread beside NumPy and the limit is compared, and only as ratios inside one run: absolute times
say which machine it was.

Usage: python benches/check.py bench.json [reference.json]; `--update` writes the reference anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import report

LOSS = 0.20
"""A ratio may be lower than the reference's by this much."""
REFERENCE = Path(__file__).with_name("reference.json")
COMPARED = ("numpy", "limit")


def compared_ratios(content: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By contest: how many times ours NumPy takes, and the share of the limit that is reached."""
    return {
        contest["name"]: {key: round(value, 3) for key, value in report.ratios(contest).items() if key in COMPARED}
        for contest in content["contests"]
        if contest["gated"]
    }


def losses(found: dict[str, dict[str, float]], reference: dict[str, dict[str, float]]) -> list[str]:
    """A sentence for each ratio that is lower than the reference's by more than `LOSS`, or wasn't measured."""
    faults = []
    for name, expected in reference.items():
        for key, value in expected.items():
            measured = found.get(name, {}).get(key)
            if measured is None:
                faults.append(f"{name}: the ratio to {key} was not measured; run the whole of make bench-check")
            elif measured < (1.0 - LOSS) * value:
                faults.append(
                    f"{name}: {key} takes {measured:.2f} times as long as ours, in the reference {value:.2f} times: "
                    f"a loss of {1.0 - measured / value:.0%}"
                )
    return faults


def main(words: list[str]) -> int:
    """Compares, prints, and returns the exit code."""
    paths = [Path(word) for word in words if not word.startswith("--")]
    content = json.loads(paths[0].read_text())
    reference_path = paths[1] if len(paths) > 1 else REFERENCE
    found = compared_ratios(content)
    if "--update" in words:
        kept = {"commit": content["commit"], "machine": content["machine"], "ratios": found}
        reference_path.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{len(found)} contests written to {reference_path}")
        return 0
    reference = json.loads(reference_path.read_text())["ratios"]
    for name, expected in reference.items():
        for key, value in expected.items():
            measured = found.get(name, {}).get(key)
            print(f"{name}: {key} {'-' if measured is None else format(measured, '.2f')} (reference {value:.2f})")
    faults = losses(found, reference)
    for fault in faults:
        print(f"slower: {fault}", file=sys.stderr)
    print(f"{len(reference)} contests, {len(faults)} lost more than {LOSS:.0%}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
