"""Environments in processes behind Gymnasium's vector interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from carla_online.envs.contract import Capabilities
from carla_online.envs.workers.batch import AsyncBatch, Results
from carla_online.envs.workers.config import SupervisionConfig
from carla_online.errors import ConfigError

_OPTIONS = ("reset_mask", "episode_seeds", "sequences")


class AsyncVectorEnv(VectorEnv[Any, Any, Any]):
    """`AsyncBatch` for code that speaks Gymnasium: every step waits for all environments, none of them can stop it.

    A worker that hangs, dies or raises shows as a truncated episode with `info["sim_failure"]`, and goes on with the
    next reset. `batch` gives `send` and `recv`; don't mix them with `step` while answers are owed.

    Args:
        env_fns: One function for each environment.
        autoreset_mode: As in the contract: `NEXT_STEP`, `SAME_STEP` or `DISABLED`.
        supervision: Deadlines, restarts, limits.
        log_dir: Folder for the workers' standard error and incidents.

    Raises:
        ConfigError: Spaces that can't be shared.
        SimulatorError: The environments couldn't be started.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's declaration

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env[Any, Any]]],
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        supervision: SupervisionConfig | None = None,
        log_dir: Path | None = None,
    ) -> None:
        self._mode = _read_mode(autoreset_mode)
        self.batch = AsyncBatch(env_fns, supervision=supervision, log_dir=log_dir)
        hello = self.batch.hello
        self.num_envs = self.batch.num_envs
        self.single_observation_space = hello.observation_space
        self.single_action_space = hello.action_space
        self.observation_space = batch_space(hello.observation_space, self.num_envs)
        self.action_space = batch_space(hello.action_space, self.num_envs)
        self.metadata = hello.metadata | {"autoreset_mode": self._mode}
        self.slice_names = hello.slice_names
        self._ended = np.ones(self.num_envs, np.bool_)
        self._observations: Any = None

    @property
    def capabilities(self) -> Capabilities:
        """What the environments can do."""
        return self.batch.capabilities

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: Base seed of all later episodes, or one for each environment.
            options: `"reset_mask"`: bool [N], whom to reset (all). `"episode_seeds"`: uint64 [N], the episodes.
                `"sequences"`: integers [N], with a seed: those with the same number drive the same episodes. Other
                keys go to every environment.

        Returns:
            Observations (of environments not reset: their last) and infos.

        Raises:
            ConfigError: A mask of another shape, or one that leaves out environments before their first reset.
        """
        given = dict(options or {})
        mask = np.asarray(given.pop("reset_mask", np.ones(self.num_envs, np.bool_)), np.bool_)
        if mask.shape != (self.num_envs,) or (self._observations is None and not mask.all()):
            raise ConfigError(
                f"options['reset_mask'] must be bool [{self.num_envs}], all true at the first reset, got {mask!r}."
            )
        named = {name: given.pop(name) for name in _OPTIONS if name in given}
        ids = np.flatnonzero(mask)
        self.batch.reset(ids, seed=seed, options=given or None, **named)
        return self._observe(self.batch.recv())

    def scene(self, index: int) -> Any:
        """Returns where the ego and the others are in environment `index`, if its capabilities say `scene`.

        Raises:
            ConfigError: It owes an answer.
            SimulatorError: Its worker failed.
        """
        return self.batch.ask(index, "scene")

    def road(self, index: int) -> Any:
        """Returns the lines of the road in environment `index`; errors as in `scene`."""
        return self.batch.ask(index, "road")

    def step(
        self, actions: ArrayLike
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Takes a step in every environment.

        Args:
            actions: [N, ...].

        Returns:
            `(obs, reward float64 [N], terminated bool [N], truncated bool [N], info)`.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset, or an episode has ended in `DISABLED` mode.
            SimulatorError: Failures have become the rule.
        """
        late = np.flatnonzero(self._ended) if self._mode is AutoresetMode.DISABLED or self._observations is None else ()
        if len(late):
            raise gym.error.ResetNeeded(
                f"the environments {np.asarray(late).tolist()} have no open episode; reset them with "
                "options={'reset_mask': ...}."
            )
        self.batch.send(actions)
        results = self.batch.recv()
        obs, infos = self._observe(results)
        order = np.argsort(results.env_ids)
        reward, over, cut = results.reward[order], results.terminated[order], results.truncated[order]
        ended = self._ended.copy()
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for index in np.flatnonzero(ended).tolist():
                final[index] = _row(obs, index)
            self.batch.reset(np.flatnonzero(ended))
            obs, fresh = self._observe(self.batch.recv())
            infos = _overlay(infos, fresh, ended) | {
                "final_obs": final,
                "_final_obs": ended.copy(),
                "final_info": infos,
                "_final_info": ended.copy(),
            }
        return obs, reward, over, cut, infos

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the processes."""
        self.batch.close()

    def _observe(self, results: Results) -> tuple[Any, dict[str, Any]]:
        """Returns all observations and the infos of those that answered, in the environments' order."""
        ids = results.env_ids
        self._observations = _filled(self._observations, ids, results.obs, self.num_envs)
        self._ended[ids] = results.terminated | results.truncated
        mask = np.zeros(self.num_envs, np.bool_)
        mask[ids] = True
        infos: dict[str, Any] = {}
        for name, values in results.info.items():
            whole = np.zeros((self.num_envs, *values.shape[1:]), values.dtype)
            if values.dtype == object:
                whole[...] = ""
            whole[ids] = values
            infos[name], infos[f"_{name}"] = whole, mask.copy()
        for index, extras in zip(ids.tolist(), results.extras, strict=True):
            infos = self._add_info(infos, extras, index)
        return _copy(self._observations), infos


def make_async_vector_env(
    source: str | Mapping[str, Any],
    num_envs: int,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    supervision: SupervisionConfig | None = None,
    log_dir: Path | None = None,
    **kwargs: Any,
) -> AsyncVectorEnv:
    """Makes an environment by its Gymnasium id in as many processes.

    Args:
        source: The id; `module:Id` imports the module first. Or a mapping with `id`, and `kwargs` for `gymnasium.make`.
        num_envs: Processes.
        autoreset_mode: As in `AsyncVectorEnv`.
        supervision: As there.
        log_dir: As there.
        **kwargs: Arguments of every environment; with `supervision.port_base`, `port=None` is replaced by the port of
            each worker's own block.
    """
    from carla_online.envs.workers.config import port_of

    parts: dict[str, Any] = {"id": source} if isinstance(source, str) else dict(source)
    arguments: dict[str, Any] = {**parts.get("kwargs", {}), **kwargs}
    config = supervision or SupervisionConfig()

    def maker(index: int) -> Callable[[], gym.Env[Any, Any]]:
        own = dict(arguments)
        if "port" in own and own["port"] is None:
            own["port"] = port_of(index, config)
        return lambda: _make(str(parts["id"]), own)

    return AsyncVectorEnv(
        [maker(index) for index in range(num_envs)],
        autoreset_mode=autoreset_mode,
        supervision=config,
        log_dir=log_dir,
    )


def _make(env_id: str, arguments: dict[str, Any]) -> gym.Env[Any, Any]:
    import carla_online.envs  # noqa: F401 - registers the ids

    env: gym.Env[Any, Any] = gym.make(env_id, **arguments)
    return env


def _read_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode[mode.upper()]
    except KeyError:
        names = ", ".join(member.name for member in AutoresetMode)
        raise ConfigError(f"autoreset_mode {mode!r} is unknown; use one of {names}.") from None


def _row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {name: values[index].copy() for name, values in observations.items()}
    return observations[index].copy()


def _copy(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {name: values.copy() for name, values in observations.items()}
    return observations.copy()


def _filled(known: Any, ids: NDArray[np.int64], fresh: Any, count: int) -> Any:
    """Returns all observations with those of `ids` replaced."""
    if isinstance(fresh, dict):
        return {name: _filled(known and known[name], ids, values, count) for name, values in fresh.items()}
    if known is None:
        known = np.zeros((count, *fresh.shape[1:]), fresh.dtype)
    known[ids] = fresh
    return known


def _overlay(infos: dict[str, Any], fresh: dict[str, Any], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Returns `infos` with the rows that began a new episode taken from `fresh`."""
    merged = dict(infos)
    for name, values in fresh.items():
        old = infos.get(name)
        if isinstance(old, np.ndarray) and isinstance(values, np.ndarray) and not name.startswith("_"):
            merged[name] = np.where(rows.reshape(-1, *[1] * (values.ndim - 1)), values, old)
        elif old is None:
            merged[name] = values
    return merged
