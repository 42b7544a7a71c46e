"""What flush promises, and what opening costs; kills at every stage of a buffer's life.

CARLA_ONLINE_REPLAY_KILLS and CARLA_ONLINE_REPLAY_CHECKED_ROWS raise the counts for a long proof.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from replay_rows import GAMMA, SCHEMA, STREAM_SPAN, append, check_returns, next_of, rows_of

from carla_online.errors import ReplayError
from carla_online.replay import Field, ReplayBuffer, ReplaySchema

KILLS = int(os.environ.get("CARLA_ONLINE_REPLAY_KILLS", "5"))
CHECKED_ROWS = int(os.environ.get("CARLA_ONLINE_REPLAY_CHECKED_ROWS", "1000000"))
HEADERS_BYTES = 8192
PAGE_BYTES = 4096
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["carla_online.replay"])


def stored_numbers(buffer):
    return {int(number) for chunk in buffer.read_rows() for number in chunk["step_id"]}


def cut_power(source, target):
    """Copy an open buffer's files as another boot of the machine would find them."""
    shutil.copytree(source, target)
    with (target / "table.bin").open("r+b") as file:
        file.seek(HEADERS_BYTES + 8)
        file.write(b"\1" * 16 + b"\0" * 8)
    return target


def overwrite(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize("damage", ["none", "live table lost", "newest rows lost"])
def test_flushed_rows_are_there_after_a_power_cut(tmp_path, damage):
    buffer = ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=512, block_rows=8)
    with buffer, buffer.writer(streams=2) as writer:
        for k in range(100):
            append(writer, np.arange(2) * STREAM_SPAN + k)
        buffer.flush()
        flushed = stored_numbers(buffer)
        for k in range(100, 150):
            append(writer, np.arange(2) * STREAM_SPAN + k)
        cut = cut_power(tmp_path / "replay", tmp_path / "cut")
    if damage == "live table lost":
        overwrite(cut / "table.bin", HEADERS_BYTES + PAGE_BYTES, random.Random(1).randbytes(PAGE_BYTES))
    if damage == "newest rows lost":
        content = (cut / "rows.bin").read_bytes()
        at = content.index(rows_of([110])["obs"].tobytes())
        overwrite(cut / "rows.bin", at // PAGE_BYTES * PAGE_BYTES, b"\0" * PAGE_BYTES)
    with pytest.raises(ReplayError, match="read_only=False"):
        ReplayBuffer.open(cut, read_only=True)
    with ReplayBuffer.open(cut) as again:
        found = stored_numbers(again)
        if damage != "newest rows lost":
            assert flushed <= found
        assert again.verify().ok and len(found) == again.size > 100
        check_returns(again.sampler(n_step=3, gamma=GAMMA).sample(1000), 3)
        with again.writer(streams=2) as writer:
            for k in range(150, 400):
                append(writer, np.arange(2) * STREAM_SPAN + k)
        assert again.verify().ok


def test_opening_touches_little_memory_and_finds_the_rows(tmp_path):
    schema = ReplaySchema.transitions(64, 2, 0)
    with ReplayBuffer.create(tmp_path / "replay", schema, capacity_rows=500_000):
        pass
    script = f"""
from carla_online.replay import ReplayBuffer
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
ReplayBuffer.open({str(tmp_path / "replay")!r}).close()
before = resident()
buffer = ReplayBuffer.open({str(tmp_path / "replay")!r})
print(resident() - before)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert int(result.stdout) <= 1 << 20, result


def append_and_flush_forever(path, acknowledged):
    with ReplayBuffer.open(path) as buffer, buffer.writer(streams=1) as writer:
        number = max(stored_numbers(buffer), default=-1) + 1
        note = os.open(acknowledged, os.O_RDWR | os.O_CREAT)
        while True:
            append(writer, [number])
            os.pwrite(note, np.int64(number).tobytes(), 0)
            if number % 3 == 0:
                buffer.flush()
            number += 1


def create_forever(directory):
    for number in range(1_000_000):
        ReplayBuffer.create(directory / f"buffer{number}", SCHEMA, capacity_rows=64, block_rows=8).close()


def run_for_a_moment(randomness, target, *arguments, until):
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    deadline = time.monotonic() + 60
    while not until():
        assert process.exitcode is None and time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(randomness.uniform(0.0, 0.1))
    process.kill()
    process.join()


def test_kills_in_mid_flush_lose_no_acknowledged_row(tmp_path):
    randomness, note = random.Random(3), tmp_path / "note"
    ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=2048, block_rows=16).close()
    for _ in range(KILLS):
        note.unlink(missing_ok=True)
        run_for_a_moment(randomness, append_and_flush_forever, tmp_path / "replay", note, until=note.exists)
        with ReplayBuffer.open(tmp_path / "replay") as buffer:
            assert buffer.verify().ok
            last = int(np.frombuffer(note.read_bytes() or np.int64(-1).tobytes(), np.int64)[0])
            assert last <= max(stored_numbers(buffer), default=-1) <= last + 1


def test_kills_in_mid_creation_leave_whole_buffers_or_none(tmp_path):
    randomness = random.Random(4)
    for round_ in range(KILLS):
        directory = tmp_path / f"round{round_}"
        directory.mkdir()
        run_for_a_moment(randomness, create_forever, directory, until=(directory / "buffer0").exists)
        for path in directory.iterdir():
            if path.name.startswith("buffer"):
                with ReplayBuffer.open(path, expect=SCHEMA) as buffer:
                    assert buffer.size == 0
        shutil.rmtree(directory)


SEALED = ReplaySchema((*SCHEMA.fields, Field("seal", "u64")))


def seal_of(rows, next_obs):
    """A checksum of a row's own: every field and the next values, in 64 bits."""
    seal = rows["step_id"] * np.uint64(0x9E3779B97F4A7C15) ^ rows["episode_id"]
    for column in (rows["obs"], next_obs):
        bits = column.view(np.uint32).astype(np.uint64) * (
            2 * np.arange(column.shape[1], dtype=np.uint64) + np.uint64(1)
        )
        seal = seal * np.uint64(31) + bits.sum(axis=1, dtype=np.uint64)
    return seal ^ rows["reward"].view(np.uint32).astype(np.uint64)


def write_sealed_rows(path, first_stream, streams):
    randomness = np.random.default_rng(first_stream)
    with ReplayBuffer.open(path) as buffer, buffer.writer(streams=streams, first_stream=first_stream) as writer:
        numbers = (first_stream + np.arange(streams)) * STREAM_SPAN
        rows = {name: np.ascontiguousarray(values) for name, values in rows_of(numbers).items()}
        rows["seal"] = np.zeros(streams, np.uint64)
        next_values = next_of(numbers)
        bound = writer.bind(rows, next_values)
        while True:
            rows["obs"][:] = randomness.random(rows["obs"].shape, np.float32)
            next_values["obs"][:] = randomness.random(rows["obs"].shape, np.float32)
            for _ in range(20):
                rows["step_id"] += np.uint64(1)
                rows["reward"][:] = randomness.random(streams, np.float32)
                rows["seal"][:] = seal_of(rows, next_values["obs"])
                bound.append()
                # The next row goes on where this one ended.
                rows["obs"][:] = next_values["obs"]
                next_values["obs"][:, 0] += np.float32(1)


@pytest.mark.timeout(7200)
def test_every_row_sampled_under_concurrent_writers_passes_its_own_checksum(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SEALED, capacity_rows=4096, block_rows=16) as buffer:
        writers = [
            CONTEXT.Process(target=write_sealed_rows, args=(buffer.path, 40 * index, 40), daemon=True)
            for index in range(2)
        ]
        for writer in writers:
            writer.start()
        try:
            deadline = time.monotonic() + 60
            while buffer.total_appended < 4096:
                assert time.monotonic() < deadline and all(writer.exitcode is None for writer in writers)
                time.sleep(0.01)
            sampler = buffer.sampler(seed=1)
            out = sampler.allocate(4096)
            before, checked, torn = buffer.total_appended, 0, 0
            while checked < CHECKED_ROWS:
                sampler.sample_into(out)
                torn += int((seal_of(out, out["next_obs"]) != out["seal"]).sum())
                checked += 4096
            assert torn == 0, f"{torn} torn rows of {checked}"
            assert buffer.total_appended > before, "nobody wrote meanwhile"
            assert all(writer.exitcode is None for writer in writers)
        finally:
            for writer in writers:
                os.kill(writer.pid, signal.SIGKILL)
                writer.join()
        assert buffer.verify().ok
        for chunk in buffer.read_rows():
            assert (seal_of(chunk, chunk["next_obs"]) == chunk["seal"]).all()
