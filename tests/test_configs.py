"""Every shipped configuration loads, is described, and takes its first steps."""

from pathlib import Path

import pytest

from carla_online.cli.configs import load_experiment, shipped_configs
from carla_online.config import read_yaml, to_yaml, validate
from carla_online.online import ExperimentConfig, open_run

ROOT = Path(__file__).resolve().parents[1]


def test_every_config_of_the_repository_is_shipped_in_the_package():
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} == shipped_configs().keys()
    assert all(path.is_file() for path in shipped_configs().values())


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_config_takes_200_steps(name, tmp_path):
    if "scenario_runner" in name:
        pytest.skip("drives in a checkout of ScenarioRunner: see tests/accept/scenario_runner.py")
    config = load_experiment(
        name, ["--replay.capacity-rows", "5000", "--selection.routes", "2", "--selection.confirm-routes", "0"]
    )
    with open_run(config, run_dir=tmp_path / name, show_progress=False) as runner:
        num_envs = config.env.num_envs
        runner.run(200 * num_envs)
        assert runner.env_steps >= 200 * num_envs


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_config_is_described(name):
    text = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text
    assert shipped_configs()[name].read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", shipped_configs())
def test_a_written_config_reads_back_equal(name, tmp_path):
    config = validate(ExperimentConfig, read_yaml(shipped_configs()[name]), source=name)
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert validate(ExperimentConfig, read_yaml(file), source="again") == config
