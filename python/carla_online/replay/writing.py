"""Appending transitions to a replay buffer."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from carla_online._native import BoundWriter
from carla_online.errors import ReplayError

if TYPE_CHECKING:
    from carla_online._native import ReplayWriterCore


class WriterState(TypedDict):
    """Where each stream's next row goes: [block, generation, row in the block], None for a stream without a block."""

    places: list[list[int] | None]


def places_of(state: object) -> list[tuple[int, int, int] | None]:
    """Read a `WriterState` that may come from a file.

    Raises:
        ReplayError: It isn't one.
    """
    try:
        places = state["places"]  # type: ignore[index]
        return [None if place is None else _place(*place) for place in places]
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(f"not a writer's state: {state!r}; pass what ReplayWriter.state returned") from error


def _place(block: int, generation: int, place: int) -> tuple[int, int, int]:
    if not (0 <= block < 2**32 and 0 <= generation < 2**32 and 0 <= place < 2**16):
        raise ValueError("a place is out of range")
    return block, generation, place


class ReplayWriter:
    """Writes N independent streams, one per environment; made by `ReplayBuffer.writer`.

    A stream is one environment's sequence of rows. Its rows lie one after another, and a row's next values are the
    linked fields of the row behind it, stored once. If a row's linked fields aren't bit for bit what the row before
    gave as next values, or its `episode_id` is another, then the chain is cut there: the row before keeps its own next
    values, and no return crosses the cut.
    """

    def __init__(self, native: ReplayWriterCore) -> None:
        self._native = native

    @property
    def state(self) -> WriterState:
        """Where each stream's next row goes; JSON-ready, for a checkpoint."""
        return {"places": [None if place is None else list(place) for place in self._native.places()]}

    @property
    def resumed(self) -> bool:
        """Whether every stream goes on exactly where the `resume` state of `ReplayBuffer.writer` said."""
        return self._native.is_resumed

    @property
    def streams(self) -> int:
        """How many streams it writes."""
        return self._native.streams

    def append(
        self,
        rows: dict[str, NDArray[np.generic]],
        next_values: dict[str, NDArray[np.generic]],
        *,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Append one row to each stream, or to those of the mask: all of them, or none if it raises.

        Once it has returned the rows are acknowledged: other processes can sample them, and they survive the end of
        this process, however it ends (not a power cut).

        Args:
            rows: Every field of the schema, [N, ...] with the schema's dtype, C-contiguous.
            next_values: Every linked field after the step, likewise. At an episode's end, its true last values, not
                those of the next episode.
            mask: bool [N]; row n is appended to stream n where it is True. None for all.

        Raises:
            SchemaMismatch: An array is missing, unknown, or has another dtype or shape.
            ReplayError: Every block is owned by a live stream, or the process lost its lock.
            ReplayClosed: The writer or its buffer was closed.
            ReplayForked: The writer was made before a fork.
        """
        self._native.append(rows, next_values, mask)

    def bind(
        self,
        rows: dict[str, NDArray[np.generic]],
        next_values: dict[str, NDArray[np.generic]],
        *,
        mask: NDArray[np.bool_] | None = None,
    ) -> BoundWriter:
        """Check preallocated arrays once, to append their content many times at little more than a call's cost.

        ```python
        bound = writer.bind(rows, next_values)
        rows["reward"][:] = reward              # write into the arrays, never replace them
        bound.append()                          # acknowledged when it returns
        ```

        Args:
            rows: As for `append`.
            next_values: As for `append`.
            mask: As for `append`; read anew at each `BoundWriter.append`.

        Raises:
            SchemaMismatch: As `append`.
        """
        return self._native.bind(rows, next_values, mask)

    def end_episodes(self, *, mask: NDArray[np.bool_] | None = None) -> int:
        """Mark the last row of each stream, or of those of the mask, as truncated where its episode is still open.

        For an episode whose end came without a row: a simulator that failed, a transition that was given up. No return
        crosses the mark, and the row's next values bootstrap, as at any truncation.

        Args:
            mask: bool [N]; None for all.

        Returns:
            How many episodes were open.

        Raises:
            SchemaMismatch: The mask has another dtype or shape.
            ReplayError: The process lost its lock.
            ReplayClosed: The writer or its buffer was closed.
            ReplayForked: The writer was made before a fork.
        """
        return self._native.end_episodes(mask)

    def close(self) -> None:
        """Give the streams' blocks back; a later writer with the same stream numbers goes on there."""
        self._native.close()

    def __enter__(self) -> ReplayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ReplayWriter(streams={self.streams})"
