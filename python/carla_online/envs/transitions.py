"""One stream of transitions from any Gymnasium vector environment, whatever its autoreset mode.

The modes differ in where the last observation of an episode stands and in whether a step is lost at the
border. Code that stores experience must not care: `TransitionSource.step` returns complete transitions, the
true next observation of each, and which rows are transitions at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from carla_online.config import describe_errors
from carla_online.envs import NAMESPACE, register_envs
from carla_online.envs.carla import CarlaEnvConfig, CarlaVectorEnv
from carla_online.envs.contract import Capabilities, Snapshot, capabilities, state_layer
from carla_online.envs.observations import ObservationArray, ObservationLayout
from carla_online.envs.safety import SafetyConfig, SafetyLayer
from carla_online.envs.scenario_runner import ScenarioRunnerEnvConfig, ScenarioRunnerVectorEnv
from carla_online.envs.seeding import stream_seeds
from carla_online.envs.toy import GymnasiumEnvConfig, ToyVectorEnv
from carla_online.envs.world import WorldEnvConfig, WorldVectorEnv
from carla_online.errors import CapabilityError, CheckpointError, ConfigError

AnyEnvConfig = WorldEnvConfig | CarlaEnvConfig | ScenarioRunnerEnvConfig | GymnasiumEnvConfig
EnvConfig = Annotated[AnyEnvConfig, Field(discriminator="kind")]
"""The `env` section of a config: `kind: world`, `carla`, `scenario_runner` or `gymnasium`."""

_ENV_CONFIG: Final[TypeAdapter[AnyEnvConfig]] = TypeAdapter(EnvConfig)
_ENV_PREFIX: Final = "env."


@dataclass(frozen=True, slots=True)
class Step:
    """One transition for each environment."""

    obs: ObservationArray
    """What to act on next, float32 [N, D], or structured [N] where there is a view from above."""
    next_obs: ObservationArray
    """The true next observation of this transition, of the same kind: where an episode ended its last one, not
    the next episode's first."""
    reward: NDArray[np.float32]
    """float32 [N]."""
    terminated: NDArray[np.bool_]
    """The episode ended; its value stops here: bool [N]."""
    truncated: NDArray[np.bool_]
    """The episode was cut; its value goes on: bool [N]."""
    valid: NDArray[np.bool_]
    """False where this was no transition but the reset of `NEXT_STEP`, whose action was ignored: bool [N]."""
    info: dict[str, Any]
    """The vector info of these transitions; rows of ended episodes tell of the ended episode."""


class ActionScaling:
    """Maps actions in [-1, 1] onto an environment's box.

    Args:
        space: The actions of one environment; a box of one dimension with finite bounds.

    Raises:
        ConfigError: Another kind of space.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        if not isinstance(space, Box) or len(space.shape) != 1 or not space.is_bounded():
            raise ConfigError(f"actions must be a Box of one dimension with finite bounds, got {space}.")
        if not np.issubdtype(space.dtype, np.floating):
            raise ConfigError(f"actions must be floating point, got {space}.")
        self.dimension = space.shape[0]
        self._dtype = space.dtype
        self._low, self._high = space.low.astype(np.float64), space.high.astype(np.float64)
        self._is_identity = bool(np.all(self._low == -1.0) and np.all(self._high == 1.0))

    def __call__(self, actions: NDArray[np.float32]) -> NDArray[Any]:
        """Returns `actions` (float32 [N, A] in [-1, 1], clipped) in the environment's units and type."""
        clipped = np.clip(actions, -1.0, 1.0)
        if self._is_identity:
            return clipped.astype(self._dtype)
        share = (clipped.astype(np.float64) + 1.0) / 2.0
        return (self._low + share * (self._high - self._low)).astype(self._dtype)


class TransitionSource:
    """Steps a vector environment and returns transitions, alike in all three autoreset modes.

    Args:
        env: Any vector environment with continuous actions and flat observations, or a `Dict` of such with a view
            from above (`ObservationLayout`). Its mode is read from
            `metadata["autoreset_mode"]`. In `DISABLED` mode ended rows are reset here.

    Raises:
        ConfigError: Spaces of another kind, or no autoreset mode in the metadata.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.scaling = ActionScaling(env.single_action_space)
        self.layout = ObservationLayout.of(env.single_observation_space)
        self.obs_dim = self.layout.dim
        self.action_dim = self.scaling.dimension
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ConfigError(f"{env}.metadata['autoreset_mode'] must be an AutoresetMode, got {mode!r}.")
        self._mode = mode
        self.before_call: Callable[[str], None] = _say_nothing
        """Called with `reset` or `step` before each such call of the environment, for who watches from outside."""
        self._due_reset: NDArray[np.bool_] = np.zeros(self.num_envs, np.bool_)

    @property
    def capabilities(self) -> Capabilities:
        """What the environment can do."""
        return capabilities(self.env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None, rows_per_sequence: int = 1
    ) -> tuple[ObservationArray, dict[str, Any]]:
        """Begins new episodes everywhere.

        Args:
            seed: As in Gymnasium.
            options: Passed on.
            rows_per_sequence: Neighbouring environments that drive the same episodes one after the other: same route,
                same seed. Needs a seed.

        Returns:
            Observations, as in `Step.obs`, and infos.
        """
        if rows_per_sequence > 1 and seed is not None:
            sequences = np.arange(self.num_envs) // rows_per_sequence
            if self.capabilities.episode_seeds:
                options = (options or {}) | {"sequences": sequences}
            else:
                seeds = stream_seeds(seed, self.num_envs)[sequences] % np.uint64(2**31)
                seed = seeds.tolist()  # Gymnasium's vector environments take a list too
        self.before_call("reset")
        observations, infos = self.env.reset(seed=seed, options=options)
        self._due_reset = np.zeros(self.num_envs, np.bool_)
        return self._flat(observations), infos

    def step(self, actions: NDArray[np.float32]) -> Step:
        """Takes one step in every environment.

        Args:
            actions: float32 [N, A] in [-1, 1]; scaled to the environment's box.
        """
        self.before_call("step")
        observed, reward, terminated, truncated, info = self.env.step(self.scaling(actions))
        terminated = np.array(terminated, np.bool_)
        truncated = np.array(truncated, np.bool_)
        obs = self._flat(observed)
        next_obs = obs.copy()
        valid = ~self._due_reset
        ended = terminated | truncated
        if self._mode is AutoresetMode.NEXT_STEP:
            self._due_reset = ended
        elif ended.any() and self._mode is AutoresetMode.SAME_STEP:
            for row in np.flatnonzero(ended):
                next_obs[row] = self.layout.pack(_batch_of_one(info["final_obs"][row]), 1)[0]
            info = _info_of_transitions(info, ended)
        elif ended.any():
            # Without a seed each environment goes on in its own sequence of episodes.
            self.before_call("reset")
            observed, _ = self.env.reset(options={"reset_mask": ended.copy()})
            obs = self._flat(observed)
        return Step(obs, next_obs, np.array(reward, np.float32), terminated, truncated, valid, info)

    def snapshot(self) -> Snapshot:
        """Returns the complete state of the environment and of this source.

        Raises:
            CapabilityError: The environment can't be restored exactly.
        """
        self._require_exact_restore()
        inner: Snapshot = state_layer(self.env).snapshot()
        return {"due_reset": self._due_reset.copy()} | {f"{_ENV_PREFIX}{k}": v for k, v in inner.items()}

    def restore(self, snapshot: Snapshot) -> ObservationArray:
        """Returns to a snapshot; what follows is bit-equal.

        Args:
            snapshot: What `snapshot` returned.

        Returns:
            The observations to act on.

        Raises:
            CapabilityError: The environment can't be restored exactly.
            CheckpointError: The snapshot is of another environment.
        """
        self._require_exact_restore()
        due = snapshot.get("due_reset")
        if due is None or due.dtype != np.bool_ or due.shape != (self.num_envs,):
            raise CheckpointError(
                f"the snapshot has no due_reset of bool [{self.num_envs}]; it isn't one of this source."
            )
        inner = {k.removeprefix(_ENV_PREFIX): v for k, v in snapshot.items() if k.startswith(_ENV_PREFIX)}
        observations = state_layer(self.env).restore(inner)
        self._due_reset = due.copy()
        return self._flat(observations)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def _flat(self, observations: Any) -> ObservationArray:
        return self.layout.pack(observations, self.num_envs)

    def _require_exact_restore(self) -> None:
        if not self.capabilities.exact_restore:
            raise CapabilityError(
                f"{self.env} has no exact_restore: its state can't be stored. "
                f"Resume at episode borders, or leave out the wrappers that keep state of their own."
            )


def _say_nothing(call: str) -> None:
    """Nobody watches."""


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {name: np.asarray(value)[None] for name, value in observation.items()}
    return np.asarray(observation)[None]


def _info_of_transitions(info: dict[str, Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
    """Returns `info` with the rows of ended episodes taken from `final_info` (`SAME_STEP` overwrote them)."""
    merged = {key: value for key, value in info.items() if "final_" not in key}
    for key, final in info.get("final_info", {}).items():
        if key in merged and isinstance(final, np.ndarray):
            rows = ended.reshape(-1, *[1] * (final.ndim - 1))
            merged[key] = np.where(rows, final, merged[key])
        else:
            merged[key] = final
    return merged


def make_vector_env(
    source: str | Mapping[str, Any] | AnyEnvConfig,
    num_envs: int | None = None,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    **kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """Makes a vector environment for training.

    Args:
        source: A config, its plain mapping, or a Gymnasium id. `CarlaOnline/...` ids give a `WorldVectorEnv` or
            `CarlaVectorEnv`, others copies stepped in this process (`ToyVectorEnv`).
        num_envs: Number of environments; `None` takes the config's, or 1.
        autoreset_mode: `SAME_STEP` loses no step at the end of an episode.
        **kwargs: With an id, arguments of the environment.

    Raises:
        ConfigError: The config is wrong, an unknown id, or `kwargs` beside a config.
    """
    if isinstance(source, str) and source.startswith(f"{NAMESPACE}/"):
        register_envs()
        arguments = {**kwargs, "autoreset_mode": autoreset_mode}
        env: VectorEnv[Any, Any, Any] = gym.make_vec(source, num_envs=num_envs or 1, **arguments)
        return env
    if isinstance(source, str):
        source = {"kind": "gymnasium", "id": source, "kwargs": kwargs}
    elif kwargs:
        raise ConfigError(f"{', '.join(kwargs)}: put these into the config; keyword arguments go with an id.")
    config = _read_config(source)
    if isinstance(config, CarlaEnvConfig):
        servers = CarlaVectorEnv.from_config(
            config.with_envs(num_envs or config.num_envs), autoreset_mode=autoreset_mode
        )
        return servers if config.safety.mode == "off" else _safe(servers, config.safety)
    if isinstance(config, ScenarioRunnerEnvConfig):
        scenarios = ScenarioRunnerVectorEnv.from_config(
            config.with_envs(num_envs or config.num_envs), autoreset_mode=autoreset_mode
        )
        if config.safety.mode == "off":
            return scenarios
        return SafetyLayer(scenarios, config.safety, decision_s=scenarios.decision_s)
    if num_envs is not None:
        config = config.model_copy(update={"num_envs": num_envs})
    if isinstance(config, WorldEnvConfig):
        worlds = WorldVectorEnv.from_config(config, autoreset_mode=autoreset_mode)
        return worlds if config.safety.mode == "off" else _safe(worlds, config.safety)
    return _make_toys(config, autoreset_mode)


def _safe(worlds: WorldVectorEnv, safety: SafetyConfig) -> SafetyLayer:
    return SafetyLayer(worlds, safety, decision_s=worlds.decision_s)


def _read_config(
    source: Mapping[str, Any] | AnyEnvConfig,
) -> AnyEnvConfig:
    if isinstance(source, AnyEnvConfig):
        return source
    try:
        return _ENV_CONFIG.validate_python(dict(source))
    except ValidationError as error:
        raise ConfigError("\n".join(describe_errors(error, source="env"))) from None


def _make_toys(config: GymnasiumEnvConfig, autoreset_mode: AutoresetMode | str) -> ToyVectorEnv:
    def make() -> gym.Env[Any, Any]:
        return gym.make(config.id, **config.kwargs)

    try:
        return ToyVectorEnv([make] * config.num_envs, autoreset_mode=autoreset_mode)
    except gym.error.Error as error:
        raise ConfigError(f"can't make the environment {config.id!r}: {error}") from error
