"""Fresh draws of a policy, kept column by column until they have been learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.envs.transitions import Step
from carla_online.errors import CheckpointError
from carla_online.online.collector import Collector, Draw
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import FloatArray

BoolArray = NDArray[np.bool_]
Arrays = dict[str, NDArray[np.generic]]

_FIRST_CAPACITY: Final = 16


class Rollouts:
    """Transitions in M columns, each a stretch of one environment's time; row t of a column follows its row t - 1.

    Columns fill at their own pace: a held draw that an episode's end cuts short makes one transition more.

    Args:
        columns: M.
        state_dim: S, width of what the head sees.
        action_dim: A.
    """

    def __init__(self, columns: int, *, state_dim: int, action_dim: int) -> None:
        self.count: NDArray[np.int64] = np.zeros(columns, dtype=np.int64)
        widths: dict[str, tuple[int, ...]] = dict.fromkeys(("inputs", "next_inputs"), (state_dim,))
        widths |= dict.fromkeys(("baseline_action", "executed_action", "pre_squash"), (action_dim,))
        widths |= dict.fromkeys(("logp", "reward"), ())
        shape = (_FIRST_CAPACITY, columns)
        self._data: Arrays = {name: np.zeros((*shape, *width), np.float32) for name, width in widths.items()}
        self._data |= {name: np.zeros(shape, np.bool_) for name in ("terminated", "truncated")}

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        """Returns one field [T, M, ...], T being the length of the longest column."""
        return self._data[name][: self.length]

    @property
    def length(self) -> int:
        """T, transitions in the longest column."""
        return int(self.count.max(initial=0))

    @property
    def filled(self) -> BoolArray:
        """Which places hold a transition, bool [T, M]."""
        return np.less(np.arange(self.length)[:, None], self.count[None, :])

    def append(self, closed: BoolArray, values: Mapping[str, NDArray[np.generic]], *, first_column: int = 0) -> None:
        """Adds those rows of `values` ([N, ...]) that `closed` (bool [N]) marks, row n to column first_column + n."""
        chosen = np.flatnonzero(closed)
        columns = chosen + first_column
        if self.length == len(self._data["reward"]):
            self._data = {name: np.concatenate([data, np.zeros_like(data)]) for name, data in self._data.items()}
        for name, data in self._data.items():
            data[self.count[columns], columns] = values[name][chosen]
        self.count[columns] += 1

    def first_episodes(self) -> NDArray[np.int64] | None:
        """Returns the number of transitions of each column's first episode, or None if a column's isn't over."""
        if self.length == 0:
            return None
        ended = np.logical_or(self["terminated"], self["truncated"]) & self.filled
        return None if not ended.any(axis=0).all() else ended.argmax(axis=0) + 1

    def clear(self) -> None:
        """Forgets everything."""
        self.count[...] = 0

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forgets the first `rows` (int64 [M]) transitions of each column."""
        for column in np.flatnonzero(rows):
            kept = slice(rows[column], self.count[column])
            for data in self._data.values():
                data[: kept.stop - kept.start, column] = data[kept, column].copy()
        self.count -= rows

    def state_dict(self) -> Arrays:
        """Returns everything as arrays by name."""
        return {"count": self.count.copy(), **{name: self[name].copy() for name in self._data}}

    def load_state_dict(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`.

        Raises:
            CheckpointError: The arrays are of other environments or another policy.
        """
        for name, data in self._data.items():
            stored = state[name]
            if stored.dtype != data.dtype or stored.shape[1:] != data.shape[1:]:
                raise CheckpointError(
                    f"the stored window's {name} is {stored.dtype} {list(stored.shape)}; this run needs "
                    f"{data.dtype} [T, {', '.join(map(str, data.shape[1:]))}]."
                )
        self.count[...] = state["count"]
        rows = max(self.length, _FIRST_CAPACITY)
        for name, data in self._data.items():
            self._data[name] = np.zeros((rows, *data.shape[1:]), data.dtype)
            self._data[name][: self.length] = state[name]


class RolloutRecorder:
    """Draws from a policy, holds the draws, and records what became of them.

    Args:
        policy: Its head proposes.
        num_envs: N.
        reward_terms: K, number of reward terms.
        hold_steps: Environment steps under one draw.
        gamma: Discount for one environment step.
    """

    def __init__(self, policy: ActorPolicy, *, num_envs: int, reward_terms: int, hold_steps: int, gamma: float) -> None:
        self._policy = policy
        self.collector = Collector(
            policy,
            num_envs=num_envs,
            action_dim=policy.action_dim,
            reward_terms=reward_terms,
            hold_steps=hold_steps,
            gamma=gamma,
        )
        self._pre_squash = np.zeros((num_envs, policy.action_dim), dtype=np.float32)
        self._logp = np.zeros(num_envs, dtype=np.float32)

    def propose(self, obs: FloatArray, *, generator: torch.Generator) -> Draw:
        """Returns the policy's draws for observations [N, D]."""
        return self.collector.propose(obs, generator=generator)

    def act(self, obs: FloatArray, draw: Draw) -> FloatArray:
        """Returns the proposed actions [N, A]; environments that need a draw take theirs from `draw`."""
        fresh = self.collector.needs_draw
        assert draw.pre_squash is not None and draw.pre_squash_logp is not None  # an ActorPolicy has a head
        self._pre_squash[fresh] = draw.pre_squash[fresh]
        self._logp[fresh] = draw.pre_squash_logp[fresh]
        return self.collector.act(obs, draw)

    def observe(self, step: Step) -> tuple[BoolArray, Arrays, Arrays, Arrays]:
        """Adds one environment step.

        Returns:
            Which environments closed a transition, bool [N]; these as rows of `Rollouts`; as rows and next values of
            a replay buffer.
        """
        closed, rows, next_values = self.collector.observe(step)
        taken: Arrays = {name: rows[name] for name in ("reward", "terminated", "truncated")}
        taken |= {name: rows[name] for name in ("baseline_action", "executed_action")}
        taken |= {"pre_squash": self._pre_squash, "logp": self._logp}
        taken["inputs"] = self._inputs(rows)
        taken["next_inputs"] = self._inputs(next_values)
        return closed, taken, rows, next_values

    def state_dict(self) -> Arrays:
        """Returns the open transitions as arrays by name."""
        own: Arrays = {"pre_squash": self._pre_squash.copy(), "pre_squash_logp": self._logp.copy()}
        return own | self.collector.state_dict()

    def load_state_dict(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`."""
        self._pre_squash[...] = state["pre_squash"]
        self._logp[...] = state["pre_squash_logp"]
        self.collector.load_state_dict(state)

    def _inputs(self, rows: Arrays) -> NDArray[np.generic]:
        if self._policy.baseline is None:
            return rows["obs"]
        return np.concatenate([rows["obs"], rows["baseline_action"]], axis=1)
