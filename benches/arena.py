"""Where contests run: knows the session's options, and keeps what was found for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rounds import Contender, Contest, MachineLoadedError

EXIT_LOADED = 75
"""As sysexits.h has it: a temporary failure; try again later."""

RESULTS = pytest.StashKey[list[Contest]]()
NOTES = pytest.StashKey[list[str]]()


def is_measuring(config: pytest.Config) -> bool:
    """Whether times are taken; without `--benchmark-enable` each contender only runs once."""
    return not config.getoption("benchmark_disable") or bool(config.getoption("benchmark_enable"))


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
        """Adds a contest that has been run, and lets go of its contenders."""
        contest.release()
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
