"""Faults and habits of ScenarioRunner 0.9.16 that are worked round from outside: each here, once, with its reason.

Nothing of ScenarioRunner is changed on disk. `mend` runs once in a worker process, after ScenarioRunner has become
importable; the other functions run where their docstrings say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def mend() -> None:
    """Applies all that can be done once."""
    _accept_waypoints_without_times()
    _keep_late_destructors_harmless()


def _accept_waypoints_without_times() -> None:
    """OpenSCENARIO routes and positions: `ChangeActorWaypoints` compares the waypoints with times that may be None.

    Since 0.9.16 `AssignRouteAction` and `AcquirePositionAction` therefore raise a TypeError when a scenario is built.
    A list of the right length passes the check; the None is put back afterwards, because controllers look at it.
    """
    from srunner.scenariomanager.scenarioatomics import atomic_behaviors

    original = atomic_behaviors.ChangeActorWaypoints.__init__

    def initialise(self: Any, actor: Any, waypoints: Any, times: Any = None, *rest: Any, **options: Any) -> None:
        original(self, actor, waypoints, [None] * len(waypoints) if times is None else times, *rest, **options)
        if times is None:
            self._times = None

    atomic_behaviors.ChangeActorWaypoints.__init__ = initialise


def _keep_late_destructors_harmless() -> None:
    """Scenarios call `remove_all_actors` when they are collected, which may be episodes later.

    It removes actors by their ids alone; after a server's restart ids begin anew, and a late destructor destroys the
    actors of the new episode. What has to be removed is removed by `clean_up`, so destructors do nothing.
    """
    from srunner.scenarios.basic_scenario import BasicScenario

    kinds = [BasicScenario]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if "__del__" in vars(kind):
            kind.__del__ = lambda self: None


def make_harmless(scenario: Any) -> None:
    """The same for a scenario's class that was imported later; call it after a build."""
    for kind in type(scenario).__mro__:
        if "__del__" in vars(kind):
            kind.__del__ = lambda self: None  # type: ignore[attr-defined]


def prepare_tree(scenario: Any) -> None:
    """Call it before the first tick of a scenario whose root isn't ticked itself.

    Story elements look for an ancestor that still runs and would walk past a root that never ran.
    """
    import py_trees

    scenario.scenario_tree.status = py_trees.common.Status.RUNNING


def drawn_into(kind: type[Any], values: dict[str, float]) -> type[Any]:
    """`randomize=True` does nothing for several scenarios: it changes values after the tree was built.

    Returns a subclass whose instances have `values` from just before their actors are made, which is before the tree
    is built and after the constructor has set its defaults.

    Args:
        kind: A scenario's class.
        values: Numbers by attribute.

    Raises:
        AttributeError: From the build, for an attribute that the scenario doesn't have.
    """

    def initialise(self: Any, config: Any) -> None:
        for name, value in values.items():
            if not hasattr(self, name):
                known = sorted(key for key, held in vars(self).items() if isinstance(held, int | float))
                raise AttributeError(f"{kind.__name__} has no parameter {name!r}; its numbers are {known}")
            setattr(self, name, value)
        kind._initialize_actors(self, config)

    drawn = type(kind.__name__, (kind,), {"_initialize_actors": initialise, "__module__": kind.__module__})
    return drawn


def find_class(name: str, root: str) -> type[Any]:
    """ScenarioRunner finds classes by name among everything that a file imports.

    `CutIn`, for one, is a scenario and an atomic behaviour; which of them is found depends on the order of the folder.
    Here only subclasses of `BasicScenario` count, in the file that defines them, imported under their full name.

    Raises:
        LookupError: There is none.
    """
    import importlib
    import inspect
    from pathlib import Path

    from srunner.scenarios.basic_scenario import BasicScenario

    for file in sorted(Path(root, "srunner", "scenarios").glob("*.py")):
        if f"class {name}(" not in file.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(f"srunner.scenarios.{file.stem}")
        kind: Any = getattr(module, name, None)
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and issubclass(kind, BasicScenario):
            return kind
    raise LookupError(f"ScenarioRunner has no scenario class {name!r}")


@contextmanager
def kept_path() -> Iterator[None]:
    """Building a route puts 35 folders onto `sys.path`, every time; they are taken off again."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def reset_sticky_state() -> None:
    """Class attributes that outlive a scenario and change the next one; call it between two episodes.

    The blackboard is global and never cleared. A file whose description begins with `CARLA:` switches the coordinate
    system for all later files. Parameters of OpenSCENARIO files are kept too.
    """
    import py_trees
    from srunner.scenariomanager.carla_data_provider import CarlaDataProvider
    from srunner.tools.openscenario_parser import OpenScenarioParser

    py_trees.blackboard.Blackboard().__dict__.clear()
    OpenScenarioParser.use_carla_coordinate_system = False
    OpenScenarioParser.global_osc_parameters = {}
    CarlaDataProvider._global_osc_parameters = {}


class SynchronousManagers:
    """Has every Traffic Manager of this process be synchronous, from its first moment.

    ScenarioRunner asks for one wherever a flow or an autopilot needs it, and CARLA makes it asynchronous. In a
    synchronous world that ends the process (`trying to operate on a destroyed actor`) as soon as an actor is destroyed.

    Attributes:
        port: Port of the only manager.
        manager: It; None as long as nobody has needed it.
    """

    def __init__(self, carla: Any) -> None:
        self.port = 0
        self.manager: Any = None
        self._seed = 0
        self._client: Any = None
        self._original: Callable[..., Any] = carla.Client.get_trafficmanager
        original_autopilot = carla.Vehicle.set_autopilot
        managers = self

        def get_trafficmanager(client: Any, port: int = 8000) -> Any:
            return managers.get()

        def set_autopilot(vehicle: Any, enabled: bool = True, port: int = 8000) -> None:
            if enabled or managers.manager is not None:
                managers.get()
                original_autopilot(vehicle, enabled, managers.port)

        carla.Client.get_trafficmanager = get_trafficmanager
        carla.Vehicle.set_autopilot = set_autopilot

    def begin(self, client: Any, port: int, seed: int) -> None:
        """Says whose manager it will be in this episode."""
        self._client, self.port, self._seed = client, port, seed % 2**31
        if self.manager is not None:
            self.manager.set_random_device_seed(self._seed)

    def get(self) -> Any:
        """Returns the manager, made when it is first needed."""
        if self.manager is None:
            self.manager = self._original(self._client, self.port)
            self.manager.set_synchronous_mode(True)
            self.manager.set_random_device_seed(self._seed)
        return self.manager

    def release(self) -> None:
        """Shuts the manager down: it knows one map only, and loading another in its synchronous mode would hang."""
        if self.manager is not None:
            self.manager.set_synchronous_mode(False)
            self.manager.shut_down()
            self.manager = None
