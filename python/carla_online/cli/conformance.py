"""`carla-online conformance`."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from carla_online.errors import ConfigError
from carla_online.server.conformance import CheckPlan, Outcome, Result, read_table, run_conformance, write_json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online conformance",
        description="Try every operation of CARLA 0.9.16's Python API on a server, ours or a real CARLA, and report "
        "which are served, neutral (accepted without effect), not served, or differ. Nobody else should use the server "
        "meanwhile: vehicles are spawned, its map is loaded anew. Exit code 1 if something differs.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the server's host")
    parser.add_argument("--port", type=int, default=2000, help="its port")
    parser.add_argument("--group", action="append", default=[], help="only this class of the API; may be repeated")
    parser.add_argument("--timeout", type=float, default=20.0, metavar="S", help="how long one call may take")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the results as JSON")
    return parser


def conformance(arguments: list[str]) -> int:
    """Checks a server, prints a table and writes a report; 1 if something differs from CARLA's reference."""
    options = _parser().parse_args(arguments)
    if not 0 < options.port < 65536:
        raise ConfigError(f"--port is {options.port}; it must lie in 1..65535.")
    if options.timeout <= 0.0:
        raise ConfigError(f"--timeout is {options.timeout}; it must be more than 0 seconds.")
    plan = CheckPlan(
        host=options.host,
        port=options.port,
        groups=tuple(options.group),
        call_timeout_s=options.timeout,
        group_timeout_s=15.0 * options.timeout,
    )
    results = run_conformance(plan, on_result=_show)
    print(read_table(results))
    if options.report is not None:
        write_json(options.report, f"{options.host}:{options.port}", results)
        print(f"wrote {options.report}")
    return 1 if Counter(result.outcome for result in results)[Outcome.DIFFERS] else 0


def _show(result: Result) -> None:
    """Tells that it goes on: a run takes a minute."""
    print(f"{result.group}: {result.operation}: {result.outcome.value}", flush=True)
