"""Runs all groups against a server, in a process that may end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from carla_online.errors import ConfigError, SimulatorError
from carla_online.server.conformance.check import Group
from carla_online.server.conformance.outcome import Outcome, Result


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """What to check, and how long it may take.

    Attributes:
        host: The server's host.
        port: Its port.
        groups: Names of the groups; empty for all.
        call_timeout_s: How long one call may take.
        group_timeout_s: How long one group may take; then its process is killed.
    """

    host: str = "127.0.0.1"
    port: int = 2000
    groups: tuple[str, ...] = ()
    call_timeout_s: float = 20.0
    group_timeout_s: float = 300.0


def run_conformance(plan: CheckPlan, on_result: Callable[[Result], None] | None = None) -> list[Result]:
    """Checks a server and returns a result for each operation, in the order of CARLA's reference.

    Nobody else should use the server meanwhile: vehicles are spawned at its spawn points, the map is loaded anew, and
    the server is left asynchronous.

    Args:
        plan: What to check.
        on_result: Called with each result as soon as it is there.

    Raises:
        ConfigError: A group of that name doesn't exist, or the `carla` client isn't installed.
        SimulatorError: No server answers there.
    """
    results: list[Result] = []
    for result in _results(plan, _chosen(plan.groups)):
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def _results(plan: CheckPlan, groups: Sequence[Group]) -> Iterator[Result]:
    """Yields the results of groups; where a process ends within one, the next process goes on behind it."""
    has_answered = False
    while groups:
        worker = _Worker(plan, groups)
        for result in worker.results():
            has_answered = True
            yield result
        if worker.failure and not has_answered:
            address = f"{plan.host}:{plan.port}"
            raise SimulatorError(f"{address} can't be checked: {worker.failure}. Is a CARLA server running there?")
        for lost in groups[worker.ended : worker.ended + 1]:
            yield from worker.unanswered(lost)
            has_answered = True
        groups = groups[worker.ended + 1 :]


def _chosen(names: Sequence[str]) -> list[Group]:
    try:
        import carla  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the carla client is missing ({error}). Install it: pip install 'carla-online[carla]'"
        ) from error
    from carla_online.server.conformance.checks import GROUPS

    known = {group.name: group for group in GROUPS}
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no group {name!r}. Groups: {'; '.join(known)}.")
    return [known[name] for name in names] if names else list(GROUPS)


class _Worker:
    """A process that checks groups until it has done them all, or ends, or takes too long over one.

    Attributes:
        ended: How many groups it has done.
        failure: Why it couldn't go on, if it could still say so.
    """

    def __init__(self, plan: CheckPlan, groups: Sequence[Group]) -> None:
        self.ended = 0
        self.failure = ""
        self._begun = ""
        self._done: set[str] = set()
        self._timeout_s = plan.group_timeout_s
        words = [plan.host, str(plan.port), str(plan.call_timeout_s), *(group.name for group in groups)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "carla_online.server.conformance.worker", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def results(self) -> Iterator[Result]:
        """Yields what the process finds, until it ends."""
        watchdog = self._watch()
        try:
            for line in self._process.stdout or ():
                content = _content(line)
                if "group" in content:
                    watchdog.cancel()
                    watchdog = self._watch()
                    self._begun, self._done = "", set()
                self._begun = str(content.get("begun", self._begun))
                self.failure = str(content.get("failed", self.failure))
                self.ended += "ended" in content
                fields = content.get("result")
                if isinstance(fields, dict):
                    result = _result(fields)
                    self._done.add(result.operation)
                    yield result
            self._process.wait()
        finally:
            watchdog.cancel()
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def unanswered(self, group: Group) -> Iterator[Result]:
        """Yields that what the ended process hasn't answered of a group isn't served."""
        reason = self.failure or f"the client's process ended with code {self._process.returncode}"
        for check in group.checks:
            if check.operation not in self._done:
                when = "during it" if check.operation == self._begun else f"before it, after {self._begun!r} had begun"
                yield Result(group.name, check.operation, Outcome.NOT_SERVED, f"{reason}, {when}", check.calls)

    def _watch(self) -> threading.Timer:
        watchdog = threading.Timer(self._timeout_s, self._process.kill)
        watchdog.start()
        return watchdog


def _content(line: str) -> dict[str, object]:
    """Returns what a worker said; the client prints lines of its own, which say nothing."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _result(fields: dict[str, object]) -> Result:
    result = Result(**fields)  # type: ignore[arg-type]
    return replace(result, outcome=Outcome(result.outcome), calls=tuple(result.calls))
