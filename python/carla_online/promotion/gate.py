"""The gate: a candidate against champion and frozen baseline, on the same routes, with evidence that may stop early.

The candidate must be shown to be better than each of them by more than the suite's smallest useful effect; nothing else
may have become worse: finished routes, collisions per km, any slice. Several references need no correction, since all
of them must be beaten.

Looks: the betting processes may be looked at after every batch. Finished share and collisions per km are compared as
they are, without a test of their own, so they are looked at twice at most: when the effect is shown for the first time
(and enough of the suite was driven), and at the suite's end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import EvaluationError
from carla_online.evaluation.compare import Criterion, Verdict, better
from carla_online.evaluation.records import Policy
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteTable, concatenate
from carla_online.promotion.betting import betting_log_wealth, first_shown, is_shown
from carla_online.promotion.config import GateConfig
from carla_online.promotion.routes import GateRoutes
from carla_online.promotion.watches import SliceFinding, WatchFinding, forgetting, slice_findings

CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
CHAMPION: Final = "champion"
End = Literal["success", "futility", "end"]
"""Why driving stopped: all is shown, it can't be shown any more, or the suite's end."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A candidate beside one reference."""

    against: str
    """`baseline` or `champion`."""
    verdict: Verdict
    """The fixed-sample comparison on the routes so far: its figures and margins; its interval is information, since
    it may not be looked at twice."""
    log_wealth: NDArray[np.float64]
    """float64 [R]: evidence for "better by more than the smallest useful effect" after each route."""
    log_futility: NDArray[np.float64]
    """float64 [R]: evidence for "by less than that"."""
    shown_after: int | None
    """Routes after which the effect was shown."""
    is_futile: bool
    """Whether it is shown that the effect isn't there."""
    slices: tuple[SliceFinding, ...]
    """Each slice's evidence for being worse."""
    criteria: tuple[Criterion, ...]
    """Every condition, met or not."""

    @property
    def holds(self) -> bool:
        """Whether every condition is met."""
        return all(criterion.holds for criterion in self.criteria)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "against": self.against,
            "verdict": self.verdict.to_dict(),
            "log_wealth": self.log_wealth.tolist(),
            "log_futility": self.log_futility.tolist(),
            "shown_after": self.shown_after,
            "is_futile": self.is_futile,
            "slices": [asdict(finding) for finding in self.slices],
            "criteria": [asdict(criterion) for criterion in self.criteria],
        }


@dataclass(frozen=True, slots=True, eq=False)
class GateResult:
    """What the gate found; `str(result)` is for people."""

    routes: GateRoutes
    """The suite."""
    config: GateConfig
    """The settings."""
    tables: Mapping[str, RouteTable]
    """Who drove (candidate, baseline, champion) to one row a route, in the order driven."""
    comparisons: tuple[Comparison, ...]
    """One for each reference."""
    watches: tuple[WatchFinding, ...]
    """What the watches say."""
    end: End
    """Why driving stopped."""
    missing: Mapping[str, list[int]]
    """Seeds of the routes that the simulator failed on three times, by who drove."""

    @property
    def failures(self) -> list[str]:
        """A sentence for each condition that isn't met; empty if the candidate passed."""
        told = [
            f"against the {comparison.against}: {criterion.text}"
            for comparison in self.comparisons
            for criterion in comparison.criteria
            if not criterion.holds
        ]
        told += [each.text for each in self.watches if each.is_found and each.watch in self.config.blocking]
        driven, lost = len(self.tables[CANDIDATE]), len(lost_routes(self.missing))
        if lost > self.config.most_missing_share * (driven + lost):
            told.append(f"the simulator failed on {lost} of {driven + lost} routes, too many for a verdict")
        return told

    @property
    def passed(self) -> bool:
        """Whether every condition is met and no watch blocks."""
        return not self.failures

    def __str__(self) -> str:
        world = " (embedded world only)" if self.routes.is_embedded else ""
        lines = [f"suite {self.routes.rule.name}{world}: {len(self.tables[CANDIDATE])} of {self.routes.count} routes"]
        lines += [f"against the {each.against}: {_figures(each)}" for each in self.comparisons]
        lines += [f"watch {each.watch}: {each.text}" for each in self.watches]
        lines += [f"not passed: {failure}" for failure in self.failures] or ["passed"]
        return "\n".join(lines)


def run_gate(
    candidate: Policy,
    *,
    baseline: Policy,
    champion: Policy | None,
    routes: GateRoutes,
    config: GateConfig | None = None,
    watches: tuple[WatchFinding, ...] = (),
    on_batch: Callable[[GateResult], None] | None = None,
) -> GateResult:
    """Drives candidate and references over a suite until the verdict is clear.

    Args:
        candidate: Who would become champion.
        baseline: The frozen baseline.
        champion: The champion, if it is another than the baseline.
        routes: The suite.
        config: Settings.
        watches: What was found before driving, such as reward hacking.
        on_batch: Called after each batch with what is known so far.

    Returns:
        The result. Equal arguments give an equal one, as far as the simulator repeats.

    Raises:
        EvaluationError: No route could be driven by all, or the environment has no driving scores.
        PolicyError: A policy returned something else than finite actions.
    """
    config = config or GateConfig()
    policies = {CANDIDATE: candidate, BASELINE: baseline} | ({} if champion is None else {CHAMPION: champion})
    driven: dict[str, list[RouteTable]] = {name: [] for name in policies}
    missing: dict[str, list[int]] = {name: [] for name in policies}
    was_looked_at = False
    result: GateResult | None = None
    for batch in routes.batches(config.batch_routes, order_seed=config.order_seed):
        for name, policy in policies.items():
            table, failed = routes.drive(policy, batch)
            driven[name] += [] if table is None else [table]
            missing[name] += failed
        tables = _common(driven)
        if tables is None:
            continue
        result = judge_tables(tables, routes=routes, config=config, watches=watches, missing=missing)
        if on_batch is not None:
            on_batch(result)
        if any(comparison.is_futile for comparison in result.comparisons):
            return replace(result, end="futility")
        is_due = all(each.shown_after is not None for each in result.comparisons) and _driven_share(result) >= (
            config.least_share
        )
        if is_due and not was_looked_at:
            was_looked_at = True
            if result.passed:
                return replace(result, end="success")
    if result is None:
        raise EvaluationError(f"suite {routes.rule.name}: no route was driven by all; the simulator failed on each.")
    return result


def judge_tables(
    tables: Mapping[str, RouteTable],
    *,
    routes: GateRoutes,
    config: GateConfig,
    watches: tuple[WatchFinding, ...] = (),
    missing: Mapping[str, list[int]] | None = None,
) -> GateResult:
    """Judges what was driven; a pure function, so that evidence can be judged anew.

    Args:
        tables: `candidate`, `baseline` and maybe `champion`, the same routes in the same order.
        routes: The suite.
        config: Settings.
        watches: What was found before driving.
        missing: Seeds of routes that are left out.

    Raises:
        EvaluationError: The tables have different routes.
    """
    candidate = tables[CANDIDATE]
    comparisons = tuple(
        _compare(candidate, tables[name], name, routes.rule, config) for name in (BASELINE, CHAMPION) if name in tables
    )
    found = tuple(forgetting(each.slices) for each in comparisons if each.against == CHAMPION)
    lost = {name: list(seeds) for name, seeds in (missing or {}).items()}
    return GateResult(routes, config, dict(tables), comparisons, watches + found, "end", lost)


def lost_routes(missing: Mapping[str, list[int]]) -> set[int]:
    """Returns the seeds of the routes that somebody's simulator failed on."""
    return {seed for seeds in missing.values() for seed in seeds}


def _common(driven: Mapping[str, list[RouteTable]]) -> dict[str, RouteTable] | None:
    """Returns the routes that all have driven, in the candidate's order."""
    if not all(driven.values()):
        return None
    tables = {name: concatenate(parts) for name, parts in driven.items()}
    shared = set.intersection(*(set(table.seeds.tolist()) for table in tables.values()))
    seeds = np.array([seed for seed in tables[CANDIDATE].seeds.tolist() if seed in shared], np.uint64)
    return {name: table.select(seeds) for name, table in tables.items()} if seeds.size else None


def _driven_share(result: GateResult) -> float:
    return (len(result.tables[CANDIDATE]) + len(lost_routes(result.missing))) / result.routes.count


def _compare(candidate: RouteTable, other: RouteTable, name: str, rule: SuiteConfig, config: GateConfig) -> Comparison:
    if not np.array_equal(candidate.seeds, other.seeds):
        raise EvaluationError(f"the {name} drove other routes than the candidate, or in another order.")
    differences = candidate.timed_driving_score - other.timed_driving_score
    verdict = better(candidate, other, rule)
    bound, truncation = rule.smallest_effect, config.truncation
    wealth = betting_log_wealth(differences, bound=bound, truncation=truncation)
    futility = betting_log_wealth(differences, bound=bound, direction="below", truncation=truncation)
    slices = slice_findings(differences, candidate.slices, config)
    shown_after = first_shown(wealth, rule.significance)
    criteria = (_effect(wealth, shown_after, rule), *(each for each in verdict.criteria if each.name != "effect"))
    if name == BASELINE:  # a slice lost against the champion is the forgetting watch's
        criteria += (_veto(slices),)
    is_futile = bool(is_shown(futility, config.futility_significance)) and shown_after is None
    return Comparison(name, verdict, wealth, futility, shown_after, is_futile, slices, criteria)


def _effect(wealth: NDArray[np.float64], shown_after: int | None, rule: SuiteConfig) -> Criterion:
    most, needed = _wealth(wealth), 1.0 / rule.significance
    text = f"better by more than {rule.smallest_effect:.1f} points is "
    if shown_after is not None:
        return Criterion("effect", True, text + f"shown after {shown_after} routes")
    return Criterion("effect", False, text + f"not shown (evidence {most:.2g}, needs {needed:.0f})")


def _veto(slices: tuple[SliceFinding, ...]) -> Criterion:
    worse = [str(finding) for finding in slices if finding.is_worse]
    if worse:
        return Criterion("slices", False, f"shown to be worse on {', '.join(worse)}")
    return Criterion("slices", True, f"on none of {len(slices)} slices shown to be worse")


def _figures(comparison: Comparison) -> str:
    """Returns a comparison's figures as a line."""
    verdict = comparison.verdict
    return (
        f"timed driving score {verdict.other.timed_driving_score:.1f} -> {verdict.candidate.timed_driving_score:.1f}, "
        f"evidence {_wealth(comparison.log_wealth):.3g} "
        f"(needs {1.0 / verdict.significance:.0f}), "
        f"collisions per km {verdict.other.collisions_per_km:.2f} -> {verdict.candidate.collisions_per_km:.2f}, "
        f"finished {verdict.other.finished_share:.0%} -> {verdict.candidate.finished_share:.0%}"
    )


def _wealth(log_wealth: NDArray[np.float64]) -> float:
    """Returns the largest wealth, cut where numbers end."""
    return float(np.exp(min(log_wealth.max(initial=0.0), 600.0)))
