"""The one place that decides whether a policy drives better than another.

Both drive the same routes. The unit of chance is the route, so routes are resampled in pairs: draw R routes with
replacement, average candidate minus other over them, repeat; the quantiles of these averages are the interval. Better
means all of: the interval's lower end lies above the suite's smallest useful effect, the share of finished routes isn't
lower by more than the suite's margin, and collisions per km aren't higher by more than its margin.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval). On bimodal
driving scores of 100 and more routes the percentile interval's false alarms were 4 to 7 % at nominal 5 %.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import EvaluationError
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteSummary, RouteTable

_LARGEST_DRAW: Final = 4_000_000  # resampled values held at once: 32 MB
_MOST_MISSING_SHARE: Final = 0.05
_ROUNDING: Final = 1e-9  # margins are compared after one division each


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference with its interval."""

    mean: float
    """Mean of candidate minus other."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""

    def __str__(self) -> str:
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of *better*."""

    name: str
    """Short name."""
    holds: bool
    """Whether it is met."""
    text: str
    """The condition with its figures, as a sentence for people."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison found; `str(verdict)` is one line for people."""

    candidate: RouteSummary
    """Figures of the candidate."""
    other: RouteSummary
    """Figures of what it was compared with."""
    difference: Interval
    """Timed driving score, candidate minus other, points."""
    criteria: tuple[Criterion, ...]
    """Every condition, met or not."""
    significance: float
    """Error level of the interval."""

    @property
    def is_better(self) -> bool:
        """Whether every criterion holds."""
        return all(criterion.holds for criterion in self.criteria)

    @property
    def reason(self) -> str:
        """`better`, or `not better` with the criteria that failed."""
        failed = [criterion.text for criterion in self.criteria if not criterion.holds]
        return "better" if not failed else f"not better ({'; '.join(failed)})"

    def __str__(self) -> str:
        return (
            f"timed driving score {self.other.timed_driving_score:.1f} -> {self.candidate.timed_driving_score:.1f}, "
            f"difference {self.difference}, "
            f"collisions per km {self.other.collisions_per_km:.2f} -> {self.candidate.collisions_per_km:.2f}, "
            f"finished {self.other.finished_share:.0%} -> {self.candidate.finished_share:.0%}: {self.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, with `is_better` and the sentence beside the figures."""
        return {**asdict(self), "is_better": self.is_better, "text": str(self)}


def better(candidate: RouteTable, other: RouteTable, suite: SuiteConfig) -> Verdict:
    """Decides whether `candidate` drives better than `other` by the rule of `suite`.

    Args:
        candidate: Its routes; the order may differ from the other's.
        other: Routes with the same seeds.
        suite: The rule, fixed before training.

    Returns:
        The verdict with every figure it rests on. Equal arguments give an equal verdict.

    Raises:
        EvaluationError: The routes differ; the message names the first seed that stands in one table only.
    """
    candidate_order, other_order = np.argsort(candidate.seeds), np.argsort(other.seeds)
    _require_same_routes(candidate.seeds[candidate_order], other.seeds[other_order])
    differences = candidate.timed_driving_score[candidate_order] - other.timed_driving_score[other_order]
    difference = paired_interval(
        differences, draws=suite.draws, significance=suite.significance, seed=suite.bootstrap_seed
    )
    ours, theirs = candidate.summary(), other.summary()
    return Verdict(ours, theirs, difference, _criteria(ours, theirs, difference, suite), suite.significance)


def better_where_driven(
    candidate: RouteTable, other: RouteTable, suite: SuiteConfig, *, seeds: NDArray[np.uint64] | None = None
) -> Verdict:
    """`better` on the routes that both have driven, where the simulator may have failed on others.

    Nobody knows what would have happened on those, so too many of them are a criterion that doesn't hold.

    Args:
        candidate: Its routes.
        other: The other's routes.
        suite: The rule.
        seeds: uint64 [R], the routes that were to be driven; the suite's if not given.

    Raises:
        EvaluationError: They have no route in common, or one of them drove others than these.
    """
    routes = suite.seeds() if seeds is None else seeds
    common = np.intersect1d(candidate.seeds, other.seeds)
    is_asked_for = np.isin(np.concatenate([candidate.seeds, other.seeds]), routes).all()
    if not common.size or not is_asked_for or common.size == routes.size:
        return better(candidate, other, suite)
    verdict = better(candidate.select(common), other.select(common), suite)
    return replace(verdict, criteria=(*verdict.criteria, _enough_driven(routes.size - common.size, routes.size)))


def _enough_driven(lost: int, routes: int) -> Criterion:
    holds = lost <= _MOST_MISSING_SHARE * routes
    text = (
        f"the simulator failed on {lost} of {routes} routes, "
        f"{'at most' if holds else 'more than'} {_MOST_MISSING_SHARE:.0%} of them"
    )
    return Criterion("missing routes", holds, text)


def paired_interval(
    differences: NDArray[np.float64], *, draws: int = 10_000, significance: float = 0.05, seed: int = 0
) -> Interval:
    """Returns the mean of paired differences with its bootstrap percentile interval.

    Args:
        differences: float64 [R], one for each route.
        draws: Resamples.
        significance: Error level; half of it lies outside either end.
        seed: Seed of the resampling.

    Raises:
        EvaluationError: No differences, or one that isn't finite.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 1 or differences.size == 0 or not np.isfinite(differences).all():
        raise EvaluationError(f"an interval needs finite differences of routes, got {differences!r}.")
    generator = np.random.Generator(np.random.Philox(seed))
    means = np.empty(draws)
    batch = max(1, _LARGEST_DRAW // differences.size)
    for start in range(0, draws, batch):
        count = min(batch, draws - start)
        rows = generator.integers(differences.size, size=(count, differences.size))
        means[start : start + count] = differences[rows].mean(axis=1)
    low, high = np.quantile(means, [significance / 2.0, 1.0 - significance / 2.0])
    return Interval(float(differences.mean()), float(low), float(high))


def _require_same_routes(candidate: NDArray[np.uint64], other: NDArray[np.uint64]) -> None:
    if np.array_equal(candidate, other):
        return
    first = int(np.setxor1d(candidate, other)[0])
    owner = "the candidate" if np.isin(np.uint64(first), candidate) else "the other policy"
    raise EvaluationError(
        f"the policies drove different routes ({len(candidate)} and {len(other)}): the seed {first} was driven by "
        f"{owner} only. Evaluate both on one suite."
    )


def _criteria(
    ours: RouteSummary, theirs: RouteSummary, difference: Interval, suite: SuiteConfig
) -> tuple[Criterion, ...]:
    finished_limit = theirs.finished_share - suite.finished_margin
    collision_limit = theirs.collisions_per_km + suite.collision_margin_per_km
    has_effect = difference.low > suite.smallest_effect
    finishes = ours.finished_share >= finished_limit - _ROUNDING
    is_safe = math.isfinite(ours.collisions_per_km) and ours.collisions_per_km <= collision_limit + _ROUNDING
    has_routes = ours.routes >= suite.fewest_routes
    return (
        Criterion(
            "effect",
            has_effect,
            f"the difference's lower end {difference.low:+.1f} is "
            f"{'above' if has_effect else 'not above'} the smallest useful effect {suite.smallest_effect:+.1f}",
        ),
        Criterion(
            "finished routes",
            finishes,
            f"the share of finished routes {ours.finished_share:.1%} is "
            f"{'at least' if finishes else 'below'} {max(0.0, finished_limit):.1%}",
        ),
        Criterion(
            "collisions",
            is_safe,
            f"collisions per km {ours.collisions_per_km:.3f} are "
            f"{'at most' if is_safe else 'above'} {collision_limit:.3f}",
        ),
        Criterion(
            "routes",
            has_routes,
            f"{ours.routes} routes are {'enough' if has_routes else 'too few'} (at least {suite.fewest_routes})",
        ),
    )
