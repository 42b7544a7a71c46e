"""Three families of episode seeds that can't meet: training, selection, evaluation.

The family stands in the two highest bits of the uint64 seed, so an episode used to judge a policy can't be
one it was trained on, whatever base seed a user picks. The other 62 bits are counter-based: a pure function
of (family, base seed, index), so any worker can compute the k-th seed without the ones before it.

Source: the mixing function is splitmix64's finaliser, Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", OOPSLA 2014, with Stafford's variant 13 of the constants.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import ConfigError

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MASK: Final = (1 << 64) - 1
_FAMILY_SHIFT: Final = np.uint64(62)


class Split(StrEnum):
    """What an episode is for."""

    TRAIN = "train"
    """Experience to learn from."""
    SELECTION = "selection"
    """Choosing among checkpoints while training goes on."""
    EVALUATION = "evaluation"
    """The final comparison; used for nothing else."""


_FAMILIES: Final = {Split.TRAIN: 0, Split.SELECTION: 1, Split.EVALUATION: 2}


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Arrays, never scalars: NumPy wraps the products of arrays silently and warns about those of scalars.
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _words(values: int | NDArray[np.integer], what: str) -> NDArray[np.uint64]:
    if isinstance(values, int | np.integer):
        if values < 0:
            raise ConfigError(f"{what} must be 0 or more, got {values}.")
        return np.array([int(values) & _MASK], dtype=np.uint64)
    if np.any(np.asarray(values) < 0):
        raise ConfigError(f"{what} must be 0 or more, got {np.min(values)}.")
    return np.atleast_1d(np.asarray(values)).astype(np.uint64)


def stream_seeds(seed: int, count: int) -> NDArray[np.uint64]:
    """Returns one base seed for each of `count` environments.

    Neighbouring seeds share no stream: environment 1 under seed 0 isn't environment 0 under seed 1, as it
    would be with `seed + i`; two training seeds are then independent runs.

    Args:
        seed: 0 or more; taken modulo 2**64.
        count: Number of environments.

    Returns:
        uint64 [count].
    """
    index = np.arange(1, count + 1, dtype=np.uint64)
    return _mix(_mix(_words(seed, "seed")) ^ _mix(index * _GOLDEN))


def hashed(seeds: NDArray[np.uint64], purpose: int) -> NDArray[np.float64]:
    """Returns a number in [0, 1) for each seed, float64 [N]; other purposes give independent ones."""
    bits = _mix(_mix(seeds + _GOLDEN) ^ _mix(_words(purpose, "purpose") * _GOLDEN))
    return (bits >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def episode_seeds(
    split: Split | str, base_seed: int | NDArray[np.integer], index: int | NDArray[np.integer]
) -> NDArray[np.uint64]:
    """Returns the seeds of episodes; `base_seed` and `index` broadcast.

    Args:
        split: The family.
        base_seed: Number of the sequence, 0 or more.
        index: Number of the episode in its sequence, 0 or more.

    Returns:
        uint64 [broadcast length]; the two highest bits name the family.

    Raises:
        ConfigError: An unknown family, or a negative number.
    """
    try:
        family = np.array([_FAMILIES[Split(split)]], dtype=np.uint64)
    except ValueError:
        names = ", ".join(member.value for member in Split)
        raise ConfigError(f"unknown split {split!r}; use one of {names}.") from None
    key = _mix(_mix(_words(base_seed, "base_seed") + _GOLDEN) ^ _mix((family + np.uint64(1)) * _GOLDEN))
    drawn = _mix(key + (_words(index, "index") + np.uint64(1)) * _GOLDEN)
    return (family << _FAMILY_SHIFT) | (drawn >> np.uint64(2))


def episode_seed(split: Split | str, base_seed: int, index: int) -> int:
    """Returns the seed of one episode; see `episode_seeds`."""
    return int(episode_seeds(split, base_seed, index)[0])


def seed_set(split: Split | str, set_number: int, count: int) -> NDArray[np.uint64]:
    """Returns the first `count` seeds of a numbered set; a longer set begins with the shorter one.

    Args:
        split: The family.
        set_number: Which set of the family, 0 or more.
        count: How many seeds.

    Returns:
        uint64 [count].
    """
    return episode_seeds(split, set_number, np.arange(count, dtype=np.uint64))


def split_of(seed: int) -> Split | None:
    """Returns the family of an episode seed; `None` for the reserved fourth one."""
    family = (int(seed) >> 62) & 3
    return next((split for split, number in _FAMILIES.items() if number == family), None)
