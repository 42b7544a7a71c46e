"""Scenarios in worker processes as one Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from carla_online.config import validate
from carla_online.envs.reward import Reward, RewardConfig, RewardFunction, read_reward
from carla_online.envs.scenario_runner.checkout import find_checkout
from carla_online.envs.scenario_runner.config import ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.driver import driver_maker
from carla_online.envs.workers import AsyncVectorEnv
from carla_online.errors import ConfigError


class ScenarioRunnerVectorEnv(AsyncVectorEnv):
    """ScenarioRunner's scenarios, one worker process and one server for each environment.

    Observations, actions, infos, seeds and autoreset modes are `WorldVectorEnv`'s, reset options those of
    `AsyncVectorEnv`. `info["drawn"]` says at each reset what was drawn for the episode, `info["scenario"]` at each end
    what ScenarioRunner's criteria say.

    A worker that hangs (CARLA's Traffic Manager may, for ever), dies, or whose scenario can't be built shows as a
    truncated episode with `info["sim_failure"]`, is killed with its server and started again; see `AsyncBatch`.

    Args:
        num_envs: 1 for as many as there are servers; more for a single `serve`, which is then started so often.
        reward: A preset's name, weights, or a function float32 [N, K] to float32 [N].
        autoreset_mode: As in the contract.
        log_dir: Folder for what workers print, and for their incidents.
        **settings: Fields of `ScenarioRunnerEnvConfig`: `scenarios`, `root`, `servers`, `maps`, ...

    Raises:
        ConfigError: Settings are wrong, or ScenarioRunner can't be found.
        SimulatorError: A worker can't be started: the message says what is missing.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        reward: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        log_dir: Path | str | None = None,
        **settings: Any,
    ) -> None:
        function = reward if callable(reward) else None
        if not callable(reward):
            settings["reward"] = read_reward(reward)
        config = validate(ScenarioRunnerEnvConfig, settings, source="ScenarioRunner environment")
        if num_envs != 1:
            config = config.with_envs(num_envs)
        self._build(config, function, autoreset_mode, None if log_dir is None else Path(log_dir))

    @classmethod
    def from_config(
        cls,
        config: ScenarioRunnerEnvConfig,
        *,
        reward: RewardFunction | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        log_dir: Path | None = None,
    ) -> Self:
        """Returns the environment that `config` describes; arguments as in the class."""
        env = cls.__new__(cls)
        env._build(config, reward, autoreset_mode, log_dir)
        return env

    def _build(
        self,
        config: ScenarioRunnerEnvConfig,
        reward: RewardFunction | None,
        autoreset_mode: AutoresetMode | str,
        log_dir: Path | None,
    ) -> None:
        find_checkout(config)  # said here, not from a worker's grave
        # Folders are resolved now: workers don't start where this process stands.
        folders = {name: config.find(name) for name in ("root", "packages", "agents", "maps")}
        config = config.model_copy(update=folders)
        self.config = config
        self.decision_s = config.decision_s
        self._own_reward = None if reward is None else Reward(reward)
        makers = [driver_maker(config, index, None) for index in range(config.num_envs)]
        super().__init__(makers, autoreset_mode=autoreset_mode, supervision=config.supervision, log_dir=log_dir)
        self.slice_names = config.slice_names

    def step(
        self, actions: ArrayLike, *, active: NDArray[np.bool_] | None = None
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Takes a step in every environment.

        Args:
            actions: [N, 2].
            active: bool [N], in `DISABLED` mode only: whom to drive. The others stand still, pay 0 and end nothing.

        Returns:
            As `AsyncVectorEnv.step`.

        Raises:
            ConfigError: `active` in another mode.
        """
        if active is None or bool(np.all(active)):
            obs, reward, over, cut, info = super().step(actions)
        elif self._mode is not AutoresetMode.DISABLED:
            raise ConfigError(f"step(active=...) needs autoreset_mode DISABLED, this is {self._mode.name}.")
        else:
            obs, reward, over, cut, info = self._step_some(np.asarray(actions), np.asarray(active, np.bool_))
        if self._own_reward is not None and "reward_terms" in info:
            reward = self._own_reward(info["reward_terms"].astype(np.float32)).astype(np.float64)
        return obs, reward, over, cut, info

    def _step_some(
        self, actions: NDArray[Any], active: NDArray[np.bool_]
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        ids = np.flatnonzero(active)
        if self._observations is None or self._ended[ids].any():
            raise gym.error.ResetNeeded(f"the episodes of {ids[self._ended[ids]].tolist()} have ended; reset them.")
        self.batch.send(actions[ids], ids)
        results = self.batch.recv()
        reward = np.zeros(self.num_envs)
        over, cut = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        reward[results.env_ids] = results.reward
        over[results.env_ids], cut[results.env_ids] = results.terminated, results.truncated
        were = self._ended.copy()
        obs, info = self._observe(results)
        self._ended = were | over | cut
        return obs, reward, over, cut, info
