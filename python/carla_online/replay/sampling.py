"""Sampling batches from a replay buffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import ReplayError
from carla_online.replay.batch import Array, ReplayBatch, allocate_arrays, can_pin
from carla_online.replay.modes import Mode, Prioritized
from carla_online.replay.schema import ReplaySchema

if TYPE_CHECKING:
    from carla_online._native import ReplayCore


class SamplerState(TypedDict):
    """All that decides what a sampler draws next, beside the buffer's content and the watermark."""

    seed: int
    draw: int


class ReplaySampler:
    """Draws rows with replacement, as its mode says; made by `ReplayBuffer.sampler`.

    What is drawn is a function of (seed, draw, watermark) and the buffer's content (and its priorities, where those
    count). While other processes write, it is unbiased but not repeatable. Quarantined rows and rows of weight 0 are
    never drawn. A row's return sums up to `n_step` rewards and ends early where the episode ends, where the next row
    isn't there (evicted, not yet written, beyond the watermark, barred), never running into another episode. The
    learning target of a row is `n_step_reward + discount * value(next_obs)`.
    """

    def __init__(
        self,
        core: ReplayCore,
        schema: ReplaySchema,
        *,
        seed: int,
        n_step: int,
        gamma: float,
        mode: Mode,
        check: bool,
    ) -> None:
        self._core = core
        self._schema = schema
        self._n_step = n_step
        self._gamma = gamma
        self._mode = mode
        self._correction = mode.correction if isinstance(mode, Prioritized) else 0.0
        self._native = core.sampler(seed=seed, n_step=n_step, gamma=gamma, mode=mode.native, check=check)

    @property
    def n_step(self) -> int:
        """Most rewards in a return."""
        return self._n_step

    @property
    def gamma(self) -> float:
        """Discount per step."""
        return self._gamma

    @property
    def mode(self) -> Mode:
        """How rows are chosen."""
        return self._mode

    @property
    def schema(self) -> ReplaySchema:
        """The fields of a row."""
        return self._schema

    @property
    def added(self) -> tuple[str, ...]:
        """Names of the arrays that the mode adds to a batch."""
        return ("importance_weight", "row_index", "row_generation") if isinstance(self._mode, Prioritized) else ()

    @property
    def correction(self) -> float:
        """Exponent of the importance weights, [0, 1]; set it to anneal. 0 where rows aren't drawn by priority."""
        return self._correction

    @correction.setter
    def correction(self, value: float) -> None:
        self._native.set_correction(value)
        self._correction = value

    @property
    def state(self) -> SamplerState:
        """What the next draw depends on; JSON-ready, for a checkpoint."""
        seed, draw = self._native.state()
        return {"seed": seed, "draw": draw}

    def restore(self, state: SamplerState) -> None:
        """Continue from a state."""
        self._native.restore(int(state["seed"]), int(state["draw"]))

    def allocate(self, rows: int, *, pin: bool = False) -> ReplayBatch:
        """Allocate the arrays of a batch once, to be filled by `sample_into`.

        Args:
            rows: How many, at least 1.
            pin: Take page-locked memory where torch can (it needs CUDA); `ReplayBatch.pinned` says whether it did.

        Raises:
            ReplayError: `rows` is below 1.
        """
        pinned = pin and can_pin()
        return self.bind(allocate_arrays(self._schema, (rows,), added=self.added, pin=pinned), pinned=pinned)

    def bind(self, arrays: Mapping[str, Array], *, pinned: bool = False) -> ReplayBatch:
        """Check arrays of the caller's own once, to be filled by `sample_into`.

        Args:
            arrays: As `allocate` makes them: the same names, shapes and dtypes.
            pinned: What `ReplayBatch.pinned` shall say.

        Raises:
            SchemaMismatch: As `sample_into`.
        """
        named = dict(arrays)
        rows = max((len(array) for array in named.values() if array.ndim > 0), default=0)
        return ReplayBatch(named, self._core.bind(named, [rows]), pinned=pinned)

    def sample_into(self, out: ReplayBatch | Mapping[str, Array], *, watermark: int | None = None) -> None:
        """Fill arrays with a batch, in place.

        Args:
            out: What `allocate` returned, or a mapping of arrays with the same names, shapes and dtypes; those are
                checked at every call.
            watermark: Highest `step_id` that may be returned; None for no limit.

        Raises:
            ReplayError: No row can be sampled; the message and the attribute `size` say how many are stored. Fewer rows
                than the batch will do, since drawing is with replacement. The draw doesn't count then.
            ReplayCorrupt: The sampler was made with `check=True`, and a row fails its checksum.
            SchemaMismatch: An array is missing, has another dtype or shape, isn't C-contiguous or writable, or shares
                memory with another one.
        """
        if isinstance(out, ReplayBatch):
            self._native.sample_into(out.columns, watermark)
            return
        self._native.sample_into(self.bind(out).columns, watermark)

    def sample(self, rows: int, *, watermark: int | None = None) -> dict[str, Array]:
        """Return a batch in fresh arrays; otherwise as `sample_into`."""
        arrays = allocate_arrays(self._schema, (rows,), added=self.added)
        self._native.sample_into(self._core.bind(arrays, [rows]), watermark)
        return arrays

    def sample_part(
        self, out: ReplayBatch, *, first: int, rows: int, source: int, watermark: int | None = None
    ) -> None:
        """Fill `rows` rows of a batch from index `first` on, and say in `source` (where it has that) where from."""
        self._native.sample_part(out.columns, watermark, first, rows, source)

    def update_priorities(self, batch: Mapping[str, Array], priorities: NDArray[np.float32]) -> int:
        """Set the priorities of a batch's rows, from whichever process.

        Args:
            batch: Has `row_index` (uint64 [B]) and `row_generation` (uint32 [B]), as this sampler's batches have.
            priorities: float32 [B], finite and not negative: the size of the temporal-difference error, say. A row gets
                at least the smallest priority that can be told from none, about 1.5e-5 after the exponent.

        Returns:
            How many of the rows were still there; a row that was evicted since keeps what its place has now.

        Raises:
            ReplayError: The sampler doesn't draw by priority, or a priority is negative or no number.
            SchemaMismatch: An array has another dtype or shape.
        """
        try:
            index, generation = batch["row_index"], batch["row_generation"]
        except KeyError as error:
            raise ReplayError(
                f"the batch has no {error}: only samplers made with mode=Prioritized(...) tell which rows they drew"
            ) from error
        return self._native.update_priorities(index, generation, priorities)

    def __repr__(self) -> str:
        return f"ReplaySampler({self._mode}, n_step={self._n_step}, gamma={self._gamma}, state={self.state})"
