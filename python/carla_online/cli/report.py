"""`carla-online report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from carla_online.errors import ConfigError
from carla_online.evaluation.report import write_report


def report(arguments: list[str]) -> int:
    """Writes the report of a run and prints its path."""
    parser = argparse.ArgumentParser(
        prog="carla-online report",
        description="Write one self-contained HTML file: curves, before and after, an episode from above, the config.",
    )
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("--out", metavar="FILE", help="where to write (default: RUN/report.html)")
    options = parser.parse_args(arguments)
    run_dir = Path(options.run)
    if not (run_dir / "config.yaml").is_file():
        raise ConfigError(f"{run_dir} isn't a run folder: it has no config.yaml. Check the path.")
    print(write_report(run_dir, out=Path(options.out) if options.out else None))
    return 0
