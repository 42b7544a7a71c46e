"""Runs all groups against a server, each in a process of its own."""

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

    Nobody else should use the server meanwhile: vehicles are spawned at its spawn points, the map is loaded anew, and the
    server is left asynchronous.

    Args:
        plan: What to check.
        on_result: Called with each result as soon as it is there.

    Raises:
        ConfigError: A group of that name doesn't exist, or the `carla` client isn't installed.
        SimulatorError: No server answers there.
    """
    results: list[Result] = []
    for group in _chosen(plan.groups):
        for result in _run_group(plan, group):
            results.append(result)
            if on_result is not None:
                on_result(result)
    return results


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


def _run_group(plan: CheckPlan, group: Group) -> Iterator[Result]:
    """Yields a group's results; what its process doesn't live to tell is not served."""
    words = [plan.host, str(plan.port), group.name, str(plan.call_timeout_s)]
    process = subprocess.Popen(
        [sys.executable, "-m", "carla_online.server.conformance.worker", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(plan.group_timeout_s, process.kill)
    watchdog.start()
    begun, done = "", set[str]()
    try:
        for line in process.stdout or ():
            content = _content(line)
            if "failed" in content:
                raise SimulatorError(
                    f"{plan.host}:{plan.port} can't be checked: {content['failed']}. Is a CARLA server running there?"
                )
            begun = str(content.get("begun", begun))
            if isinstance(content.get("result"), dict):
                result = _result(content["result"])
                done.add(result.operation)
                yield result
        code = process.wait()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    for check in group.checks:
        if check.operation not in done:
            reason = f"the client's process ended with code {code}"
            reason += " during it" if check.operation == begun else f" before it, during {begun}"
            yield Result(group.name, check.operation, Outcome.NOT_SERVED, reason, check.calls)


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
