"""From candidate to champion: the gate, its watches, and the registry of versions. No evidence, no promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carla_online.lazy import lazy_exports

if TYPE_CHECKING:
    from carla_online.promotion.betting import betting_log_wealth
    from carla_online.promotion.candidate import Candidate, read_candidate
    from carla_online.promotion.config import GateConfig
    from carla_online.promotion.decide import Promotion, load_champion, promote
    from carla_online.promotion.evidence import Evidence, judge_again
    from carla_online.promotion.gate import Comparison, GateResult, run_gate
    from carla_online.promotion.records import LogEntry, VersionRecord
    from carla_online.promotion.registry import Registry
    from carla_online.promotion.routes import GateRoutes, gate_routes, load_gate_suite
    from carla_online.promotion.watches import SliceFinding, WatchFinding

__getattr__ = lazy_exports(
    __name__,
    {
        "betting": ("betting_log_wealth",),
        "candidate": ("Candidate", "read_candidate"),
        "config": ("GateConfig",),
        "decide": ("Promotion", "load_champion", "promote"),
        "evidence": ("Evidence", "judge_again"),
        "gate": ("Comparison", "GateResult", "run_gate"),
        "records": ("LogEntry", "VersionRecord"),
        "registry": ("Registry",),
        "routes": ("GateRoutes", "gate_routes", "load_gate_suite"),
        "watches": ("SliceFinding", "WatchFinding"),
    },
)

__all__ = [
    # the gate
    "run_gate",
    "GateConfig",
    "GateResult",
    "Comparison",
    "GateRoutes",
    "gate_routes",
    "load_gate_suite",
    "betting_log_wealth",
    "SliceFinding",
    "WatchFinding",
    # candidates and the registry
    "promote",
    "load_champion",
    "Promotion",
    "Candidate",
    "read_candidate",
    "Registry",
    "VersionRecord",
    "LogEntry",
    "Evidence",
    "judge_again",
]
