"""Scenarios in a worker process as one Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from carla_online.envs.contract import Capabilities
from carla_online.envs.reward import RewardConfig, RewardFunction
from carla_online.envs.scenario_runner.config import ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.vector import ScenarioRunnerVectorEnv
from carla_online.errors import ConfigError


class ScenarioRunnerEnv(gym.Env[Any, NDArray[Any]]):
    """Drives ScenarioRunner's scenarios: `ScenarioRunnerVectorEnv` with a single worker and no autoreset.

    Args:
        server: `host:port`, or `serve` to start an own `carla-online serve`.
        reward: A preset's name, weights, or a function float32 [N, K] to float32 [N].
        log_dir: Folder for what the worker prints.
        **settings: Fields of `ScenarioRunnerEnvConfig` but `servers`.

    Raises:
        ConfigError, SimulatorError: As `ScenarioRunnerVectorEnv`.
    """

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own declaration

    def __init__(
        self,
        *,
        server: str = "serve",
        reward: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None,
        log_dir: Path | str | None = None,
        **settings: Any,
    ) -> None:
        self._vector = ScenarioRunnerVectorEnv(
            servers=(server,), reward=reward, autoreset_mode=AutoresetMode.DISABLED, log_dir=log_dir, **settings
        )
        self.config: ScenarioRunnerEnvConfig = self._vector.config
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        return self._vector.capabilities

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: Base seed of this and all later episodes. Without one the sequence goes on.
            options: `"episode_seed"`: the seed of this very episode, 0 to 2**64 - 1.

        Raises:
            ConfigError: An unknown option, or a wrong seed.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        named = given.pop("episode_seed", None)
        if given:
            raise ConfigError(f"unknown reset options {sorted(given)}; allowed: 'episode_seed'.")
        if named is not None:
            if not isinstance(named, int | np.integer) or not 0 <= int(named) < 2**64:
                raise ConfigError(f"options['episode_seed'] must be an integer from 0 to 2**64 - 1, got {named!r}.")
            given["episode_seeds"] = np.array([int(named)], np.uint64)
        obs, infos = self._vector.reset(seed=seed, options=given or None)
        return _row(obs), _first(infos)

    def step(self, action: NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Drives for one decision; `action` is float32 [2]: steer (positive right), signed throttle/brake."""
        obs, reward, over, cut, infos = self._vector.step(np.asarray(action, np.float32)[None])
        return _row(obs), float(reward[0]), bool(over[0]), bool(cut[0]), _first(infos)

    def close(self) -> None:
        """Ends the worker and its server."""
        self._vector.close()


def _row(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {name: values[0] for name, values in observations.items()}
    return observations[0]


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(values) for name, values in infos.items() if not name.startswith("_")}


def _value(values: Any) -> Any:
    if isinstance(values, dict):  # what a worker told in a mapping, Gymnasium has batched key by key
        return _first(values)
    return values[0] if isinstance(values, np.ndarray) else values
