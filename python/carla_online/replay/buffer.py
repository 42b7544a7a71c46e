"""A replay buffer: one directory, shared by the processes of one machine."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from carla_online._native import ReplayCore
from carla_online.errors import ReplayError, SchemaMismatch
from carla_online.replay.batch import Array, allocate_arrays
from carla_online.replay.export import export
from carla_online.replay.modes import Mode, Uniform
from carla_online.replay.sampling import ReplaySampler
from carla_online.replay.schema import ReplaySchema
from carla_online.replay.windows import WindowSampler
from carla_online.replay.writing import ReplayWriter, places_of

if TYPE_CHECKING:
    from carla_online._native import ReplayRows


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of `ReplayBuffer.verify`.

    Attributes:
        rows_checked: Rows whose checksums were computed.
        bad_count: Rows that failed.
        bad_rows: The first thousand of them: (block, row in the block, what is wrong).
    """

    rows_checked: int
    bad_count: int
    bad_rows: tuple[tuple[int, int, str], ...]

    @property
    def ok(self) -> bool:
        """Whether no row failed."""
        return self.bad_count == 0


class ReplayBuffer:
    """A ring of transitions in memory-mapped files; many processes append and sample at the same time, without locks.

    Made by `create`, `open` or `open_or_create`. Appended rows survive the end of the process, `kill -9` included. A
    handle that crossed a fork raises `ReplayForked`; pickling one sends the path, and unpickling opens it.
    """

    def __init__(self, core: ReplayCore, path: Path, *, read_only: bool) -> None:
        self._core = core
        self._path = path
        self._read_only = read_only
        self._schema = ReplaySchema.from_json(core.fields_json)
        self._writers: weakref.WeakSet[ReplayWriter] = weakref.WeakSet()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        schema: ReplaySchema,
        *,
        capacity_rows: int = 1_000_000,
        block_rows: int = 64,
        streams_hint: int | None = None,
    ) -> ReplayBuffer:
        """Make a new buffer, its disk space reserved, and open it for writing.

        Args:
            path: A directory that doesn't exist yet; missing parents are made.
            schema: The fields of a row.
            capacity_rows: Rows to hold, rounded up to whole blocks. The oldest block is reused when all are full.
            block_rows: Rows in a block, 2 to 1024. A stream owns one block at a time, so a buffer needs many more
                blocks than streams.
            streams_hint: How many streams will write at the same time, if known: too few blocks for them is an error
                now rather than at the first append.

        Raises:
            ReplayError: The path exists, the disk is too full (attributes `needed_bytes`, `free_bytes`), a size is out
                of range, or the file system can't share mapped files (network, FUSE). Nothing is left behind.
            SchemaMismatch: The schema can't be used.
        """
        _check_natural(capacity_rows=capacity_rows, block_rows=block_rows, streams_hint=streams_hint or 0)
        path = Path(path).absolute()
        core = ReplayCore.create(
            path, schema.to_json(), capacity_rows=capacity_rows, block_rows=block_rows, streams_hint=streams_hint
        )
        if core.copy_on_write is not None:
            warnings.warn(
                f"{path} is on {core.copy_on_write}, which copies on write: a disk that fills up later can still end "
                "processes that append; prefer ext4, xfs or tmpfs",
                stacklevel=2,
            )
        return cls(core, path, read_only=False)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, read_only: bool = False, expect: ReplaySchema | None = None
    ) -> ReplayBuffer:
        """Open a buffer, at a cost that doesn't depend on its size in bytes.

        After the machine itself went down in mid-writing, the first opening for writing checks every row and keeps
        those that are whole.

        Args:
            path: The buffer's directory.
            read_only: Open without the right to append.
            expect: The schema that the buffer must have.

        Raises:
            SchemaMismatch: The buffer has another schema; the message names each difference.
            ReplayCorrupt: There is no buffer at the path, its files contradict each other, or another version or kind
                of machine wrote it.
            ReplayError: The file system is refused, too many processes write, or the files can't be opened.
        """
        path = Path(path).absolute()
        expected_json = None if expect is None else expect.to_json()
        return cls(ReplayCore.open(path, read_only=read_only, expected_json=expected_json), path, read_only=read_only)

    @classmethod
    def open_or_create(
        cls,
        path: str | os.PathLike[str],
        schema: ReplaySchema,
        *,
        capacity_rows: int = 1_000_000,
        block_rows: int = 64,
        streams_hint: int | None = None,
    ) -> ReplayBuffer:
        """Open the buffer if the path exists (its own sizes stand), create it otherwise; see both."""
        if not Path(path).exists():
            try:
                return cls.create(
                    path, schema, capacity_rows=capacity_rows, block_rows=block_rows, streams_hint=streams_hint
                )
            except ReplayError:
                # Another process may have created it in between; any other failure stands.
                if not Path(path).exists():
                    raise
        return cls.open(path, expect=schema)

    @property
    def schema(self) -> ReplaySchema:
        """The fields of a row."""
        return self._schema

    @property
    def path(self) -> Path:
        """The directory, absolute."""
        return self._path

    @property
    def read_only(self) -> bool:
        """Whether the handle can't append."""
        return self._read_only

    @property
    def capacity_rows(self) -> int:
        """Rows that fit, rounded up to whole blocks; an episode's end takes one row's place."""
        return self._core.capacity_rows

    @property
    def block_rows(self) -> int:
        """Rows in a block."""
        return self._core.block_rows

    @property
    def size(self) -> int:
        """Rows stored and not quarantined. Approximate while others write."""
        return self._core.size()

    @property
    def total_appended(self) -> int:
        """Rows ever acknowledged, evicted ones included. Approximate while others write."""
        return self._core.total_appended()

    @property
    def closed(self) -> bool:
        """Whether the handle was closed."""
        return self._core.is_closed

    def writer(self, *, streams: int, first_stream: int = 0, resume: object = None) -> ReplayWriter:
        """Make a writer of N streams.

        Where an earlier writer's stream of the same number stopped in mid-block (and no living process owns the
        block), the new one goes on there: an interrupted run fills the same places as an uninterrupted one.

        Args:
            streams: How many; at least 1.
            first_stream: Number of the first stream. Processes that write at the same time should use ranges of their
                own, or a restarted one may pick up another's block (harmless, but not repeatable).
            resume: A `ReplayWriter.state`. The streams go on where earlier ones stopped only if those are exactly these
                places; otherwise each starts in a block of its own. `ReplayWriter.resumed` tells which.

        Raises:
            ReplayError: The handle is read-only, there are no more blocks than streams, or `resume` isn't a state.
        """
        _check_natural(streams=streams, first_stream=first_stream)
        places = None if resume is None else places_of(resume)
        writer = ReplayWriter(self._core.writer(streams=streams, first_stream=first_stream, resume=places))
        self._writers.add(writer)
        return writer

    def sampler(
        self,
        *,
        seed: int = 0,
        n_step: int = 1,
        gamma: float = 0.99,
        mode: Mode = Uniform(),  # noqa: B008 (frozen)
        check: bool = False,
    ) -> ReplaySampler:
        """Make a sampler of rows.

        Args:
            seed: 0 to 2^64 - 1.
            n_step: Most rewards in a return, 1 to 10,000.
            gamma: Discount per step, [0, 1].
            mode: `Uniform()`, `Prioritized(...)`, `Stratified()` or `Recency(...)`.
            check: Compute each row's checksum before it is returned: slower, and needed only where the files may have
                been damaged since they were opened.

        Raises:
            ReplayError: An argument is out of range, the schema lacks what the mode needs, or the mode needs a buffer
                opened for writing.
        """
        _check_natural(seed=seed, n_step=n_step)
        return ReplaySampler(self._core, self._schema, seed=seed, n_step=n_step, gamma=gamma, mode=mode, check=check)

    def windows(
        self,
        *,
        length: int,
        seed: int = 0,
        mode: Mode = Uniform(),  # noqa: B008 (frozen)
        check: bool = False,
    ) -> WindowSampler:
        """Make a sampler of windows: up to `length` successive rows of an episode each.

        Args:
            length: Most rows of a window, at least 1.
            seed: As for `sampler`.
            mode: How a window's first row is drawn, as for `sampler`.
            check: As for `sampler`.

        Raises:
            ReplayError: As `sampler`.
        """
        _check_natural(seed=seed)
        return WindowSampler(self._core, self._schema, length=length, seed=seed, mode=mode, check=check)

    def flush(self) -> None:
        """Make every row acknowledged so far, by whichever process, survive a power cut.

        Without it, acknowledged rows survive the end of processes, and a power cut up to what the kernel has written
        by then (its writeback starts after some 30 s).

        Raises:
            ReplayError: The handle is read-only, or the disk failed: then only the flush before stands.
        """
        self._core.flush()

    def read_rows(self, *, chunk_rows: int = 4096) -> Iterator[dict[str, Array]]:
        """Iterate over all published rows, barred ones included, in the order of their places.

        Args:
            chunk_rows: About how many rows to read at a time.

        Yields:
            Fresh arrays: every field [n, ...] and `next_<field>` for the linked ones. Rows that are evicted during the
            iteration are left out.
        """
        block: int | None = 0
        while block is not None:
            rows, block = self._core.rows_from(block, chunk_rows)
            if len(rows) > 0 and (arrays := self._read(rows)):
                yield arrays

    def episodes(self, *, chunk_rows: int = 4096) -> Iterator[dict[str, Array]]:
        """Iterate over the complete episodes, quarantined rows included, in the order of their places.

        Complete: stored from the first row to one that terminated or was truncated. What is still being written, was
        cut by a gap in the stream, or has lost rows to eviction, is left out.

        Args:
            chunk_rows: About how many rows to read at a time; an episode longer than that is read whole.

        Yields:
            Fresh arrays of one episode of T rows: every field [T, ...] and `next_<field>` for the linked ones.
        """
        block: int | None = 0
        while block is not None:
            rows, lengths, block = self._core.episodes_from(block, chunk_rows)
            arrays = self._read(rows) if len(rows) > 0 else {}
            is_whole = bool(arrays) and len(arrays["step_id"]) == len(rows)
            first = 0
            for length in lengths:
                if is_whole:
                    yield {name: array[first : first + length] for name, array in arrays.items()}
                else:
                    # Something was evicted since it was listed: leave out the episodes that it belonged to.
                    episode = self._read(rows.part(first, length))
                    if episode and len(episode["step_id"]) == length:
                        yield episode
                first += length

    def _read(self, rows: ReplayRows) -> dict[str, Array]:
        """Read those of the listed rows that are still there; nothing if none is."""
        arrays = allocate_arrays(self._schema, (len(rows),))
        kept = self._core.read(rows, self._core.bind(arrays, [len(rows)]))
        del arrays["n_step_reward"], arrays["discount"]
        return {name: array[:kept] for name, array in arrays.items()} if kept > 0 else {}

    def export(self, target: str | os.PathLike[str], *, file_format: str = "npz", rows_per_file: int = 100_000) -> int:
        """Write the complete episodes to files of another format; see `carla_online.replay.export.export`."""
        return export(self, target, file_format=file_format, rows_per_file=rows_per_file)

    def compact(
        self, target: str | os.PathLike[str], *, capacity_rows: int | None = None, block_rows: int | None = None
    ) -> int:
        """Copy the buffer to a new directory, with another capacity if asked.

        Rows are copied episode by episode, in the order of the episodes' first `step_id`s, with their quarantine, the
        name tables and what recovery marked; a smaller capacity keeps the newest. Priorities aren't copied. Rows that
        are appended meanwhile may be left out.

        Args:
            target: A directory that doesn't exist yet.
            capacity_rows: As for `create`; None for room for all rows stored.
            block_rows: As for `create`; None for this buffer's.

        Returns:
            How many rows were written to the copy; with a smaller capacity, the oldest of them were evicted again.

        Raises:
            ReplayError: As `create`.
        """
        block_rows = self.block_rows if block_rows is None else block_rows
        if capacity_rows is None:
            # What a cut chain ends with takes a place of its own, and the stream's last block is rarely full.
            blocks = self.capacity_rows // self.block_rows
            capacity_rows = self._core.stored_places() + blocks + 2 * block_rows
        _check_natural(capacity_rows=capacity_rows, block_rows=block_rows)
        return self._core.compact(Path(target).absolute(), capacity_rows=capacity_rows, block_rows=block_rows)

    def verify(self) -> VerifyReport:
        """Check the checksum of every published row."""
        rows_checked, bad_count, bad_rows = self._core.verify()
        return VerifyReport(rows_checked, bad_count, tuple(bad_rows))

    def last_step_id(self) -> int | None:
        """Return the highest `step_id` of a stored row, None for an empty buffer."""
        return self._core.last_step_id()

    def open_episodes(self) -> list[tuple[int, int]]:
        """Return (episode_id, step_id of the last row) of each episode that neither terminated nor was truncated."""
        return self._core.open_episodes()

    def close_open_episodes(self) -> int:
        """Mark the last row of every open episode as truncated, except where a living process writes.

        For resuming after a crash. A kill in between leaves each episode either open or closed.

        Returns:
            How many episodes were closed.
        """
        return self._core.close_open_episodes()

    def quarantine(self, first_step_id: int, last_step_id: int) -> int:
        """Bar the rows of a range of `step_id`s, both ends included, from being sampled, for good.

        Returns:
            How many rows are barred.
        """
        _check_natural(first_step_id=first_step_id, last_step_id=last_step_id)
        return self._core.quarantine(first_step_id, last_step_id)

    def slice_id(self, name: str) -> int:
        """Return the index of a slice's name, which gets one if it is new; stable for the buffer's life."""
        return self._core.slice_id(name)

    def baseline_id(self, baseline_hash: str) -> int:
        """Return the index of a baseline's hash, which gets one if it is new; stable for the buffer's life."""
        return self._core.baseline_id(baseline_hash)

    @property
    def slice_names(self) -> list[str]:
        """The slices' names, by `slice_id`."""
        return self._core.slice_names()

    @property
    def baseline_hashes(self) -> list[str]:
        """The baselines' hashes, by `baseline_id`."""
        return self._core.baseline_hashes()

    @property
    def backbone_hash(self) -> str | None:
        """The hash of the frozen network whose features the observations hold; None where they hold none."""
        return next(iter(self._core.backbone_hashes()), None)

    def check_backbone(self, backbone_hash: str | None) -> None:
        """Refuse observations whose features (None: no features) come from another network than those in the rows.

        Raises:
            SchemaMismatch: They do, and the buffer has rows.
        """
        known = self.backbone_hash
        if known != backbone_hash and (known is not None or self.total_appended):
            raise SchemaMismatch(
                f"{self._path}: its rows hold {_features_of(known)}, this run's observations "
                f"{_features_of(backbone_hash)}; take the same backbone and sensors, or another buffer"
            )

    def bind_backbone(self, backbone_hash: str | None) -> None:
        """Bind an empty buffer, for good, to the network that its features will come from.

        Args:
            backbone_hash: The network's hash; None binds nothing.

        Raises:
            SchemaMismatch: As in `check_backbone`.
        """
        self.check_backbone(backbone_hash)
        if backbone_hash is not None:
            self._core.backbone_id(backbone_hash)

    def close(self) -> None:
        """Close the handle and its writers. The last writing process to close flushes."""
        for writer in list(self._writers):
            writer.close()
        self._core.close()

    def __enter__(self) -> ReplayBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, tuple[str, bool]]:
        return _reopen, (str(self._path), self._read_only)

    def __repr__(self) -> str:
        mode = "closed" if self.closed else ("read-only" if self._read_only else "open")
        return f"ReplayBuffer({str(self._path)!r}, {mode}, capacity_rows={self.capacity_rows})"


def _reopen(path: str, read_only: bool) -> ReplayBuffer:
    return ReplayBuffer.open(path, read_only=read_only)


def _features_of(backbone_hash: str | None) -> str:
    return "no features" if backbone_hash is None else f"features of the backbone {backbone_hash[:12]}"


def _check_natural(**values: int) -> None:
    for name, value in values.items():
        limit = 2**64 if name in ("seed", "capacity_rows") or name.endswith("step_id") else 2**32
        if not 0 <= value < limit:
            raise ReplayError(f"{name} is {value}; it must lie in 0..{limit - 1}")
