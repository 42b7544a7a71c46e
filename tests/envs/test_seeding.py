"""The three families of episode seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online.envs.seeding import Split, episode_seed, episode_seeds, seed_set, split_of, stream_seeds
from carla_online.errors import ConfigError

WORD = st.integers(0, 2**64 - 1)
MASK = 2**64 - 1


def mix(value: int) -> int:
    """splitmix64's finaliser in exact integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


@given(base=WORD, index=WORD, split=st.sampled_from(list(Split)))
def test_every_seed_tells_its_family(base: int, index: int, split: Split) -> None:
    seed = episode_seed(split, base, index)
    assert 0 <= seed < 2**64
    assert split_of(seed) is split


@given(base=WORD, index=WORD, family=st.integers(0, 2))
def test_seeds_are_those_of_exact_integer_arithmetic(base: int, index: int, family: int) -> None:
    golden = 0x9E3779B97F4A7C15
    key = mix(mix((base + golden) & MASK) ^ mix(((family + 1) * golden) & MASK))
    expected = (family << 62) | mix((key + (index + 1) * golden) & MASK) >> 2
    assert episode_seed(list(Split)[family], base, index) == expected


def test_families_never_meet_and_seeds_repeat_nowhere() -> None:
    sets = [seed_set(split, number, 2000) for split in Split for number in range(4)]
    assert len(np.unique(np.concatenate(sets))) == 3 * 4 * 2000


def test_a_longer_set_begins_with_the_shorter() -> None:
    np.testing.assert_array_equal(seed_set("evaluation", 3, 100)[:10], seed_set(Split.EVALUATION, 3, 10))


def test_neighbouring_seeds_share_no_stream() -> None:
    streams = np.concatenate([stream_seeds(seed, 64) for seed in range(50)])
    assert len(np.unique(streams)) == 50 * 64
    np.testing.assert_array_equal(stream_seeds(7, 64)[:8], stream_seeds(7, 8))


def test_low_bits_are_spread() -> None:
    low = seed_set("train", 0, 8000) % np.uint64(8)
    counts = np.bincount(low.astype(int), minlength=8)
    assert np.all(np.abs(counts - 1000) < 150)  # five standard deviations


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="train, selection, evaluation"):
        episode_seeds("test", 0, 0)
    with pytest.raises(ConfigError, match="-1"):
        episode_seed("train", -1, 0)
    with pytest.raises(ConfigError, match="-2"):
        episode_seeds("train", 0, np.array([0, -2]))
