"""What a decision rests on, as one file that can be judged anew: every route's figures, the suite, the wealth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from carla_online._native import __version__
from carla_online.config import validate
from carla_online.errors import CarlaOnlineError, RegistryError
from carla_online.evaluation.files import finite
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.suites import SuiteSetConfig
from carla_online.evaluation.table import RouteTable
from carla_online.promotion.config import GateConfig
from carla_online.promotion.gate import GateResult, judge_tables
from carla_online.promotion.records import now
from carla_online.promotion.routes import gate_routes
from carla_online.promotion.watches import WatchFinding

_FORMAT: Final = 1
_LARGEST_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the gate found about one policy file."""

    result: GateResult
    """The comparison."""
    candidate_sha256: str
    """Of the policy file that drove."""
    champion: str
    """Who was champion while it drove: a version's id, or `baseline`."""
    baseline_fingerprint: str
    """Of the frozen baseline that drove."""
    is_embedded_allowed: bool = False
    """Whether a verdict from the embedded world alone may make a champion."""

    def refusal(self, *, sha256: str, champion: str) -> str | None:
        """Returns why this doesn't make a policy champion now, or None if it does.

        Args:
            sha256: Of the version's policy file.
            champion: Who is champion at this moment.
        """
        if sha256 != self.candidate_sha256:
            return f"the evidence is about another policy ({self.candidate_sha256[:12]})"
        if not self.result.passed:
            return "; ".join(self.result.failures)
        if champion != self.champion:
            return (
                f"the champion changed from {self.champion} to {champion} while the candidate drove, and it wasn't "
                "compared with the new one; promote it again"
            )
        if self.result.routes.is_embedded and not self.is_embedded_allowed:
            return (
                "it passed, but in the embedded world alone, which isn't CARLA; promote it on a suite that drives on "
                "CARLA servers, or allow it with --allow-embedded"
            )
        return None

    def to_bytes(self) -> bytes:
        """Returns everything as JSON."""
        result = self.result
        told = {
            "format": _FORMAT,
            "candidate_sha256": self.candidate_sha256,
            "champion": self.champion,
            "baseline_fingerprint": self.baseline_fingerprint,
            "is_embedded_only": result.routes.is_embedded,
            "is_embedded_allowed": self.is_embedded_allowed,
            "passed": result.passed,
            "failures": result.failures,
            "text": str(result),
            "end": result.end,
            "suite": dict(result.routes.described),
            "config": result.config.model_dump(mode="json"),
            "comparisons": [comparison.to_dict() for comparison in result.comparisons],
            "watches": [watch.to_dict() for watch in result.watches],
            "tables": {name: table.to_dict() for name, table in result.tables.items()},
            "missing": {name: list(seeds) for name, seeds in result.missing.items()},
            "versions": {"carla_online": __version__, "torch": torch.__version__, "numpy": np.__version__},
            "created": now(),
        }
        return json.dumps(finite(told), allow_nan=False).encode() + b"\n"

    @staticmethod
    def read(data: bytes, *, source: str) -> Mapping[str, Any]:
        """Reads a file's bytes as plain values.

        Raises:
            RegistryError: They are no evidence of this format.
        """
        try:
            told = json.loads(data) if len(data) <= _LARGEST_BYTES else None
        except (ValueError, RecursionError) as error:
            raise RegistryError(f"{source} isn't JSON ({error}). Restore it from a copy of the registry.") from error
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise RegistryError(f"{source} isn't evidence of format {_FORMAT}. Restore it from a copy of the registry.")
        return told


def judge_again(told: Mapping[str, Any], *, source: str = "evidence") -> GateResult:
    """Judges evidence anew from its tables, so that a verdict in a file needn't be believed.

    Args:
        told: What `Evidence.read` or `Registry.evidence` returned.
        source: Where it stands, for messages.

    Raises:
        RegistryError: Something is missing or isn't valid.
    """
    try:
        suite, config = told["suite"], validate(GateConfig, told["config"], source=source)
        found = [WatchFinding(each["watch"], bool(each["is_found"]), str(each["text"])) for each in told["watches"]]
        return judge_tables(
            {str(name): RouteTable.from_dict(table, source=source) for name, table in told["tables"].items()},
            routes=gate_routes(
                validate(SuiteSetConfig, suite, source=source)
                if "parts" in suite
                else validate(SuiteConfig, suite, source=source)
            ),
            config=config,
            # The watch over slices is judged anew from the tables.
            watches=tuple(each for each in found if each.watch != "forgetting"),
            missing={str(name): [int(seed) for seed in seeds] for name, seeds in told["missing"].items()},
        )
    except (CarlaOnlineError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RegistryError(
            f"{source} can't be judged anew: {error!r}. Restore it from a copy of the registry."
        ) from error
