"""One CARLA server as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gymnasium.vector import AutoresetMode

from carla_online.envs.carla.vector import CarlaVectorEnv
from carla_online.envs.contract import Capabilities
from carla_online.envs.reward import RewardConfig, RewardFunction
from carla_online.envs.world.single import WorldEnv


class CarlaEnv(WorldEnv):
    """Drives on one CARLA 0.9.16 server: `CarlaVectorEnv` with a single row and no autoreset.

    Spaces, infos, seeds and reset options are `WorldEnv`'s.

    Args:
        server: `host:port`, or `serve` to start an own `carla-online serve`.
        reward: A preset's name, weights, or a function float32 [N, K] to float32 [N].
        render_mode: `None` or `"rgb_array"`: a small picture from above, uint8 [240, 240, 3].
        **settings: Fields of `CarlaEnvConfig` but `servers`.

    Raises:
        MissingExtra: CARLA's client isn't installed.
        ConfigError: Settings are wrong; all of them at once. The server is reached at the first reset.
    """

    capabilities: ClassVar[Capabilities] = CarlaVectorEnv.capabilities
    """What this backend can do."""

    def __init__(
        self,
        *,
        server: str = "127.0.0.1:2000",
        reward: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        vector = CarlaVectorEnv(
            servers=(server,),
            reward=reward,
            autoreset_mode=AutoresetMode.DISABLED,
            render_mode=render_mode,
            **settings,
        )
        self._adopt(vector, render_mode)
