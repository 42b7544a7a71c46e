"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a server answers an operation.

    `served`: what the API promises was seen. `neutral`: accepted, but without an effect that a client can see.
    `not served`: refused, or nothing came. `differs`: something else was seen; the numbers stand beside it.
    """

    SERVED = "served"
    NEUTRAL = "neutral"
    NOT_SERVED = "not served"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Result:
    """One operation's result.

    Attributes:
        group: The class of the API it belongs to.
        operation: What was tried.
        outcome: How it was answered.
        detail: What was measured, or the reason.
        calls: Names of the protocol's calls that it sends.
    """

    group: str
    operation: str
    outcome: Outcome
    detail: str
    calls: tuple[str, ...]


class Neutral(Exception):
    """Accepted without an effect that can be seen."""


class NotServed(Exception):
    """Refused, or nothing came."""


class Differs(Exception):
    """Something else than promised was seen."""
