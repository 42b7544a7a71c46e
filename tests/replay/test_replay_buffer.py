"""What one process sees of a replay buffer: life cycle, sampling, n-step returns, errors."""

import json
import pickle
import resource
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_rows import GAMMA, SCHEMA, STREAM_SPAN, append, check_fields, check_returns, next_of, obs_of, rows_of

from carla_online.errors import ReplayClosed, ReplayCorrupt, ReplayError, SchemaMismatch
from carla_online.replay import Field, ReplayBuffer, ReplaySchema


@pytest.fixture
def buffer(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=512, block_rows=8) as buffer:
        yield buffer


def fill(buffer, rows, streams=2, start=0):
    with buffer.writer(streams=streams) as writer:
        for k in range(start, start + rows):
            append(writer, np.arange(streams) * STREAM_SPAN + k)


def test_rows_come_back_as_they_went_in(buffer):
    fill(buffer, 100)
    assert buffer.size == buffer.total_appended == 200
    chunks = list(buffer.read_rows(chunk_rows=50))
    numbers = np.concatenate([chunk["step_id"] for chunk in chunks])
    assert len(chunks) > 1
    assert sorted(numbers) == [stream * STREAM_SPAN + k for stream in range(2) for k in range(100)]
    for chunk in chunks:
        check_fields(chunk)
        np.testing.assert_array_equal(chunk["next_obs"], obs_of(chunk["step_id"] + np.uint64(1)))
    assert buffer.verify().ok and buffer.verify().rows_checked == 200


@pytest.mark.parametrize("n_step", [1, 3, 20])
def test_samples_and_their_returns_are_right_after_many_turns(buffer, n_step):
    fill(buffer, 2000)
    sampler = buffer.sampler(seed=1, n_step=n_step, gamma=GAMMA)
    out = sampler.allocate(64)
    for _ in range(100):
        sampler.sample_into(out)
        check_returns(out, n_step)
    assert buffer.total_appended == 4000


def test_a_terminated_row_is_not_bootstrapped_and_a_truncated_one_is(buffer):
    fill(buffer, 100)
    batch = buffer.sampler(gamma=GAMMA).sample(2000)
    assert batch["terminated"].any() and (batch["discount"][batch["terminated"]] == 0).all()
    assert batch["truncated"].any() and (batch["discount"][batch["truncated"]] == GAMMA).all()


def test_sampling_is_a_function_of_seed_draw_and_watermark(buffer):
    fill(buffer, 120)
    first, second = buffer.sampler(seed=7), buffer.sampler(seed=7)
    first.sample(16)
    state = json.loads(json.dumps(first.state))
    one = first.sample(64, watermark=STREAM_SPAN + 50)
    second.restore(state)
    other = second.sample(64, watermark=STREAM_SPAN + 50)
    assert all((one[name] == other[name]).all() for name in one)
    assert one["step_id"].max() <= STREAM_SPAN + 50
    assert (first.sample(64)["step_id"] != buffer.sampler(seed=8).sample(64)["step_id"]).any()


def test_draws_are_uniform(buffer):
    fill(buffer, 32, streams=3)
    numbers = buffer.sampler(seed=3).sample(96_000)["step_id"]
    _, counts = np.unique(numbers, return_counts=True)
    assert len(counts) == 96
    # Chi-square with 95 degrees of freedom: mean 95, standard deviation 14; 160 is beyond the 99.99th percentile.
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 160


def test_a_return_stops_at_the_watermark(buffer):
    fill(buffer, 30, streams=1)
    batch = buffer.sampler(n_step=10, gamma=GAMMA).sample(500, watermark=19)
    last = batch["step_id"] == 19
    assert batch["step_id"].max() == 19 and last.any()
    assert (batch["discount"][last] == GAMMA).all()
    check_returns(batch, 10)


def test_a_gap_in_a_stream_cuts_the_chain(buffer):
    with buffer.writer(streams=1) as writer:
        for number in (0, 1, 2, 10, 11):
            rows = rows_of([number]) | {"episode_id": np.zeros(1, np.uint64)}
            writer.append(rows, next_of([number]))
    batch = buffer.sampler(n_step=5, gamma=GAMMA).sample(200)
    cut = batch["step_id"] == 2
    np.testing.assert_array_equal(batch["next_obs"][cut], obs_of(np.full(cut.sum(), 3)))
    assert (batch["discount"][cut] == GAMMA).all()


def test_a_mask_appends_to_the_chosen_streams_only(buffer):
    with buffer.writer(streams=3) as writer:
        append(writer, np.arange(3) * STREAM_SPAN, mask=np.array([True, False, True]))
    (chunk,) = buffer.read_rows()
    assert sorted(chunk["step_id"]) == [0, 2 * STREAM_SPAN]


def test_quarantined_and_weightless_rows_are_never_drawn(tmp_path):
    schema = ReplaySchema((*SCHEMA.fields, Field("weight", "f32"), Field("quarantined", "bool")))
    with ReplayBuffer.create(tmp_path / "replay", schema, capacity_rows=512, block_rows=8) as buffer:
        writer = buffer.writer(streams=1)
        for number in range(30):
            weight, barred = np.float32([number % 3 > 0]), np.array([number == 4])
            writer.append(rows_of([number]) | {"weight": weight, "quarantined": barred}, next_of([number]))
        assert buffer.quarantine(10, 19) == 10
        drawn = set(buffer.sampler().sample(1000)["step_id"].tolist())
        assert drawn == {number for number in range(30) if number % 3 and number != 4 and not 10 <= number <= 19}
        flags = {
            int(n): bool(q) for c in buffer.read_rows() for n, q in zip(c["step_id"], c["quarantined"], strict=True)
        }
        assert [number for number, barred in flags.items() if barred] == [4, *range(10, 20)]
        assert buffer.verify().ok


def test_an_empty_buffer_says_that_it_has_no_rows(buffer):
    sampler = buffer.sampler()
    with pytest.raises(ReplayError, match="0 are stored") as caught:
        sampler.sample(4)
    assert caught.value.size == 0
    assert sampler.state == {"seed": 0, "draw": 0}
    fill(buffer, 10)
    with pytest.raises(ReplayError, match="20 are stored"):
        buffer.sampler().sample(4, watermark=0) if buffer.quarantine(0, 0) else None


def test_reopening_keeps_rows_counts_and_names(buffer, tmp_path):
    fill(buffer, 600)
    before, size = buffer.total_appended, buffer.size
    assert [buffer.slice_id(name) for name in ("town", "highway", "town")] == [0, 1, 0]
    assert buffer.baseline_id("abc") == 0
    buffer.close()
    with ReplayBuffer.open(tmp_path / "replay", expect=SCHEMA) as again:
        assert (again.total_appended, again.size, again.schema) == (before, size, SCHEMA)
        assert again.slice_id("highway") == 1 and again.slice_names == ["town", "highway"]
        assert again.baseline_hashes == ["abc"]
        check_fields(again.sampler().sample(200))


def test_a_resumed_writer_fills_the_places_that_an_uninterrupted_one_fills(tmp_path):
    drawn = []
    for name, stops in (("whole", ()), ("interrupted", (5, 8, 37, 41))):
        buffer = ReplayBuffer.create(tmp_path / name, SCHEMA, capacity_rows=256, block_rows=8)
        writer = buffer.writer(streams=2)
        for k in range(100):
            if k in stops:
                state = json.loads(json.dumps(writer.state))
                buffer.close()
                buffer = ReplayBuffer.open(tmp_path / name)
                writer = buffer.writer(streams=2, resume=state)
                assert writer.resumed
            append(writer, np.arange(2) * STREAM_SPAN + k)
        drawn.append(buffer.sampler(seed=5, n_step=3, gamma=GAMMA).sample(500))
        buffer.close()
    assert all((drawn[0][name] == drawn[1][name]).all() for name in drawn[0])


def test_a_writer_that_cannot_resume_says_so(buffer):
    with buffer.writer(streams=1) as writer:
        append(writer, [0])
        old = writer.state
        append(writer, [1])
    with buffer.writer(streams=1, resume=old) as writer:
        assert not writer.resumed
        append(writer, [2])
    with pytest.raises(ReplayError, match="not a writer's state"):
        buffer.writer(streams=1, resume={"places": [[1, 2]]})


def test_open_episodes_are_closed_as_truncated(buffer):
    fill(buffer, 40)
    assert buffer.open_episodes() == [(1, 39), (STREAM_SPAN + 1, STREAM_SPAN + 39)]
    assert buffer.last_step_id() == STREAM_SPAN + 39
    with buffer.writer(streams=1):
        assert buffer.close_open_episodes() == 1, "the block of a living writer is left alone"
    assert buffer.close_open_episodes() == 1
    assert buffer.open_episodes() == [] and buffer.verify().ok
    batch = buffer.sampler(gamma=GAMMA, n_step=4).sample(1000)
    ends = np.isin(batch["step_id"], [39, STREAM_SPAN + 39])
    assert batch["truncated"][ends].all() and (batch["discount"][ends] == GAMMA).all()
    fill(buffer, 20, start=40)
    check_returns(buffer.sampler(gamma=GAMMA, n_step=4).sample(1000), 4, cut={39, STREAM_SPAN + 39})


def test_an_episode_that_ends_without_a_row_is_truncated_at_its_last(buffer):
    with buffer.writer(streams=2) as writer:
        assert writer.end_episodes() == 0, "nothing was appended"
        for k in range(40):
            if k in (15, 27):
                assert writer.end_episodes(mask=np.array([False, True])) == 1
                assert writer.end_episodes(mask=np.array([False, True])) == 0, "it is over already"
            append(writer, np.arange(2) * STREAM_SPAN + k)
        with pytest.raises(SchemaMismatch, match="mask"):
            writer.end_episodes(mask=np.zeros(3, np.bool_))
    with pytest.raises(ReplayClosed):
        writer.end_episodes()
    cut = {STREAM_SPAN + 14, STREAM_SPAN + 26}
    batch = buffer.sampler(gamma=GAMMA, n_step=4).sample(1000)
    check_returns(batch, 4, cut=cut)
    ends = np.isin(batch["step_id"], list(cut))
    assert ends.any() and batch["truncated"][ends].all() and not batch["truncated"][batch["step_id"] == 14].any()
    assert buffer.verify().ok and buffer.size == 80


def test_pickling_sends_the_path(buffer):
    fill(buffer, 10)
    with pickle.loads(pickle.dumps(buffer)) as copy:
        assert copy.path == buffer.path and copy.size == 20


def test_handles_that_cannot_do_it_refuse(buffer, tmp_path):
    fill(buffer, 10)
    reader = ReplayBuffer.open(tmp_path / "replay", read_only=True)
    assert len(reader.sampler().sample(8)["reward"]) == 8
    for refused in (lambda: reader.writer(streams=1), reader.close_open_episodes, lambda: reader.quarantine(0, 1)):
        with pytest.raises(ReplayError, match="read-only"):
            refused()
    with pytest.raises(ReplayError, match="already exists"):
        ReplayBuffer.create(tmp_path / "replay", SCHEMA)
    with pytest.raises(ReplayError, match="more streams than blocks"):
        buffer.writer(streams=1000)
    writer = buffer.writer(streams=2)
    buffer.close()
    with pytest.raises(ReplayClosed, match="closed"):
        append(writer, [0, STREAM_SPAN])
    with pytest.raises(ReplayClosed):
        _ = buffer.size


def test_another_schema_is_refused_with_its_differences(buffer, tmp_path):
    other = ReplaySchema((*(f for f in SCHEMA.fields if f.name != "note"), Field("obs2", "f32", (4,))))
    with pytest.raises(SchemaMismatch, match="note is stored but not expected; obs2"):
        ReplayBuffer.open(tmp_path / "replay", expect=other)
    with pytest.raises(SchemaMismatch, match='"reward".*missing'):
        ReplayBuffer.create(tmp_path / "new", ReplaySchema((Field("obs", "f32", linked=True),)))
    with pytest.raises(ReplayCorrupt, match="no replay buffer"):
        ReplayBuffer.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["replay"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": np.zeros(2, np.float64)}, "reward: expected float32"),
        ({"obs": np.zeros((2, 3), np.float32)}, "obs: expected shape"),
        ({"obs": np.zeros((16, 2), np.float32).T}, "C-contiguous"),
        ({"surprise": np.zeros(2)}, "surprise isn't a field"),
    ],
)
def test_a_wrong_row_is_refused_by_name(buffer, change, message):
    numbers = np.arange(2) * STREAM_SPAN
    with buffer.writer(streams=2) as writer, pytest.raises(SchemaMismatch, match=message):
        writer.append(rows_of(numbers) | change, next_of(numbers))
    assert buffer.total_appended == 0


def test_outputs_are_checked_before_they_are_written(buffer):
    fill(buffer, 10)
    sampler = buffer.sampler()
    out = dict(sampler.allocate(8))
    sampler.sample_into(out)
    with pytest.raises(SchemaMismatch, match="shares memory"):
        sampler.sample_into(out | {"next_obs": out["obs"]})
    out["reward"].flags.writeable = False
    with pytest.raises(SchemaMismatch, match="read-only"):
        sampler.sample_into(out)


def test_a_full_disk_is_an_error_at_creation_and_leaves_nothing(tmp_path):
    with pytest.raises(ReplayError, match="not enough room") as caught:
        ReplayBuffer.create(tmp_path / "deep" / "replay", SCHEMA, capacity_rows=10**12, block_rows=1024)
    assert caught.value.needed_bytes > caught.value.free_bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_size_limit_is_an_error_at_creation_and_leaves_nothing(tmp_path):
    script = f"""
import resource
from carla_online.errors import ReplayError
from carla_online.replay import ReplayBuffer, ReplaySchema
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
try:
    ReplayBuffer.create({str(tmp_path / "replay")!r}, ReplaySchema.transitions(8, 2, 3))
except ReplayError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert "not enough room" in result.stdout, result
    assert list(tmp_path.iterdir()) == []


def test_directory_is_private(buffer):
    assert buffer.path.stat().st_mode & 0o777 == 0o700


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=12), st.integers(2, 16))
def test_any_interleaving_of_streams_reads_back(tmp_path_factory, runs, block_rows):
    path = tmp_path_factory.mktemp("interleaved") / "replay"
    done = [0, 0, 0, 0]
    with ReplayBuffer.create(path, SCHEMA, capacity_rows=12 * block_rows, block_rows=block_rows) as buffer:
        writer = buffer.writer(streams=4)
        for stream, rows in runs:
            for _ in range(rows):
                numbers = np.arange(4) * STREAM_SPAN + done
                append(writer, numbers, mask=np.arange(4) == stream)
                done[stream] += 1
        check_returns(buffer.sampler(n_step=5, gamma=GAMMA).sample(200), 5)
        assert buffer.total_appended == sum(done)
