"""The environment inside of a worker process: the only place where ScenarioRunner is imported."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from carla_online import _native
from carla_online.envs.contract import INFO_KEYS, INFRACTION_NAMES, REWARD_TERM_NAMES, TEXT_KEYS, Capabilities
from carla_online.envs.reward import Reward, RewardFunction
from carla_online.envs.scenario_runner import upstream
from carla_online.envs.scenario_runner.checkout import find_checkout, make_importable
from carla_online.envs.scenario_runner.config import ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.ledger import Entry, TreeState
from carla_online.envs.scenario_runner.session import Session, quietly_cleared
from carla_online.envs.scenario_runner.town import Town
from carla_online.envs.seeding import Split, episode_seed
from carla_online.envs.world.scene import Polyline, Scene, read_road, read_scene
from carla_online.errors import ConfigError, EpisodeEnded, SimulatorError

_LIMIT: Final = np.float32(10.0)
_NOT_COLUMNS: Final = (
    "infractions", "reward_terms", "draws", "slice_index", "stage", "curriculum_level", "safety_intervened",
    "episode_seed",
)  # fmt: skip
"""Keys that this class fills in; the observing world's row has the others."""
_COLUMNS: Final = [key.name for key in INFO_KEYS if key.name not in _NOT_COLUMNS and key.dtype != object]
_ROW_NAMES: Final = ["progress" if name == "progress_m" else name for name in _native.WorldBatch.info_names()]
_PLACES: Final = np.array([_ROW_NAMES.index(name) for name in _COLUMNS])

Observation = Any
"""float32 [D], or a dictionary of `vector` and `birdseye`."""


class ScenarioDriver(gym.Env[Observation, NDArray[np.float32]]):
    """Drives scenarios in this very process; `ScenarioRunnerVectorEnv` runs it in processes of its own.

    Args:
        config: The configuration.
        index: Which of its servers to use.
        reward: A user's own reward function.

    Raises:
        ConfigError: ScenarioRunner can't be found.
        MissingExtra: CARLA's client or a requirement of ScenarioRunner is missing.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        episode_seeds=True, reward_terms=True, traffic_lights=True, walkers=True, weather=True, scene=True
    )
    """What this backend can do."""
    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own declaration

    def __init__(
        self, config: ScenarioRunnerEnvConfig, index: int = 0, *, reward: RewardFunction | None = None
    ) -> None:
        self.config = config
        world = json.loads(config.world_json(""))
        checkout = find_checkout(config)
        make_importable(checkout)
        upstream.mend()
        os.chdir(checkout.root)  # catalogs and some defaults are looked for from there
        self._reward = Reward(reward or config.reward)
        self._town = Town(config, index, float(world["simulation_step_s"]))
        self._session = Session(config, checkout, self._town, int(world["decision_steps"]))
        vector = Box(-_LIMIT, _LIMIT, (_native.WorldBatch.obs_dim,), np.float32)
        self.observation_space = vector
        self._birdseye_px = 0
        if config.birdseye is not None:
            self._birdseye_px = _native.WorldBatch.birdseye_size(config.birdseye)
            view = Box(0, 255, (self._birdseye_px, self._birdseye_px), np.uint8)
            self.observation_space = Dict({"vector": vector, "birdseye": view})
        self.action_space = Box(np.float32(-1.0), np.float32(1.0), (2,), np.float32)
        self._base_seed, self._episode = 0, 0
        self._seed = 0
        self._is_open = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: Base seed of this and all later episodes.
            options: `"episode_seed"`: the seed of this very episode.

        Raises:
            SimulatorError: The server failed, or ScenarioRunner can't build the scenario.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._base_seed, self._episode = seed, 0
        named = (options or {}).get("episode_seed")
        if named is None:
            named = episode_seed(Split.TRAIN, self._base_seed, self._episode)
            self._episode += 1
        self._seed, self._is_open = int(named), False
        try:
            row = self._session.begin(self._seed)
        except SimulatorError:
            quietly_cleared(self._session)
            raise
        self._is_open = True
        info = self._info(row, np.zeros(len(INFRACTION_NAMES), np.int32), np.zeros(len(REWARD_TERM_NAMES), np.float32))
        return self._observation(), info | {"drawn": self._drawn()}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drives for one decision.

        Args:
            action: float32 [2]: steer (positive right), signed throttle/brake.

        Raises:
            EpisodeEnded: There is no episode under way.
            SimulatorError: The server failed.
            ValueError: An action that isn't finite.
        """
        if not self._is_open:
            raise EpisodeEnded("no episode is under way; reset first.")
        given = np.asarray(action, np.float32)
        if given.shape != (2,):
            raise ConfigError(f"an action must have shape [2], got {list(given.shape)}.")
        steer, pedal = given.tolist()
        if not (math.isfinite(steer) and math.isfinite(pedal)):
            raise ValueError(f"the action is {[steer, pedal]}; send finite values.")
        steer, pedal = max(-1.0, min(steer, 1.0)), max(-1.0, min(pedal, 1.0))
        entry = self._session.drive(steer, pedal)
        reward = float(self._reward(entry.reward_terms[None])[0])
        info = self._info(entry.info, entry.infractions, entry.reward_terms)
        if entry.terminated or entry.truncated:
            self._is_open = False
            info["scenario"] = self._report(entry)
            sys.stdout.flush()
        return self._observation(), reward, entry.terminated, entry.truncated, info

    def scene(self) -> Scene:
        """Returns where the ego and the others are, and what holds at the stop lines near."""
        self._session.show_all_lights()
        return read_scene(self._session.mirror.scene(), self._session.mirror.stops())

    def road(self) -> list[Polyline]:
        """Returns the lines of the road."""
        return read_road(self._session.mirror.road())

    def close(self) -> None:
        """Clears the episode away and lets go of the server."""
        quietly_cleared(self._session)
        self._town.close()

    def _observation(self) -> Observation:
        vector = self._session.obs
        if not self._birdseye_px:
            return vector
        view = np.zeros((self._birdseye_px, self._birdseye_px), np.uint8)
        assert self.config.birdseye is not None
        self._session.mirror.birdseye(self.config.birdseye, view)
        return {"vector": vector, "birdseye": view}

    def _info(
        self, row: NDArray[np.float64], infractions: NDArray[np.int32], terms: NDArray[np.float32]
    ) -> dict[str, Any]:
        # Plain numbers: the worker's shared arrays have the contract's types.
        info: dict[str, Any] = dict(zip(_COLUMNS, row[_PLACES].tolist(), strict=True))
        info |= {
            "infractions": infractions,
            "reward_terms": terms,
            "draws": self._session.draws.copy(),
            "slice_index": self._session.scenario_index,
            "stage": 0,
            "curriculum_level": -1,
            "safety_intervened": False,
            "episode_seed": self._seed,
            **dict.fromkeys(TEXT_KEYS, ""),
        }
        return info

    def _drawn(self) -> dict[str, Any]:
        drawn = self._session.drawn
        return {
            "scenario": self._session.scenario.name,
            "vehicles": drawn.vehicles,
            "pedestrians": drawn.pedestrians,
            "background_density": drawn.background_density,
            # A key with an underscore is a mask to Gymnasium's vector environments.
            **{name.lstrip("_"): value for name, value in drawn.parameters.items()},
        }

    def _report(self, entry: Entry) -> dict[str, Any]:
        """What ScenarioRunner itself says about the episode, and what the last clean-up found."""
        return {
            "name": self._session.scenario.name,
            "ended": str(self._session.state if self._session.state is not TreeState.RUNNING else "by the world"),
            "story_failed": self._session.has_story_failed,
            "criteria": self._session.criteria.verdicts(),
            "drawn": self._drawn(),
            "left_over": self._session.left_over,
            "tree_s": self._session.tree_s,
        }


def driver_maker(
    config: ScenarioRunnerEnvConfig, index: int, reward: RewardFunction | None
) -> Callable[[], ScenarioDriver]:
    """Returns the function that makes the environment in its process."""
    return lambda: ScenarioDriver(config, index, reward=reward)
