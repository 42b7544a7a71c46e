"""Experience of earlier runs: mixed into every batch by share, or learned from alone, and never touched."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_config

from carla_online.cli.train import train
from carla_online.config import to_yaml, validate
from carla_online.errors import ConfigError
from carla_online.online import ExperimentConfig, open_run
from carla_online.online.checkpoint import list_checkpoints, read_checkpoint
from carla_online.policies import load_policy


def changed(config, **sections):
    data = config.model_dump(mode="json")
    for name, values in sections.items():
        data[name] |= values
    return validate(ExperimentConfig, data, source="test")


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("earlier") / "run"
    with open_run(tiny_config(total_env_steps=2_000), run_dir=run_dir, show_progress=False) as runner:
        runner.run()
    return run_dir / "replay"


def test_a_later_run_takes_its_share_of_every_batch_and_leaves_the_files_alone(tmp_path, earlier):
    before = hashes(earlier)
    config = changed(tiny_config(total_env_steps=2_000), replay={"earlier": {str(earlier): 0.25}})
    with open_run(config, run_dir=tmp_path / "run", show_progress=False) as runner:
        runner.run()
        trainer = runner.trainer
        assert trainer.updates > 50
        counts = np.bincount(trainer._batch["source"], minlength=2)
        assert counts.tolist() == [12, 4]
        assert trainer.replay.total_appended == trainer.transitions
    assert hashes(earlier) == before


def test_a_run_with_earlier_buffers_continues_bit_equal(tmp_path, earlier):
    config = changed(tiny_config(total_env_steps=1_600), replay={"earlier": {str(earlier): 0.5}})
    for name, totals in (("whole", [1_600]), ("parts", [900, 1_600])):
        for total in totals:
            with open_run(config, run_dir=tmp_path / name, show_progress=False) as runner:
                runner.run(total)
    whole, parts = (read_checkpoint(list_checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts"))
    assert whole.counters == parts.counters and whole.counters["trainer"]["updates"] > 50
    for name, value in whole.arrays.items():
        assert value.tobytes() == parts.arrays[name].tobytes(), name


def test_offline_learns_without_an_environment_and_leaves_the_files_alone(tmp_path, earlier, monkeypatch, capsys):
    before, start = hashes(earlier), open_policy(tmp_path)
    file = tmp_path / "tiny.yaml"
    file.write_text(to_yaml(tiny_config(total_env_steps=3_000)))

    def refuse(*arguments, **options):
        raise AssertionError("an environment was made")

    monkeypatch.setattr("carla_online.online.start.build_env", refuse)
    run_dir = tmp_path / "offline"
    assert train([str(file), "--offline", str(earlier), "--run-dir", str(run_dir), "--quiet"]) == 0
    assert "last.safetensors" in capsys.readouterr().out
    newest = read_checkpoint(list_checkpoints(run_dir)[-1])
    assert newest.counters["trainer"]["updates"] >= 3_000 / 3 * 0.25 - 40
    policy = load_policy(run_dir / "policies" / "last.safetensors")
    assert any(
        not np.array_equal(ours.numpy(), theirs.numpy())
        for ours, theirs in zip(policy.head.state_dict().values(), start.head.state_dict().values(), strict=True)
    )
    assert hashes(earlier) == before


def open_policy(tmp_path):
    """The policy before any update."""
    with open_run(tiny_config(total_env_steps=8), run_dir=tmp_path / "fresh", show_progress=False) as runner:
        return runner.trainer.policy


def test_what_cant_be_used_is_refused_with_the_cure(tmp_path, earlier):
    config = tiny_config(total_env_steps=100)
    with pytest.raises(ConfigError, match="sum up to 1.2, which leaves nothing to this run"):
        changed(config, replay={"earlier": {"a": 0.6, "b": 0.6}})
    with pytest.raises(ConfigError, match="`earlier` names none; add a folder"):
        changed(config, replay={"offline": True})
    missing = changed(config, replay={"earlier": {str(tmp_path / "no"): 0.5}})
    with pytest.raises(ConfigError, match="isn't a replay buffer's folder"):
        open_run(missing, run_dir=tmp_path / "a", show_progress=False)
    other = changed(
        config,
        replay={"earlier": {str(earlier): 0.5}},
        policy={"baseline": {"kind": "scripted", "speed_factor": 0.8}},
    )
    with pytest.raises(ConfigError, match=r"was driven beside the baseline \w+, not beside this policy's"):
        open_run(other, run_dir=tmp_path / "b", show_progress=False)
    pendulum = tiny_config(total_env_steps=100, env={"kind": "gymnasium", "id": "Pendulum-v1"})
    with pytest.raises(ConfigError, match=r"baseline|different schemas"):
        open_run(
            changed(pendulum, replay={"earlier": {str(earlier): 0.5}}), run_dir=tmp_path / "c", show_progress=False
        )
