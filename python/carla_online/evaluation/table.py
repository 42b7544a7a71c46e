"""What a policy did on the routes of a suite: one row a route, and the summary people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import EvaluationError
from carla_online.evaluation.files import read_json, write_json

_FORMAT: Final = 1
_FLOAT_COLUMNS: Final = (
    "timed_driving_score",
    "driving_score",
    "route_completion",
    "distance_km",
    "time_s",
    "mean_speed_mps",
    "episode_return",
)
_LATER_COLUMNS: Final = {
    "min_speed_share": 1.0,
    "outside_lanes_share": 0.0,
    "efficiency": float("nan"),
    "comfort": float("nan"),
}
"""Columns that older tables lack, and what they mean there."""


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """Means over the routes of one table."""

    routes: int
    """Number of routes."""
    timed_driving_score: float
    """Mean, 0 to 100: the primary metric."""
    driving_score: float
    """Mean Leaderboard 2.1 driving score, 0 to 100."""
    route_completion: float
    """Mean share of the route driven, 0 to 1."""
    finished: int
    """Routes driven to their end."""
    collisions: int
    """Collisions on all routes."""
    distance_km: float
    """Kilometres driven on all routes."""
    collisions_per_km: float
    """All collisions over all kilometres; infinite for collisions without any distance."""
    mean_speed_mps: float
    """Distance over time of all routes, m/s."""
    episode_return: float
    """Mean undiscounted return."""
    safety_interventions_per_km: float = 0.0
    """Decisions that the safety layer changed, over all kilometres."""

    @property
    def finished_share(self) -> float:
        """Share of routes driven to their end, 0 to 1."""
        return self.finished / self.routes


@dataclass(frozen=True, slots=True, eq=False)
class RouteTable:
    """Results of one policy, one row a route, all columns of the same length R.

    Raises:
        EvaluationError: On construction, for columns of different length, values that aren't finite or leave their
            range, no rows, or a seed that stands twice (the bootstrap takes routes as independent).
    """

    seeds: NDArray[np.uint64]
    """uint64 [R]: the episode seed, which is the route's identity."""
    timed_driving_score: NDArray[np.float64]
    """float64 [R], 0 to 100."""
    driving_score: NDArray[np.float64]
    """float64 [R], 0 to 100, Leaderboard 2.1."""
    route_completion: NDArray[np.float64]
    """float64 [R], 0 to 1."""
    finished: NDArray[np.bool_]
    """bool [R]: the route's end was reached."""
    collisions: NDArray[np.int64]
    """int64 [R]."""
    distance_km: NDArray[np.float64]
    """float64 [R]: kilometres travelled."""
    infractions: NDArray[np.int64]
    """int64 [R, J]: counts in the order of `infraction_names`."""
    time_s: NDArray[np.float64]
    """float64 [R]: simulated seconds."""
    mean_speed_mps: NDArray[np.float64]
    """float64 [R], m/s."""
    episode_return: NDArray[np.float64]
    """float64 [R]: undiscounted sum of rewards."""
    end_reason: tuple[str, ...]
    """Why each route ended: finished, collision, off_road, blocked, timed_out, ..."""
    infraction_names: tuple[str, ...]
    """Names of the columns of `infractions`."""
    safety_interventions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 [R]: decisions that the safety layer changed, or would have in mode `monitor`; zeros if not given."""
    slices: tuple[str, ...] = ()
    """The slice that each route belongs to: scenario, or map and weather; empty names if not given."""
    min_speed_share: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """float64 [R]: own mean speed over that of the traffic near, at most 1; ones if not given."""
    outside_lanes_share: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """float64 [R]: share of the distance outside of the route's lanes; zeros if not given."""
    efficiency: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """float64 [R]: percent of the speed of the traffic near; NaN where there was none, or if not given."""
    comfort: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """float64 [R]: percent of the decisions within the limits of comfort; NaN if not given."""

    def __post_init__(self) -> None:
        routes = len(self.seeds)
        if len(self.safety_interventions) == 0:
            object.__setattr__(self, "safety_interventions", np.zeros(routes, np.int64))
        if not self.slices:
            object.__setattr__(self, "slices", ("",) * routes)
        for name, value in _LATER_COLUMNS.items():
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.full(routes, value))
        if routes == 0:
            raise EvaluationError("a route table needs at least one route, got none.")
        for column in fields(self):
            if column.name != "infraction_names" and len(getattr(self, column.name)) != routes:
                raise EvaluationError(
                    f"route table: {column.name} has {len(getattr(self, column.name))} rows for {routes} seeds."
                )
        _require_values(self)
        unique, counts = np.unique(self.seeds, return_counts=True)
        if len(unique) != routes:
            raise EvaluationError(
                f"route table: the seed {unique[counts > 1][0]} stands {counts.max()} times; a route counts once."
            )

    def __len__(self) -> int:
        return len(self.seeds)

    def select(self, seeds: NDArray[np.uint64]) -> RouteTable:
        """Returns the rows of these routes, uint64 [S], in their order.

        Raises:
            EvaluationError: A route isn't in the table.
        """
        rows = _rows_of(self.seeds, seeds)
        columns: dict[str, Any] = {}
        for column in fields(self):
            value = getattr(self, column.name)
            if column.name in ("end_reason", "slices"):
                value = tuple(value[row] for row in rows)
            elif column.name != "infraction_names":
                value = value[rows]
            columns[column.name] = value
        return RouteTable(**columns)

    def summary(self) -> RouteSummary:
        """Returns the means and totals over all routes."""
        distance_km = float(self.distance_km.sum())
        collisions = int(self.collisions.sum())
        time_s = float(self.time_s.sum())
        return RouteSummary(
            routes=len(self),
            timed_driving_score=float(self.timed_driving_score.mean()),
            driving_score=float(self.driving_score.mean()),
            route_completion=float(self.route_completion.mean()),
            finished=int(self.finished.sum()),
            collisions=collisions,
            distance_km=distance_km,
            collisions_per_km=_per_km(collisions, distance_km),
            mean_speed_mps=1000.0 * distance_km / time_s if time_s > 0.0 else 0.0,
            episode_return=float(self.episode_return.mean()),
            safety_interventions_per_km=_per_km(int(self.safety_interventions.sum()), distance_km),
        )

    def end_reasons(self) -> dict[str, int]:
        """Returns how many routes ended for each reason, the most frequent first."""
        return dict(sorted(Counter(self.end_reason).items(), key=lambda item: (-item[1], item[0])))

    def infraction_counts(self) -> dict[str, int]:
        """Returns the number of infractions of each kind on all routes."""
        return dict(zip(self.infraction_names, self.infractions.sum(axis=0).tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `from_dict` gives back an equal table, bit for bit."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        plain = {
            name: value.tolist() if isinstance(value, np.ndarray) else list(value) for name, value in columns.items()
        }
        for name in ("efficiency", "comfort"):  # JSON knows no NaN, and None equals itself
            plain[name] = [value if np.isfinite(value) else None for value in plain[name]]
        return {"format": _FORMAT, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "route table") -> RouteTable:
        """Builds a table from what `to_dict` returned.

        Args:
            data: Plain values.
            source: Where they came from, for messages.

        Raises:
            EvaluationError: Another format, or columns that are missing or hold something else.
        """
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise EvaluationError(f"{source}: not a route table of format {_FORMAT} (found {found!r}).")
        try:
            names = tuple(str(name) for name in data["infraction_names"])
            return cls(
                seeds=np.array(data["seeds"], dtype=np.uint64),
                finished=np.array(data["finished"], dtype=np.bool_),
                collisions=np.array(data["collisions"], dtype=np.int64),
                infractions=np.array(data["infractions"], dtype=np.int64).reshape(-1, len(names)),
                safety_interventions=np.array(data.get("safety_interventions", ()), dtype=np.int64),
                end_reason=tuple(str(reason) for reason in data["end_reason"]),
                slices=tuple(str(name) for name in data.get("slices", ())),
                infraction_names=names,
                **{name: np.array(data[name], dtype=np.float64) for name in _FLOAT_COLUMNS},
                **{name: np.array(data.get(name, ()), dtype=np.float64) for name in _LATER_COLUMNS},
            )
        except KeyError as error:
            raise EvaluationError(f"{source}: the column {error.args[0]!r} is missing.") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise EvaluationError(f"{source}: {error}") from error

    def save(self, path: Path) -> None:
        """Writes the table as JSON, whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> RouteTable:
        """Reads a table that `save` wrote.

        Raises:
            EvaluationError: The file is missing, isn't JSON, or holds something else.
        """
        return cls.from_dict(read_json(path), source=str(path))


def _rows_of(seeds: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    rows = {int(seed): row for row, seed in enumerate(seeds)}
    missing = [int(seed) for seed in wanted if int(seed) not in rows]
    if missing:
        raise EvaluationError(f"the route with the seed {missing[0]} isn't in the table ({len(missing)} are missing).")
    return np.array([rows[int(seed)] for seed in wanted], dtype=np.int64)


def concatenate(tables: Sequence[RouteTable]) -> RouteTable:
    """Returns the rows of several tables in order.

    Raises:
        EvaluationError: No tables, different infractions, or a seed in two of them.
    """
    if not tables or any(table.infraction_names != tables[0].infraction_names for table in tables):
        raise EvaluationError("route tables can be joined only if there are any and all count the same infractions.")
    joined: dict[str, Any] = {}
    for name in (column.name for column in fields(RouteTable)):
        columns = [getattr(table, name) for table in tables]
        if name == "infraction_names":
            joined[name] = columns[0]
        elif name in ("end_reason", "slices"):
            joined[name] = tuple(reason for column in columns for reason in column)
        else:
            joined[name] = np.concatenate(columns)
    return RouteTable(**joined)


def _per_km(collisions: int, distance_km: float) -> float:
    if distance_km > 0.0:
        return collisions / distance_km
    return 0.0 if collisions == 0 else float("inf")


def _require_values(table: RouteTable) -> None:
    for name in _FLOAT_COLUMNS:
        column = getattr(table, name)
        bad = ~np.isfinite(column)
        if name != "episode_return":
            bad |= column < 0.0
        if name.endswith("driving_score"):
            bad |= column > 100.0 + 1e-9
        if name == "route_completion":
            bad |= column > 1.0 + 1e-9
        if bad.any():
            row = int(np.argmax(bad))
            raise EvaluationError(f"route table: {name} of the route with seed {table.seeds[row]} is {column[row]}.")
    for name in ("collisions", "infractions"):
        if (getattr(table, name) < 0).any():
            raise EvaluationError(f"route table: {name} has a negative count.")
    if table.infractions.shape != (len(table.seeds), len(table.infraction_names)):
        raise EvaluationError(
            f"route table: infractions has the shape {table.infractions.shape}, "
            f"but {len(table.infraction_names)} names and {len(table.seeds)} routes were given."
        )
