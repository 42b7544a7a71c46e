"""Suites of several parts: seeds, slices, totals, missing routes, and the command."""

import json

import gymnasium as gym
import numpy as np
import pytest

from carla_online.cli.evaluate import evaluate as evaluate_command
from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.envs.world import WorldVectorEnv
from carla_online.errors import ConfigError
from carla_online.evaluation.metrics import metrics_by_slice, metrics_of
from carla_online.evaluation.rollout import evaluate_routes
from carla_online.evaluation.suites import SuiteSetConfig, compare, find_suite, run_suite, shipped_suites
from carla_online.evaluation.table import RouteTable
from carla_online.policies import scripted_baseline

SHORT = {"map": {"preset": "straight", "length_m": [60.0, 80.0], "map_variants": 1}, "traffic": "none"}


def _suite(**settings):
    parts = [{"name": "a", "routes": 2}, {"name": "b", "routes": 3, "env": {"weather": "wet"}}]
    return SuiteSetConfig.model_validate(
        {"name": "short", "env": {"kind": "world", **SHORT}, "parts": parts, **settings}
    )


def _table(**columns):
    infractions = np.zeros((3, len(INFRACTION_NAMES)), np.int64)
    infractions[1, INFRACTION_NAMES.index("red_light")] = 1
    infractions[2, INFRACTION_NAMES.index("lane_invasion")] = 4
    ones = np.ones(3)
    fields = {
        "seeds": np.arange(3, dtype=np.uint64), "timed_driving_score": 50.0 * ones, "driving_score": 60.0 * ones,
        "route_completion": ones, "finished": np.array([True, True, True]), "collisions": np.zeros(3, np.int64),
        "distance_km": 0.5 * ones, "infractions": infractions, "time_s": 60.0 * ones, "mean_speed_mps": ones,
        "episode_return": ones, "end_reason": ("finished",) * 3, "infraction_names": INFRACTION_NAMES,
    }  # fmt: skip
    return RouteTable(**(fields | columns))


def test_the_parts_share_no_seed():
    suite = _suite()
    first, second = (suite.part(number).seeds().tolist() for number in range(2))
    assert (len(first), len(second)) == (2, 3)
    assert not set(first) & set(second)


def test_figures_are_those_computed_by_hand():
    table = _table(
        slices=("x", "y", "y"), efficiency=np.array([np.nan, 80.0, 60.0]), comfort=np.array([90.0, 100.0, 80.0])
    )
    total = metrics_of(table)
    assert total.leaderboard_1_0 == pytest.approx((100 + 70 + 100) / 3)
    assert total.leaderboard_2_1 == pytest.approx((100 + 100 / 1.4 + 100) / 3)
    assert (total.success_rate, total.efficiency, total.comfort) == pytest.approx((200 / 3, 70.0, 90.0))
    assert total.infractions_per_km == pytest.approx({"lane_invasion": 4 / 1.5, "red_light": 1 / 1.5})
    assert total.charged_per_km == pytest.approx(1 / 1.5)
    slices = metrics_by_slice(table)
    assert {name: metrics.routes for name, metrics in slices.items()} == {"x": 1, "y": 2}
    assert slices["x"].efficiency is None


def test_a_table_with_unmeasured_columns_survives_its_file(tmp_path):
    table = _table()
    table.save(tmp_path / "t.json")
    read = RouteTable.load(tmp_path / "t.json")
    assert np.isnan(read.efficiency).all()
    assert read.slices == ("", "", "")
    assert (read.min_speed_share == 1.0).all()


def test_a_suite_is_driven_part_by_part_and_two_policies_are_compared():
    suite = _suite()
    result = run_suite(scripted_baseline(), suite, label="baseline")
    assert {name: metrics.routes for name, metrics in result.by_slice.items()} == {"a": 2, "b": 3}
    assert (result.missing, result.total.routes) == ({}, 5)
    verdict, slices = compare(result, result)
    assert verdict.difference.mean == 0.0
    assert slices.keys() == {"a", "b"}


class Failing(WorldVectorEnv):
    """The simulator fails on some episodes, always, or drives others in their place."""

    bad: frozenset[int] = frozenset()
    replaces = False

    def step(self, actions, *, active=None):
        obs, reward, over, cut, info = super().step(actions, active=active)
        hit = np.array([int(seed) in self.bad for seed in info["episode_seed"]])
        hit &= np.ones(self.num_envs, bool) if active is None else active
        if self.replaces:
            info["episode_seed"][hit] += 1
            return obs, reward, over, cut, info
        info["sim_failure"][hit] = "crash"
        return obs, reward, over & ~hit, cut | hit, info


@pytest.mark.parametrize("replaces", [False, True])
def test_routes_that_fail_again_and_again_are_reported_and_not_scored(monkeypatch, replaces):
    monkeypatch.setattr(Failing, "replaces", replaces)
    seeds = _suite().part(1).seeds()[:2]
    monkeypatch.setattr(Failing, "bad", frozenset([int(seeds[1])]))

    def make(rows):
        return Failing(rows, autoreset_mode=gym.vector.AutoresetMode.DISABLED, **SHORT)

    missing: list[int] = []
    table = evaluate_routes(scripted_baseline(), make, seeds, missing=missing)
    assert (len(table), missing) == (1, [int(seeds[1])])


@pytest.mark.parametrize("name", shipped_suites())
def test_a_shipped_suite_loads(name):
    suite = find_suite(name)
    assert all(suite.part(number).routes for number in range(len(suite.parts)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"parts": [{"name": "a"}, {"name": "a"}]}, "stand twice"),
        ({"rule": {"routes": 3}}, "aren't settings of the rule"),
    ],
)
def test_a_wrong_suite_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        _suite(**settings)


def test_an_unknown_suite_names_those_that_are_shipped():
    with pytest.raises(ConfigError, match="Shipped: .*world"):
        find_suite("worlds")


def test_the_command_leaves_table_json_and_report(tmp_path, capsys):
    file = tmp_path / "short.yaml"
    file.write_text(json.dumps(_suite().model_dump(mode="json")))
    assert evaluate_command(["--suite", str(file), "--routes", "1", "--out", str(tmp_path / "out")]) == 0
    assert "LB 2.1" in capsys.readouterr().out
    told = json.loads((tmp_path / "out" / "suite.json").read_text())
    assert told["policies"][0]["slices"].keys() == {"a", "b"}
    assert "baseline" in (tmp_path / "out" / "report.html").read_text()
