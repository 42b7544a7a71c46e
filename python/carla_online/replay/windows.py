"""Sampling windows: successive rows of an episode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carla_online.errors import ReplayError
from carla_online.replay.batch import Array, ReplayBatch, allocate_arrays, can_pin
from carla_online.replay.modes import Mode
from carla_online.replay.sampling import SamplerState
from carla_online.replay.schema import ReplaySchema

if TYPE_CHECKING:
    from carla_online._native import ReplayCore


class WindowSampler:
    """Draws windows of `length` successive rows of one episode each; made by `ReplayBuffer.windows`.

    A window starts at a row drawn as the mode says and ends early where the episode ends, or where the next row isn't
    there (evicted, not yet written, beyond the watermark, barred): `valid` is False behind that, and all else 0.
    """

    def __init__(
        self, core: ReplayCore, schema: ReplaySchema, *, length: int, seed: int, mode: Mode, check: bool
    ) -> None:
        if length < 1:
            raise ReplayError(f"length is {length}; a window has at least 1 row")
        self._core = core
        self._schema = schema
        self._length = length
        self._mode = mode
        self._native = core.sampler(seed=seed, n_step=1, gamma=1.0, mode=mode.native, check=check)

    @property
    def length(self) -> int:
        """Most rows of a window."""
        return self._length

    @property
    def state(self) -> SamplerState:
        """What the next draw depends on; JSON-ready, for a checkpoint."""
        seed, draw = self._native.state()
        return {"seed": seed, "draw": draw}

    def restore(self, state: SamplerState) -> None:
        """Continue from a state."""
        self._native.restore(int(state["seed"]), int(state["draw"]))

    def allocate(self, windows: int, *, pin: bool = False) -> ReplayBatch:
        """Allocate arrays [windows, length, ...] once: every field, `next_<field>` one step ahead, `valid`.

        Raises:
            ReplayError: `windows` is below 1.
        """
        pinned = pin and can_pin()
        shape = (windows, self._length)
        arrays = allocate_arrays(self._schema, shape, added=("valid",), pin=pinned)
        return ReplayBatch(arrays, self._core.bind(arrays, list(shape)), pinned=pinned)

    def sample_into(self, out: ReplayBatch, *, watermark: int | None = None) -> None:
        """Fill what `allocate` returned; errors and `watermark` as for `ReplaySampler.sample_into`."""
        windows, length = out["valid"].shape
        if length != self._length:
            raise ReplayError(f"the arrays hold windows of {length} rows, this sampler draws {self._length}")
        self._native.sample_windows(out.columns, watermark, windows, length)

    def sample(self, windows: int, *, watermark: int | None = None) -> dict[str, Array]:
        """Return windows in fresh arrays; otherwise as `sample_into`."""
        out = self.allocate(windows)
        self.sample_into(out, watermark=watermark)
        return dict(out)

    def __repr__(self) -> str:
        return f"WindowSampler({self._mode}, length={self._length}, state={self.state})"
