"""Wrong input: one clear message that names the thing and the cure, a failing exit code, nothing overwritten."""

from __future__ import annotations

import importlib.util
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import tiny_config

from carla_online.cli import main
from carla_online.config import to_yaml
from carla_online.online.checkpoint import list_checkpoints

ROOT = Path(__file__).resolve().parents[2]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(to_yaml(tiny_config(total_env_steps=400)))
    assert main(["train", str(folder / "tiny.yaml"), "--run-dir", str(folder / "run"), "--quiet"]) == 0
    return folder


def test_every_fault_of_a_config_stands_on_one_line(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("lerner: {}\nseed: -1\nlearner:\n  actor_lr: 7\n  gama: 0.9\nenv:\n  kind: world\n  num_envs: 0\n")
    assert main(["train", str(file), "--run-dir", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    for key in ("lerner", "seed", "learner.actor_lr", "learner.gama", "num_envs"):
        assert sum(key in line for line in lines) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "sac_strait"], "sac_straight"),
        (["train", "missing.yaml"], "not found"),
        (["train", "--resume", "nowhere"], "isn't a run folder"),
        (["train", "--resume", "nowhere", "--seed", "3"], "leave out"),
        (["train", "--seed", "3"], "say first what to train"),
        (["evaluate", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["fly"], "train, evaluate, report"),
    ],
)
def test_a_wrong_word_is_named(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [["--learner.actor-lr", "-1"], ["--learner.actor-lrr", "1e-4"], ["--seed", "three"]])
def test_a_wrong_option_ends_with_code_2(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["train", "sac_straight", *option])
    except SystemExit as ended:  # what the option parser does
        code = ended.code
    assert code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert option[0].removeprefix("--").split(".")[-1].replace("-", "") in message.replace("-", "").replace("_", "")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_small_for_the_replay_is_an_error_at_the_start(tmp_path, capsys):
    words = ["train", "sac_straight", "--run-dir", str(tmp_path / "run"), "--quiet"]
    assert main([*words, "--replay.capacity-rows", "1000000000"]) == 1
    message = capsys.readouterr().err
    assert "bytes" in message
    assert "Traceback" not in message
    assert not (tmp_path / "run" / "replay").exists()


def test_a_disk_that_fills_up_names_the_checkpoint_and_keeps_the_earlier_ones(finished_run):
    run_dir = finished_run / "filling"
    shutil.copytree(finished_run / "run", run_dir)
    before = {path: path.read_bytes() for path in list_checkpoints(run_dir)}
    limit = 30_000  # bytes a file may have: less than a checkpoint, more than a line of metrics

    def forbid_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = [sys.executable, "-m", "carla_online.cli", "train", str(finished_run / "tiny.yaml"), "--extend", "--quiet"]
    result = subprocess.run(
        [*words, "--run-dir", str(run_dir)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=forbid_large_files,
    )
    assert result.returncode == 1, result.stderr
    assert "can't write the checkpoint" in result.stderr
    assert "Traceback" not in result.stderr
    assert before == {path: path.read_bytes() for path in list_checkpoints(run_dir)}


def test_a_replay_of_another_schema_is_refused(finished_run, tmp_path, capsys):
    run_dir = tmp_path / "pendulum"
    run_dir.mkdir()
    shutil.copytree(finished_run / "run" / "replay", run_dir / "replay")
    before = contents(run_dir)
    assert main(["train", "sac_pendulum", "--run-dir", str(run_dir), "--quiet"]) == 1
    assert "obs" in capsys.readouterr().err
    assert {path: data for path, data in contents(run_dir).items() if "replay" in path.parts} == before


def test_a_corrupt_checkpoint_is_refused(finished_run, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run / "run", run_dir)
    newest = list_checkpoints(run_dir)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    before = contents(run_dir)
    assert main(["train", "--resume", str(run_dir), "--quiet"]) == 1
    assert str(newest) in capsys.readouterr().err
    assert contents(run_dir) == before


def test_a_config_of_another_run_is_refused_by_key(finished_run, tmp_path, capsys):
    data = yaml.safe_load((finished_run / "tiny.yaml").read_text())
    data["learner"]["gamma"] = 0.5
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(data))
    before = contents(finished_run / "run")
    assert main(["train", str(other), "--run-dir", str(finished_run / "run")]) == 2
    assert "learner.gamma" in capsys.readouterr().err
    assert contents(finished_run / "run") == before


@pytest.mark.parametrize(
    ("version", "is_served"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)]
)
def test_another_python_is_named_before_set_up(monkeypatch, version, is_served):
    spec = importlib.util.spec_from_file_location("check_setup", ROOT / "scripts" / "check_setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.sys, "version_info", (*version, 0))
    faults = [fault for fault in module.missing() if "Python 3.11 or 3.12" in fault]
    assert bool(faults) != is_served
