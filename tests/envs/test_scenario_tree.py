"""How the states of a scenario's branches are put together; the branches have the shape of py_trees' nodes."""

import sys
from enum import Enum
from types import SimpleNamespace

import pytest

from carla_online.envs.scenario_runner.ledger import TreeState
from carla_online.envs.scenario_runner.tree import ScenarioTree

Status = Enum("Status", ["RUNNING", "SUCCESS", "FAILURE"])


class _Branch:
    def __init__(self):
        self.status, self.ticks, self.children = Status.RUNNING, 0, [object()]

    def tick_once(self):
        self.ticks += 1


@pytest.fixture
def scenario(monkeypatch):
    for name in ("py_trees", "srunner.scenariomanager.carla_data_provider", "srunner.scenariomanager.timer"):
        blackboard = SimpleNamespace(set=lambda *args, **options: None)
        stand_in = SimpleNamespace(
            common=SimpleNamespace(Status=Status),
            blackboard=SimpleNamespace(Blackboard=lambda board=blackboard: board),
            CarlaDataProvider=None,
            GameTime=SimpleNamespace(restart=lambda: None),
        )
        for depth in range(name.count(".") + 1):
            monkeypatch.setitem(sys.modules, ".".join(name.split(".")[: depth + 1]), stand_in)
    monkeypatch.setattr("carla_online.envs.scenario_runner.upstream.prepare_tree", lambda scenario: None)
    story, clock, criteria = _Branch(), _Branch(), _Branch()
    return SimpleNamespace(
        behavior_tree=story,
        timeout_node=clock,
        criteria_tree=criteria,
        scenario_tree=SimpleNamespace(children=[story, clock, criteria]),
        route_mode=False,
    )


def test_a_story_that_fails_is_left_and_the_ego_drives_on(scenario):
    tree = ScenarioTree(scenario)
    tree.act(control=None)
    scenario.behavior_tree.status = Status.FAILURE
    for _ in range(3):
        tree.act(control=None)
        tree.judge()
    assert (tree.state, tree.has_story_failed) == (TreeState.RUNNING, True)
    assert (scenario.behavior_tree.ticks, scenario.timeout_node.ticks) == (2, 4)
    scenario.timeout_node.status = Status.SUCCESS
    tree.act(control=None)
    assert tree.state is TreeState.TIMED_OUT


@pytest.mark.parametrize(
    ("branch", "status", "state"),
    [
        ("behavior_tree", Status.SUCCESS, TreeState.SUCCEEDED),
        ("timeout_node", Status.SUCCESS, TreeState.TIMED_OUT),
        ("criteria_tree", Status.SUCCESS, TreeState.SUCCEEDED),
        ("criteria_tree", Status.FAILURE, TreeState.FAILED),
    ],
)
def test_every_other_branch_ends_the_scenario(scenario, branch, status, state):
    tree = ScenarioTree(scenario)
    getattr(scenario, branch).status = status
    tree.act(control=None)
    tree.judge()
    assert (tree.state, tree.has_story_failed) == (state, False)
