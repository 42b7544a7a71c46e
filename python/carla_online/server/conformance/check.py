"""Checks, collected in groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from carla_online.server.conformance.outcome import Differs, Neutral, NotServed, Outcome, Result
from carla_online.server.conformance.site import Site

Body = Callable[[Site], str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One operation of the API.

    Attributes:
        operation: Its name in the API's reference.
        calls: The protocol's calls it sends.
        body: Tries it; returns what was measured, raises what else it found.
        starts_over: Whether the episode is another one afterwards.
    """

    operation: str
    calls: tuple[str, ...]
    body: Body
    starts_over: bool

    def run(self, group: str, site: Site) -> Result:
        """Tries the operation once, then removes what it has spawned."""
        try:
            outcome, detail = Outcome.SERVED, self.body(site) or ""
        except Neutral as finding:
            outcome, detail = Outcome.NEUTRAL, str(finding)
        except Differs as finding:
            outcome, detail = Outcome.DIFFERS, str(finding)
        except NotServed as finding:
            outcome, detail = Outcome.NOT_SERVED, str(finding)
        except (RuntimeError, ValueError, IndexError, TypeError, OSError) as error:
            # What the client raises where a server refuses or stays silent, or answers what it can't use.
            outcome, detail = Outcome.NOT_SERVED, f"{type(error).__name__}: {error}"
        site.clean(starts_over=self.starts_over)
        return Result(group, self.operation, outcome, " ".join(detail.split()), self.calls)


@dataclass(frozen=True, slots=True)
class Group:
    """The checks of one class of the API; calling it registers one.

    Attributes:
        name: The class.
        checks: Its checks, in the order in which they run.
    """

    name: str
    checks: list[Check] = field(default_factory=list)

    def __call__(self, operation: str, *calls: str, starts_over: bool = False) -> Callable[[Body], Body]:
        """Registers a function as the check of an operation that sends `calls`."""

        def register(body: Body) -> Body:
            self.checks.append(Check(operation, calls, body, starts_over))
            return body

        return register
