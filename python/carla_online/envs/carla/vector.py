"""Several CARLA servers as one Gymnasium vector environment."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from carla_online.config import validate
from carla_online.envs.carla.backbone import Backbone
from carla_online.envs.carla.batch import CarlaBatch
from carla_online.envs.carla.config import CarlaEnvConfig
from carla_online.envs.contract import Capabilities
from carla_online.envs.observations import VECTOR
from carla_online.envs.reward import Reward, RewardConfig, RewardFunction, read_reward
from carla_online.envs.world.buffers import WorldBuffers
from carla_online.envs.world.config import EpisodesConfig
from carla_online.envs.world.vector import WorldVectorEnv
from carla_online.errors import ConfigError

_MOST_DEATHS: Final = 2
_LOG: Final = logging.getLogger(__name__)


class CarlaVectorEnv(WorldVectorEnv):
    """One environment on each of several CARLA 0.9.16 servers, stepped together in this process.

    Observations, actions, infos, seeds, reset options and autoreset modes are `WorldVectorEnv`'s: an episode's seed
    names the same road, traffic, weather and start on both backends. `exact_restore` is missing: a server can't be put
    back.

    A server that fails ends its row's episode as truncated, never as terminal, with `info["sim_failure"]` (`timeout`,
    `crash` or `error`) and without reward; the row's next reset connects anew. An episode in which a server hung or
    crashed is tried once more; one that ends a second server is left out from then on.

    Args:
        num_envs: 1 for as many as there are servers; more for a single `serve`, which is then started so often.
        reward: A preset's name, weights, or a function float32 [N, K] to float32 [N].
        autoreset_mode: As in `WorldVectorEnv`.
        copy: As in `WorldVectorEnv`.
        render_mode: `None` or `"rgb_array"`.
        **settings: Fields of `CarlaEnvConfig`: `servers`, `map`, `traffic`, `weather`, ...

    Raises:
        MissingExtra: CARLA's client isn't installed.
        ConfigError: Settings are wrong; all of them at once. Servers are reached at the first reset.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(episode_seeds=True, reward_terms=True, scene=True, weather=True)
    """What this backend can do."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        reward: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        function = reward if callable(reward) else None
        if not callable(reward):
            settings["reward"] = read_reward(reward)
        config = validate(CarlaEnvConfig, settings, source="CARLA environment")
        if num_envs != 1:
            config = config.with_envs(num_envs)
        self._build(config, Reward(function or config.reward), autoreset_mode, copy, render_mode)

    @property
    def backbone_fingerprint(self) -> str | None:
        """Identifies the network whose features stand behind the vector, and its sensors; None without one."""
        return None if self._backbone is None else self._backbone.fingerprint

    @property
    def quarantined(self) -> frozenset[int]:
        """Seeds of the episodes that ended two servers, and are driven no more unless a caller names them."""
        return frozenset(seed for seed, deaths in self._deaths.items() if deaths >= _MOST_DEATHS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins new episodes, as in `WorldVectorEnv`; with a seed, no episode is tried again."""
        if seed is not None:
            self._batch.sim_failures[...] = ""
        return super().reset(seed=seed, options=options)

    def _begin_episodes(self, rows: NDArray[np.bool_], seeds: NDArray[np.uint64] | None) -> None:
        """Begins episodes; who names none gets the last one again where its server died in it for the first time."""
        again = rows & self._batch.has_died if seeds is None else np.zeros_like(rows)
        for row in np.flatnonzero(again):
            seed = int(self._state.episode_seeds[row])
            self._deaths[seed] += 1
            if self._deaths[seed] >= _MOST_DEATHS:
                again[row] = False
                _LOG.warning("episode %d ended %d servers and is driven no more", seed, self._deaths[seed])
        if again.any():
            super()._begin_episodes(again, self._state.episode_seeds.copy())
        if (rows & ~again).any():
            super()._begin_episodes(rows & ~again, seeds)

    def _build(
        self,
        config: EpisodesConfig,
        reward: Reward,
        autoreset_mode: AutoresetMode | str,
        copy: bool,
        render_mode: str | None,
    ) -> None:
        super()._build(config, reward, autoreset_mode, copy, render_mode)
        sensors = config.sensors if isinstance(config, CarlaEnvConfig) else {}
        backbone = config.backbone if isinstance(config, CarlaEnvConfig) else None
        self._backbone = None if backbone is None else Backbone(backbone, sensors)
        if not sensors:
            return
        known = self.single_observation_space
        parts = dict(known.spaces) if isinstance(known, Dict) else {VECTOR: known}
        if self._backbone is None:
            parts |= {name: sensor.space for name, sensor in sensors.items()}
        else:
            vector = parts[VECTOR]
            assert isinstance(vector, Box)  # as `WorldVectorEnv` makes it
            parts[VECTOR] = self._backbone.extended(vector)
        self.single_observation_space = parts[VECTOR] if len(parts) == 1 else Dict(parts)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _observations(self) -> Any:
        return self._with_sensors(super()._observations(), self._batch.sensors)

    def _final_infos(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        final = super()._final_infos(ended)
        for row in np.flatnonzero(ended) if self._batch.sensors else ():
            readings = {name: values[row : row + 1] for name, values in self._batch.sensors.items()}
            seen = self._with_sensors(_map(lambda values: values[None], final["final_obs"][row]), readings)
            final["final_obs"][row] = _map(lambda values: values[0].copy(), seen)
        return final

    def _with_sensors(self, observations: Any, readings: Mapping[str, NDArray[Any]]) -> Any:
        """Adds what the sensors saw, or what the backbone makes of it."""
        if not readings:
            return observations
        parts = dict(observations) if isinstance(observations, dict) else {VECTOR: observations}
        if self._backbone is None:
            return parts | {name: values.copy() if self._copy else values for name, values in readings.items()}
        parts[VECTOR] = np.concatenate([parts[VECTOR], self._backbone(readings)], axis=1)
        return parts[VECTOR] if len(parts) == 1 else parts

    def close_extras(self, **kwargs: Any) -> None:
        """Destroys own actors, gives the servers their settings back, ends own servers."""
        self._batch.close()

    def _make_batch(self, config: EpisodesConfig, buffers: WorldBuffers) -> CarlaBatch:
        if not isinstance(config, CarlaEnvConfig):
            raise ConfigError(f"a CARLA environment needs a CarlaEnvConfig, not {type(config).__name__}.")
        batch = CarlaBatch(config)
        self._deaths = Counter[int]()
        buffers.sim_failures, buffers.overcome_failures = batch.sim_failures, batch.overcome_failures
        return batch


def _map(function: Callable[[NDArray[Any]], NDArray[Any]], observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: function(values) for name, values in observation.items()}
    return function(observation)
