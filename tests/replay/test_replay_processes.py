"""Several processes on one buffer: kills, stalls, forks, and damage.

CARLA_ONLINE_REPLAY_KILLS and CARLA_ONLINE_REPLAY_STALL_S raise the counts for a long proof.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from replay_rows import (
    GAMMA,
    SCHEMA,
    STREAM_SPAN,
    append,
    append_forever,
    check_fields,
    check_returns,
    last_numbers,
    rows_of,
)

from carla_online.errors import ReplayError
from carla_online.replay import ReplayBuffer

KILLS = int(os.environ.get("CARLA_ONLINE_REPLAY_KILLS", "5"))
STALL_S = float(os.environ.get("CARLA_ONLINE_REPLAY_STALL_S", "4"))
HERE = Path(__file__).parent
# The package takes seconds to import on a busy machine: a server imports it once, and each writer is forked from there.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["carla_online.replay"])


def start_writer(directory, first_stream, streams, acknowledged):
    process = CONTEXT.Process(target=append_forever, args=(directory, first_stream, streams, acknowledged), daemon=True)
    process.start()
    return process


def wait_for(condition, process, timeout_s=60.0):
    """Poll until a condition holds; fail if the process ends or time runs out."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.exitcode is None, f"the writer ended with {process.exitcode}"
        assert time.monotonic() < deadline, "the writer wrote nothing in time"
        time.sleep(0.002)


def acknowledged_numbers(path, streams):
    return np.frombuffer(path.read_bytes(), np.int64) if path.exists() and path.stat().st_size == 8 * streams else None


def test_sigkill_loses_no_acknowledged_row_and_shows_no_torn_one(tmp_path):
    streams, randomness = 3, random.Random(1)
    directory, note = tmp_path / "replay", tmp_path / "acknowledged"
    ReplayBuffer.create(directory, SCHEMA, capacity_rows=4096, block_rows=16).close()
    total, cut = 0, set()
    for _ in range(KILLS):
        note.unlink(missing_ok=True)
        process = start_writer(directory, 0, streams, note)
        wait_for(lambda: acknowledged_numbers(note, streams) is not None, process)
        time.sleep(randomness.uniform(0.0, 0.2))
        process.kill()
        process.join()
        with ReplayBuffer.open(directory) as buffer:
            report = buffer.verify()
            assert report.ok, report
            last = last_numbers(buffer, streams)
            assert (last >= acknowledged_numbers(note, streams)).all()
            assert (last <= acknowledged_numbers(note, streams) + 1).all(), "at most the row under way is beyond"
            assert buffer.total_appended == int((last % STREAM_SPAN + 1).sum()) > total
            total = buffer.total_appended
            cut |= {step_id for _, step_id in buffer.open_episodes()}
            buffer.close_open_episodes()
            assert buffer.open_episodes() == []
            check_returns(buffer.sampler(n_step=3, gamma=GAMMA).sample(4000), 3, cut=cut)
            for chunk in buffer.read_rows():
                check_fields(chunk, cut=cut)


def test_stalled_writers_tear_no_row(tmp_path):
    directory = tmp_path / "replay"
    buffer = ReplayBuffer.create(directory, SCHEMA, capacity_rows=64, block_rows=8)
    notes = [tmp_path / f"note{index}" for index in range(4)]
    writers = [start_writer(directory, index, 1, note) for index, note in enumerate(notes)]
    try:
        for writer, note in zip(writers, notes, strict=True):
            wait_for(note.exists, writer)
        randomness, checked = random.Random(2), 0
        sampler = buffer.sampler(n_step=3, gamma=GAMMA)
        out = sampler.allocate(256)
        deadline = time.monotonic() + STALL_S
        while time.monotonic() < deadline:
            os.kill(randomness.choice(writers).pid, randomness.choice([signal.SIGSTOP, signal.SIGCONT]))
            for _ in range(4):
                sampler.sample_into(out)
                check_returns(out, 3)
                checked += 256
        assert [writer.exitcode for writer in writers] == [None] * 4, "a writer failed"
        assert checked > 10_000
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert buffer.verify().ok
    buffer.close()


def test_a_dead_writers_blocks_are_taken_over(tmp_path):
    directory, note = tmp_path / "replay", tmp_path / "note"
    with ReplayBuffer.create(directory, SCHEMA, capacity_rows=64, block_rows=8) as buffer:
        process = start_writer(directory, 1, 4, note)
        wait_for(note.exists, process)
        process.kill()
        process.join()
        with buffer.writer(streams=1) as writer:
            for number in range(200):
                append(writer, [number])
        assert {int(n) for chunk in buffer.read_rows() for n in chunk["step_id"]} <= set(range(200))
        assert buffer.size > 40


def test_a_process_that_lost_its_lock_notices_before_it_writes(tmp_path):
    directory, note = tmp_path / "replay", tmp_path / "note"
    with ReplayBuffer.create(directory, SCHEMA, capacity_rows=256, block_rows=8) as buffer:
        writer = buffer.writer(streams=1)
        append(writer, [0])
        (directory / "writers.lock").read_bytes()  # closing any descriptor of the file drops the process's locks
        process = start_writer(directory, 1, 1, note)
        wait_for(note.exists, process)
        with pytest.raises(ReplayError, match="lost its lock"):
            append(writer, [1])
        process.kill()
        process.join()
        assert buffer.verify().ok


def test_a_forked_handle_refuses_and_a_reopened_one_works(tmp_path):
    directory = tmp_path / "replay"
    script = f"""
import os, sys
sys.path.insert(0, {str(HERE)!r})
from carla_online.errors import ReplayForked
from carla_online.replay import ReplayBuffer
from replay_rows import SCHEMA, STREAM_SPAN, append
buffer = ReplayBuffer.create({str(directory)!r}, SCHEMA, capacity_rows=256, block_rows=8)
writer, sampler = buffer.writer(streams=1), buffer.sampler()
append(writer, [0])
if os.fork() == 0:
    refused = 0
    for use in (lambda: append(writer, [1]), lambda: sampler.sample(1), lambda: buffer.size, buffer.verify):
        try:
            use()
        except ReplayForked as error:
            refused += "open" in str(error)
    writer.close()
    buffer.close()
    del writer, sampler, buffer
    with ReplayBuffer.open({str(directory)!r}) as own, own.writer(streams=1, first_stream=1) as mine:
        for k in range(100):
            append(mine, [STREAM_SPAN + k])
    os._exit(0 if refused == 4 else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
append(writer, [1])
print(buffer.total_appended)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert result.stdout.strip() == "102", result
    with ReplayBuffer.open(directory) as buffer:
        assert set(last_numbers(buffer, 2)) == {1, STREAM_SPAN + 99}


def test_two_handles_of_one_process_share_the_buffer(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=256, block_rows=8) as first:
        with first.writer(streams=1) as one:
            append(one, [0])
            with ReplayBuffer.open(tmp_path / "replay") as second, second.writer(streams=1, first_stream=1) as two:
                append(two, [STREAM_SPAN])
            append(one, [1])
        assert sorted(next(iter(first.read_rows()))["step_id"]) == [0, 1, STREAM_SPAN]


def test_the_buffer_survives_threads_that_append_and_sample(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=1024, block_rows=8) as buffer:

        def write(first_stream):
            with buffer.writer(streams=32, first_stream=first_stream) as writer:
                for k in range(300):
                    append(writer, (first_stream + np.arange(32)) * 4096 + k)

        def read(seed):
            sampler = buffer.sampler(seed=seed, n_step=2, gamma=GAMMA)
            for _ in range(150):
                batch = sampler.sample(128)
                check_fields(batch)

        append(buffer.writer(streams=1, first_stream=99), [0])
        with ThreadPoolExecutor(4) as pool:
            for task in [pool.submit(write, 0), pool.submit(write, 32), pool.submit(read, 1), pool.submit(read, 2)]:
                task.result()
        assert buffer.verify().ok and buffer.total_appended == 2 * 32 * 300 + 1


def test_verify_finds_a_flipped_byte(tmp_path):
    directory = tmp_path / "replay"
    buffer = ReplayBuffer.create(directory, SCHEMA, capacity_rows=64, block_rows=8)
    with buffer, buffer.writer(streams=1) as writer:
        for number in range(8):
            append(writer, [number])
    content = bytearray((directory / "rows.bin").read_bytes())
    content[content.index(rows_of([3])["obs"].tobytes()) + 5] ^= 1
    (directory / "rows.bin").write_bytes(content)
    with ReplayBuffer.open(directory) as buffer:
        report = buffer.verify()
        # Row 2 ends in the observation that row 3 starts with.
        assert (report.rows_checked, [row for _, row, _ in report.bad_rows]) == (8, [2, 3])
