"""What went wrong with workers, how often, and when it is too much."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from carla_online.envs.workers.config import SupervisionConfig
from carla_online.errors import SimulatorError

TIMEOUT: Final = "timeout"
CRASH: Final = "crash"
ERROR: Final = "error"
RECYCLED: Final = "recycled"
QUARANTINED: Final = "quarantined"
FAILURES: Final = (TIMEOUT, CRASH, ERROR)
"""Kinds that count as failures; the others are told, and harm nothing."""
SERVER_FAILED: Final = "its server failed"
"""The reason of a failure from which the environment itself recovers."""
BEGAN_ANEW: Final = "its server failed while the episode began, which was tried again"
"""The reason of one that the environment has overcome already."""
_KEPT: Final = 1_000
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that happened to a worker."""

    worker: int
    """Index of the worker."""
    kind: str
    """`timeout`, `crash`, `error` (failures), `recycled` or `quarantined`."""
    reason: str
    """What was seen, on one line."""
    steps: int
    """Environment steps of all workers at that time."""
    time_s: float
    """Seconds since the epoch."""
    episode_seed: int | None = None
    """The episode that was being driven, where it has a name."""

    def __str__(self) -> str:
        episode = "" if self.episode_seed is None else f" in episode {self.episode_seed}"
        return f"worker {self.worker}: {self.kind}{episode}: {self.reason}"


def server_failures(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the failures that one `info` tells of, in their order: kind, reason."""
    told = ((info.get("overcome_failures", ""), BEGAN_ANEW), (info.get("sim_failure", ""), SERVER_FAILED))
    return [(kind if kind in FAILURES else ERROR, reason) for texts, reason in told for kind in str(texts).split()]


class IncidentLog:
    """Keeps incidents, counts them, and says when there are too many.

    Args:
        config: The limits.
        path: JSON lines to which every incident is appended as it happens, so that it survives a kill.
    """

    def __init__(self, config: SupervisionConfig, *, path: Path | None = None) -> None:
        self.config = config
        self.recent: deque[Incident] = deque(maxlen=_KEPT)
        self.counts: Counter[str] = Counter()
        self._path = path
        self._in_a_row: Counter[int] = Counter()
        self._killed: Counter[int] = Counter()
        self.quarantined: set[int] = set()

    @property
    def failures(self) -> int:
        """Timeouts, crashes and errors so far."""
        return sum(self.counts[kind] for kind in FAILURES)

    def failures_per_1000_steps(self, steps: int) -> float:
        """Returns the failures per 1,000 steps; `steps` counts from where this log began."""
        return 1000.0 * self.failures / max(1, steps)

    def add(self, worker: int, kind: str, reason: str, *, steps: int, episode_seed: int | None = None) -> Incident:
        """Takes note of an incident; a second death in the same episode puts that into quarantine."""
        incident = Incident(worker, kind, " ".join(reason.split()), steps, time.time(), episode_seed)
        self._keep(incident)
        if kind in FAILURES:
            self._in_a_row[worker] += 1
            if episode_seed is not None:
                self._killed[episode_seed] += 1
                if self._killed[episode_seed] == self.config.quarantine_after:
                    self.quarantined.add(episode_seed)
                    text = f"it ended {self._killed[episode_seed]} workers and is driven no more"
                    self._keep(Incident(worker, QUARANTINED, text, steps, time.time(), episode_seed))
        return incident

    def worked(self, worker: int) -> None:
        """Takes note that a worker did something useful: its failures in a row begin anew."""
        if self._in_a_row[worker]:
            self._in_a_row[worker] = 0

    def backoff_s(self, worker: int) -> float:
        """Returns how long to wait before a worker that failed is started again."""
        exponent = min(30, max(0, self._in_a_row[worker] - 1))
        return min(self.config.max_backoff_s, self.config.backoff_s * 2.0**exponent)

    def check(self, worker: int, steps: int) -> None:
        """Refuses to go on where failures have become the rule.

        Raises:
            SimulatorError: With what happened, how often, and to whom.
        """
        in_a_row, rate = self._in_a_row[worker], self.failures_per_1000_steps(steps)
        if in_a_row >= self.config.max_failures_in_a_row:
            what = f"worker {worker} failed {in_a_row} times in a row without one step between"
        elif self.failures >= self.config.judge_from_failures and rate > self.config.max_failures_per_1000_steps:
            what = (
                f"{self.failures} failures in {steps:,} steps are {rate:.1f} per 1,000, above the limit of "
                f"{self.config.max_failures_per_1000_steps:g}"
            )
        else:
            return
        raise SimulatorError(f"{what}. {self.report()} Cure what the last of them say, then go on; nothing is lost.")

    def report(self) -> str:
        """Returns the counts and the newest incidents, as text of a few lines."""
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items())) or "none"
        newest = [f"  {incident}" for incident in list(self.recent)[-6:]]
        return "\n".join([f"Incidents so far: {counts}. The newest:", *newest, ""])

    def _keep(self, incident: Incident) -> None:
        self.recent.append(incident)
        self.counts[incident.kind] += 1
        _LOG.info("%s", incident)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(incident)) + "\n")
