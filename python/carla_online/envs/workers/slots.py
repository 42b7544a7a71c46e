"""Shared memory in which each environment has a row of every array: the child writes its own, the parent reads.

No locks: a row belongs to the child from the parent's command to the child's answer, and to the parent otherwise. The
memory has no name (`memfd`), so nothing is left behind however the processes end.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from carla_online.envs.contract import INFO_KEYS
from carla_online.errors import ConfigError

_ALIGNMENT: Final = 64
_OBS: Final = "obs."
_INFO: Final = "info."

INFO_SLOTS: Final = tuple(key for key in INFO_KEYS if key.dtype != object)
"""The keys of the contract that are numbers; texts travel beside."""


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Names, types and shapes of the arrays."""

    count: int
    """Rows: environments."""
    columns: tuple[tuple[str, str, tuple[int, ...]], ...]
    """(name, NumPy type, shape of one row), in order."""

    @classmethod
    def of(
        cls, count: int, observations: gym.Space[Any], actions: gym.Space[Any], *, has_contract_info: bool
    ) -> SlotLayout:
        """Returns the layout for environments of these spaces.

        Raises:
            ConfigError: A space that isn't a `Box`, or for observations a `Dict` of such.
        """
        columns = [(f"{_OBS}{name}", box.dtype.str, box.shape) for name, box in _boxes(observations).items()]
        if not isinstance(actions, Box):
            raise ConfigError(f"environments in processes take Box actions, got {actions}; wrap the environment.")
        columns.append(("action", actions.dtype.str, actions.shape))
        columns += [("reward", "<f8", ()), ("terminated", "|b1", ()), ("truncated", "|b1", ())]
        if has_contract_info:
            columns += [(f"{_INFO}{key.name}", key.dtype.str, key.shape) for key in INFO_SLOTS]
        return cls(count, tuple(columns))

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(self._bytes_of(dtype, shape) for _, dtype, shape in self.columns)

    def arrays(self, memory: mmap.mmap) -> dict[str, NDArray[Any]]:
        """Returns the arrays [count, ...] by name, as views of the memory."""
        views, offset = {}, 0
        for name, dtype, shape in self.columns:
            views[name] = np.ndarray((self.count, *shape), np.dtype(dtype), buffer=memory, offset=offset)
            offset += self._bytes_of(dtype, shape)
        return views

    def _bytes_of(self, dtype: str, shape: tuple[int, ...]) -> int:
        size = self.count * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return -(-size // _ALIGNMENT) * _ALIGNMENT


class Slots:
    """The arrays, in the parent or in a child.

    Args:
        layout: What they are.
        fd: The memory's file descriptor, which is closed; new memory is made if None.
    """

    def __init__(self, layout: SlotLayout, fd: int | None = None) -> None:
        self.layout = layout
        size = max(1, layout.size_bytes)
        self.fd = os.memfd_create("carla-online-slots") if fd is None else fd
        if fd is None:
            os.truncate(self.fd, size)
        self._memory = mmap.mmap(self.fd, size)
        self.arrays = layout.arrays(self._memory)
        self._obs = {name.removeprefix(_OBS): view for name, view in self.arrays.items() if name.startswith(_OBS)}
        self._info = {name.removeprefix(_INFO): view for name, view in self.arrays.items() if name.startswith(_INFO)}
        if fd is not None:
            os.close(fd)
            self.fd = -1

    @property
    def info_names(self) -> frozenset[str]:
        """Keys of `info` that have an array."""
        return frozenset(self._info)

    def write(self, row: int, observation: Any, info: Mapping[str, Any]) -> dict[str, Any]:
        """Puts an observation and the info into a row; returns what of the info has no array there."""
        if isinstance(observation, Mapping):
            for name, view in self._obs.items():
                view[row] = observation[name]
        else:
            self._obs[""][row] = observation
        extras = {}
        for name, value in info.items():
            view_of = self._info.get(name)
            if view_of is None:
                extras[name] = value
            else:
                view_of[row] = value
        return extras

    def observations(self, rows: NDArray[np.int64]) -> Any:
        """Returns copies of the observations of some rows: an array [k, ...], or a dictionary of such."""
        if "" in self._obs:
            return self._obs[""][rows]
        return {name: view[rows] for name, view in self._obs.items()}

    def infos(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Returns copies of the info arrays of some rows, [k, ...] by key."""
        return {name: view[rows] for name, view in self._info.items()}

    def close(self) -> None:
        """Lets go of the memory."""
        self.arrays, self._obs, self._info = {}, {}, {}
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _boxes(space: gym.Space[Any]) -> dict[str, Box]:
    parts = space.spaces if isinstance(space, Dict) else {"": space}
    boxes = {name: part for name, part in parts.items() if isinstance(part, Box)}
    if len(boxes) != len(parts):
        raise ConfigError(
            f"environments in processes give Box observations, or a Dict of Boxes, got {space}; flatten others first."
        )
    return boxes
