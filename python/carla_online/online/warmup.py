"""What drives before the learner does: exploration that is wide enough to leave a lane."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import ConfigError
from carla_online.learners.config import WarmupConfig
from carla_online.online.collector import BoolArray, Draw
from carla_online.policies.contract import FloatArray

_ZERO_SHARE = 0.4
_LONGEST_HOLD_DRAWS = 4


class Warmup:
    """Replaces the policy's draws while the replay fills.

    Args:
        config: Settings.
        num_envs: N.
        action_dim: A.
        seed: Seed of its own random stream.

    Raises:
        ConfigError: `around_baseline` with another number of noise values than actions.

    Notes:
        `held_random` repeats one draw up to four times: a fresh draw at each step averages out before it moves
        a car (measured: at 10 Hz no lane change in 100 km, held for 0.4 s some four a kilometre).
    """

    def __init__(self, config: WarmupConfig, *, num_envs: int, action_dim: int, seed: int) -> None:
        if config.kind == "around_baseline" and len(config.noise) != action_dim:
            raise ConfigError(
                f"learner.warmup.noise has {len(config.noise)} values; this environment has {action_dim} actions."
            )
        self.config = config
        self._random = np.random.Generator(np.random.Philox(seed))
        self._value = np.zeros((num_envs, action_dim), dtype=np.float32)
        self._draws_left = np.zeros(num_envs, dtype=np.int64)

    def is_active(self, transitions: int) -> bool:
        """Whether the warm-up still drives after this many transitions."""
        limit = self.config.transitions if self.config.random_transitions is None else self.config.random_transitions
        return self.config.kind != "frozen" and transitions < limit

    def replace(self, draw: Draw, needs_draw: BoolArray, baseline_action: FloatArray) -> Draw:
        """Returns the draw [N, A] to use instead of the policy's, where one is needed."""
        count, width = self._value.shape
        uniform = self._random.uniform(-1.0, 1.0, (count, width)).astype(np.float32)
        zero = self._random.random(count) < _ZERO_SHARE
        length = self._random.integers(1, _LONGEST_HOLD_DRAWS, endpoint=True, size=count)
        if self.config.kind == "uniform":
            return Draw(uniform, np.full(count, -width * np.log(2.0), dtype=np.float32))
        renew = needs_draw & (self._draws_left == 0)
        self._value[renew] = np.where(zero[renew, None], 0.0, uniform[renew])
        self._draws_left[renew] = length[renew]
        self._draws_left[needs_draw] -= 1
        value = self._value.copy()
        if self.config.kind == "around_baseline":
            value = np.clip(baseline_action + value * np.asarray(self.config.noise, dtype=np.float32), -1.0, 1.0)
        return Draw(value, np.zeros(count, dtype=np.float32))

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns the warm-up's state as arrays; the random stream as its counter, key and buffer."""
        inner = self._random.bit_generator.state
        words = [*inner["state"]["counter"], *inner["state"]["key"], *inner["buffer"], inner["buffer_pos"]]
        words += [inner["has_uint32"], inner["uinteger"]]
        return {
            "value": self._value.copy(),
            "draws_left": self._draws_left.copy(),
            "random": np.array([int(word) for word in words], dtype=np.uint64),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`."""
        self._value[...] = state["value"]
        self._draws_left[...] = state["draws_left"]
        words = np.asarray(state["random"], dtype=np.uint64)
        self._random.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": words[0:4], "key": words[4:6]},
            "buffer": words[6:10],
            "buffer_pos": int(words[10]),
            "has_uint32": int(words[11]),
            "uinteger": int(words[12]),
        }
