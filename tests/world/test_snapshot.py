"""Snapshots: exact continuation, and refusal of anything that isn't one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online._native import WorldBatch
from carla_online.errors import CheckpointError

from .driven import Driven, keep_lane

CONFIG = {"map": {"length_m": [200.0, 260.0], "map_variants": 4}, "traffic": {"spread_m": 150.0}}


def driven_some_way(seeds=(1, 2), decisions=15):
    driven = Driven(seeds, CONFIG)
    for _ in range(decisions):
        driven.step(keep_lane(driven))
    return driven


def test_a_restored_episode_goes_on_bit_equal_in_another_batch():
    driven = driven_some_way()
    other = Driven([7, 8, 9], CONFIG, threads=2)
    other.batch.restore(2, driven.batch.snapshot(0))
    other.batch.obs(2, other.obs[2])
    np.testing.assert_array_equal(other.obs[2], driven.obs[0])
    for _ in range(40):
        actions = keep_lane(driven)
        driven.step(actions)
        other.step(np.stack([actions[0]] * 3), np.array([False, False, True]))
        np.testing.assert_array_equal(other.obs[2], driven.obs[0])
        np.testing.assert_array_equal(other.reward_terms[2], driven.reward_terms[0])
    assert other.batch.state_hash(2) == driven.batch.state_hash(0)


def test_branches_start_equal_and_go_their_own_ways():
    driven = driven_some_way((1, 2, 3))
    driven.batch.branch(0, [1, 2])
    assert len(set(driven.hashes())) == 1
    driven.step([[0.0, 0.5], [0.0, 0.5], [0.1, -0.5]])
    hashes = driven.hashes()
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_snapshot_of_another_configuration_is_refused():
    saved = driven_some_way().batch.snapshot(0)
    other = WorldBatch(num_envs=1, config=json.dumps({**CONFIG, "blocked_after_s": 20.0}))
    with pytest.raises(CheckpointError, match="configuration"):
        other.restore(0, saved)


SAVED = driven_some_way().batch.snapshot(0)
TARGET = driven_some_way()
UNCHANGED = TARGET.hashes()


@given(st.data())
def test_damaged_bytes_are_refused_and_change_nothing(data):
    damaged = bytearray(SAVED)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged
    if bytes(damaged) == SAVED:
        return
    with pytest.raises(CheckpointError, match="can't be restored"):
        TARGET.batch.restore(1, bytes(damaged))
    assert TARGET.hashes() == UNCHANGED


@given(st.binary(max_size=400))
def test_bytes_from_anywhere_are_refused(data):
    with pytest.raises(CheckpointError):
        TARGET.batch.restore(0, data)
