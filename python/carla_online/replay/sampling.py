"""Sampling batches from a replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import ReplayError
from carla_online.replay.schema import ReplaySchema

if TYPE_CHECKING:
    from carla_online._native import ReplayColumns, ReplayCore

Array = NDArray[np.generic]


class SamplerState(TypedDict):
    """All that decides what a sampler draws next, beside the buffer's content and the watermark."""

    seed: int
    draw: int


class ReplayBatch(Mapping[str, Array]):
    """Preallocated arrays that a sampler fills in place, again and again.

    A mapping from names to arrays: every field of the schema ([B, ...]); `next_<field>` for the linked ones, taken n
    steps ahead; `n_step_reward` and `discount`, float32 [B]. The arrays stay the same objects, so views of them
    (`torch.from_numpy`) can be made once.
    """

    __slots__ = ("_arrays", "_columns")

    def __init__(self, arrays: dict[str, Array], columns: ReplayColumns) -> None:
        self._arrays = arrays
        self._columns = columns

    @property
    def columns(self) -> ReplayColumns:
        """The arrays as the native sampler knows them."""
        return self._columns

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"ReplayBatch({', '.join(f'{name} {array.shape}' for name, array in self._arrays.items())})"


def allocate_arrays(schema: ReplaySchema, rows: int) -> dict[str, Array]:
    """Allocate every array of a batch, zeroed."""
    if rows < 1:
        raise ReplayError(f"a batch of {rows} rows can't be sampled; ask for at least 1")
    arrays: dict[str, Array] = {
        field.name: np.zeros((rows, *field.shape), field.numpy_dtype) for field in schema.fields
    }
    arrays |= {f"next_{field.name}": np.zeros((rows, *field.shape), field.numpy_dtype) for field in schema.linked}
    return arrays | {name: np.zeros(rows, np.float32) for name in ("n_step_reward", "discount")}


class ReplaySampler:
    """Draws rows uniformly and with replacement; made by `ReplayBuffer.sampler`.

    What is drawn is a function of (seed, draw, watermark) and the buffer's content. While other processes write, it is
    unbiased but not repeatable. A row's return sums up to `n_step` rewards and ends early where the episode ends, where
    the next row isn't there (evicted, not yet written, beyond the watermark, barred), never running into another
    episode. The learning target of a row is `n_step_reward + discount * value(next_obs)`.
    """

    def __init__(self, core: ReplayCore, schema: ReplaySchema, *, seed: int, n_step: int, gamma: float) -> None:
        self._core = core
        self._schema = schema
        self._n_step = n_step
        self._gamma = gamma
        self._native = core.sampler(seed=seed, n_step=n_step, gamma=gamma)

    @property
    def n_step(self) -> int:
        """Most rewards in a return."""
        return self._n_step

    @property
    def gamma(self) -> float:
        """Discount per step."""
        return self._gamma

    @property
    def state(self) -> SamplerState:
        """What the next draw depends on; JSON-ready, for a checkpoint."""
        seed, draw = self._native.state()
        return {"seed": seed, "draw": draw}

    def restore(self, state: SamplerState) -> None:
        """Continue from a state."""
        self._native.restore(int(state["seed"]), int(state["draw"]))

    def allocate(self, rows: int) -> ReplayBatch:
        """Allocate the arrays of a batch once, to be filled by `sample_into`.

        Raises:
            ReplayError: `rows` is below 1.
        """
        arrays = allocate_arrays(self._schema, rows)
        return ReplayBatch(arrays, self._core.bind(arrays, [rows]))

    def sample_into(self, out: ReplayBatch | Mapping[str, Array], *, watermark: int | None = None) -> None:
        """Fill arrays with a batch, in place.

        Args:
            out: What `allocate` returned, or a mapping of arrays with the same names, shapes and dtypes; those are
                checked at every call.
            watermark: Highest `step_id` that may be returned; None for no limit.

        Raises:
            ReplayError: No row can be sampled; the message and the attribute `size` say how many are stored. Fewer rows
                than the batch will do, since drawing is with replacement. The draw doesn't count then.
            SchemaMismatch: An array is missing, has another dtype or shape, isn't C-contiguous or writable, or shares
                memory with another one.
        """
        if isinstance(out, ReplayBatch):
            self._native.sample_into(out.columns, watermark)
            return
        arrays = dict(out)
        rows = max((len(array) for array in arrays.values() if array.ndim > 0), default=0)
        self._native.sample_into(self._core.bind(arrays, [rows]), watermark)

    def sample(self, rows: int, *, watermark: int | None = None) -> dict[str, Array]:
        """Return a batch in fresh arrays; otherwise as `sample_into`."""
        arrays = allocate_arrays(self._schema, rows)
        self._native.sample_into(self._core.bind(arrays, [rows]), watermark)
        return arrays

    def __repr__(self) -> str:
        return f"ReplaySampler(n_step={self._n_step}, gamma={self._gamma}, state={self.state})"
