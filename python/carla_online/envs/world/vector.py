"""Many embedded driving worlds as one Gymnasium vector environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from carla_online import _native
from carla_online.config import validate
from carla_online.envs.contract import Capabilities, Snapshot
from carla_online.envs.curriculum import Curriculum, successes
from carla_online.envs.reward import Reward, RewardConfig, RewardFunction, read_reward
from carla_online.envs.seeding import Split, episode_seeds, stream_seeds
from carla_online.envs.world.arguments import read_actions, read_mask, read_mode, read_options, read_sequences
from carla_online.envs.world.birdseye import BirdseyeBuffer
from carla_online.envs.world.buffers import WorldBuffers
from carla_online.envs.world.config import EpisodesConfig, WorldEnvConfig
from carla_online.envs.world.picture import draw
from carla_online.envs.world.scene import Polyline, Scene, read_road, read_scene
from carla_online.envs.world.staged import StagedBatch
from carla_online.envs.world.state import WorldVectorState
from carla_online.errors import ConfigError

Observations = NDArray[np.float32]
StepResult = tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]

OBSERVATION_LIMIT = 10.0
"""Every observed value is scaled and clipped to [-10, 10]."""


class WorldVectorEnv(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """`num_envs` independent driving worlds, stepped in one native call.

    Observations are float32 [N, 144] (`WorldBatch.layout()` names them); with `observation="birdseye_small"` or
    `"birdseye_carl"` a dictionary of these, `"vector"`, and `"birdseye"`, uint8 [N, S, S] with one bit a plane
    (`WorldBatch.birdseye_planes()`). Actions are float32 [N, 2]: steer
    (positive right) and signed throttle/brake in [-1, 1]; larger values are clipped, NaN is refused. `info`
    is `contract.INFO_KEYS`.

    Episode k of world i under `reset(seed=s)` is a function of (s, i, k) in the training family of seeds,
    whatever the other worlds do and however many threads step them. `options={"episode_seeds": uint64 [N]}`
    names the episodes instead; the ones that follow continue the sequence.

    Autoreset (`autoreset_mode`): `NEXT_STEP`, Gymnasium's default: the step after an end resets that world,
    ignores its action and pays 0. `SAME_STEP`: the world is reset at once; the last observation and info
    stand in `info["final_obs"]` and `info["final_info"]`. `DISABLED`: the caller resets with
    `options={"reset_mask": bool [N]}`.

    Args:
        num_envs: Number of worlds.
        map: Preset or parts, see `WorldEnvConfig`.
        traffic: Preset or parts.
        ego: Parts of the ego's section.
        simulation: The world's remaining keys.
        weather: Preset or parts.
        randomization: Preset: what every episode draws anew.
        observation: `vector`, `birdseye_small` or `birdseye_carl`.
        curriculum: A curriculum's name, or its stages; see `CurriculumConfig`.
        threads: Threads that step the worlds; results don't depend on it.
        reward: A preset's name, weights, or a function float32 [N, K] to float32 [N].
        autoreset_mode: See above.
        copy: Return fresh observations. With `False` the same array is returned every time and overwritten by
            the next call: faster by one copy, for callers that store rows at once.
        render_mode: `None` or `"rgb_array"`.

    Raises:
        ConfigError: Unknown presets or keys, values out of range; all of them at once.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own declaration
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_restore=True, episode_seeds=True, reward_terms=True, scene=True, weather=True
    )
    """What this backend can do."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        map: str | dict[str, Any] = "straight",
        traffic: str | dict[str, Any] = "default",
        ego: dict[str, Any] | None = None,
        simulation: dict[str, Any] | None = None,
        weather: str | dict[str, Any] = "clear",
        randomization: str = "none",
        observation: str = "vector",
        curriculum: str | dict[str, Any] = "none",
        threads: int = 1,
        reward: RewardConfig | str | Mapping[str, Any] | RewardFunction | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
    ) -> None:
        parts: dict[str, Any] = {
            "num_envs": num_envs,
            "map": map,
            "traffic": traffic,
            "ego": ego or {},
            "simulation": simulation or {},
            "weather": weather,
            "randomization": randomization,
            "observation": observation,
            "curriculum": curriculum,
            "threads": threads,
        }
        function = reward if callable(reward) else None
        if not callable(reward):
            parts["reward"] = read_reward(reward)
        config = validate(WorldEnvConfig, parts, source="world environment")
        self._build(config, Reward(function or config.reward), autoreset_mode, copy, render_mode)

    @classmethod
    def from_config(
        cls,
        config: EpisodesConfig,
        *,
        reward: RewardFunction | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
    ) -> Self:
        """Returns the environment that `config` describes.

        Args:
            config: The description.
            reward: The user's own reward function, in place of the weights in `config`.
            autoreset_mode: As in the class.
            copy: As in the class.
            render_mode: As in the class.
        """
        env = cls.__new__(cls)
        env._build(config, Reward(reward or config.reward), autoreset_mode, copy, render_mode)
        return env

    def _build(
        self,
        config: EpisodesConfig,
        reward: Reward,
        autoreset_mode: AutoresetMode | str,
        copy: bool,
        render_mode: str | None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"unknown render_mode {render_mode!r}; use None or 'rgb_array'.")
        self.config = config
        self.slice_names = config.slice_names
        self.num_envs = config.num_envs
        self.render_mode = render_mode
        self._mode = read_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self._mode}
        self._copy = copy
        stages = config.stage_configs()
        course = config.course_of_stages()
        self.curriculum = None if course is None else Curriculum(course)
        self._rewards = tuple(
            reward if reward.is_function or course is None else Reward(stage.reward) for stage in stages
        )
        self._worlds_json = tuple(stage.world_json() for stage in stages)
        self._fingerprint = "\n".join(self._worlds_json)
        self.decision_s = _decision_s(self._worlds_json)
        self._buffers = WorldBuffers(config.num_envs)
        self._batch = self._make_batch(config, self._buffers)
        limit = np.float32(OBSERVATION_LIMIT)
        vector = Box(-limit, limit, (self._buffers.obs_dim,), np.float32)
        self.single_observation_space = vector
        self._birdseye = None if config.birdseye is None else BirdseyeBuffer(self._batch, config.birdseye)
        if self._birdseye is not None:
            self.single_observation_space = Dict({"vector": vector, "birdseye": self._birdseye.space})
        self.single_action_space = Box(np.float32(-1.0), np.float32(1.0), (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._state = WorldVectorState.empty(self.num_envs)

    def _make_batch(self, config: EpisodesConfig, buffers: WorldBuffers) -> Any:
        """Returns a `WorldBatch`, or what has its face."""
        if self.curriculum is None:
            return _native.WorldBatch(num_envs=config.num_envs, config=self._worlds_json[0], threads=config.threads)
        return StagedBatch(self._worlds_json, num_envs=config.num_envs, threads=config.threads)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: Base seed of all later episodes. Without one the sequence goes on (a random one at the first
                call).
            options: `"reset_mask"`: bool [N], the worlds to reset (all). `"episode_seeds"`: uint64 [N], the
                episodes. `"sequences"`: integers [N] below N, with a seed: worlds with the same number drive the
                same episodes.

        Returns:
            Observations float32 [N, D] (of worlds not reset: their last) and infos; the `_key` masks mark the
            worlds reset.

        Raises:
            ConfigError: An unknown option, or one of a wrong shape or type.
        """
        mask, seeds = read_options(options, self.num_envs, is_first=not self._state.is_seeded)
        super().reset(seed=seed)
        state = self._state
        if seed is None and not state.is_seeded:
            seed = int(self.np_random.integers(2**63))
        if seed is not None:
            state.seed_rows(mask, stream_seeds(int(seed), self.num_envs)[read_sequences(options, self.num_envs)])
        self._begin_episodes(mask, seeds)
        return self._observations(), self._buffers.infos(mask, state.episode_seeds)

    def step(self, actions: NDArray[Any], *, active: NDArray[np.bool_] | None = None) -> StepResult:
        """Drives every world for one decision.

        Args:
            actions: float32 [N, 2].
            active: bool [N], in `DISABLED` mode only: worlds to drive. The others stand still, pay 0 and end
                nothing, so that finished episodes can wait for the last one.

        Returns:
            `(obs float32 [N, D], reward float64 [N], terminated bool [N], truncated bool [N], info)`.

        Raises:
            gymnasium.error.ResetNeeded: A world was never reset, or has ended (`DISABLED`).
            ConfigError: Actions of another shape.
            ValueError: An action that isn't finite.
        """
        buffers, state = self._buffers, self._state
        given = read_actions(actions, self.num_envs)
        driven = self._driven_rows(active)
        idle = ~driven
        if driven.any():
            self._batch.step(
                given, buffers.obs, buffers.reward_terms, buffers.terminated, buffers.truncated,
                buffers.info, buffers.infractions, driven,
            )  # fmt: skip
            self._draw(driven)
        buffers.clear_step(idle)
        reward = self._paid()
        reward[idle] = 0.0
        terminated, truncated = buffers.terminated.copy(), buffers.truncated.copy()
        final: dict[str, Any] = {}
        if self._mode is AutoresetMode.NEXT_STEP and idle.any():
            self._begin_episodes(idle, None)
        state.ended[driven] = (terminated | truncated)[driven]
        self._learn_from(driven & state.ended)
        if self._mode is AutoresetMode.SAME_STEP and state.ended.any():
            ended = state.ended.copy()
            final = self._final_infos(ended)
            self._begin_episodes(ended, None)
        infos = buffers.infos(np.ones(self.num_envs, np.bool_), state.episode_seeds)
        return self._observations(), reward, terminated, truncated, {**infos, **final}

    def snapshot(self) -> Snapshot:
        """Returns the complete state: the worlds, the seed counters, and which resets are due.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset there is no state.
        """
        self._require_reset()
        packed = self._state.pack(self._batch, self._buffers, self._fingerprint)
        return packed if self.curriculum is None else packed | self.curriculum.state()

    def restore(self, snapshot: Snapshot) -> Any:
        """Returns to a `snapshot` of an environment of the same configuration; what follows is bit-equal.

        Args:
            snapshot: What `snapshot` returned, of this or another process.

        Returns:
            The observations to act on, as `reset` gives them.

        Raises:
            CheckpointError: The snapshot is damaged, or of another configuration. The environment keeps its
                state.
        """
        own = dict(snapshot)
        course: dict[str, NDArray[Any]] = {}
        if self.curriculum is not None:
            course = {name: own.pop(name) for name in self.curriculum.state() if name in own}
            Curriculum(self.curriculum.config).load(course)  # refuses before anything has changed
        self._state = self._state.unpack(own, self._batch, self._buffers, self._fingerprint)
        if self.curriculum is not None:
            self.curriculum.load(course)
        self._draw(np.ones(self.num_envs, np.bool_))
        return self._observations()

    def scene(self, index: int) -> Scene:
        """Returns where the ego and the other actors of world `index` are."""
        row = self._checked_index(index)
        return read_scene(self._batch.scene(row), self._batch.stops(row))

    def road(self, index: int) -> list[Polyline]:
        """Returns the lines of the road of world `index`."""
        return read_road(self._batch.road(self._checked_index(index)))

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Returns a picture from above for each world, uint8 [240, 240, 3]; `None` without a render mode."""
        if self.render_mode is None:
            return None
        self._require_reset()
        return tuple(draw(self.scene(index), self.road(index)) for index in range(self.num_envs))

    def _observations(self) -> Any:
        vector = self._buffers.obs.copy() if self._copy else self._buffers.obs
        if self._birdseye is None:
            return vector
        views = self._birdseye.views
        return {"vector": vector, "birdseye": views.copy() if self._copy else views}

    def _draw(self, rows: NDArray[np.bool_]) -> None:
        if self._birdseye is not None:
            self._birdseye.draw(rows)

    def _begin_episodes(self, rows: NDArray[np.bool_], seeds: NDArray[np.uint64] | None) -> None:
        state, buffers = self._state, self._buffers
        if seeds is None:
            seeds = episode_seeds(Split.TRAIN, state.base_seeds, state.episode_numbers)
            state.episode_numbers[rows] += np.uint64(1)
        state.episode_seeds[rows] = seeds[rows]
        if self.curriculum is not None:
            stages = self.curriculum.choose(state.episode_seeds)
            buffers.stages[rows] = stages[rows]
            buffers.levels[rows] = self.curriculum.level
            self._batch.assign(stages, rows)
        self._batch.reset(state.episode_seeds, rows, buffers.obs, buffers.info)
        self._batch.draws(rows, buffers.draws)
        self._draw(rows)
        buffers.clear_step(rows)
        buffers.infractions[rows] = 0
        state.ended[rows] = False

    def _paid(self) -> NDArray[np.float64]:
        """Returns the rewards of the step just taken, float64 [N], each by its stage's weights."""
        terms, stages = self._buffers.reward_terms, self._buffers.stages
        if len(self._rewards) == 1:
            return self._rewards[0](terms).astype(np.float64)
        paid = np.zeros(self.num_envs, np.float64)
        for stage, reward in enumerate(self._rewards):
            rows = stages == stage
            if rows.any():
                paid[rows] = reward(terms[rows])
        return paid

    def _learn_from(self, ended: NDArray[np.bool_]) -> None:
        """Tells the curriculum of the episodes that ended; a simulator's failure says nothing."""
        if self.curriculum is None or not ended.any():
            return
        buffers = self._buffers
        counted = ended & (buffers.sim_failures == "")
        finished = buffers.column("finished").astype(np.bool_)
        self.curriculum.note(buffers.stages[counted], successes(finished, buffers.infractions)[counted])
        buffers.levels[ended] = self.curriculum.level

    def _driven_rows(self, active: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        self._require_reset()
        if self._mode is AutoresetMode.NEXT_STEP and active is None:
            return ~self._state.ended
        if active is None:
            driven = np.ones(self.num_envs, np.bool_)
        elif self._mode is AutoresetMode.DISABLED:
            driven = read_mask("active", active, self.num_envs).copy()
        else:
            raise ConfigError(f"step(active=...) needs autoreset_mode DISABLED, this is {self._mode.name}.")
        late = np.flatnonzero(driven & self._state.ended)
        if late.size:
            raise gym.error.ResetNeeded(
                f"the episodes of the worlds {late.tolist()} have ended; reset them with "
                f"options={{'reset_mask': ...}} before stepping them."
            )
        return driven

    def _final_infos(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        observations = np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(ended):
            vector = self._buffers.obs[index].copy()
            observations[index] = vector
            if self._birdseye is not None:
                observations[index] = {"vector": vector, "birdseye": self._birdseye.views[index].copy()}
        return {
            "final_obs": observations,
            "_final_obs": ended.copy(),
            "final_info": self._buffers.infos(ended, self._state.episode_seeds),
            "_final_info": ended.copy(),
        }

    def _checked_index(self, index: int) -> int:
        self._require_reset()
        if not 0 <= index < self.num_envs:
            raise IndexError(f"world {index} of {self.num_envs}: use 0 to {self.num_envs - 1}.")
        return int(index)

    def _require_reset(self) -> None:
        if not self._state.is_seeded:
            raise gym.error.ResetNeeded("call reset() before using the environment.")


def _decision_s(worlds_json: tuple[str, ...]) -> float:
    """Returns the seconds between two decisions, which all stages must share."""
    worlds = [json.loads(world) for world in worlds_json]
    lengths = {(world["simulation_step_s"], world["decision_steps"]) for world in worlds}
    if len(lengths) > 1:
        raise ConfigError(
            f"the curriculum's stages have steps and decisions of {sorted(lengths)}; a policy needs one pace: "
            "set simulation_step_s and decision_steps alike."
        )
    step_s, steps = lengths.pop()
    return float(step_s * steps)
