"""The arrays that the native worlds write into, and the `info` dictionary made from them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.envs.contract import DRAW_NAMES, INFO_KEYS, INFRACTION_NAMES, REWARD_TERM_NAMES, WEATHER_CLASSES
from carla_online.errors import ConfigError

_NATIVE_NAMES: Final = {"progress": "progress_m"}
_NOT_COLUMNS: Final = (
    "infractions",
    "reward_terms",
    "draws",
    "slice_index",
    "stage",
    "curriculum_level",
    "safety_intervened",
    "episode_seed",
    "sim_failure",
    "overcome_failures",
)
_COLUMNS: Final = tuple(key for key in INFO_KEYS if key.name not in _NOT_COLUMNS)
_WEATHER_CLASS: Final = DRAW_NAMES.index("weather_class")
KEPT: Final = ("obs", "reward_terms", "terminated", "truncated", "info", "infractions", "draws", "stages", "levels")
"""Names of the arrays, for those who store them."""


class WorldBuffers:
    """Output arrays of `num_envs` worlds, allocated once.

    Attributes:
        obs: float32 [N, D].
        reward_terms: float32 [N, K].
        terminated: bool [N].
        truncated: bool [N].
        info: float64 [N, I], native columns.
        infractions: int32 [N, J].
        draws: float64 [N, M].
        stages: int64 [N], the curriculum's stage of each episode.
        levels: int64 [N], the stage being learned when the episode began or ended; -1 without a curriculum.
        sim_failures: object [N] of `str`: how the simulator failed; empty if it didn't.
        overcome_failures: object [N] of `str`: how it failed while the episode began, in the episode's first step.
    """

    def __init__(self, num_envs: int) -> None:
        native_columns = list(_native.WorldBatch.info_names())
        _require_equal("infractions", _native.WorldBatch.infraction_names(), INFRACTION_NAMES)
        _require_equal("reward terms", _native.WorldBatch.reward_term_names(), REWARD_TERM_NAMES)
        _require_equal("draws", _native.WorldBatch.draw_names(), DRAW_NAMES)
        _require_equal("weather classes", _native.WorldBatch.weather_classes(), WEATHER_CLASSES)
        wanted = [_NATIVE_NAMES.get(key.name, key.name) for key in _COLUMNS]
        missing = [name for name in wanted if name not in native_columns]
        if missing:
            raise ConfigError(f"the native extension lacks the info columns {missing}; build it again.")
        self._column_of = {
            key.name: (native_columns.index(name), key.dtype) for key, name in zip(_COLUMNS, wanted, strict=True)
        }
        self.obs_dim = sum(size for _, _, size, _, _ in _native.WorldBatch.layout())
        self.obs: NDArray[np.float32] = np.zeros((num_envs, self.obs_dim), np.float32)
        self.reward_terms: NDArray[np.float32] = np.zeros((num_envs, len(REWARD_TERM_NAMES)), np.float32)
        self.terminated: NDArray[np.bool_] = np.zeros(num_envs, np.bool_)
        self.truncated: NDArray[np.bool_] = np.zeros(num_envs, np.bool_)
        self.info: NDArray[np.float64] = np.zeros((num_envs, len(native_columns)), np.float64)
        self.infractions: NDArray[np.int32] = np.zeros((num_envs, len(INFRACTION_NAMES)), np.int32)
        self.draws: NDArray[np.float64] = np.zeros((num_envs, len(DRAW_NAMES)), np.float64)
        self.stages: NDArray[np.int64] = np.zeros(num_envs, np.int64)
        self.levels: NDArray[np.int64] = np.full(num_envs, -1, np.int64)
        self.sim_failures: NDArray[np.object_] = np.full(num_envs, "", dtype=object)
        self.overcome_failures: NDArray[np.object_] = np.full(num_envs, "", dtype=object)

    def column(self, name: str) -> NDArray[np.float64]:
        """Returns the native column behind a key of `info`, float64 [N]."""
        column: NDArray[np.float64] = self.info[:, self._column_of[name][0]]
        return column

    def clear_step(self, rows: NDArray[np.bool_]) -> None:
        """Zeroes what a step wrote in `rows` (bool [N]), where no step was taken."""
        self.reward_terms[rows] = 0.0
        self.terminated[rows] = False
        self.truncated[rows] = False
        self.sim_failures[rows] = ""
        self.overcome_failures[rows] = ""

    def infos(self, rows: NDArray[np.bool_], episode_seeds: NDArray[np.uint64]) -> dict[str, Any]:
        """Returns the vector `info`: fresh arrays, and `_key` masks as Gymnasium has them.

        Args:
            rows: bool [N]; the environments that these infos are about.
            episode_seeds: uint64 [N].
        """
        by_name: dict[str, NDArray[Any]] = {
            name: self.info[:, column].astype(dtype) for name, (column, dtype) in self._column_of.items()
        }
        by_name["infractions"] = self.infractions.copy()
        by_name["reward_terms"] = self.reward_terms.copy()
        by_name["draws"] = self.draws.copy()
        weather_class = self.draws[:, _WEATHER_CLASS].astype(np.int64)
        by_name["slice_index"] = self.stages * len(WEATHER_CLASSES) + weather_class
        by_name["stage"] = self.stages.copy()
        by_name["curriculum_level"] = self.levels.copy()
        by_name["safety_intervened"] = np.zeros(len(rows), np.bool_)
        by_name["episode_seed"] = episode_seeds.copy()
        by_name["sim_failure"] = self.sim_failures.copy()
        by_name["overcome_failures"] = self.overcome_failures.copy()
        infos: dict[str, Any] = {}
        for key in INFO_KEYS:
            infos[key.name] = by_name[key.name]
            infos[f"_{key.name}"] = rows.copy()
        return infos


def _require_equal(what: str, native: list[str], contract: tuple[str, ...]) -> None:
    if tuple(native) != contract:
        raise ConfigError(
            f"the {what} of the native extension {list(native)} aren't those of the contract "
            f"{list(contract)}; the extension was built from other sources: build it again."
        )
