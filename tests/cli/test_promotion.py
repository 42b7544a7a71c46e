"""From a run to a champion by commands: distil, promote, registry; exit codes, and nothing of the user's changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from driven_replay import SHORT, drive
from heads import obs_dim_of, shifted_head
from tiny import tiny_config

from carla_online.cli import main
from carla_online.config import to_yaml, validate
from carla_online.evaluation import SuiteConfig, evaluate_routes
from carla_online.online import ExperimentConfig
from carla_online.policies import ScriptedBaselineConfig, policy_to_bytes, scripted_baseline
from carla_online.promotion import Registry, load_champion

SLOW = ScriptedBaselineConfig(speed_factor=0.5)
PARTS = [{"name": "dry", "routes": 20}, {"name": "wet", "routes": 20, "env": {"weather": "wet"}}]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A suite, a gate's settings, and heads over a slow baseline: faster, fastest, slower."""
    folder = tmp_path_factory.mktemp("promotion")
    (folder / "short.yaml").write_text(yaml.safe_dump({"name": "short", "env": SHORT, "parts": PARTS}))
    (folder / "gate.yaml").write_text("batch_routes: 10\n")
    obs_dim = obs_dim_of(SHORT)
    for name, throttle in (("faster", 0.08), ("fastest", 0.2), ("slower", -0.1)):
        head = shifted_head(scripted_baseline(SLOW), obs_dim, throttle=throttle)
        (folder / f"{name}.safetensors").write_bytes(policy_to_bytes(head))
    return folder


def promote(folder: Path, registry: Path, name: str, *words: str) -> int:
    options = ["--registry", str(registry), "--suite", str(folder / "short.yaml"), "--gate", str(folder / "gate.yaml")]
    return main(["promote", str(folder / name), *options, "--by", "tester", *words])


def test_better_ones_become_champion_one_after_the_other_and_worse_ones_dont(folder, tmp_path, capsys):
    registry = tmp_path / "registry"
    assert promote(folder, registry, "faster.safetensors") == 3
    out = capsys.readouterr().out
    assert "embedded world alone" in out
    assert "--allow-embedded" in out
    assert promote(folder, registry, "faster.safetensors", "--allow-embedded", "--reason", "first") == 0
    first = Registry(registry).champion_id
    assert f"{first} is champion" in capsys.readouterr().out
    assert promote(folder, registry, "slower.safetensors", "--allow-embedded") == 3
    assert "not shown" in capsys.readouterr().out
    assert Registry(registry).champion_id == first
    assert promote(folder, registry, "fastest.safetensors", "--allow-embedded") == 0
    opened = Registry(registry)
    assert [version.label for version in opened.lineage(opened.champion_id)] == ["fastest", "faster"]
    assert [entry.event for entry in opened.log()] == ["refused", "promoted", "refused", "promoted"]
    evidence = opened.evidence(opened.log()[-1])
    assert evidence["champion"] == first
    assert [each["against"] for each in evidence["comparisons"]] == ["baseline", "champion"]
    assert len(evidence["tables"]["champion"]["seeds"]) == len(evidence["comparisons"][1]["log_wealth"])
    suite = SuiteConfig(env=SHORT, routes=4)
    best, frozen = (evaluate_routes(each, suite) for each in (load_champion(registry), scripted_baseline(SLOW)))
    assert best.timed_driving_score.mean() > frozen.timed_driving_score.mean()
    capsys.readouterr()

    assert promote(folder, registry, "fastest.safetensors", "--allow-embedded") == 3  # is champion already
    assert main(["registry", str(registry), "rollback", first[:6], "--reason", "too fast", "--by", "tester"]) == 0
    assert main(["registry", str(registry)]) == 0
    assert f"champion         {first}" in capsys.readouterr().out
    assert main(["registry", str(registry), "show", opened.champion_id]) == 0
    assert "against the baseline" in capsys.readouterr().out
    assert main(["registry", str(registry), "verify"]) == 0
    assert main(["registry", str(registry), "rollback", first, "--reason", "again"]) == 3
    assert main(["registry", str(registry), "rollback", "baseline"]) == 3  # without a reason
    assert main(["registry", str(registry), "show"]) == 2
    (registry / "versions" / first / "policy.safetensors").chmod(0o644)
    (registry / "versions" / first / "policy.safetensors").write_bytes(b"")
    assert main(["registry", str(registry), "verify"]) == 1


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run's folder as training leaves it, with a replay that a noisy, faster head has driven."""
    folder = tmp_path_factory.mktemp("run")
    data = tiny_config(env={**SHORT, "num_envs": 8}).model_dump(mode="json")
    data["policy"]["baseline"] = SLOW.model_dump()
    data["suite"] = {"name": "own", "env": SHORT, "routes": 60}
    config = validate(ExperimentConfig, data, source="test")
    (folder / "config.yaml").write_text(to_yaml(config))
    drive(folder, shifted_head(scripted_baseline(SLOW), obs_dim_of(SHORT), throttle=0.2), steps=500)
    return folder


def test_what_is_distilled_from_a_run_goes_through_the_gate_like_any_other(run_dir, tmp_path, capsys):
    before = contents(run_dir)
    out = tmp_path / "distilled"
    assert main(["distil", str(run_dir), "--out", str(out), "--epochs", "20", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "good episodes of" in said
    assert "validation loss" in said
    assert contents(run_dir) == before
    assert main(["distil", str(run_dir), "--out", str(out)]) == 2
    suite = tmp_path / "own.yaml"
    suite.write_text(yaml.safe_dump({"name": "own", "env": SHORT, "routes": 60}))
    words = ["--registry", str(tmp_path / "registry"), "--suite", str(suite), "--allow-embedded", "--quiet"]
    assert main(["promote", str(out), *words]) == 0
    opened = Registry(tmp_path / "registry")
    version = opened.version(opened.champion_id)
    assert version.data["distilled"] == json.loads((out / "distilled.json").read_text())


def test_a_run_brings_its_suite_its_curves_and_its_origin(run_dir, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "policies").mkdir(parents=True)
    (run / "config.yaml").write_bytes((run_dir / "config.yaml").read_bytes())
    words = [str(run), "--registry", str(tmp_path / "registry"), "--suite", "run", "--allow-embedded", "--quiet"]
    assert main(["promote", *words]) == 1
    assert "no chosen policy yet" in capsys.readouterr().err
    head = shifted_head(scripted_baseline(SLOW), obs_dim_of(SHORT), throttle=0.15)
    (run / "policies" / "best.safetensors").write_bytes(policy_to_bytes(head))
    (run / "policies" / "best.json").write_text(json.dumps({"env_steps": 9_000, "transitions": 3_000}))
    with (run / "metrics.jsonl").open("w") as file:  # the return rises, the driving score falls from 9,000 on
        for step in range(20):
            row = {
                "step": step * 1_000,
                "rollout/episode_return": step,
                "eval/timed_driving_score": 90.0 - max(0, step - 9),
            }
            file.write(json.dumps(row) + "\n")
    assert main(["promote", *words]) == 0  # what came after the candidate isn't its own
    (run / "policies" / "best.json").write_text(json.dumps({"env_steps": 19_000}))
    assert main(["promote", *words]) == 3  # is champion already
    head = shifted_head(scripted_baseline(SLOW), obs_dim_of(SHORT), throttle=0.3)
    (run / "policies" / "best.safetensors").write_bytes(policy_to_bytes(head))
    assert main(["promote", *words]) == 3
    assert "the shaped return rose while the driving score fell" in capsys.readouterr().out
    opened = Registry(tmp_path / "registry")
    version = opened.version(opened.champion_id)
    assert version.data == {"selection": {"env_steps": 9_000, "transitions": 3_000}}
    assert version.config["suite"]["name"] == "own"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["promote", "nowhere", "--registry", "registry"], 2, "neither a policy file"),
        (["promote", "broken.safetensors", "--registry", "registry"], 1, "isn't a policy file"),
        (["promote", "faster.safetensors", "--registry", "registry", "--suite", "worlds"], 2, "Shipped:"),
        (["promote", "faster.safetensors", "--registry", "registry", "--suite", "run"], 2, "a policy file has none"),
        (
            ["promote", "faster.safetensors", "--registry", "registry", "--suite", "world", "--gate", "bad.yaml"],
            2,
            "speed",
        ),
        (["registry", "nowhere"], 1, "isn't a registry"),
        (["distil", "nowhere"], 2, "isn't a run folder"),
    ],
)
def test_wrong_input_is_named_and_leaves_nothing_behind(folder, tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faster.safetensors").write_bytes((folder / "faster.safetensors").read_bytes())
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "bad.yaml").write_text("speed: 3\n")
    before = contents(tmp_path)
    assert main(words) == code
    assert message in capsys.readouterr().err
    assert contents(tmp_path) == before
