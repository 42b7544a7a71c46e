"""A run goes on: bit for bit after a graceful stop, without loss or doubling after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_config, tiny_grpo_config

from carla_online.errors import CheckpointError, ConfigError
from carla_online.online import Callback, open_run
from carla_online.online.checkpoint import list_checkpoints, read_checkpoint
from carla_online.replay import ReplayBuffer

TINY = Path(__file__).resolve().parents[1] / "support" / "tiny.py"
KILLS = int(os.environ.get("CARLA_ONLINE_KILLS", "2"))


class StopAt(Callback):
    def __init__(self, env_steps: int) -> None:
        self.env_steps = env_steps

    def on_step(self, runner, step) -> None:
        if runner.env_steps >= self.env_steps:
            runner.stop()


def run(config, run_dir: Path, *, stop_at: int | None = None) -> None:
    callbacks = [] if stop_at is None else [StopAt(stop_at)]
    with open_run(config, run_dir=run_dir, callbacks=callbacks, show_progress=False) as runner:
        runner.run()


def stored_rows(run_dir: Path) -> dict[str, np.ndarray]:
    with ReplayBuffer.open(run_dir / "replay", read_only=True) as replay:
        blocks = list(replay.read_rows())
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@pytest.mark.parametrize(
    "env",
    [{"kind": "world", "num_envs": 4}, {"kind": "gymnasium", "id": "Pendulum-v1", "num_envs": 2}],
    ids=["world", "pendulum"],
)
@pytest.mark.parametrize("stop_at", [4, 330, 1201])
def test_a_stopped_run_continues_bit_equal(tmp_path, env, stop_at):
    config = tiny_config(total_env_steps=1_600, env=env)
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=stop_at)
    run(config, tmp_path / "parts", stop_at=stop_at + 200)
    run(config, tmp_path / "parts")
    whole, parts = (read_checkpoint(list_checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts"))
    assert whole.counters == parts.counters
    assert whole.arrays.keys() == parts.arrays.keys()
    for name, value in whole.arrays.items():
        assert value.tobytes() == parts.arrays[name].tobytes(), name
    ours, theirs = stored_rows(tmp_path / "whole"), stored_rows(tmp_path / "parts")
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.mark.parametrize(
    ("env", "stop_at"),
    [({"kind": "world", "num_envs": 4}, 333), ({"kind": "gymnasium", "id": "Pendulum-v1", "num_envs": 4}, 4)],
    ids=["world", "pendulum"],
)
@pytest.mark.parametrize("group_mode", ["ppo", "branch", "episode", "critic"])
def test_a_stopped_on_policy_run_continues_bit_equal(tmp_path, env, group_mode, stop_at):
    config = tiny_grpo_config(total_env_steps=1_600, env=env, group_mode=group_mode)
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=stop_at)
    run(config, tmp_path / "parts", stop_at=stop_at + 200)
    run(config, tmp_path / "parts")
    whole, parts = (read_checkpoint(list_checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts"))
    assert whole.counters == parts.counters
    assert group_mode == "episode" or int(whole.arrays["tensor.learner.updates"]) > 0
    assert whole.arrays.keys() == parts.arrays.keys()
    for name, value in whole.arrays.items():
        assert value.tobytes() == parts.arrays[name].tobytes(), name


def test_a_stopped_on_policy_run_goes_on_writing_its_replay_bit_equal(tmp_path):
    config = tiny_grpo_config(total_env_steps=1_600, group_mode="branch", write_replay=True)
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=333)
    run(config, tmp_path / "parts")
    whole, parts = (read_checkpoint(list_checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts"))
    assert whole.counters == parts.counters
    ours, theirs = stored_rows(tmp_path / "whole"), stored_rows(tmp_path / "parts")
    assert len(ours["step_id"]) == whole.counters["trainer"]["transitions"]
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_after_sigkill_nothing_acknowledged_is_lost_or_doubled_and_training_ends(tmp_path):
    seed = int(os.environ.get("CARLA_ONLINE_SEED", "0"))
    print(f"seed {seed}, {KILLS} kills")
    moments = random.Random(seed)
    run_dir = tmp_path / "run"
    total = 3_000 + 1_500 * KILLS
    acknowledged = 0
    for _ in range(KILLS):
        acknowledged = max(acknowledged, kill_at_random_moment(run_dir, total, moments))
        if not (run_dir / "replay").exists():
            continue
        step_ids = np.sort(stored_rows(run_dir)["step_id"])
        np.testing.assert_array_equal(step_ids, np.arange(len(step_ids)))
        assert len(step_ids) >= acknowledged
    with start(run_dir, total) as finished:
        finished.communicate(timeout=600)
    assert finished.returncode == 0
    rows = stored_rows(run_dir)
    step_ids = np.sort(rows["step_id"])
    np.testing.assert_array_equal(step_ids, np.arange(len(step_ids)))
    assert len(step_ids) >= acknowledged
    last_of_episode = {}
    for step_id, episode_id, ended in zip(
        rows["step_id"], rows["episode_id"], rows["terminated"] | rows["truncated"], strict=True
    ):
        if step_id >= last_of_episode.get(episode_id, (-1, False))[0]:
            last_of_episode[episode_id] = (step_id, bool(ended))
    still_open = [episode for episode, (_, ended) in last_of_episode.items() if not ended]
    assert len(still_open) <= 4  # one for each environment: those the run ended in
    newest = read_checkpoint(list_checkpoints(run_dir)[-1])
    assert newest.counters["env_steps"] >= total


def start(run_dir: Path, total: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(TINY), str(run_dir), str(total)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})


def kill_at_random_moment(run_dir: Path, total: int, moments: random.Random) -> int:
    """Kills the run a random time after its first acknowledged step; returns what it had acknowledged."""
    process = start(run_dir, total)
    assert process.stdout is not None
    told = process.stdout.readline()
    time.sleep(moments.uniform(0.0, 0.8))
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read()
    process.wait()
    process.stdout.close()
    lines = told.split(b"\n")[:-1]  # the last one may be torn
    return int(lines[-1]) if lines else 0


def test_another_configuration_is_refused_and_names_the_keys(tmp_path):
    config = tiny_config(total_env_steps=100)
    run(config, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    other = tiny_config(total_env_steps=100, actor_lr=0.5)
    with pytest.raises(ConfigError, match="learner.actor_lr: 0.001 in the run, 0.5 now"):
        run(other, tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_damaged_checkpoint_is_refused_and_nothing_is_overwritten(tmp_path):
    config = tiny_config(total_env_steps=100)
    run(config, tmp_path / "run")
    newest = list_checkpoints(tmp_path / "run")[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="damaged"):
        run(config, tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_two_processes_cant_share_a_run_folder(tmp_path):
    process = start(tmp_path / "run", 10**9)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        with pytest.raises(ConfigError, match="another process is training"):
            run(tiny_config(), tmp_path / "run")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_sigterm_writes_a_checkpoint_and_ends_with_success(tmp_path):
    process = start(tmp_path / "run", 10**9)
    assert process.stdout is not None
    told = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    told += process.stdout.read()
    assert process.wait(timeout=300) == 0
    process.stdout.close()
    transitions = int(told.split(b"\n")[-2])
    newest = read_checkpoint(list_checkpoints(tmp_path / "run")[-1])
    assert newest.counters["trainer"]["transitions"] == transitions
