"""Workers that collect while another process learns: whatever is killed, no transition is lost, doubled or wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faulty import ID
from tiny import tiny_config

from carla_online.config import validate
from carla_online.errors import ConfigError
from carla_online.evaluation import write_report
from carla_online.online import ExperimentConfig, open_run
from carla_online.online.checkpoint import list_checkpoints, read_checkpoint
from carla_online.online.metrics import read_events, read_metrics
from carla_online.replay import ReplayBuffer

HOLD, LENGTH, GAMMA = 3, 10, 0.99
START_S = 400  # importing torch takes seconds, and minutes on a machine that is busy with ten other things


def config_of(total_env_steps, *, workers=2, supervision=None, env=None, **kwargs):
    env = env or {"kind": "gymnasium", "id": ID, "num_envs": 2, "kwargs": {"length": LENGTH} | kwargs}
    data = tiny_config(total_env_steps=total_env_steps, env=env, value_bounds=None, gamma=GAMMA).model_dump(mode="json")
    data["runner"] |= {
        "workers": workers,
        "supervision": {"max_failures_per_1000_steps": 1e6, "backoff_s": 0.1, "start_deadline_s": 600}
        | (supervision or {}),
    }
    return validate(ExperimentConfig, data, source="test")


def check_rows(run_dir):
    """Every row tells what its observations say, and every episode's rows are complete up to where it was cut."""
    with ReplayBuffer.open(run_dir / "replay", read_only=True) as replay:
        blocks = list(replay.read_rows())
        rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        assert len(rows["step_id"]) == replay.total_appended
        assert replay.verify().ok
    order = np.argsort(rows["step_id"])
    rows = {name: values[order] for name, values in rows.items()}
    assert len(np.unique(rows["step_id"])) == len(order), "a number was given out twice"
    process, episode, start, _ = rows["obs"].astype(np.int64).T
    process_after, episode_after, end, _ = rows["next_obs"].astype(np.int64).T
    np.testing.assert_array_equal((process, episode), (process_after, episode_after))
    steps = end - start
    np.testing.assert_array_equal(start % HOLD, 0)
    is_whole = end == LENGTH
    reward = sum(np.where(j < steps, GAMMA**j * (episode % 97 + (start + j + 1) / 100), 0.0) for j in range(HOLD))
    np.testing.assert_allclose(rows["reward"], reward, rtol=1e-5)
    np.testing.assert_array_equal(rows["terminated"], is_whole & (episode % 2 == 1))
    assert rows["truncated"][is_whole & (episode % 2 == 0)].all()
    drives = {}
    for key, first, last, over, cut in zip(
        zip(process, episode, rows["episode_id"], strict=True), start, end, rows["terminated"], rows["truncated"],
        strict=True,
    ):  # fmt: skip
        seen = drives.setdefault(key, [])
        assert first == (seen[-1][0] if seen else 0), f"a row of {key} is missing or doubled"
        seen.append((last, over, cut))
    for key, seen in drives.items():
        assert not any(over for _, over, _ in seen[:-1]), key
        assert seen[-1][1] or seen[-1][2], f"{key} was left open"
    return rows


@pytest.fixture(scope="module")
def chaos(tmp_path_factory):
    """A run of two workers, each of which crashes, hangs or raises after four hundred and fifty steps.

    One may drive twice before the other's hang is noticed, and no further: 1,400 steps take two failures at least.
    """
    run_dir = tmp_path_factory.mktemp("chaos") / "run"
    config = config_of(1_400, kind="any", every=450, supervision={"step_deadline_s": 3.0})
    with open_run(config, run_dir=run_dir, show_progress=False) as runner:
        runner.run()
        pool = runner._intake.pool
        facts = {
            "env_steps": runner.env_steps,
            "updates": runner.trainer.updates,
            "transitions": runner.trainer.transitions,
            "counts": dict(pool.incidents.counts),
            "failures": pool.incidents.failures,
            "acknowledged": int(pool.board.workers["transitions"].sum()),
            # The run may end while one that failed waits to be started again: that start is owed.
            "starts": [seat.starts + (seat.start_at_s > seat.started_s) for seat in pool._seats],
            "status": runner._intake.status(),
        }
    return run_dir, facts


def test_a_run_among_failing_workers_ends_and_every_transition_is_whole(chaos):
    run_dir, facts = chaos
    print(facts)
    rows = check_rows(run_dir)
    assert facts["env_steps"] >= 1_400 and facts["failures"] >= 2
    assert 0 <= len(rows["step_id"]) - facts["acknowledged"] <= facts["failures"]
    assert facts["transitions"] > rows["step_id"].max()
    assert sum(facts["starts"]) == 2 + facts["failures"] + facts["counts"].get("recycled", 0)


def test_recycled_workers_end_after_an_episode_and_harm_nothing(tmp_path):
    config = config_of(300, workers=1, supervision={"recycle_episodes": 20})
    with open_run(config, run_dir=tmp_path / "run", show_progress=False) as runner:
        runner.run()
        log = runner._intake.pool.incidents
        assert log.failures == 0 and log.counts["recycled"] >= 1
    check_rows(tmp_path / "run")


def test_workers_drive_with_the_newest_weights_while_the_learner_learns(chaos):
    run_dir, facts = chaos
    assert facts["updates"] > 20
    rows = check_rows(run_dir)
    versions = rows["policy_version"]
    assert versions.min() == 0 and versions.max() > 0
    newest = read_checkpoint(list_checkpoints(run_dir)[-1]).counters
    assert newest["env_steps"] == facts["env_steps"] and newest["trainer"]["updates"] == facts["updates"]


def test_incidents_are_seen_in_metrics_messages_and_report(chaos):
    run_dir, facts = chaos
    lines = (run_dir / "workers" / "incidents.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == facts["counts"]
    told = [text for _, name, text in read_events(run_dir / "metrics.jsonl") if name == "workers"]
    assert len(told) == len(lines)
    metrics = read_metrics(run_dir / "metrics.jsonl")
    assert {"workers/up", "workers/failures", "workers/env_steps_per_s_0"} <= metrics.keys()
    assert facts["status"][0].startswith("worker 0: ") and facts["status"][-1].startswith("incidents: ")
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert "Workers and incidents" in page and page.count("<li><b>") >= len(lines)


SCRIPT = """
import os, sys
from pathlib import Path
import torch
from carla_online.config import read_yaml, validate
from carla_online.online import Callback, ExperimentConfig, open_run

class Tell(Callback):
    def on_update(self, runner, metrics):
        pool = runner._intake.pool
        os.write(1, f"{' '.join(str(pid or 0) for pid in pool.pids)} {pool.env_steps}\\n".encode())

if __name__ == "__main__":
    torch.set_num_threads(1)
    config = validate(ExperimentConfig, read_yaml(Path(sys.argv[1])), source="test")
    with open_run(config, run_dir=Path(sys.argv[2]), callbacks=[Tell()], show_progress=False) as runner:
        runner.run()
"""


def start(tmp_path, config):
    from carla_online.config import to_yaml

    (tmp_path / "config.yaml").write_text(to_yaml(config))
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "config.yaml"), str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, env=environment)


def next_line(process):
    line = process.stdout.readline()
    assert line, f"the run ended with {process.wait()}"
    return [int(word) for word in line.split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_workers_and_a_killed_learner_lose_nothing_and_sigterm_ends_in_good_order(tmp_path):
    config = config_of(10**9, step_s=0.002)
    config = config.model_copy(update={"guard": config.guard.model_copy(update={"check_every_updates": 5})})
    process = start(tmp_path, config)
    try:
        first = next_line(process)
        os.kill(first[0], signal.SIGKILL)
        deadline_s = time.monotonic() + START_S
        while (seen := next_line(process))[0] in (0, first[0]):
            assert time.monotonic() < deadline_s, "the worker wasn't started again"
        assert seen[1] == first[1], "the other worker went on"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        deadline_s = time.monotonic() + 30
        while any(is_running(pid) for pid in seen[:2]):
            assert time.monotonic() < deadline_s, "a worker outlived its run"
            time.sleep(0.05)
        process = start(tmp_path, config)
        again = next_line(process)
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(timeout=START_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not any(is_running(pid) for pid in again[:2])
    rows = check_rows(tmp_path / "run")
    newest = read_checkpoint(list_checkpoints(tmp_path / "run")[-1]).counters
    assert newest["trainer"]["transitions"] > rows["step_id"].max()
    assert newest["recoveries"] >= 1


def test_workers_that_dont_fit_are_refused_with_the_cure():
    with pytest.raises(ConfigError, match=r"3 runner.workers can't share 2 env.num_envs evenly; make it a multiple"):
        config_of(100, workers=3)
    data = config_of(100).model_dump(mode="json") | {"learner": {"kind": "grpo"}}
    with pytest.raises(ConfigError, match="learner.kind grpo learns from windows.*set runner.workers to 0"):
        validate(ExperimentConfig, data, source="test")


def test_worlds_are_driven_by_workers_too(tmp_path):
    config = config_of(600, env={"kind": "world", "num_envs": 4})
    with open_run(config, run_dir=tmp_path / "run", show_progress=False) as runner:
        runner.run()
        assert 600 <= runner.env_steps < 900
        assert runner._intake.pool.incidents.counts == {}
        assert runner.trainer.updates > 0
        assert runner.trainer.replay.open_episodes() == []
    with ReplayBuffer.open(tmp_path / "run" / "replay", read_only=True) as replay:
        ids = np.sort(np.concatenate([block["step_id"] for block in replay.read_rows()]))
    np.testing.assert_array_equal(ids, np.arange(len(ids)))


def test_an_environment_that_cant_be_made_is_named(tmp_path):
    env = {"kind": "gymnasium", "id": ID, "num_envs": 1, "kwargs": {"colour": "red"}}
    with pytest.raises(ConfigError, match="worker 0 can't make its environments.*colour"):
        open_run(config_of(100, workers=1, env=env), run_dir=tmp_path / "run", show_progress=False)
