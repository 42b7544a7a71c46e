"""The newest transitions, and the newest whole episodes, as batches: what the guard compares the critics with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.learners.sac import TransitionBatch

Arrays = Mapping[str, NDArray[np.generic]]

_NAMES = tuple(TransitionBatch.__dataclass_fields__)


class RowRing:
    """Keeps the newest rows of a `TransitionBatch`.

    Args:
        capacity: Rows kept.
        obs_dim: D.
        action_dim: A.
    """

    def __init__(self, capacity: int, *, obs_dim: int, action_dim: int) -> None:
        self._capacity = capacity
        widths = dict.fromkeys(_NAMES, (action_dim,)) | dict.fromkeys(("reward", "discount"), ())
        widths |= dict.fromkeys(("obs", "next_obs"), (obs_dim,))
        self._arrays = {name: np.zeros((capacity, *widths[name]), dtype=np.float32) for name in _NAMES}
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, rows: Arrays) -> None:
        """Adds rows, each field [n, ...]; the oldest make room."""
        count = len(rows["reward"])
        kept = min(count, self._capacity)
        places = (self._added + np.arange(count - kept, count)) % self._capacity
        for name, array in self._arrays.items():
            array[places] = rows[name][count - kept :]
        self._added += count

    def clear(self) -> None:
        """Forgets all rows."""
        self._added = 0

    def batch(self) -> TransitionBatch:
        """Returns the rows, in no particular order; the tensors share memory with the ring."""
        return TransitionBatch(**{name: torch.from_numpy(array[: len(self)]) for name, array in self._arrays.items()})

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns the rows as arrays by name."""
        return {name: array.copy() for name, array in self._arrays.items()} | {"added": np.array(self._added)}

    def load_state_dict(self, state: Arrays) -> None:
        """Restores `state_dict()`."""
        for name, array in self._arrays.items():
            array[...] = state[name]
        self._added = int(state["added"])


class WholeEpisodes:
    """Turns each environment's transitions into one long transition an episode: first action, return, last state.

    Args:
        num_envs: N.
        obs_dim: D.
        action_dim: A.
    """

    def __init__(self, num_envs: int, *, obs_dim: int, action_dim: int) -> None:
        self._first = {
            "obs": np.zeros((num_envs, obs_dim), dtype=np.float32),
            "baseline_action": np.zeros((num_envs, action_dim), dtype=np.float32),
            "executed_action": np.zeros((num_envs, action_dim), dtype=np.float32),
        }
        self._return = np.zeros(num_envs, dtype=np.float64)
        self._discount = np.ones(num_envs, dtype=np.float64)
        self._is_open = np.zeros(num_envs, dtype=np.bool_)

    def add(self, rows: Arrays, closed: NDArray[np.bool_], ended: NDArray[np.bool_]) -> dict[str, NDArray[np.generic]]:
        """Takes in one transition of the environments in `closed`; returns the episodes that ended with it.

        Args:
            rows: Fields of a `TransitionBatch`, [N, ...].
            closed: bool [N].
            ended: Environments whose episode ended, bool [N].

        Returns:
            The same fields, a row for each episode that was seen from its beginning to its end.
        """
        starts = closed & ~self._is_open
        for name, values in self._first.items():
            values[starts] = rows[name][starts]
        self._return[starts], self._discount[starts] = 0.0, 1.0
        self._is_open |= closed
        self._return[closed] += self._discount[closed] * np.asarray(rows["reward"], np.float64)[closed]
        self._discount[closed] *= np.asarray(rows["discount"], np.float64)[closed]
        over = closed & ended
        self._is_open[ended] = False
        whole: dict[str, NDArray[np.generic]] = {name: values[over] for name, values in self._first.items()}
        whole |= {"reward": self._return[over].astype(np.float32), "discount": self._discount[over].astype(np.float32)}
        return whole | {name: rows[name][over] for name in ("next_obs", "next_baseline_action")}

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns the open episodes as arrays by name."""
        state = {f"first.{name}": values.copy() for name, values in self._first.items()}
        return state | {"return": self._return.copy(), "discount": self._discount.copy(), "open": self._is_open.copy()}

    def load_state_dict(self, state: Arrays) -> None:
        """Restores `state_dict()`."""
        for name, values in self._first.items():
            values[...] = state[f"first.{name}"]
        self._return[...], self._discount[...], self._is_open[...] = state["return"], state["discount"], state["open"]
