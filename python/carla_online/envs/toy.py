"""Gymnasium's own small environments, made restorable.

A training run that is stopped goes on bit-equal only if its environment can be put back exactly. Gymnasium's
classic-control environments keep their state in a few numbers; `ToyVectorEnv` stores those, the random state,
and the wrappers' step counts, as arrays and JSON. Environments whose state lies elsewhere (in Box2D or
MuJoCo) are told apart by having attributes that aren't numbers: they run as well, without `exact_restore`,
unless they offer it themselves: `snapshot()` that returns arrays by name, all that the future depends on, random
state included, and `restore(arrays)`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray
from pydantic import Field

from carla_online.config import Config
from carla_online.envs.contract import Capabilities, Snapshot
from carla_online.errors import CapabilityError, CheckpointError

_NOT_STATE: Final = frozenset(
    ("action_space", "observation_space", "spec", "metadata", "_np_random", "_np_random_seed")
)
_WRAPPER_STATE: Final[dict[type[Any], tuple[str, ...]]] = {
    TimeLimit: ("_elapsed_steps",),
    OrderEnforcing: ("_has_reset",),
    PassiveEnvChecker: (),
}
_CHECKS: Final = ("checked_reset", "checked_step", "checked_render", "checked_data_reuse")
_PLAIN: Final = (bool, int, float, str, type(None))
_VECTOR_ARRAYS: Final = ("_rewards", "_terminations", "_truncations", "_autoreset_envs", "_observations")


class GymnasiumEnvConfig(Config):
    """Any continuous-control environment that Gymnasium knows by an id."""

    kind: Literal["gymnasium"] = "gymnasium"
    """Which backend this is."""
    id: str
    """Gymnasium's id, `Pendulum-v1` for one."""
    num_envs: int = Field(default=1, ge=1, le=4096)
    """Copies stepped one after the other in this process."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the environment."""


class ToyVectorEnv(SyncVectorEnv[Any, Any]):
    """Gymnasium's `SyncVectorEnv` with `capabilities`, `snapshot` and `restore`.

    Args:
        env_fns: One function for each environment.
        autoreset_mode: Gymnasium's autoreset mode.
    """

    def __init__(
        self,
        env_fns: list[Callable[[], gym.Env[Any, Any]]],
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        super().__init__(env_fns, autoreset_mode=autoreset_mode)

    @property
    def capabilities(self) -> Capabilities:
        """What these environments can do: `exact_restore` if all their state is numbers."""
        return Capabilities(exact_restore=not any(_opaque_attributes(env) for env in self.envs))

    def snapshot(self) -> Snapshot:
        """Returns the complete state of all environments.

        Raises:
            CapabilityError: An environment keeps state that isn't numbers; it is named.
        """
        packed: Snapshot = {f"vector{name}": getattr(self, name).copy() for name in _VECTOR_ARRAYS}
        for index, env in enumerate(self.envs):
            opaque = _opaque_attributes(env)
            if opaque:
                raise CapabilityError(f"{env} can't be stored exactly: {', '.join(opaque)} hold more than numbers.")
            plain, arrays = _state_of(env)
            packed |= {f"env{index}.{name}": array for name, array in arrays.items()}
            packed[f"env{index}"] = np.frombuffer(json.dumps(plain).encode(), np.uint8).copy()
        return packed

    def restore(self, snapshot: Snapshot) -> Any:
        """Returns to a snapshot of an environment made alike; what follows is bit-equal.

        Returns:
            The observations to act on.

        Raises:
            CheckpointError: The snapshot is of other environments.
        """
        if f"env{self.num_envs - 1}" not in snapshot or f"env{self.num_envs}" in snapshot:
            raise CheckpointError(
                f"the snapshot isn't of {self.num_envs} Gymnasium environments; make as many as it was taken from."
            )
        states = []
        for index, env in enumerate(self.envs):
            prefix = f"env{index}."
            names = [name for name in snapshot if name.startswith(prefix)]
            arrays = {name.removeprefix(prefix): snapshot[name] for name in names}
            states.append((_read_plain(snapshot[f"env{index}"], arrays, env), arrays))
        _require_arrays(snapshot, {f"vector{name}": getattr(self, name) for name in _VECTOR_ARRAYS})
        for env, (plain, arrays) in zip(self.envs, states, strict=True):
            _put_state(env, plain, arrays)
        for name in _VECTOR_ARRAYS:
            getattr(self, name)[...] = snapshot[f"vector{name}"]
        self._env_obs = [row.copy() for row in self._observations]
        return self._observations.copy()


def _require_arrays(snapshot: Snapshot, expected: Snapshot) -> None:
    for name, own in expected.items():
        seen = snapshot.get(name)
        if seen is None or seen.dtype != own.dtype or seen.shape != own.shape:
            shown = "missing" if seen is None else f"{seen.dtype} {list(seen.shape)}"
            raise CheckpointError(
                f"the snapshot's {name} is {shown}, expected {own.dtype} {list(own.shape)}; "
                f"restore it into environments made like those it was taken from."
            )


def _layers(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _opaque_attributes(env: gym.Env[Any, Any]) -> list[str]:
    """Returns what of `env` can't be stored: unknown wrappers, attributes that aren't numbers."""
    *wrappers, core = _layers(env)
    opaque = [type(layer).__name__ for layer in wrappers if type(layer) not in _WRAPPER_STATE]
    if _stores_itself(core):
        return opaque
    for name, value in vars(core).items():
        is_numbers = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf"
        if name not in _NOT_STATE and not is_numbers and type(value) not in _PLAIN:
            opaque.append(f"{type(core).__name__}.{name}")
    return opaque


def _stores_itself(core: Any) -> bool:
    return callable(getattr(core, "snapshot", None)) and callable(getattr(core, "restore", None))


def _state_of(env: gym.Env[Any, Any]) -> tuple[dict[str, Any], Snapshot]:
    *wrappers, core = _layers(env)
    plain: dict[str, Any] = {"id": type(core).__name__, "numbers": [], "attributes": {}, "wrappers": []}
    arrays: Snapshot = {}
    own: Any = core
    stores_itself = _stores_itself(core)
    if stores_itself:
        arrays = {name: np.array(array) for name, array in own.snapshot().items()}
    for name, value in vars(core).items():
        if name in _NOT_STATE or stores_itself:
            continue
        if isinstance(value, np.ndarray | np.generic):
            arrays[name] = np.array(value)
            if isinstance(value, np.generic):
                plain["numbers"].append(name)  # a 0-d array and a NumPy number differ in type
        else:
            plain["attributes"][name] = value
    for layer in wrappers:
        plain["wrappers"].append({name: getattr(layer, name) for name in _WRAPPER_STATE[type(layer)]})
    plain["random"] = core.np_random.bit_generator.state
    plain["random_seed"] = core._np_random_seed
    return plain, arrays


def _read_plain(packed: NDArray[Any], arrays: Snapshot, env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Reads the JSON part and checks that it is one of `env`."""
    *wrappers, core = _layers(env)
    try:
        plain: dict[str, Any] = json.loads(packed.tobytes())
        kind, numbers, attributes = plain["id"], plain["numbers"], plain["attributes"]
        states, random = plain["wrappers"], plain["random"]
        probe = type(core.np_random.bit_generator)()
        probe.state = random
        names = {*attributes, *arrays}
        counts = [set(state) for state in states]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the snapshot of {env} isn't readable: {error!r}") from error
    if kind != type(core).__name__ or counts != [set(_WRAPPER_STATE[type(layer)]) for layer in wrappers]:
        raise CheckpointError(
            f"the snapshot is of {kind!r} in {len(states)} wrappers, not of {env} in {len(wrappers)}."
        )
    if _stores_itself(core):
        return plain
    # An attribute may be new, since some first appear in reset, but it mustn't hide a method.
    hides = {name: getattr(type(core), name, None) for name in names}
    wrong = [name for name, own in hides.items() if callable(own) or isinstance(own, property)]
    wrong += [name for name in names if name in _NOT_STATE]
    if wrong or not set(vars(core)) - _NOT_STATE <= names or not set(numbers) <= set(arrays):
        raise CheckpointError(f"the snapshot of {env} holds the attributes {sorted(names)}, not this one's.")
    return plain


def _put_state(env: gym.Env[Any, Any], plain: dict[str, Any], arrays: Snapshot) -> None:
    *wrappers, core = _layers(env)
    for name, value in plain["attributes"].items():
        setattr(core, name, value)
    own: Any = core
    if _stores_itself(core):
        own.restore({name: array.copy() for name, array in arrays.items()})
        arrays = {}
    for name, array in arrays.items():
        setattr(core, name, array[()] if name in plain["numbers"] else array.copy())
    for layer, values in zip(wrappers, plain["wrappers"], strict=True):
        for name, value in values.items():
            setattr(layer, name, value)
        if isinstance(layer, PassiveEnvChecker):
            # It compares each step with the one before, which a restored environment hasn't seen.
            for name in _CHECKS:
                setattr(layer, name, True)
    core.np_random.bit_generator.state = plain["random"]
    core._np_random_seed = plain["random_seed"]
