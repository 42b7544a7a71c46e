"""The benchmark session: options, the arena in which contests run, and the report at its end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import pytest
import report
from rounds import Contender, Contest, MachineLoadedError

EXIT_LOADED = 75
"""As sysexits.h has it: a temporary failure; try again later."""

RESULTS = pytest.StashKey[list[Contest]]()
NOTES = pytest.StashKey[list[str]]()


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
    config.stash[RESULTS] = []
    config.stash[NOTES] = []


def is_measuring(config: pytest.Config) -> bool:
    """Whether times are taken; without `--benchmark-enable` each contender only runs once."""
    return not config.getoption("benchmark_disable") or bool(config.getoption("benchmark_enable"))


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


class Arena:
    """Runs contests and keeps what they found."""

    def __init__(self, config: pytest.Config, directory: Path) -> None:
        self._config = config
        self.directory = directory
        self.rows: int = config.getoption("bench_rows") if is_measuring(config) else 4_096

    @property
    def rounds(self) -> int:
        """Rounds that must count."""
        return int(self._config.getoption("bench_rounds"))

    @property
    def is_measuring(self) -> bool:
        """Whether times are taken."""
        return is_measuring(self._config)

    def wants(self, name: str) -> bool:
        """Whether a library, `numpy` or `limit` takes part."""
        chosen = self._config.getoption("bench_against")
        return chosen == "all" or name in chosen.split(",")

    def record(self, contest: Contest) -> None:
        """Adds a contest that was run elsewhere."""
        self._config.stash[RESULTS].append(contest)

    def note(self, text: str) -> None:
        """Adds a line to the report."""
        self._config.stash[NOTES].append(text)

    def contest(
        self,
        benchmark: Any,
        name: str,
        contenders: list[Contender],
        *,
        skipped: dict[str, str] | None = None,
        gated: bool = True,
    ) -> Contest:
        """Runs one contest; pytest-benchmark's own record is the round with everything in it."""
        contenders = [
            contender
            for contender in contenders
            if contender.kind not in ("numpy", "limit") or self.wants(contender.kind)
        ]
        contest = Contest(name, contenders, skipped or {}, gated)
        if not self.is_measuring:
            benchmark(contest.run_once)
            return contest
        option = self._config.getoption
        try:
            benchmark.pedantic(
                contest.run,
                kwargs={
                    "rounds": option("bench_rounds"),
                    "visit_s": option("bench_visit_ms") / 1e3,
                    "clock": option("bench_clock"),
                },
                rounds=1,
            )
        except MachineLoadedError as error:
            if not option("bench_loaded"):
                pytest.exit(f"{error}: stop them and try again", returncode=EXIT_LOADED)
            self.note(f"{error}; the steady rounds count although there are few")
        benchmark.extra_info.update(
            {contender.name: contest.ratio(index).median for index, contender in enumerate(contenders)}
        )
        self.record(contest)
        return contest


@pytest.fixture(scope="session")
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Where contests run, with a directory for buffers that is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=request.config.getoption("bench_dir")))
    try:
        yield Arena(request.config, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Two threads beside a busy core are far slower than one."""
    import torch

    torch.set_num_threads(1)


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
