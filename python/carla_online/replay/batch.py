"""Preallocated batches of replay rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import ReplayError
from carla_online.replay.schema import ReplaySchema

if TYPE_CHECKING:
    from carla_online._native import ReplayColumns

Array = NDArray[np.generic]

# What samplers add to the fields, beside the returns.
ADDED: dict[str, type[np.generic]] = {
    "importance_weight": np.float32,
    "row_index": np.uint64,
    "row_generation": np.uint32,
    "source": np.uint16,
    "valid": np.bool_,
}


class ReplayBatch(Mapping[str, Array]):
    """Preallocated arrays that a sampler fills in place, again and again.

    A mapping from names to arrays: every field of the schema ([B, ...]); `next_<field>` for the linked ones, taken n
    steps ahead; `n_step_reward` and `discount`, float32 [B]; and what the sampler's mode adds. The arrays stay the same
    objects, so views of them (`torch.from_numpy`) can be made once.
    """

    __slots__ = ("_arrays", "_columns", "_pinned")

    def __init__(self, arrays: dict[str, Array], columns: ReplayColumns, *, pinned: bool = False) -> None:
        self._arrays = arrays
        self._columns = columns
        self._pinned = pinned

    @property
    def columns(self) -> ReplayColumns:
        """The arrays as the native sampler knows them."""
        return self._columns

    @property
    def pinned(self) -> bool:
        """Whether the memory is page-locked, so that a copy to a GPU can overlap with computing."""
        return self._pinned

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"ReplayBatch({', '.join(f'{name} {array.shape}' for name, array in self._arrays.items())})"


def can_pin() -> bool:
    """Whether torch can page-lock memory here: it needs CUDA."""
    import torch

    return torch.cuda.is_available()


def _zeros(shape: tuple[int, ...], dtype: np.dtype[np.generic], *, pin: bool) -> Array:
    if not pin:
        return np.zeros(shape, dtype)
    import torch

    size_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = torch.zeros(size_bytes, dtype=torch.uint8, pin_memory=True).numpy()
    pinned: Array = memory.view(dtype).reshape(shape)
    return pinned


def allocate_arrays(
    schema: ReplaySchema, batch: tuple[int, ...], *, added: Iterable[str] = (), pin: bool = False
) -> dict[str, Array]:
    """Allocate every array of a batch, zeroed.

    Args:
        schema: The fields.
        batch: Leading dimensions: (rows,), or (windows, length).
        added: Which of `ADDED` the sampler fills.
        pin: Take page-locked memory.

    Raises:
        ReplayError: A dimension is below 1.
    """
    if min(batch) < 1:
        raise ReplayError(f"a batch of shape {batch} can't be sampled; ask for at least 1 of each")
    shapes = {field.name: ((*batch, *field.shape), field.numpy_dtype) for field in schema.fields}
    shapes |= {f"next_{field.name}": ((*batch, *field.shape), field.numpy_dtype) for field in schema.linked}
    shapes |= {name: (batch, np.dtype(np.float32)) for name in ("n_step_reward", "discount")}
    shapes |= {name: (batch, np.dtype(ADDED[name])) for name in added}
    return {name: _zeros(shape, dtype, pin=pin) for name, (shape, dtype) in shapes.items()}
