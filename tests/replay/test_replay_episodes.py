"""Complete episodes: iterating, exporting, copying; and the command that does it."""

import json

import numpy as np
import pytest
from replay_rows import EPISODE_ROWS, SCHEMA, STREAM_SPAN, append, check_fields, next_of, obs_of, rows_of

from carla_online.cli import main
from carla_online.errors import MissingExtra, ReplayError
from carla_online.replay import Field, ReplayBuffer, ReplaySchema


@pytest.fixture
def buffer(tmp_path):
    with ReplayBuffer.create(tmp_path / "replay", SCHEMA, capacity_rows=512, block_rows=8) as buffer:
        yield buffer


def fill(buffer, rows, streams=2, start=0):
    with buffer.writer(streams=streams) as writer:
        for k in range(start, start + rows):
            append(writer, np.arange(streams) * STREAM_SPAN + k)


def episode_numbers(buffer):
    return sorted(int(episode["episode_id"][0]) for episode in buffer.episodes())


def test_every_complete_episode_comes_once_and_whole(buffer):
    fill(buffer, 3 * EPISODE_ROWS + 10)
    for chunk_rows in (10, 10_000):
        episodes = list(buffer.episodes(chunk_rows=chunk_rows))
        assert sorted(int(e["episode_id"][0]) for e in episodes) == [0, 1, 2, *(STREAM_SPAN + k for k in range(3))]
        for episode in episodes:
            check_fields(episode)
            assert len(episode["step_id"]) == EPISODE_ROWS and (np.diff(episode["step_id"].astype(int)) == 1).all()
            assert (episode["next_obs"] == obs_of(episode["step_id"].astype(np.int64) + 1)).all()


def test_an_episode_that_lost_rows_to_eviction_or_a_gap_is_left_out(buffer):
    fill(buffer, 400)
    assert buffer.total_appended == 800 > buffer.size
    for episode in buffer.episodes():
        assert len(episode["step_id"]) == EPISODE_ROWS
    with buffer.writer(streams=1, first_stream=9) as writer:
        # Rows 5 and 6 of an episode are missing; the rest ends it all the same.
        for k in [k for k in range(EPISODE_ROWS) if k not in (5, 6)]:
            append(writer, [5 * STREAM_SPAN + k])
    assert 5 * STREAM_SPAN not in episode_numbers(buffer)


def test_an_episode_closed_by_recovery_is_complete(buffer):
    fill(buffer, 20, streams=1)
    assert episode_numbers(buffer) == []
    assert buffer.close_open_episodes() == 1
    (episode,) = buffer.episodes()
    assert episode["truncated"].tolist() == [False] * 19 + [True]


def test_npz_export_holds_every_complete_episode(buffer, tmp_path):
    fill(buffer, 3 * EPISODE_ROWS + 10)
    assert buffer.export(tmp_path / "out", rows_per_file=80) == 6
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "part-00000.npz",
        "part-00001.npz",
        "schema.json",
    ]
    assert ReplaySchema.from_json((tmp_path / "out" / "schema.json").read_text()) == SCHEMA
    found = []
    for path in (tmp_path / "out").glob("*.npz"):
        with np.load(path, allow_pickle=False) as part:
            arrays = dict(part)
        starts = arrays.pop("episode_starts")
        check_fields(arrays)
        found += arrays["episode_id"][starts[:-1]].tolist()
        assert starts[-1] == len(arrays["step_id"])
    assert sorted(found) == episode_numbers(buffer)
    with pytest.raises(ReplayError, match="already exists"):
        buffer.export(tmp_path / "out")
    with pytest.raises(ReplayError, match="no export format 'csv'"):
        buffer.export(tmp_path / "x", file_format="csv")


def test_an_export_without_a_complete_episode_says_so_and_leaves_nothing(buffer, tmp_path):
    fill(buffer, 5)
    with pytest.raises(ReplayError, match="no complete episode"):
        buffer.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parquet_export_reads_back(buffer, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    fill(buffer, 2 * EPISODE_ROWS)
    assert buffer.export(tmp_path / "rows.parquet", file_format="parquet", rows_per_file=50) == 4
    table = pq.read_table(tmp_path / "rows.parquet")
    shapes = json.loads(table.schema.metadata[b"carla_online.shapes"])
    arrays = {
        name: np.array(table[name].to_pylist()).reshape(-1, *shape).astype(dict(rows_of([0]))[name].dtype)
        for name, shape in shapes.items()
        if not name.startswith("next_")
    }
    check_fields(arrays)
    assert len(arrays["step_id"]) == 4 * EPISODE_ROWS


def test_minari_export_reads_back(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    schema = ReplaySchema((*SCHEMA.fields, Field("action", "f32", (2,))))
    with ReplayBuffer.create(tmp_path / "replay", schema, capacity_rows=512, block_rows=8) as buffer:
        with buffer.writer(streams=1) as writer:
            for number in range(3 * EPISODE_ROWS):
                writer.append(rows_of([number]) | {"action": np.full((1, 2), number, np.float32)}, next_of([number]))
        assert buffer.export("carla/test-v0", file_format="minari") == 3
    dataset = minari.load_dataset("carla/test-v0")
    assert dataset.total_steps == 3 * EPISODE_ROWS
    for number, episode in enumerate(dataset.iterate_episodes()):
        rows = np.arange(EPISODE_ROWS + 1) + number * EPISODE_ROWS
        np.testing.assert_array_equal(episode.observations, obs_of(rows))
        np.testing.assert_array_equal(episode.actions[:, 0], rows[:-1])


@pytest.mark.parametrize(("file_format", "module"), [("parquet", "pyarrow"), ("minari", "minari")])
def test_a_missing_extra_is_named(buffer, tmp_path, monkeypatch, file_format, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    fill(buffer, EPISODE_ROWS)
    with pytest.raises(MissingExtra, match=r"install carla-online\[(arrow|minari)\]"):
        buffer.export(tmp_path / "out", file_format=file_format)


@pytest.mark.parametrize("capacity_rows", [None, 160, 4096])
def test_a_compacted_copy_holds_the_newest_rows_with_all_that_belongs_to_them(tmp_path, capacity_rows):
    schema = ReplaySchema((*SCHEMA.fields, Field("slice_id", "u16")))
    with ReplayBuffer.create(tmp_path / "replay", schema, capacity_rows=512, block_rows=8) as buffer:
        name = {"slice_id": np.full(2, buffer.slice_id("town"), np.uint16)}
        with buffer.writer(streams=2) as writer:
            for k in range(190):
                numbers = np.arange(2) * STREAM_SPAN + k
                writer.append(rows_of(numbers) | name, next_of(numbers))
        buffer.close_open_episodes()
        assert buffer.quarantine(STREAM_SPAN + 180, STREAM_SPAN + 185) == 6
        buffer.compact(tmp_path / "copy", capacity_rows=capacity_rows)
        before = {int(s) for chunk in buffer.read_rows() for s in chunk["step_id"]}
        barred = buffer.size
    with ReplayBuffer.open(tmp_path / "copy", expect=schema) as copy:
        after = {int(s) for chunk in copy.read_rows() for s in chunk["step_id"]}
        assert after <= before and copy.slice_names == ["town"] and copy.verify().ok
        if capacity_rows == 160:
            assert 100 < len(after) <= 160 and STREAM_SPAN + 189 in after
        else:
            assert after == before and copy.size == barred == len(before) - 6
        for chunk in copy.read_rows():
            check_fields({name: chunk[name] for name in SCHEMA.names}, cut={189, STREAM_SPAN + 189})
        drawn = copy.sampler().sample(2000)["step_id"]
        assert not np.isin(drawn, np.arange(180, 186) + STREAM_SPAN).any()


def test_the_command_inspects_verifies_exports_and_compacts(buffer, tmp_path, capsys):
    fill(buffer, 2 * EPISODE_ROWS)
    path = str(buffer.path)
    assert main(["replay", "inspect", path]) == 0
    printed = capsys.readouterr().out
    assert f"rows           {4 * EPISODE_ROWS} of 512" in printed and "obs                  f32   16, linked" in printed
    assert main(["replay", "verify", path]) == 0
    assert f"{4 * EPISODE_ROWS} rows checked, 0 damaged" in capsys.readouterr().out
    assert main(["replay", "export", path, str(tmp_path / "out")]) == 0
    assert "4 complete episodes" in capsys.readouterr().out
    assert main(["replay", "compact", path, str(tmp_path / "copy"), "--capacity", "64"]) == 0
    assert "room for 64" in capsys.readouterr().out


def test_the_command_tells_what_is_wrong(buffer, tmp_path, capsys):
    fill(buffer, EPISODE_ROWS)
    path = buffer.path
    buffer.close()
    assert main(["replay", "inspect", str(tmp_path)]) == 1
    assert "no replay buffer" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["replay", "compact", str(path), str(tmp_path / "copy"), "--capacity", "many"])
    assert "invalid int value: 'many'" in capsys.readouterr().err
    content = bytearray((path / "rows.bin").read_bytes())
    content[content.index(rows_of([13])["obs"].tobytes()) + 5] ^= 1
    (path / "rows.bin").write_bytes(content)
    assert main(["replay", "verify", str(path)]) == 1
    printed = capsys.readouterr()
    assert "2 damaged" in printed.out and "has damaged rows" in printed.err
