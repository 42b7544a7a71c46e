"""Good episodes out of replay buffers: complete, clean, finished; the buffers are only read.

Two passes: the first looks at every complete episode and keeps a line on it, the second copies the rows of those that
were chosen. So memory holds what is learnt from, not the buffers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.errors import ConfigError, SchemaMismatch
from carla_online.imitation.config import GoodEpisodesConfig
from carla_online.replay import ReplayBuffer

Array = NDArray[Any]

_NEEDED: Final = (
    "obs",
    "baseline_action",
    "executed_action",
    "reward",
    "reward_terms",
    "safety_intervened",
    "episode_id",
    "step_id",
    "policy_version",
    "slice_id",
    "baseline_id",
    "weight",
    "quarantined",
)
_COPIED: Final = ("obs", "birdseye", "baseline_action", "executed_action")
FINISHED_TERM: Final = "route_finished"


@dataclass(frozen=True, slots=True)
class BufferFacts:
    """What is known of one buffer."""

    path: str
    """Its folder, as it was given."""
    rows: int
    """Rows stored when it was read."""
    baselines: tuple[str, ...]
    """Fingerprints of the baselines beside which its good episodes were driven; `none` for none."""
    backbone: str | None
    """Hash of the network whose features its observations hold."""


@dataclass(frozen=True, slots=True, eq=False)
class GoodEpisodes:
    """Rows of E good episodes, in the order of the buffers; R rows in all."""

    rows: Mapping[str, Array]
    """By field: `obs` float32 [R, D], `baseline_action` and `executed_action` float32 [R, A], maybe `birdseye`."""
    episode: NDArray[np.int64]
    """int64 [R]: which episode a row belongs to, 0 to E - 1."""
    returns: NDArray[np.float64]
    """float64 [E]: sum of the rewards of the rows."""
    slices: tuple[str, ...]
    """E names."""
    versions: tuple[int, int]
    """The oldest and the newest policy version that drove."""
    seen: int
    """Complete episodes that were looked at."""
    left_out: Mapping[str, int]
    """Episodes left out, by the first reason found."""
    buffers: tuple[BufferFacts, ...]
    """Where they come from."""

    @property
    def count(self) -> int:
        """E, the number of episodes."""
        return len(self.returns)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Fingerprints of all baselines beside which they were driven."""
        return tuple(sorted({baseline for buffer in self.buffers for baseline in buffer.baselines}))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: all but the rows themselves."""
        return {
            "buffers": [
                {"path": each.path, "rows": each.rows, "baselines": list(each.baselines), "backbone": each.backbone}
                for each in self.buffers
            ],
            "episodes_seen": self.seen,
            "episodes": self.count,
            "rows": len(self.episode),
            "left_out": dict(self.left_out),
            "slices": dict(Counter(self.slices)),
            "policy_versions": list(self.versions),
            "mean_return": float(self.returns.mean()),
        }


@dataclass(frozen=True, slots=True)
class _Line:
    """What the first pass keeps of a good episode."""

    buffer: int
    key: tuple[int, int]
    length: int
    total: float
    slice_name: str
    oldest: int
    newest: int
    baseline: str


def good_episodes(
    replays: str | Path | Sequence[str | Path], config: GoodEpisodesConfig | None = None, *, seed: int = 0
) -> GoodEpisodes:
    """Reads the good episodes of one or more replay buffers, which are opened read-only and never changed.

    Args:
        replays: The buffers' folders, one or several.
        config: What is good.
        seed: Decides which episodes are left out if there are more rows than `config.most_rows`.

    Returns:
        The rows, and how many episodes were left out and why. Equal buffers give equal rows.

    Raises:
        ConfigError: No buffer, or too few good episodes; the message says what the others were left out for.
        SchemaMismatch: The buffers differ in fields or backbone, or lack what the rule needs.
        ReplayCorrupt: A folder is no buffer, or damaged.
    """
    config = config or GoodEpisodesConfig()
    if isinstance(replays, str | Path):
        replays = [replays]
    if not replays:
        raise ConfigError("no replay buffer was given; a run keeps its own in RUN/replay.")
    opened: list[ReplayBuffer] = []
    try:
        opened.extend(ReplayBuffer.open(path, read_only=True) for path in replays)
        _check_alike(opened, config.backbone)
        left_out: Counter[str] = Counter()
        lines = _look(opened, _Judge(opened[0], config), left_out)
        seen = len(lines) + left_out.total()
        chosen = _choose(lines, config, np.random.Generator(np.random.Philox(seed)), left_out)
        rows, owner, kept = _copy(opened, chosen, left_out)
        if len(kept) < config.fewest_episodes:
            raise ConfigError(_too_few(len(kept), seen, left_out, config))
        buffers = tuple(_facts(buffer, replays[number], number, kept) for number, buffer in enumerate(opened))
    finally:
        for buffer in opened:
            buffer.close()
    return GoodEpisodes(
        rows=rows,
        episode=owner,
        returns=np.array([line.total for line in kept]),
        slices=tuple(line.slice_name for line in kept),
        versions=(min(line.oldest for line in kept), max(line.newest for line in kept)),
        seen=seen,
        left_out=dict(left_out),
        buffers=buffers,
    )


class _Judge:
    """Finds the first fault of an episode.

    Args:
        buffer: Says what the rows look like.
        config: What is good.
    """

    def __init__(self, buffer: ReplayBuffer, config: GoodEpisodesConfig) -> None:
        shapes = {field.name: field.shape for field in buffer.schema.fields}
        missing = [name for name in _NEEDED if name not in shapes]
        if missing:
            raise SchemaMismatch(
                f"{buffer.path}: its rows lack {', '.join(missing)}; episodes of runs have them "
                "(ReplaySchema.transitions)."
            )
        count = shapes["reward_terms"][0]
        names = REWARD_TERM_NAMES if config.reward_terms is None else config.reward_terms
        wanted = [*config.infractions, *([FINISHED_TERM] if config.finished else [])]
        unknown = [name for name in wanted if name not in names]
        if unknown or (wanted and len(names) != count):
            raise SchemaMismatch(
                f"{buffer.path}: its rows have {count} reward terms, {len(names)} names are known for them"
                + (f", and {', '.join(unknown)} aren't among these" if unknown else "")
                + ". Name the rows' terms in episodes.reward_terms, or ask for nothing of them: episodes.infractions: "
                "[] and episodes.finished: false."
            )
        self._infractions = [(name, names.index(name)) for name in config.infractions]
        self._finished = names.index(FINISHED_TERM) if config.finished else None
        self._interventions, self._oldest_version = config.interventions, config.oldest_version

    def fault(self, episode: Mapping[str, Array]) -> str | None:
        """Returns why an episode of T rows isn't good, or None if it is."""
        if episode["quarantined"].any():
            return "quarantined"
        if not (episode["weight"] > 0.0).all():
            return "weight 0"
        if (episode["policy_version"] < self._oldest_version).any():
            return "an older policy version"
        if not all(
            np.isfinite(episode[name]).all() for name in ("obs", "baseline_action", "executed_action", "reward")
        ):
            return "values that aren't finite"
        terms = episode["reward_terms"]
        for name, column in self._infractions:
            if not (terms[:, column] == 0.0).all():
                return name
        if not self._interventions and episode["safety_intervened"].any():
            return "safety intervention"
        if self._finished is not None and not (terms[:, self._finished] > 0.0).any():
            return "not finished"
        return None


def _check_alike(buffers: Sequence[ReplayBuffer], backbone: str | None) -> None:
    first = buffers[0]
    if backbone is not None:
        first.check_backbone(backbone)
    for other in buffers[1:]:
        if other.schema != first.schema:
            raise SchemaMismatch(
                f"{other.path} has other fields than {first.path}; distil from buffers of the same environment."
            )
        if other.backbone_hash != first.backbone_hash:
            raise SchemaMismatch(
                f"{other.path} holds features of the backbone {other.backbone_hash}, {first.path} of "
                f"{first.backbone_hash}; distil from buffers of the same backbone."
            )


def _look(buffers: Sequence[ReplayBuffer], judge: _Judge, left_out: Counter[str]) -> list[_Line]:
    """Returns a line on each good episode, and counts the others by their fault."""
    lines: list[_Line] = []
    for number, buffer in enumerate(buffers):
        for episode in buffer.episodes():
            reason = judge.fault(episode)
            if reason is None:
                lines.append(_line(number, buffer, episode))
            else:
                left_out[reason] += 1
    return lines


def _line(number: int, buffer: ReplayBuffer, episode: Mapping[str, Array]) -> _Line:
    slice_names, baselines = buffer.slice_names, buffer.baseline_hashes
    place, baseline = int(episode["slice_id"][0]), int(episode["baseline_id"][0])
    return _Line(
        buffer=number,
        key=_key(episode),
        length=len(episode["reward"]),
        total=float(episode["reward"].sum(dtype=np.float64)),
        slice_name=slice_names[place] if place < len(slice_names) else str(place),
        oldest=int(episode["policy_version"].min()),
        newest=int(episode["policy_version"].max()),
        baseline=baselines[baseline] if baseline < len(baselines) else "none",
    )


def _key(episode: Mapping[str, Array]) -> tuple[int, int]:
    """Returns what tells an episode from all others of its buffer: its id and its first row's."""
    return int(episode["episode_id"][0]), int(episode["step_id"][0])


def _choose(
    lines: list[_Line], config: GoodEpisodesConfig, generator: np.random.Generator, left_out: Counter[str]
) -> list[_Line]:
    """Returns the best of each slice, and of those at most as many as memory is meant to hold."""
    by_slice: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        by_slice.setdefault(line.slice_name, []).append(place)
    kept: set[int] = set()
    for places in by_slice.values():
        places.sort(key=lambda place: (-lines[place].total, place))
        kept |= set(places[: max(1, round(len(places) * config.top_share))])
    if len(kept) < len(lines):
        left_out["return below the slice's top share"] += len(lines) - len(kept)
    order = sorted(kept)
    lengths = np.array([lines[place].length for place in order], np.int64)
    if lengths.sum() > config.most_rows:
        shuffled = generator.permutation(len(order))
        fits = np.zeros(len(order), np.bool_)
        fits[shuffled[np.cumsum(lengths[shuffled]) <= config.most_rows]] = True
        left_out["more rows than most_rows"] += int((~fits).sum())
        order = [place for place, fit in zip(order, fits.tolist(), strict=True) if fit]
    return [lines[place] for place in order]


def _copy(
    buffers: Sequence[ReplayBuffer], chosen: Iterable[_Line], left_out: Counter[str]
) -> tuple[dict[str, Array], NDArray[np.int64], list[_Line]]:
    """Returns the rows of the chosen episodes; what a writer evicted since the first pass is left out."""
    wanted = {(line.buffer, *line.key): line for line in chosen}
    names = [name for name in _COPIED if name in buffers[0].schema.names]
    parts: dict[str, list[Array]] = {name: [] for name in names}
    kept: list[_Line] = []
    for number, buffer in enumerate(buffers):
        for episode in buffer.episodes():
            line = wanted.pop((number, *_key(episode)), None)
            if line is None or line.length != len(episode["reward"]):
                continue
            kept.append(line)
            for name in names:
                parts[name].append(episode[name].copy())  # not a view that keeps the whole chunk
    if wanted:
        left_out["evicted while it was read"] += len(wanted)
    lengths = [line.length for line in kept]
    rows = {name: np.concatenate(part) if part else np.zeros(0, np.float32) for name, part in parts.items()}
    return rows, np.repeat(np.arange(len(kept)), lengths), kept


def _facts(buffer: ReplayBuffer, path: str | Path, number: int, kept: Iterable[_Line]) -> BufferFacts:
    baselines = tuple(sorted({line.baseline for line in kept if line.buffer == number}))
    return BufferFacts(str(path), buffer.size, baselines, buffer.backbone_hash)


def _too_few(kept: int, seen: int, left_out: Mapping[str, int], config: GoodEpisodesConfig) -> str:
    reasons = ", ".join(
        f"{count} for {reason}" for reason, count in sorted(left_out.items(), key=lambda each: -each[1])
    )
    return (
        f"{kept} good episodes of {seen} complete ones are too few to learn from (episodes.fewest_episodes is "
        f"{config.fewest_episodes}); left out: {reasons or 'none'}. Drive more, or relax episodes.infractions, "
        "episodes.interventions, episodes.finished or episodes.top_share."
    )
