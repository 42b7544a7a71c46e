"""Checks what a caller passes to a vector of worlds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from carla_online.errors import ConfigError

_RESET_OPTIONS: Final = ("reset_mask", "episode_seeds", "sequences")


def read_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Returns the autoreset mode of this value (`NextStep`) or name (`NEXT_STEP`).

    Raises:
        ConfigError: There is none.
    """
    if isinstance(mode, AutoresetMode):
        return mode
    by_name = {name: member for member in AutoresetMode for name in (member.value, member.name)}
    if mode not in by_name:
        raise ConfigError(f"unknown autoreset_mode {mode!r}; use one of {', '.join(by_name)}.")
    return by_name[mode]


def read_options(
    options: Mapping[str, Any] | None, num_envs: int, *, is_first: bool
) -> tuple[NDArray[np.bool_], NDArray[np.uint64] | None]:
    """Reads the options of `reset`.

    Args:
        options: `"reset_mask"`: bool [N]. `"episode_seeds"`: integers of 0 or more, [N].
        num_envs: N.
        is_first: No reset has happened yet, so all worlds need one.

    Returns:
        The worlds to reset, bool [N], and the seeds, uint64 [N] or `None`.

    Raises:
        ConfigError: An unknown option, or one of a wrong shape, type or value.
    """
    options = options or {}
    unknown = [name for name in options if name not in _RESET_OPTIONS]
    if unknown:
        raise ConfigError(f"unknown reset options {unknown}; allowed: {', '.join(map(repr, _RESET_OPTIONS))}.")
    mask = np.ones(num_envs, np.bool_)
    if options.get("reset_mask") is not None:
        mask = read_mask("options['reset_mask']", options["reset_mask"], num_envs)
        if not mask.any():
            raise ConfigError("options['reset_mask'] marks no world; leave the option out to reset all.")
        if is_first and not mask.all():
            raise ConfigError("the first reset must reset every world; leave out options['reset_mask'].")
    if options.get("episode_seeds") is None:
        return mask, None
    seeds = np.asarray(options["episode_seeds"])
    if seeds.shape != (num_envs,) or seeds.dtype.kind not in "iu":
        raise ConfigError(
            f"options['episode_seeds'] must be uint64 [{num_envs}], got {seeds.dtype} {list(seeds.shape)}."
        )
    if np.any(seeds < 0):
        raise ConfigError(f"options['episode_seeds'] must be 0 or more, got {seeds.min()}.")
    return mask, seeds.astype(np.uint64)


def read_sequences(options: Mapping[str, Any] | None, num_envs: int) -> NDArray[np.intp]:
    """Returns which sequence of episodes each world drives, [N]: `options["sequences"]`, or each its own.

    Raises:
        ConfigError: It has another shape or type, or names a sequence outside 0 to N - 1.
    """
    given = (options or {}).get("sequences")
    if given is None:
        return np.arange(num_envs)
    sequences = np.asarray(given)
    if sequences.shape != (num_envs,) or sequences.dtype.kind not in "iu":
        raise ConfigError(
            f"options['sequences'] must be integers [{num_envs}], got {sequences.dtype} {list(sequences.shape)}."
        )
    if np.any(sequences < 0) or np.any(sequences >= num_envs):
        raise ConfigError(f"options['sequences'] must lie between 0 and {num_envs - 1}, got {sequences.tolist()}.")
    return sequences.astype(np.intp)


def read_mask(name: str, value: Any, num_envs: int) -> NDArray[np.bool_]:
    """Returns `value` as bool [N].

    Raises:
        ConfigError: It has another type or shape.
    """
    mask = np.asarray(value)
    if mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise ConfigError(f"{name} must be bool [{num_envs}], got {mask.dtype} {list(mask.shape)}.")
    return mask


def read_actions(actions: Any, num_envs: int) -> NDArray[np.float32]:
    """Returns `actions` as contiguous float32 [N, 2]; the world checks that they are finite.

    Raises:
        ConfigError: Another shape.
    """
    given = np.ascontiguousarray(actions, dtype=np.float32)
    if given.shape != (num_envs, 2):
        raise ConfigError(f"actions must have shape [{num_envs}, 2], got {list(given.shape)}.")
    return given
