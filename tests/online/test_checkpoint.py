"""Checkpoints: whole or not at all, and every byte checked."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online.errors import CheckpointError
from carla_online.online.checkpoint import (
    Checkpoint,
    checkpoint_path,
    list_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    write_checkpoint,
)


def example() -> Checkpoint:
    arrays = {
        "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
        "flags": np.array([True, False]),
        "ids": np.array([2**63 + 1], dtype=np.uint64),
        "empty": np.zeros((0, 3), dtype=np.float64),
    }
    return Checkpoint(arrays, {"step": 7, "nested": {"due": 0.1}, "none": None})


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = tmp_path / "c" / "step.safetensors"
    write_checkpoint(path, example())
    loaded = read_checkpoint(path)
    assert loaded.counters == example().counters
    for name, value in example().arrays.items():
        assert loaded.arrays[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded.arrays[name], value)
    assert list(path.parent.iterdir()) == [path]


@given(st.data())
def test_a_changed_byte_or_a_cut_is_found(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    path = folder / "step.safetensors"
    write_checkpoint(path, example())
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[where] ^= data.draw(st.integers(1, 255))
    else:
        del content[where:]
    path.write_bytes(content)
    try:
        loaded = read_checkpoint(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:  # a byte of JSON white space may change without changing what is said
        assert loaded.counters == example().counters
        assert all(np.array_equal(loaded.arrays[name], value) for name, value in example().arrays.items())


def test_a_missing_or_foreign_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="not found"):
        read_checkpoint(tmp_path / "no.safetensors")
    path = tmp_path / "other.safetensors"
    from safetensors.numpy import save_file

    save_file(
        {"x": np.zeros(3)}, path, metadata={"carla_online": json.dumps({"version": 99, "crc32": 0, "counters": {}})}
    )
    with pytest.raises(CheckpointError, match="format version 99"):
        read_checkpoint(path)


def test_only_the_newest_are_kept(tmp_path):
    for step in (3, 20, 100, 1000):
        write_checkpoint(checkpoint_path(tmp_path, step), example())
    (tmp_path / "checkpoints" / ".step-000000000001.safetensors.1.tmp").write_bytes(b"torn")
    prune_checkpoints(tmp_path, keep=2)
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, 100), checkpoint_path(tmp_path, 1000)]
