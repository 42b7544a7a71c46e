"""How rows are chosen: by age, by slice, by priority, mixed, in windows, ahead of time."""

import json
import multiprocessing

import numpy as np
import pytest
from replay_rows import GAMMA, SCHEMA, STREAM_SPAN, append, check_fields, check_returns, next_of, obs_of, rows_of

from carla_online.errors import ReplayClosed, ReplayError, SchemaMismatch
from carla_online.replay import (
    Field,
    PrefetchingSampler,
    Prioritized,
    Recency,
    ReplayBuffer,
    ReplayMixture,
    ReplaySchema,
    Stratified,
    Uniform,
)

SLICED = ReplaySchema((*SCHEMA.fields, Field("slice_id", "u16"), Field("weight", "f32")))


@pytest.fixture
def buffer(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=512, block_rows=8) as buffer:
        yield buffer


def fill(buffer, rows, start=0, streams=1):
    with buffer.writer(streams=streams) as writer:
        for k in range(start, start + rows):
            append(writer, np.arange(streams) * STREAM_SPAN + k)


def fill_sliced(buffer, slices, weights=None):
    """One row for each slice of a list."""
    with buffer.writer(streams=1) as writer:
        for number, slice_id in enumerate(slices):
            weight = np.float32([1.0 if weights is None else weights[number]])
            writer.append(rows_of([number]) | {"slice_id": np.uint16([slice_id]), "weight": weight}, next_of([number]))


def chi_square(counts, expected):
    expected = np.asarray(expected, float) / np.sum(expected) * np.sum(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_recency_halves_the_weight_with_each_half_life(buffer):
    fill(buffer, 256)
    drawn = buffer.sampler(seed=1, mode=Recency(half_life_rows=64.0)).sample(50_000)
    check_fields(drawn)
    # Rows lie 8 to a block minus the places of episodes' ends, and age counts in blocks.
    places = {number: number + number // 37 for number in range(256)}
    blocks = np.array([places[number] // 8 for number in range(256)])
    expected = 2.0 ** (-(blocks.max() - blocks) * 8 / 64.0)
    counts = np.bincount(drawn["step_id"].astype(int), minlength=256)
    # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6.
    assert chi_square(counts, expected) < 255 + 5 * 22.6


def test_stratified_draws_every_slice_alike_and_rows_of_a_slice_alike(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SLICED, capacity_rows=512, block_rows=8) as buffer:
        slices = [7] * 150 + [3] * 6 + [7] * 20 + [9] * 30
        fill_sliced(buffer, slices)
        sampler = buffer.sampler(seed=2, mode=Stratified())
        drawn = sampler.sample(30_000)
        _, counts = np.unique(drawn["slice_id"], return_counts=True)
        assert chi_square(counts, [1, 1, 1]) < 20
        rare = drawn["step_id"][drawn["slice_id"] == 3].astype(int) - 150
        assert chi_square(np.bincount(rare, minlength=6), np.ones(6)) < 30
        with buffer.writer(streams=1) as writer:
            for number in range(1000, 1400):
                extra = {"slice_id": np.uint16([5]), "weight": np.float32([1.0])}
                writer.append(rows_of([number]) | extra, next_of([number]))
        assert set(sampler.sample(2000)["slice_id"]) == {5, 7, 9} | set(slices) - {3, 7, 9} or buffer.size < 600
        stored = {int(s) for chunk in buffer.read_rows() for s in chunk["slice_id"]}
        assert set(sampler.sample(2000)["slice_id"].tolist()) == stored


def test_stratified_passes_over_a_slice_without_a_row_that_may_be_drawn(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SLICED, capacity_rows=512, block_rows=8) as buffer:
        fill_sliced(buffer, [1] * 50 + [2] * 50 + [3] * 50, weights=[1.0] * 50 + [0.0] * 50 + [1.0] * 50)
        drawn = buffer.sampler(mode=Stratified()).sample(3000)
        assert set(drawn["slice_id"].tolist()) == {1, 3}
        early = buffer.sampler(mode=Stratified()).sample(500, watermark=20)
        assert early["step_id"].max() <= 20


def test_modes_that_cannot_work_refuse(buffer, tmp_path):
    with pytest.raises(ReplayError, match="no slices"):
        buffer.sampler(mode=Stratified())
    for half_life_rows in (0.0, -1.0, float("nan")):
        with pytest.raises(ReplayError, match="half_life_rows"):
            buffer.sampler(mode=Recency(half_life_rows))
    for mode in (Prioritized(exponent=-1.0), Prioritized(correction=2.0)):
        with pytest.raises(ReplayError, match="must lie in"):
            buffer.sampler(mode=mode)
    with (
        ReplayBuffer.open(tmp_path / "replay", read_only=True) as reader,
        pytest.raises(ReplayError, match="read-only"),
    ):
        reader.sampler(mode=Prioritized())


@pytest.mark.parametrize("mode", [Uniform(), Recency(100.0), Stratified(), Prioritized()])
def test_every_mode_repeats_from_its_state_and_keeps_to_the_watermark(tmp_path, mode):
    with ReplayBuffer.create(tmp_path / "replay", SLICED, capacity_rows=512, block_rows=8) as buffer:
        fill_sliced(buffer, [number % 3 for number in range(700)])
        first, second = buffer.sampler(seed=7, mode=mode), buffer.sampler(seed=7, mode=mode)
        first.sample(16)
        second.restore(json.loads(json.dumps(first.state)))
        for watermark in (None, 600, 250):
            one, other = first.sample(64, watermark=watermark), second.sample(64, watermark=watermark)
            assert all((one[name] == other[name]).all() for name in one)
            assert watermark is None or one["step_id"].max() <= watermark
            check_fields({name: one[name] for name in (*SCHEMA.names, "next_obs")})


def test_a_low_watermark_on_a_full_buffer_is_uniform_over_the_few_rows_that_pass(buffer):
    fill(buffer, 3000)
    oldest = min(int(chunk["step_id"].min()) for chunk in buffer.read_rows())
    drawn = buffer.sampler(seed=1).sample(8000, watermark=oldest + 3)["step_id"].astype(int) - oldest
    assert chi_square(np.bincount(drawn, minlength=4), np.ones(4)) < 25


def test_rows_are_drawn_in_proportion_to_their_priorities(buffer):
    fill(buffer, 120)
    sampler = buffer.sampler(seed=3, mode=Prioritized(exponent=0.5, correction=1.0))
    everything = sampler.sample(4000)
    numbers, first = np.unique(everything["step_id"], return_index=True)
    assert len(numbers) == 120, "new rows have the same priority"
    assert (everything["importance_weight"] == 1.0).all()
    rows = {name: everything[name][first] for name in ("row_index", "row_generation")}
    priorities = (numbers % 7 + 1).astype(np.float32)
    assert sampler.update_priorities(rows, priorities) == 120
    drawn = sampler.sample(60_000)
    counts = np.bincount(drawn["step_id"].astype(int), minlength=120)
    share = np.sqrt(priorities) / np.sqrt(priorities).sum()
    # Drawn in equal shares of the sum, so closer to the expectation than independent draws.
    assert chi_square(counts, share) < 119 + 5 * 15.4
    # Equation 1 and section 3.4: (1 / (N P))^1, over the batch's greatest.
    expected = share.min() / share[drawn["step_id"].astype(int)]
    np.testing.assert_allclose(drawn["importance_weight"], expected, rtol=1e-4)
    check_returns(buffer.sampler(mode=Prioritized(exponent=0.5), n_step=3, gamma=GAMMA).sample(500), 3)


def test_new_rows_get_the_greatest_priority_and_stale_updates_are_dropped(buffer):
    fill(buffer, 50)
    sampler = buffer.sampler(mode=Prioritized(exponent=1.0))
    old = sampler.sample(1000)
    assert sampler.update_priorities(old, np.full(1000, 3.0, np.float32)) == 1000
    fill(buffer, 1, start=50)
    drawn = sampler.sample(5100)
    assert 60 <= (drawn["step_id"] == 50).sum() <= 140, "one row of 51 with the same priority"
    fill(buffer, 2000, start=51)
    assert sampler.sample(64)["step_id"].min() > 50
    assert sampler.update_priorities(old, np.zeros(1000, np.float32)) == 0


def test_quarantined_rows_leave_the_priorities(buffer):
    fill(buffer, 60)
    sampler = buffer.sampler(mode=Prioritized())
    sampler.sample(100)
    buffer.quarantine(0, 57)
    assert buffer.size == 2
    for _ in range(3):
        assert set(sampler.sample(100)["step_id"].tolist()) == {58, 59}


def test_priorities_survive_reopening_and_another_exponent_is_refused(buffer, tmp_path):
    fill(buffer, 40)
    sampler = buffer.sampler(mode=Prioritized(exponent=1.0))
    batch = sampler.sample(2000)
    sampler.update_priorities(batch, np.where(batch["step_id"] == 11, 1000.0, 0.001).astype(np.float32))
    buffer.close()
    with ReplayBuffer.open(tmp_path / "replay") as again:
        drawn = again.sampler(mode=Prioritized(exponent=1.0)).sample(500)
        assert (drawn["step_id"] == 11).mean() > 0.99
        with pytest.raises(ReplayError, match=r"exponent 1, not 0\.6"):
            again.sampler(mode=Prioritized())


@pytest.mark.parametrize("damage", ["truncated", "random", "other"])
def test_damaged_priorities_are_made_anew(buffer, tmp_path, damage):
    fill(buffer, 40)
    buffer.sampler(mode=Prioritized()).sample(10)
    buffer.close()
    path = tmp_path / "replay" / "priorities.bin"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[:1000]
    elif damage == "random":
        content[4096:] = np.random.default_rng(0).bytes(len(content) - 4096)
    else:
        content[8:16] = b"\1" * 8
    path.write_bytes(content)
    with ReplayBuffer.open(tmp_path / "replay") as again:
        try:
            check_fields(again.sampler(mode=Prioritized()).sample(200))
        except ReplayError as error:
            assert damage == "random" and len(str(error)) > 20


def update_forever(path, rounds):
    with ReplayBuffer.open(path) as buffer:
        sampler = buffer.sampler(seed=rounds, mode=Prioritized(exponent=1.0))
        for _ in range(rounds):
            batch = sampler.sample(64)
            sampler.update_priorities(batch, (batch["step_id"] % 5 + 1).astype(np.float32))


def test_priorities_updated_by_several_processes_agree(buffer):
    fill(buffer, 200)
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=update_forever, args=(buffer.path, 200 + index)) for index in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    drawn = buffer.sampler(seed=9, mode=Prioritized(exponent=1.0)).sample(40_000)
    numbers = np.arange(200)
    counts = np.bincount(drawn["step_id"].astype(int), minlength=200)
    assert chi_square(counts, numbers % 5 + 1) < 199 + 5 * 20


def test_wrong_priorities_are_refused_by_name(buffer):
    fill(buffer, 10)
    sampler = buffer.sampler(mode=Prioritized())
    batch = sampler.sample(4)
    for bad in (float("nan"), -1.0):
        with pytest.raises(ReplayError, match="priority 2 is"):
            sampler.update_priorities(batch, np.float32([1, 1, bad, 1]))
    with pytest.raises(SchemaMismatch, match="row_index"):
        sampler.update_priorities(batch, np.ones(3, np.float32))
    with pytest.raises(ReplayError, match="mode=Prioritized"):
        buffer.sampler().update_priorities(buffer.sampler().sample(4), np.ones(4, np.float32))
    with pytest.raises(ReplayError, match="doesn't draw by priority"):
        buffer.sampler().update_priorities(batch, np.ones(4, np.float32))


def test_windows_are_successive_rows_of_one_episode(buffer):
    fill(buffer, 300, streams=2)
    sampler = buffer.windows(length=12, seed=4)
    out = sampler.allocate(200)
    for _ in range(5):
        sampler.sample_into(out)
        lengths = out["valid"].sum(axis=1)
        assert out["valid"][:, 0].all() and (np.diff(out["valid"].astype(int), axis=1) <= 0).all()
        numbers = out["step_id"].astype(np.int64)
        for window, length in zip(range(200), lengths, strict=True):
            rows = {name: out[name][window, :length] for name in SCHEMA.names}
            check_fields(rows)
            assert (np.diff(numbers[window, :length]) == 1).all()
            assert (out["next_obs"][window, :length] == obs_of(numbers[window, :length] + 1)).all()
            is_done = rows["terminated"] | rows["truncated"]
            is_newest = numbers[window, length - 1] % STREAM_SPAN == 299
            assert not is_done[:-1].any() and (length == 12 or is_done[-1] or is_newest)
            assert not out["obs"][window, length:].any() and not numbers[window, length:].any()
    assert (lengths < 12).any() and (lengths == 12).any()
    assert sampler.sample(50, watermark=150)["step_id"].max() <= 150
    with pytest.raises(ReplayError, match="length is 0"):
        buffer.windows(length=0)


def test_a_mixture_fills_one_batch_by_shares(buffer, tmp_path):
    fill(buffer, 100)
    with ReplayBuffer.create(tmp_path / "other", SCHEMA, capacity_rows=512, block_rows=8) as other:
        fill(other, 100, start=1000)
        sampler = ReplayMixture([(buffer, 1.0), (other, 3.0)]).sampler(seed=1, n_step=3, gamma=GAMMA)
        out = sampler.allocate(10)
        total = 0
        for _ in range(8):
            state = json.loads(json.dumps(sampler.state))
            sampler.sample_into(out)
            assert ((out["step_id"] >= 1000) == (out["source"] == 1)).all()
            check_returns(out, 3)
            total += int((out["source"] == 0).sum())
        assert total == 20, "a quarter of 80 rows, though no batch of 10 can have it"
        before = {name: array.copy() for name, array in out.items()}
        sampler.restore(state)
        again = sampler.sample(10)
        assert all((before[name] == again[name]).all() for name in before)
        low = sampler.sample(100, watermark=[50, None])
        assert low["step_id"][low["source"] == 0].max() <= 50
        with pytest.raises(ReplayError, match="step_id of at most 5"):
            sampler.sample(10, watermark=5)
        weighted = ReplayMixture([(buffer, 0.5), (other, 0.5)]).sampler(mode=[Uniform(), Prioritized()])
        assert len(weighted.sample(20)["importance_weight"]) == 20


def test_a_mixture_that_cannot_be_is_refused(buffer, tmp_path):
    other = ReplayBuffer.create(tmp_path / "other", SLICED, capacity_rows=64, block_rows=8)
    with other, pytest.raises(SchemaMismatch, match="different schemas"):
        ReplayMixture([(buffer, 1.0), (other, 1.0)])
    with pytest.raises(ReplayError, match="at least one buffer"):
        ReplayMixture([])
    with pytest.raises(ReplayError, match="share 0 is 0"):
        ReplayMixture([(buffer, 0)])
    with pytest.raises(ReplayError, match="2 modes for 1 buffers"):
        ReplayMixture([(buffer, 1.0)]).sampler(mode=[Uniform(), Uniform()])


def test_a_prefetching_sampler_draws_what_the_sampler_alone_draws(buffer):
    fill(buffer, 100)
    alone = buffer.sampler(seed=5)
    watermarks = [20, 40, None, 90]
    with PrefetchingSampler(buffer.sampler(seed=5), rows=32, depth=2) as ahead:
        ahead.request(watermarks[0])
        for number, watermark in enumerate(watermarks):
            if number + 1 < len(watermarks):
                ahead.request(watermarks[number + 1])
            batch, expected = ahead.take(), alone.sample(32, watermark=watermark)
            assert all((batch[name] == expected[name]).all() for name in expected)
        assert ahead.waited_s >= 0.0 and ahead.requested == 0
        with pytest.raises(ReplayError, match="no batch was requested"):
            ahead.take()
        ahead.request(), ahead.request()
        with pytest.raises(ReplayError, match="requested already"):
            ahead.request()
    with pytest.raises(ReplayClosed):
        ahead.take()


def test_a_prefetching_sampler_raises_what_sampling_raised_and_goes_on(buffer):
    fill(buffer, 100, start=1000)
    with PrefetchingSampler(buffer.sampler(), rows=8) as ahead:
        ahead.request(5)
        with pytest.raises(ReplayError, match="step_id of at most 5"):
            ahead.take()
        ahead.request(1020)
        assert ahead.take()["step_id"].max() <= 1020


def test_checked_samples_refuse_a_damaged_row(buffer, tmp_path):
    fill(buffer, 30)
    buffer.sampler(check=True).sample(500)
    buffer.close()
    path = tmp_path / "replay" / "rows.bin"
    content = bytearray(path.read_bytes())
    content[content.index(rows_of([13])["obs"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with ReplayBuffer.open(tmp_path / "replay") as damaged, pytest.raises(ReplayError, match="is damaged"):
        damaged.sampler(check=True).sample(500)


def test_a_bound_writer_appends_what_the_arrays_hold(buffer):
    rows, next_values = rows_of([0, STREAM_SPAN]), next_of([0, STREAM_SPAN])
    with buffer.writer(streams=2) as writer:
        mask = np.array([True, True])
        bound = writer.bind(rows, next_values, mask=mask)
        for k in range(100):
            numbers = np.arange(2) * STREAM_SPAN + k
            for name, values in rows_of(numbers).items():
                rows[name][:] = values
            next_values["obs"][:] = next_of(numbers)["obs"]
            mask[1] = k < 50
            bound.append()
    assert buffer.total_appended == 150 and buffer.verify().ok
    check_returns(buffer.sampler(n_step=4, gamma=GAMMA).sample(1000), 4)
    with pytest.raises(ReplayClosed):
        bound.append()
    with buffer.writer(streams=2) as writer, pytest.raises(SchemaMismatch, match="reward"):
        writer.bind(rows | {"reward": np.zeros(3, np.float32)}, next_values)


def test_a_schema_without_linked_fields_stores_next_values_as_any_field(tmp_path):
    plain = [Field(field.name, field.dtype, field.shape) for field in SCHEMA.fields]
    schema = ReplaySchema((*plain, Field("next_obs", "f32", SCHEMA.fields[0].shape)))
    with ReplayBuffer.create(tmp_path / "plain", schema, capacity_rows=128, block_rows=8) as buffer:
        with buffer.writer(streams=1) as writer:
            for number in range(300):
                writer.append(rows_of([number]) | {"next_obs": obs_of([number + 1])}, {})
        batch = buffer.sampler().sample(500)
        check_fields({name: batch[name] for name in SCHEMA.names})
        assert (batch["next_obs"] == obs_of(batch["step_id"].astype(np.int64) + 1)).all()
        assert buffer.verify().ok
    with pytest.raises(SchemaMismatch, match="reserved"):
        ReplayBuffer.create(tmp_path / "x", ReplaySchema((*SCHEMA.fields, Field("next_obs", "f32"))))
