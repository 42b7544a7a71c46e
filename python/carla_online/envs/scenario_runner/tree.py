"""Ticks a scenario's tree around the steps of the simulation.

ScenarioRunner's own loop isn't used: it owns the time. Here each step of the simulation is one call:

1. The ego's control is applied and put on the blackboard, and everything but the criteria is ticked: behaviours see the
   state that the policy saw, and those that disturb the ego's control (control loss) do it for the coming step.
2. The simulation makes its step, and ScenarioRunner is told what it has led to.
3. The criteria are ticked, so they judge the newest state and a reward doesn't lag behind.

The root is a parallel node that ends with its first child, or with the first failure; as its children are ticked apart,
their states are put together here.
"""

from __future__ import annotations

import time
from typing import Any, Final

from carla_online.envs.scenario_runner import upstream
from carla_online.envs.scenario_runner.ledger import TreeState

AV_CONTROL: Final = "AV_control"
"""Key under which behaviours look for the ego's control."""


class ScenarioTree:
    """The tree of one scenario that was built; its time begins now.

    Args:
        scenario: ScenarioRunner's object.

    Attributes:
        state: How the scenario stands.
        has_story_failed: Somebody else couldn't do its part in the story; the ego drives on.
        seconds: Wall-clock time spent in the tree.
    """

    def __init__(self, scenario: Any) -> None:
        import py_trees
        from srunner.scenariomanager.carla_data_provider import CarlaDataProvider
        from srunner.scenariomanager.timer import GameTime

        self._time, self._provider = GameTime, CarlaDataProvider
        self._time.restart()
        upstream.prepare_tree(scenario)
        self._status = py_trees.common.Status
        self._blackboard = py_trees.blackboard.Blackboard()
        self._scenario = scenario
        self._criteria = scenario.criteria_tree
        self.has_story_failed = False
        self._others = [child for child in scenario.scenario_tree.children if child is not self._criteria]
        self.state = TreeState.RUNNING
        self.seconds = 0.0

    def act(self, control: Any) -> None:
        """Ticks everything but the criteria, before a step."""
        begun_s = time.perf_counter()
        self._blackboard.set(AV_CONTROL, control, overwrite=True)
        for child in list(self._others):
            self._tick(child)
        self.seconds += time.perf_counter() - begun_s

    def see(self, snapshot: Any) -> None:
        """Tells ScenarioRunner the time and the state that a step has led to."""
        self._time.on_carla_tick(snapshot.timestamp)
        self._provider.on_carla_tick()

    def judge(self) -> None:
        """Ticks the criteria, after a step."""
        begun_s = time.perf_counter()
        if self._criteria is not None:
            self._tick(self._criteria)
        self.seconds += time.perf_counter() - begun_s

    def lose_ego(self) -> None:
        """Takes note that the ego is gone."""
        if self.state is TreeState.RUNNING:
            self.state = TreeState.EGO_GONE

    def _tick(self, child: Any) -> None:
        child.tick_once()
        if self.state is not TreeState.RUNNING or child.status == self._status.RUNNING:
            return
        if child.status == self._status.FAILURE and child is self._scenario.behavior_tree:
            self._go_on_without(child)
        elif child.status == self._status.FAILURE:
            self.state = TreeState.FAILED
        elif child is self._scenario.timeout_node:
            self.state = TreeState.TIMED_OUT
        elif child is self._criteria:
            self.state = self._ended_by_criteria()
        elif child is self._scenario.behavior_tree:
            self.state = TreeState.SUCCEEDED

    def _go_on_without(self, story: Any) -> None:
        """A story fails when another can't do its part, as when it can't catch up: the ego isn't to blame for that.

        ScenarioRunner would end the run and leave the verdict to the criteria. Here the ego drives on to the end of its
        way, so that it neither pays for the other's failure nor saves the rest of the way by it.
        """
        self.has_story_failed = True
        self._others.remove(story)

    def _ended_by_criteria(self) -> TreeState:
        """The criteria end a scenario when all of them are met, a route when one is: the one that follows it."""
        if not self._criteria.children:
            return TreeState.RUNNING  # nothing is always met
        if not self._scenario.route_mode:
            return TreeState.SUCCEEDED
        for criterion in self._scenario.get_criteria():
            if type(criterion).__name__ == "RouteCompletionTest" and criterion.test_status == "SUCCESS":
                return TreeState.SUCCEEDED
        return TreeState.FAILED
