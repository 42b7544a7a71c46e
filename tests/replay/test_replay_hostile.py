"""Damaged and hostile files: only the typed errors, never a crash of the process."""

import json
import random
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_rows import SCHEMA, STREAM_SPAN, append

from carla_online.errors import ReplayCorrupt, ReplayError
from carla_online.replay import Prioritized, Recency, ReplayBuffer

HEADERS_BYTES = 8192
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A small buffer, closed, to be copied and damaged."""
    path = tmp_path_factory.mktemp("hostile") / "sound"
    with (
        ReplayBuffer.create(path, SCHEMA, capacity_rows=64, block_rows=8) as buffer,
        buffer.writer(streams=2) as writer,
    ):
        for k in range(50):
            append(writer, np.arange(2) * STREAM_SPAN + k)
    return path


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "copy")


def use(path):
    """Do everything with a buffer that reads what files say."""
    with ReplayBuffer.open(path) as buffer:
        _ = buffer.size, buffer.total_appended, buffer.last_step_id(), buffer.open_episodes(), buffer.verify()
        for _ in buffer.read_rows():
            pass
        for _ in buffer.episodes():
            pass
        buffer.sampler(n_step=9).sample(64)
        buffer.windows(length=5).sample(16)
        for mode in (Recency(20.0), Prioritized()):
            buffer.sampler(mode=mode).sample(16)
        buffer.flush()
        buffer.close_open_episodes()
        with buffer.writer(streams=2) as writer:
            for k in range(30):
                append(writer, np.arange(2) * STREAM_SPAN + k)
        buffer.sampler(n_step=9).sample(64)


def use_or_refuse(path):
    try:
        use(path)
    except ReplayError as error:
        assert len(str(error)) > 20


def overwrite(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@given(st.integers(0, 63), st.binary(min_size=1, max_size=16), st.booleans())
def test_damaged_headers(sound, tmp_path_factory, offset, content, is_both):
    copy = shutil.copytree(sound, tmp_path_factory.mktemp("damaged") / "copy")
    overwrite(copy / "table.bin", offset, content)
    if is_both:
        overwrite(copy / "table.bin", PAGE_BYTES + offset, content)
    use_or_refuse(copy)


@given(st.lists(st.tuples(st.integers(0, 511 + 8 + 8 * 8), st.integers(0, 2**64 - 1)), min_size=1, max_size=20))
def test_damaged_table_words(sound, tmp_path_factory, words):
    copy = shutil.copytree(sound, tmp_path_factory.mktemp("damaged") / "copy")
    for index, word in words:
        overwrite(copy / "table.bin", HEADERS_BYTES + 8 * index, word.to_bytes(8, "little"))
    use_or_refuse(copy)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32))
def test_random_block_words_and_rows(sound, tmp_path_factory, head, seed):
    randomness = random.Random(seed)
    copy = shutil.copytree(sound, tmp_path_factory.mktemp("damaged") / "copy")
    overwrite(copy / "table.bin", HEADERS_BYTES, head.to_bytes(8, "little"))
    size = (copy / "table.bin").stat().st_size - HEADERS_BYTES - PAGE_BYTES
    overwrite(copy / "table.bin", HEADERS_BYTES + PAGE_BYTES, randomness.randbytes(size))
    if randomness.random() < 0.5:
        overwrite(copy / "rows.bin", 0, randomness.randbytes((copy / "rows.bin").stat().st_size))
    use_or_refuse(copy)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=12))
def test_damaged_schema_text(sound, tmp_path_factory, offset, content):
    copy = shutil.copytree(sound, tmp_path_factory.mktemp("damaged") / "copy")
    overwrite(copy / "schema.json", min(offset, (copy / "schema.json").stat().st_size), content)
    use_or_refuse(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, "format version 7, this build reads 0"),
        ({"endianness": "big"}, "byte order big"),
        ({"format": "something"}, "no replay buffer"),
        ({"capacity_rows": 2**63}, "blocks"),
        ({"capacity_rows": 10**9}, "bytes long"),
        ({"block_rows": 0}, "block_rows is 0"),
        ({"fields": []}, "0 fields"),
        ({"schema_hash": "00"}, "the file says 00"),
        ({"slices": ["x"] * 70_000}, "more than 65536 names"),
        ({"surprise": 1}, "unknown field"),
    ],
)
def test_a_foreign_schema_file_is_refused_with_what_differs(copy, change, message):
    manifest = json.loads((copy / "schema.json").read_text())
    (copy / "schema.json").write_text(json.dumps(manifest | change))
    with pytest.raises(ReplayCorrupt, match=message):
        ReplayBuffer.open(copy)


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "{}", "null", "\0" * 100], ids=["empty", "deep", "object", "null", "zeros"]
)
def test_hostile_schema_text_is_refused(copy, text):
    (copy / "schema.json").write_text(text)
    with pytest.raises(ReplayCorrupt):
        ReplayBuffer.open(copy)


@pytest.mark.parametrize("name", ["table.bin", "rows.bin"])
@pytest.mark.parametrize("size", [0, 1000, None])
def test_truncated_and_missing_files_are_refused(copy, name, size):
    if size is None:
        (copy / name).unlink()
    else:
        with (copy / name).open("r+b") as file:
            file.truncate(size)
    with pytest.raises(ReplayCorrupt, match=name):
        ReplayBuffer.open(copy)


def test_tables_of_another_buffer_are_refused(copy, tmp_path):
    other = tmp_path / "other"
    ReplayBuffer.create(other, SCHEMA, capacity_rows=128, block_rows=8).close()
    shutil.copy(other / "table.bin", copy / "table.bin")
    with pytest.raises(ReplayCorrupt, match="different buffers"):
        ReplayBuffer.open(copy)


def test_after_a_power_cut_only_whole_rows_are_kept(copy):
    """Another boot and not clean: what lies on the disk may be torn, so each row must pass its checksum."""
    overwrite(copy / "table.bin", HEADERS_BYTES + 8, b"\1" * 16 + b"\0" * 8)
    content = bytearray((copy / "rows.bin").read_bytes())
    for offset in range(3000, len(content), 3000):
        content[offset] ^= 0x10
    (copy / "rows.bin").write_bytes(content)
    with pytest.raises(ReplayError, match="read_only=False"):
        ReplayBuffer.open(copy, read_only=True)
    with ReplayBuffer.open(copy) as buffer:
        assert 0 < buffer.size < 64
        assert buffer.verify().ok
        with buffer.writer(streams=2) as writer:
            for k in range(200):
                append(writer, np.arange(2) * STREAM_SPAN + k)
        assert buffer.verify().ok
