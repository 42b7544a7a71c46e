"""Metric files survive kills and resumptions without a doubled or lost step."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carla_online.online.metrics import (
    JsonLinesWriter,
    MetricHub,
    MetricWriter,
    TensorBoardWriter,
    read_events,
    read_metrics,
)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_values_come_back_by_tag(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLinesWriter(path)
    writer.scalars({"train/entropy": -1.5, "train/q_mean": math.nan}, 10)
    writer.scalar("train/entropy", math.inf, 20)
    writer.text("guard", "rolled back: Q is 99", 20)
    writer.close()
    writer.close()
    assert rows(path)[0]["train/q_mean"] is None
    steps, values = read_metrics(path)["train/entropy"]
    assert steps.tolist() == [10, 20]
    assert values[0] == -1.5
    assert np.isnan(values[1])
    assert read_events(path) == [(20, "guard", "rolled back: Q is 99")]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_dropped_on_reopening(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    with_rows = JsonLinesWriter(path)
    for step in (1, 2, 3):
        with_rows.scalar("loss", step / 10, step)
    with_rows.close()
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: -min(cut, len(last))])
    assert read_metrics(path)["loss"][0].tolist() == [1, 2]
    writer = JsonLinesWriter(path)
    writer.scalar("loss", 0.4, 4)
    writer.close()
    assert [row["step"] for row in rows(path)] == [1, 2, 4]


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(0, 50), max_size=20).map(sorted), resume=st.integers(0, 60))
def test_after_a_resumption_no_step_appears_twice(tmp_path_factory, steps, resume):
    path = tmp_path_factory.mktemp("resume") / "metrics.jsonl"
    writer = JsonLinesWriter(path)
    for step in steps:
        writer.scalar("first", float(step), step)
    writer.close()
    writer = JsonLinesWriter(path, resume_step=resume)
    writer.scalar("second", 1.0, resume + 1)
    writer.close()
    assert [row["step"] for row in rows(path)] == [step for step in steps if step <= resume] + [resume + 1]


def test_time_goes_on_where_the_kept_rows_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    now = [100.0]
    writer = JsonLinesWriter(path, clock=lambda: now[0])
    for step in (1, 2):
        now[0] += 5.0
        writer.scalar("loss", 0.0, step)
    writer.close()
    now[0] = 7.0  # another process, another origin
    writer = JsonLinesWriter(path, resume_step=1, clock=lambda: now[0])
    now[0] += 2.0
    writer.scalar("loss", 0.0, 2)
    writer.close()
    assert [row["time_s"] for row in rows(path)] == [5.0, 7.0]


def test_steps_may_not_go_back_and_reserved_tags_are_refused(tmp_path):
    writer = JsonLinesWriter(tmp_path / "metrics.jsonl")
    writer.scalar("loss", 0.0, 5)
    with pytest.raises(ValueError, match="step 4 came after those of step 5"):
        writer.scalar("loss", 0.0, 4)
    with pytest.raises(ValueError, match="rename"):
        writer.scalars({"step": 1.0}, 6)
    writer.close()


def test_damaged_lines_in_the_middle_are_passed_over(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"step":1,"a":1}\n\x00\xff garbage\n[1]\n{"step":-4,"a":9}\n{"step":2,"a":true}\n{"step":3,"a":3}\n'
    )
    assert read_metrics(path)["a"][0].tolist() == [1, 3]
    assert "line 2" in caplog.text
    JsonLinesWriter(path, resume_step=9).close()
    assert read_metrics(path)["a"][0].tolist() == [1, 3]


def test_a_killed_writer_loses_no_finished_row(tmp_path):
    path = tmp_path / "metrics.jsonl"
    code = (
        "import sys; from pathlib import Path; from carla_online.online.metrics import JsonLinesWriter\n"
        "writer = JsonLinesWriter(Path(sys.argv[1])); step = 0\n"
        "while True:\n"
        "    step += 1; writer.scalar('loss', 0.5, step); print(step, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line) >= 200:
                break
        os.kill(child.pid, signal.SIGKILL)
    steps = read_metrics(path)["loss"][0]
    assert len(steps) >= 200
    assert steps.tolist() == list(range(1, len(steps) + 1))


def test_a_full_disk_leaves_no_half_row(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLinesWriter(path)
    writer.scalar("loss", 0.5, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))  # the file may grow by 20 bytes
    try:
        with pytest.raises(OSError, match="too large"):
            writer.scalar("loss", 0.5, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    writer.scalar("loss", 0.5, 3)
    writer.close()
    assert [row["step"] for row in rows(path)] == [1, 3]


def test_hub_hands_everything_to_every_writer(tmp_path):
    class OnlyScalars(MetricWriter):
        def __init__(self):
            self.seen = []

        def scalar(self, tag, value, step):
            self.seen.append((tag, value, step))

    plain = OnlyScalars()
    hub = MetricHub([plain, JsonLinesWriter(tmp_path / "metrics.jsonl")])
    hub.scalars({"a": 1.0, "b": 2.0}, 3)
    hub.text("note", "hello", 3)
    hub.flush()
    hub.close()
    assert plain.seen == [("a", 1.0, 3), ("b", 2.0, 3)]
    assert set(read_metrics(tmp_path / "metrics.jsonl")) == {"a", "b", "time_s"}


def test_tensorboard_files_hold_the_values(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = TensorBoardWriter(tmp_path)
    writer.scalars({"train/entropy": -1.25}, 7)
    writer.text("guard", "fine", 7)
    writer.close()
    accumulator = EventAccumulator(str(tmp_path))
    accumulator.Reload()
    (event,) = accumulator.Scalars("train/entropy")
    assert (event.step, event.value) == (7, -1.25)
