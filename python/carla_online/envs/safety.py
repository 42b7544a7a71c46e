"""The safety layer: a wrapper between the proposed and the executed action, for any trainer and any backend.

The arithmetic is native and works on the driving world's vector observation, which every backend gives (as it is, or
under `"vector"` in a `Dict`). `info` tells both actions and why they differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from carla_online import _native
from carla_online.config import Config, validate
from carla_online.envs.contract import INFRACTION_NAMES, Capabilities, Snapshot, capabilities, state_layer
from carla_online.errors import CheckpointError, ConfigError

SAFETY_CAUSES: Final = tuple(_native.SafetyFilter.cause_names())
"""Why an action was changed: the bits of `info["safety_causes"]`, from the lowest."""

_PREFIX: Final = "safety."
_STATE: Final = ("last", "latch_s")


class SafetyConfig(Config):
    """What stands between the proposed and the executed action."""

    mode: Literal["off", "monitor", "enforce"] = "off"
    """`off`: nothing. `monitor`: actions stay as they are, `info` tells what would have been changed. `enforce`:
    actions are changed."""
    limits: dict[str, float] = Field(default_factory=dict)
    """How cautious: `response_s`, `brake_ttc_s`, `front_gap_s`, ...; those not named keep their default."""
    terminate_on: tuple[Literal[INFRACTION_NAMES], ...] = ()  # type: ignore[valid-type]
    """Infractions that end an episode at once, in every mode."""

    def native_json(self, *, decision_s: float) -> str:
        """Returns the native settings as JSON."""
        return json.dumps({"decision_s": decision_s, **self.limits})


class SafetyFilter:
    """The native arithmetic for N environments, with what it remembers of each.

    Args:
        config: Settings.
        space: The observations of one environment: the driving world's vector, or a `Dict` that holds it.
        count: N.
        decision_s: Seconds between two decisions.

    Raises:
        ConfigError: Other observations, or settings that are unknown or out of range.
    """

    def __init__(self, config: SafetyConfig, space: gym.Space[Any], *, count: int, decision_s: float) -> None:
        vector = space.spaces.get("vector") if isinstance(space, Dict) else space
        if not isinstance(vector, Box) or not _begins_as_the_world(vector):
            raise ConfigError(
                f"the safety layer reads the driving world's observation, {_native.WorldBatch.obs_dim} numbers (or a "
                f"Dict with them under 'vector', features of a backbone behind them), got {space}."
            )
        self._is_dict = isinstance(space, Dict)
        self.mode = config.mode
        self._native = _native.SafetyFilter(config.native_json(decision_s=decision_s))
        self.last: NDArray[np.float32] = np.zeros((count, 2), np.float32)
        self.latch_s: NDArray[np.float32] = np.zeros(count, np.float32)
        self.causes: NDArray[np.uint8] = np.zeros(count, np.uint8)

    def decide(self, observations: Any, proposed: NDArray[np.float32], rows: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Returns the actions to execute.

        Args:
            observations: What the actions answer, float32 [N, D] or a dictionary.
            proposed: float32 [N, 2].
            rows: bool [N]: environments that will be driven; the others' actions and memories stay as they are.

        Raises:
            ValueError: An action or observation that isn't finite.
        """
        if self.mode == "off":
            self.causes[...] = 0
            return proposed
        vector = observations["vector"] if self._is_dict else observations
        before = {name: getattr(self, name)[~rows] for name in _STATE}
        executed = np.empty_like(proposed)
        numbers = np.ascontiguousarray(vector[:, : _native.WorldBatch.obs_dim], np.float32)
        self._native.decide(numbers, proposed, self.last, self.latch_s, executed, self.causes)
        for name, kept in before.items():
            getattr(self, name)[~rows] = kept
        self.causes[~rows] = 0
        if self.mode == "monitor":
            self.last[rows] = np.clip(proposed[rows], -1.0, 1.0)
            return proposed
        executed[~rows] = proposed[~rows]
        return executed

    def forget(self, rows: NDArray[np.bool_]) -> None:
        """Begins anew in `rows` (bool [N]), whose episodes have ended."""
        self.last[rows] = 0.0
        self.latch_s[rows] = 0.0

    def info(self, proposed: NDArray[np.float32], executed: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Returns what `info` gets: both actions, whether one was changed, and the causes."""
        return {
            "proposed_action": proposed.copy(),
            "executed_action": executed.copy(),
            "safety_intervened": (self.causes != 0) & (self.mode == "enforce"),
            "safety_causes": self.causes.copy(),
        }


def _begins_as_the_world(vector: Box) -> bool:
    """Whether these are the driving world's numbers, alone or with unbounded features behind them."""
    known = _native.WorldBatch.obs_dim
    if len(vector.shape) != 1 or vector.shape[0] < known:
        return False
    return vector.shape[0] == known or not np.isfinite(vector.high[known:]).any()


class SafetyLayer(VectorWrapper[Any, Any, Any]):
    """Puts the safety layer around a vector environment.

    `info` has, from `reset` on, `proposed_action` and `executed_action` (float32 [N, 2]), `safety_intervened` (bool
    [N], an action was changed) and `safety_causes` (uint8 [N], bits of `SAFETY_CAUSES`; in mode `monitor` what would
    have been changed).

    Args:
        env: A vector environment with the driving world's observations and actions, in any autoreset mode.
        config: Settings, or a mapping of them.
        decision_s: Seconds between two decisions.

    Raises:
        ConfigError: Other spaces, or wrong settings.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], config: SafetyConfig | Mapping[str, Any], *, decision_s: float = 0.1
    ) -> None:
        super().__init__(env)
        self.config = _read(config)
        self._filter = SafetyFilter(
            self.config, env.single_observation_space, count=env.num_envs, decision_s=decision_s
        )
        self._observations: Any = None
        self._due_reset: NDArray[np.bool_] = np.zeros(env.num_envs, np.bool_)

    @property
    def capabilities(self) -> Capabilities:
        """What the environment can do; the layer keeps its own state with the environment's."""
        return capabilities(self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins new episodes; see the environment."""
        observations, infos = self.env.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        rows = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        self._filter.forget(rows)
        self._filter.causes[...] = 0
        self._due_reset[rows] = False
        self._observations = observations
        return observations, infos | self._info(self._filter.last, self._filter.last, rows)

    def step(self, actions: ArrayLike, **options: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Executes the nearest safe actions.

        Args:
            actions: What the policy proposes, float32 [N, 2].
            **options: Passed on; `active`: bool [N], environments to drive.

        Raises:
            ConfigError: Actions of another shape.
            gymnasium.error.ResetNeeded: Nothing was reset yet.
            ValueError: An action that isn't finite.
        """
        if self._observations is None:
            raise gym.error.ResetNeeded("call reset() before step().")
        proposed = np.ascontiguousarray(actions, np.float32)
        if proposed.shape != (self.num_envs, 2):
            raise ConfigError(f"actions must have shape [{self.num_envs}, 2], got {list(proposed.shape)}.")
        driven = ~self._due_reset
        if options.get("active") is not None:
            driven &= np.asarray(options["active"], np.bool_)
        executed = self._filter.decide(self._observations, proposed, driven)
        observations, reward, terminated, truncated, infos = self.env.step(executed, **options)
        ended = np.logical_or(terminated, truncated)
        self._filter.forget(ended)
        self._observations = observations
        self._due_reset = ended & (self.env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP)
        own = self._info(proposed, executed, np.ones(self.num_envs, np.bool_))
        infos = infos | own
        if "final_info" in infos:
            infos["final_info"] = infos["final_info"] | own
        return observations, reward, terminated, truncated, infos

    def snapshot(self) -> Snapshot:
        """Returns the complete state of environment and layer."""
        inner: Snapshot = state_layer(self.env).snapshot()
        return inner | {f"{_PREFIX}{name}": getattr(self._filter, name).copy() for name in _STATE}

    def restore(self, snapshot: Snapshot) -> Any:
        """Returns to a snapshot; what follows is bit-equal.

        Raises:
            CheckpointError: It is of another environment.
        """
        own = {name: snapshot.get(f"{_PREFIX}{name}") for name in _STATE}
        for name, seen in own.items():
            expected = getattr(self._filter, name)
            if seen is None or seen.shape != expected.shape or seen.dtype != expected.dtype:
                raise CheckpointError(
                    f"the snapshot has no {_PREFIX}{name} of float32 {list(expected.shape)}: it was taken without "
                    f"the safety layer, or of another number of environments."
                )
        inner = {name: value for name, value in snapshot.items() if not name.startswith(_PREFIX)}
        self._observations = state_layer(self.env).restore(inner)
        for name, seen in own.items():
            getattr(self._filter, name)[...] = seen
        ended = inner.get("ended")
        self._due_reset[...] = False if ended is None else ended
        self._due_reset &= self.env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP
        return self._observations

    def _info(
        self, proposed: NDArray[np.float32], executed: NDArray[np.float32], rows: NDArray[np.bool_]
    ) -> dict[str, Any]:
        own: dict[str, Any] = dict(self._filter.info(proposed, executed))
        return own | {f"_{name}": rows.copy() for name in own}


class SafetyEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Puts the safety layer around a single environment; see `SafetyLayer`.

    Args:
        env: An environment with the driving world's observations and actions.
        config: Settings, or a mapping of them.
        decision_s: Seconds between two decisions.

    Raises:
        ConfigError: Other spaces, or wrong settings.
    """

    def __init__(
        self, env: gym.Env[Any, Any], config: SafetyConfig | Mapping[str, Any], *, decision_s: float = 0.1
    ) -> None:
        super().__init__(env)
        self.config = _read(config)
        self._filter = SafetyFilter(self.config, env.observation_space, count=1, decision_s=decision_s)
        self._observation: Any = None

    @property
    def capabilities(self) -> Capabilities:
        """What the environment can do; the layer keeps its own state with the environment's."""
        return capabilities(self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins a new episode; see the environment."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._filter.forget(np.ones(1, np.bool_))
        self._filter.causes[...] = 0
        return self._observation, info | self._info(self._filter.last, self._filter.last)

    def step(self, action: ArrayLike) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Executes the nearest safe action.

        Raises:
            ConfigError: An action of another shape.
            gymnasium.error.ResetNeeded: Nothing was reset yet.
            ValueError: An action that isn't finite.
        """
        if self._observation is None:
            raise gym.error.ResetNeeded("call reset() before step().")
        proposed = np.ascontiguousarray(action, np.float32)[None]
        if proposed.shape != (1, 2):
            raise ConfigError(f"an action must have shape [2], got {list(proposed.shape[1:])}.")
        executed = self._filter.decide(_batch_of_one(self._observation), proposed, np.ones(1, np.bool_))
        self._observation, reward, terminated, truncated, info = self.env.step(executed[0])
        return self._observation, reward, terminated, truncated, info | self._info(proposed, executed)

    def snapshot(self) -> Snapshot:
        """Returns the complete state of environment and layer."""
        inner: Snapshot = state_layer(self.env).snapshot()
        return inner | {f"{_PREFIX}{name}": getattr(self._filter, name).copy() for name in _STATE}

    def restore(self, snapshot: Snapshot) -> Any:
        """Returns to a snapshot and returns the observation to act on."""
        inner = {name: value for name, value in snapshot.items() if not name.startswith(_PREFIX)}
        if len(inner) + len(_STATE) != len(snapshot):
            raise CheckpointError("the snapshot was taken without the safety layer; restore it into the bare one.")
        self._observation = state_layer(self.env).restore(inner)
        for name in _STATE:
            getattr(self._filter, name)[...] = snapshot[f"{_PREFIX}{name}"]
        return self._observation

    def _info(self, proposed: NDArray[np.float32], executed: NDArray[np.float32]) -> dict[str, Any]:
        own = {name: value[0] for name, value in self._filter.info(proposed, executed).items()}
        return own | {"safety_intervened": bool(own["safety_intervened"]), "safety_causes": int(own["safety_causes"])}


def project(
    actions: NDArray[np.floating[Any]], gradients: NDArray[np.floating[Any]], bounds: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Returns the nearest actions that keep linear constraints, exactly.

    Where constraints contradict each other the last ones are given up first.

    Args:
        actions: [N, 2].
        gradients: [N, M, 2].
        bounds: [N, M]: `gradients . action <= bounds`; for a learned constraint c + g a <= C, that is C - c.

    Returns:
        float64 [N, 2].

    Source: https://arxiv.org/abs/1801.08757 (Dalal et al.), equation 6, extended to several active constraints.
    """
    out = np.empty(np.shape(actions), np.float64)
    arrays = [np.ascontiguousarray(array, np.float64) for array in (actions, gradients, bounds)]
    _native.project_actions(arrays[0], arrays[1], arrays[2], out)
    return out


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {name: np.asarray(value)[None] for name, value in observation.items()}
    return np.asarray(observation)[None]


def _read(config: SafetyConfig | Mapping[str, Any]) -> SafetyConfig:
    return config if isinstance(config, SafetyConfig) else validate(SafetyConfig, config, source="safety")
