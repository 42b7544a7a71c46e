"""One embedded driving world as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from carla_online.envs.contract import INFO_KEYS, Capabilities, Snapshot
from carla_online.envs.reward import RewardConfig, RewardFunction
from carla_online.envs.world.scene import Polyline, Scene
from carla_online.envs.world.vector import Observations, WorldVectorEnv
from carla_online.errors import ConfigError


class WorldEnv(gym.Env[Observations, NDArray[Any]]):
    """One driving world: `WorldVectorEnv` with a single row and no autoreset.

    The same seed gives the same episodes as `WorldVectorEnv(num_envs=1)`.

    Args:
        map: Preset or parts, see `WorldEnvConfig`.
        traffic: Preset or parts.
        ego: Parts of the ego's section.
        simulation: The world's remaining keys.
        weather: Preset or parts.
        randomization: Preset: what every episode draws anew.
        observation: `vector`, `birdseye_small` or `birdseye_carl`.
        curriculum: A curriculum's name, or its stages.
        reward: A preset's name, weights, or a function float32 [N, K] to float32 [N].
        render_mode: `None` or `"rgb_array"`: a small picture from above, uint8 [240, 240, 3].

    Raises:
        ConfigError: Unknown presets or keys, values out of range; all of them at once.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    capabilities: ClassVar[Capabilities] = WorldVectorEnv.capabilities
    """What this backend can do."""

    def __init__(
        self,
        *,
        map: str | dict[str, Any] = "straight",
        traffic: str | dict[str, Any] = "default",
        ego: dict[str, Any] | None = None,
        simulation: dict[str, Any] | None = None,
        weather: str | dict[str, Any] = "clear",
        randomization: str = "none",
        observation: str = "vector",
        curriculum: str | dict[str, Any] = "none",
        reward: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None,
        render_mode: str | None = None,
    ) -> None:
        vector = WorldVectorEnv(
            1,
            map=map,
            traffic=traffic,
            ego=ego,
            simulation=simulation,
            weather=weather,
            randomization=randomization,
            observation=observation,
            curriculum=curriculum,
            reward=reward,
            autoreset_mode=AutoresetMode.DISABLED,
            render_mode=render_mode,
        )
        self._adopt(vector, render_mode)

    def _adopt(self, vector: WorldVectorEnv, render_mode: str | None) -> None:
        self._vector = vector
        self.config = vector.config
        self.render_mode = render_mode
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self._is_seeded = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins a new episode.

        Args:
            seed: Base seed of this and all later episodes. Without one the sequence goes on.
            options: `"episode_seed"`: the seed of this very episode, 0 to 2**64 - 1.

        Returns:
            Observation float32 [D] and info.

        Raises:
            ConfigError: An unknown option, or a wrong episode seed.
        """
        super().reset(seed=seed)
        if seed is None and not self._is_seeded:
            seed = int(self.np_random.integers(2**63))
        observations, infos = self._vector.reset(seed=seed, options=_read_options(options))
        self._is_seeded = True
        return _row(observations), _first(infos)

    def step(self, action: NDArray[Any]) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Drives for one decision.

        Args:
            action: float32 [2]: steer (positive right), signed throttle/brake.

        Returns:
            `(obs float32 [D], reward, terminated, truncated, info)`.

        Raises:
            gymnasium.error.ResetNeeded: The episode has ended, or none has begun.
            ConfigError: An action of another shape.
            ValueError: An action that isn't finite.
        """
        given = np.asarray(action, np.float32)
        if given.shape != (2,):
            raise ConfigError(f"an action must have shape [2], got {list(given.shape)}.")
        observations, reward, terminated, truncated, infos = self._vector.step(given[None])
        return _row(observations), float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first(infos)

    def render(self) -> NDArray[np.uint8] | None:
        """Returns a picture from above, uint8 [240, 240, 3], or `None` without a render mode."""
        frames = self._vector.render()
        return None if frames is None else frames[0]

    def snapshot(self) -> Snapshot:
        """Returns the complete state, see `WorldVectorEnv.snapshot`."""
        return self._vector.snapshot()

    def restore(self, snapshot: Snapshot) -> Observations:
        """Returns to a snapshot and returns the observation to act on, float32 [D]."""
        observation: Observations = _row(self._vector.restore(snapshot))
        self._is_seeded = True
        return observation

    def scene(self) -> Scene:
        """Returns where the ego and the other actors are."""
        return self._vector.scene(0)

    def road(self) -> list[Polyline]:
        """Returns the lines of the road."""
        return self._vector.road(0)

    def close(self) -> None:
        """Closes the environment; nothing is held that needs it."""
        self._vector.close()


def _read_options(options: dict[str, Any] | None) -> dict[str, Any] | None:
    unknown = [name for name in options or {} if name != "episode_seed"]
    if unknown:
        raise ConfigError(f"unknown reset options {unknown}; allowed: 'episode_seed'.")
    seed = (options or {}).get("episode_seed")
    if seed is None:
        return None
    if not isinstance(seed, int | np.integer) or not 0 <= int(seed) < 2**64:
        raise ConfigError(f"options['episode_seed'] must be an integer from 0 to 2**64 - 1, got {seed!r}.")
    return {"episode_seeds": np.array([int(seed)], np.uint64)}


def _row(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {name: values[0] for name, values in observations.items()}
    return observations[0]


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    """Returns row 0 of the vector infos: Python scalars, `np.uint64` for the seed, arrays of their own."""
    single: dict[str, Any] = {}
    for key in INFO_KEYS:
        value = infos[key.name][0]
        # A seed above 2**63 as an `int` would overflow the int64 array that a vector environment makes of it.
        keeps_type = key.shape or key.name == "episode_seed" or key.dtype == object
        single[key.name] = value if keeps_type else value.item()
    return single
