"""Several buffers mixed by ratio in one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from carla_online.errors import ReplayError, SchemaMismatch
from carla_online.replay.batch import Array, ReplayBatch, allocate_arrays, can_pin
from carla_online.replay.modes import Mode, Uniform
from carla_online.replay.sampling import ReplaySampler, SamplerState

if TYPE_CHECKING:
    from carla_online.replay.buffer import ReplayBuffer


class MixtureState(TypedDict):
    """All that decides what a mixture draws next."""

    draw: int
    samplers: list[SamplerState]


class ReplayMixture:
    """Buffers of one schema, to be sampled together: an anchor of demonstrations and the online experience, say.

    ```python
    sampler = ReplayMixture([(anchor, 0.5), (online, 0.5)]).sampler(seed=0, n_step=3)
    batch = sampler.sample(256)               # batch["source"]: 0 for the anchor, 1 for online
    ```
    """

    def __init__(self, parts: Sequence[tuple[ReplayBuffer, float]]) -> None:
        """Check the buffers and their shares; the shares are divided by their sum.

        Raises:
            ReplayError: There is no buffer, or a share isn't a positive number.
            SchemaMismatch: A buffer's schema isn't that of the first.
        """
        if not parts:
            raise ReplayError("a mixture needs at least one buffer; pass [(buffer, share), ...]")
        for number, (buffer, share) in enumerate(parts):
            if not (math.isfinite(share) and share > 0.0):
                raise ReplayError(f"share {number} is {share}; it must be a positive number")
            if buffer.schema != parts[0][0].schema:
                raise SchemaMismatch(
                    f"{buffer.path} and {parts[0][0].path} have different schemas; a mixture needs one schema"
                )
        total = sum(share for _, share in parts)
        self._buffers = tuple(buffer for buffer, _ in parts)
        self._shares = tuple(share / total for _, share in parts)

    @property
    def buffers(self) -> tuple[ReplayBuffer, ...]:
        """The buffers; `source` counts them from 0."""
        return self._buffers

    @property
    def shares(self) -> tuple[float, ...]:
        """Each buffer's share of the rows; they sum up to 1."""
        return self._shares

    def sampler(
        self,
        *,
        seed: int = 0,
        n_step: int = 1,
        gamma: float = 0.99,
        mode: Mode | Sequence[Mode] = Uniform(),  # noqa: B008 (frozen)
        check: bool = False,
    ) -> MixtureSampler:
        """Make a sampler; arguments as for `ReplayBuffer.sampler`, `mode` for all buffers or one for each."""
        modes = [mode] * len(self._buffers) if isinstance(mode, Mode) else list(mode)
        if len(modes) != len(self._buffers):
            raise ReplayError(f"{len(modes)} modes for {len(self._buffers)} buffers; pass one, or one for each")
        samplers = [
            buffer.sampler(seed=(seed + number) % 2**64, n_step=n_step, gamma=gamma, mode=mode, check=check)
            for number, (buffer, mode) in enumerate(zip(self._buffers, modes, strict=True))
        ]
        return MixtureSampler(samplers, self._shares)


class MixtureSampler:
    """Fills one batch from several buffers; made by `ReplayMixture.sampler`.

    The rows of a source lie one after another, in the order of the buffers. Each gets its share of every batch; what
    doesn't divide evenly is made up for over the draws.
    """

    def __init__(self, samplers: Sequence[ReplaySampler], shares: Sequence[float]) -> None:
        self._samplers = tuple(samplers)
        self._until = np.cumsum(shares)
        self._until[-1] = 1.0
        self._draw = 0

    @property
    def samplers(self) -> tuple[ReplaySampler, ...]:
        """The samplers of the buffers."""
        return self._samplers

    @property
    def state(self) -> MixtureState:
        """What the next draw depends on; JSON-ready, for a checkpoint."""
        return {"draw": self._draw, "samplers": [sampler.state for sampler in self._samplers]}

    def restore(self, state: MixtureState) -> None:
        """Continue from a state.

        Raises:
            ReplayError: The state is that of another number of buffers.
        """
        if len(state["samplers"]) != len(self._samplers):
            raise ReplayError(f"a state of {len(state['samplers'])} samplers doesn't fit {len(self._samplers)} buffers")
        self._draw = int(state["draw"])
        for sampler, part in zip(self._samplers, state["samplers"], strict=True):
            sampler.restore(part)

    def allocate(self, rows: int, *, pin: bool = False) -> ReplayBatch:
        """Allocate the arrays of a batch once; as `ReplaySampler.allocate`, with `source` (uint16 [B]) beside."""
        pinned = pin and can_pin()
        first = self._samplers[0]
        added = dict.fromkeys(name for sampler in self._samplers for name in sampler.added)
        arrays = allocate_arrays(first.schema, (rows,), added=(*added, "source"), pin=pinned)
        return first.bind(arrays, pinned=pinned)

    def rows_of(self, rows: int) -> list[int]:
        """Return how many rows of the next batch come from each buffer."""
        # Behind `draw` batches, buffer k has given floor(draw * rows * until_k) minus the same for k - 1.
        before, behind = (np.floor(draw * rows * self._until).astype(np.int64) for draw in (self._draw, self._draw + 1))
        return np.diff(behind - before, prepend=0).tolist()  # type: ignore[no-any-return]

    def sample_into(self, out: ReplayBatch, *, watermark: int | Sequence[int | None] | None = None) -> None:
        """Fill what `allocate` returned.

        Args:
            out: The arrays.
            watermark: As for `ReplaySampler.sample_into`, for all buffers or one for each.

        Raises:
            ReplayError: As `ReplaySampler.sample_into`, for any of the buffers; the draw doesn't count then.
        """
        watermarks = list(watermark) if isinstance(watermark, Sequence) else [watermark] * len(self._samplers)
        before = self.state
        first = 0
        try:
            for source, (sampler, rows) in enumerate(
                zip(self._samplers, self.rows_of(len(out["source"])), strict=True)
            ):
                if rows > 0:
                    sampler.sample_part(out, first=first, rows=rows, source=source, watermark=watermarks[source])
                first += rows
        except BaseException:
            self.restore(before)
            raise
        self._draw += 1

    def sample(self, rows: int, *, watermark: int | Sequence[int | None] | None = None) -> dict[str, Array]:
        """Return a batch in fresh arrays; otherwise as `sample_into`."""
        out = self.allocate(rows)
        self.sample_into(out, watermark=watermark)
        return dict(out)
