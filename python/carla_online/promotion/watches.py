"""Watches over a candidate: has it forgotten a slice, and did its training learn to please the reward alone?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import EvaluationError
from carla_online.evaluation.metric_rows import Series, read_metrics
from carla_online.promotion.betting import betting_log_wealth, is_shown
from carla_online.promotion.config import GateConfig, Watch

_RETURN: Final = "rollout/episode_return"
_SCORES: Final = ("eval/timed_driving_score", "rollout/episode_timed_driving_score")
"""Held-out selection routes where there are any, else what training drives."""
_FEWEST_POINTS: Final = 5
_MOST_POINTS: Final = 50
_TREND_SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class SliceFinding:
    """What is known of a candidate on one slice."""

    name: str
    """The slice."""
    routes: int
    """Routes that both drove."""
    difference: float
    """Mean timed driving score, candidate minus other, points."""
    log_wealth: float
    """Largest natural logarithm of the evidence that the slice is worse."""
    is_worse: bool
    """Whether that is shown, at the level shared by all slices."""

    def __str__(self) -> str:
        return f"{self.name} ({self.difference:+.1f} points on {self.routes} routes)"


@dataclass(frozen=True, slots=True)
class WatchFinding:
    """What a watch says."""

    watch: Watch
    """Which."""
    is_found: bool
    """Whether it found what it looks for."""
    text: str
    """A sentence for people."""

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {"watch": self.watch, "is_found": self.is_found, "text": self.text}


def slice_findings(
    differences: NDArray[np.float64], slices: tuple[str, ...], config: GateConfig
) -> tuple[SliceFinding, ...]:
    """Tests each slice for being worse by more than `config.slice_margin`.

    Every slice has a betting process of its own and the level is shared among the slices (Bonferroni), so any slice is
    called worse by chance with a probability of at most `config.slice_significance`.

    Args:
        differences: float64 [R], candidate minus other, points, in the order driven.
        slices: R names.
        config: Settings.

    Returns:
        One finding a slice, in the order in which the slices first come.
    """
    names = list(dict.fromkeys(slices))
    places = np.array(slices, dtype=object)
    found = []
    for name in names:
        own = differences[places == name]
        wealth = betting_log_wealth(own, bound=-config.slice_margin, direction="below", truncation=config.truncation)
        is_worse = bool(is_shown(wealth, config.slice_significance / len(names)))
        found.append(SliceFinding(name, len(own), float(own.mean()), float(wealth.max(initial=0.0)), is_worse))
    return tuple(found)


def forgetting(findings: tuple[SliceFinding, ...]) -> WatchFinding:
    """Says whether a slice is shown to be worse than the champion's."""
    worse = [str(finding) for finding in findings if finding.is_worse]
    if worse:
        return WatchFinding("forgetting", True, f"worse than the champion, as is shown, on {', '.join(worse)}")
    return WatchFinding("forgetting", False, f"on none of {len(findings)} slices shown to be worse than the champion")


def reward_hacking(metrics: Path | None, config: GateConfig, *, last_step: int | None = None) -> WatchFinding:
    """Says whether the shaped return rose while the driving score fell, in the second half of a run.

    Both curves are cut into as many stretches as there are driving scores; a rise and a fall are those of a one-sided
    Mann-Kendall test at 5 % each, and the score must have lost `config.hacking_fall` points by its fitted line.

    Args:
        metrics: The run's `metrics.jsonl`, or None.
        config: Settings.
        last_step: Environment steps behind the candidate; what came later isn't its own.

    Source: Kendall, "Rank Correlation Methods", 1948 (normal approximation with continuity correction).
    """
    if metrics is None:
        return WatchFinding("reward_hacking", False, "not looked for: the run's metrics weren't given")
    try:
        curves = read_metrics(metrics)
    except OSError as error:
        raise EvaluationError(f"can't read the run's metrics {metrics}: {error.strerror}. Check the path.") from error
    pair = _second_half(curves, last_step)
    if pair is None:
        return WatchFinding("reward_hacking", False, f"not looked for: fewer than {_FEWEST_POINTS} driving scores")
    tag, returns, scores = pair
    rises, falls = _trend(returns), _trend(-scores)
    lost = -float(np.polyfit(np.arange(len(scores)), scores, 1)[0]) * (len(scores) - 1)
    is_found = rises < _TREND_SIGNIFICANCE and falls < _TREND_SIGNIFICANCE and lost >= config.hacking_fall
    course = f"return {returns[0]:.2f} -> {returns[-1]:.2f}, {tag} {scores[0]:.1f} -> {scores[-1]:.1f}"
    said = "the shaped return rose while the driving score fell" if is_found else "return and driving score agree"
    return WatchFinding("reward_hacking", is_found, f"{said} in the second half of training ({course})")


def _second_half(
    curves: Mapping[str, Series], last_step: int | None
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]] | None:
    """Returns the score's tag, and means of return and score over the same stretches; None if there are too few."""
    if _RETURN not in curves:
        return None
    return_steps, returns = _known(curves[_RETURN], last_step)
    for tag in _SCORES:
        if tag not in curves:
            continue
        steps, scores = _known(curves[tag], last_step)
        half = len(steps) // 2
        if len(steps) - half < _FEWEST_POINTS:
            continue
        groups = np.array_split(np.arange(half, len(steps)), min(_MOST_POINTS, len(steps) - half))
        begins = steps[[group[0] - 1 if group[0] else 0 for group in groups]]
        ends = steps[[group[-1] for group in groups]]
        means = [_mean_between(return_steps, returns, begin, end) for begin, end in zip(begins, ends, strict=True)]
        kept = np.isfinite(means)
        if kept.sum() >= _FEWEST_POINTS:
            score_means = np.array([scores[group].mean() for group in groups])
            return tag, np.array(means)[kept], score_means[kept]
    return None


def _known(series: Series, last_step: int | None) -> Series:
    steps, values = series
    kept = np.isfinite(values) & (True if last_step is None else steps <= last_step)
    return steps[kept], values[kept]


def _mean_between(steps: NDArray[np.int64], values: NDArray[np.float64], begin: int, end: int) -> float:
    within = values[(steps > begin) & (steps <= end)]
    return float(within.mean()) if within.size else math.nan


def _trend(values: NDArray[np.float64]) -> float:
    """Returns the one-sided p-value of a rising trend."""
    count = len(values)
    later = np.sign(values[None, :] - values[:, None])
    score = float(np.triu(later, 1).sum())
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18.0)
    return 0.5 * math.erfc((score - 1.0) / deviation / math.sqrt(2.0))
