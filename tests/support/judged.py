"""Gate results without driving: tables made by hand, judged by the gate's own function."""

from __future__ import annotations

import numpy as np
from route_tables import build_table

from carla_online.evaluation.suite import SuiteConfig
from carla_online.promotion.config import GateConfig
from carla_online.promotion.evidence import Evidence
from carla_online.promotion.gate import GateResult, judge_tables
from carla_online.promotion.routes import GateRoutes, gate_routes

ROUTES = 60


def routes_of(*, kind: str = "carla", **rule: object) -> GateRoutes:
    env = {"kind": kind} if kind == "world" else {"kind": kind, "servers": ["10.0.0.1:2000"]}
    return gate_routes(SuiteConfig(name="hand", env=env, routes=ROUTES, **rule))


def scores(mean: float, *, seed: int = 0, spread: float = 10.0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, spread, ROUTES), 0.0, 100.0)


def judged(
    *, gain: float = 25.0, kind: str = "carla", champion_gain: float | None = None, **columns: object
) -> GateResult:
    """A candidate that is `gain` points better than the baseline, and as much better than a champion, if any."""
    base = scores(50.0)
    tables = {"candidate": build_table(scores=np.clip(base + gain, 0.0, 100.0), **columns)}
    tables["baseline"] = build_table(scores=base)
    if champion_gain is not None:
        tables["champion"] = build_table(scores=np.clip(base + gain - champion_gain, 0.0, 100.0))
    return judge_tables(tables, routes=routes_of(kind=kind), config=GateConfig())


def evidence_for(sha256: str, *, champion: str = "baseline", allowed: bool = False, **told: object) -> Evidence:
    return Evidence(judged(**told), sha256, champion, "b" * 64, allowed)
