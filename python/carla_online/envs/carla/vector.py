"""Several CARLA servers as one Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gymnasium.vector import AutoresetMode

from carla_online.config import validate
from carla_online.envs.carla.batch import CarlaBatch
from carla_online.envs.carla.config import CarlaEnvConfig
from carla_online.envs.contract import Capabilities
from carla_online.envs.reward import Reward, RewardConfig, RewardFunction, read_reward
from carla_online.envs.world.buffers import WorldBuffers
from carla_online.envs.world.config import EpisodesConfig
from carla_online.envs.world.vector import WorldVectorEnv
from carla_online.errors import ConfigError


class CarlaVectorEnv(WorldVectorEnv):
    """One environment on each of several CARLA 0.9.16 servers, stepped together in this process.

    Observations, actions, infos, seeds, reset options and autoreset modes are `WorldVectorEnv`'s: an episode's seed
    names the same road, traffic, weather and start on both backends. `exact_restore` is missing: a server can't be put
    back.

    A server that fails ends its row's episode as truncated, never as terminal, with `info["sim_failure"]` (`timeout`,
    `crash` or `error`) and without reward; the row's next reset connects anew.

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

    def close_extras(self, **kwargs: Any) -> None:
        """Destroys own actors, gives the servers their settings back, ends own servers."""
        self._batch.close()

    def _make_batch(self, config: EpisodesConfig, buffers: WorldBuffers) -> CarlaBatch:
        if not isinstance(config, CarlaEnvConfig):
            raise ConfigError(f"a CARLA environment needs a CarlaEnvConfig, not {type(config).__name__}.")
        batch = CarlaBatch(config)
        buffers.sim_failures = batch.sim_failures
        return batch
