"""The benchmark session: options, whether the machine is free, and the report at its end."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import machine
import report
from arena import EXIT_LOADED, NOTES, RESULTS, Arena, is_measuring


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench", "benchmarks beside peers and limits")
    group.addoption("--bench-out", type=Path, default=None, help="write bench.json here")
    group.addoption("--bench-rounds", type=int, default=11, help="rounds that must count (default 11)")
    group.addoption("--bench-visit-ms", type=float, default=80.0, help="time of a contender in a round (default 80)")
    group.addoption("--bench-clock", choices=("wall", "cpu"), default="wall", help="which clock ratios are taken from")
    group.addoption("--bench-rows", type=int, default=1_000_000, help="stored rows of the replay (default 1,000,000)")
    group.addoption("--bench-against", default="all", help="who takes part: libraries, numpy, limit, or all (default)")
    group.addoption("--bench-loaded", action="store_true", help="measure although other programs run, and say so")
    group.addoption("--bench-dir", type=Path, default=None, help="where buffers are made (default: temporary files)")


def pytest_configure(config: pytest.Config) -> None:
    # Before torch is imported: two threads beside a busy core are far slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.stash[RESULTS] = []
    config.stash[NOTES] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if not is_measuring(config):
        return
    share = machine.busy_share()
    if share > machine.LOADED_SHARE:
        message = f"other programs use {share:.0%} of the processors' time"
        if not config.getoption("bench_loaded"):
            pytest.exit(f"{message}: nothing was measured; stop them and try again", returncode=EXIT_LOADED)
        config.stash[NOTES].append(f"{message} at the start: a loaded machine, measured on request")


@pytest.fixture(scope="session")
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Where contests run, with a directory for buffers that is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=request.config.getoption("bench_dir")))
    try:
        yield Arena(request.config, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    contests = config.stash[RESULTS]
    if not contests:
        return
    content = report.document(contests, facts=machine.describe(), notes=config.stash[NOTES])
    terminalreporter.write_line("")
    for line in report.table(content).splitlines():
        terminalreporter.write_line(line)
    for note in content["notes"]:
        terminalreporter.write_line(f"note: {note}")
    out = config.getoption("bench_out")
    if out is not None:
        report.write(out, content)
        terminalreporter.write_line(f"written to {out} at {time.strftime('%H:%M')}")
