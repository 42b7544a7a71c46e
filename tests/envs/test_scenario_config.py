"""What a ScenarioRunner environment refuses before anything is started."""

import pytest

from carla_online.config import validate
from carla_online.envs.scenario_runner import ScenarioRunnerEnvConfig, ScenarioRunnerVectorEnv
from carla_online.envs.scenario_runner.building import _require_harmless
from carla_online.envs.scenario_runner.checkout import find_checkout
from carla_online.envs.scenario_runner.config import ROOT_VARIABLE
from carla_online.errors import ConfigError


def _config(**settings):
    scenarios = settings.pop("scenarios", [{"name": "FollowLeadingVehicle_1"}])
    return validate(ScenarioRunnerEnvConfig, {"scenarios": scenarios, **settings}, source="test")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scenarios": []}, "scenarios"),
        ({"scenarios": [{"name": "a"}, {"name": "a"}]}, "stand twice"),
        ({"scenarios": [{"name": "a", "parameters": {"__class__": [0, 1]}}]}, "must be an attribute's name"),
        ({"scenarios": [{"name": "a", "parameters": {"_speed": [2, 1]}}]}, "range from low to high"),
        ({"servers": ["localhost"]}, "host:port"),
        ({"servers": ["a:2000", "a:2000"]}, "stands twice"),
        ({"traffic": [3, 1]}, "must go up"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings, said):
    with pytest.raises(ConfigError, match=said):
        _config(**settings)


def test_without_a_checkout_the_message_says_where_to_get_one(monkeypatch):
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"set SCENARIO_RUNNER_ROOT .* at the tag v0\.9\.16"):
        ScenarioRunnerVectorEnv(scenarios=[{"name": "FollowLeadingVehicle_1"}])


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    with pytest.raises(ConfigError, match="isn't a checkout of ScenarioRunner"):
        find_checkout(_config(root=str(tmp_path)))


def test_files_are_found_and_missing_ones_refused(tmp_path):
    shipped = _config(scenarios=[{"name": "r", "kind": "route", "file": "shipped:routes.xml"}]).scenarios[0]
    assert shipped.path(tmp_path).name == "routes.xml"
    lost = _config(scenarios=[{"name": "r", "kind": "route", "file": "shipped:../config.py"}]).scenarios[0]
    with pytest.raises(ConfigError, match="there is no file"):
        lost.path(tmp_path)
    unnamed = _config(scenarios=[{"name": "r", "kind": "openscenario"}]).scenarios[0]
    with pytest.raises(ConfigError, match="has no file; name one"):
        unnamed.path(tmp_path)


def test_a_file_with_entities_is_refused(tmp_path):
    file = tmp_path / "bomb.xml"
    file.write_text('<!DOCTYPE a [<!ENTITY b "b">]><scenarios>&b;</scenarios>')
    with pytest.raises(ConfigError, match="document type declaration"):
        _require_harmless(file)


def test_one_server_is_multiplied_and_of_named_ones_the_first_are_taken():
    assert _config().with_envs(3).servers == ("serve",) * 3
    # An evaluation's last batch may be smaller than the number of servers.
    assert _config(servers=["a:2000", "b:2000", "c:2000"]).with_envs(2).servers == ("a:2000", "b:2000")
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        _config(servers=["a:2000", "b:2000"]).with_envs(0)
    with pytest.raises(ConfigError, match="name one for each environment"):
        _config(servers=["a:2000"]).with_envs(2)
