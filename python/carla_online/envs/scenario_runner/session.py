"""One episode of a scenario: begun, driven decision by decision, and cleared away."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.envs.carla.contacts import CollisionListener, Contact
from carla_online.envs.carla.sightings import EgoSighting, Sighting
from carla_online.envs.contract import DRAW_NAMES, INFRACTION_NAMES, REWARD_TERM_NAMES
from carla_online.envs.scenario_runner import building
from carla_online.envs.scenario_runner.ambient import Ambient
from carla_online.envs.scenario_runner.checkout import Checkout
from carla_online.envs.scenario_runner.cleaning import clean_up
from carla_online.envs.scenario_runner.config import ScenarioConfig, ScenarioRunnerEnvConfig
from carla_online.envs.scenario_runner.criteria import CriteriaReader
from carla_online.envs.scenario_runner.ledger import Entry, Ledger, TreeState
from carla_online.envs.scenario_runner.sights import Sights
from carla_online.envs.scenario_runner.town import Town
from carla_online.envs.scenario_runner.tree import ScenarioTree
from carla_online.errors import SimulatorError

_CLOSE_M: Final = 0.1
_NEAR_M: Final = 30.0
"""Boxes whose centres are farther apart than this don't touch, whatever they are."""
_MESSAGE_WAIT_S: Final = 0.2
_WEATHER: Final = DRAW_NAMES[:14]
_DENSITY: Final = DRAW_NAMES.index("traffic_density")
_FRICTION: Final = DRAW_NAMES.index("friction")


@dataclass(slots=True)
class Drawn:
    """What was drawn for an episode."""

    parameters: dict[str, float] = field(default_factory=dict)
    """The scenario's parameters."""
    vehicles: int = 0
    """Vehicles beside the scenario's that found a place."""
    pedestrians: int = 0
    """People on foot who did."""
    background_density: float = 1.0
    """Factor on a route's background activity."""


class Session:
    """Drives the episodes of one worker.

    Args:
        config: The environment's configuration.
        checkout: Where ScenarioRunner is; it can be imported already.
        town: The server.
        decision_steps: Steps of the simulation for which an action is held.

    Attributes:
        drawn: What was drawn for the episode under way.
        scenario: The scenario under way.
        scenario_index: Its place in the configuration.
        left_over: Actors that upstream's clean-up left after the last episode.
        obs: float32 [D], the newest observation.
        draws: float64 [M], weather and traits drawn for the episode, in the order of `DRAW_NAMES`.
    """

    def __init__(self, config: ScenarioRunnerEnvConfig, checkout: Checkout, town: Town, decision_steps: int) -> None:
        self._config, self._checkout, self._town = config, checkout, town
        self._decision_steps = decision_steps
        self._info_size = len(_native.WorldBatch.info_names())
        self._listener: CollisionListener | None = None
        self._built: Any = None
        self._is_dirty = False
        self._is_terminated = False
        self.obs: NDArray[np.float32] = np.zeros(_native.WorldBatch.obs_dim, np.float32)
        self.mirror: Any = None
        self.drawn = Drawn()
        self.scenario_index = 0
        self.scenario: ScenarioConfig = config.scenarios[0]
        self.left_over = 0
        self.draws: NDArray[np.float64] = np.zeros(len(DRAW_NAMES))

    def begin(self, seed: int) -> NDArray[np.float64]:
        """Begins the episode of a seed; returns the world's info row, float64 [I].

        Raises:
            SimulatorError: The server failed, or the scenario can't be built.
        """
        self.clear()
        self.scenario_index = seed % len(self._config.scenarios)
        self.scenario = self._config.scenarios[self.scenario_index]
        generator = np.random.Generator(np.random.Philox(seed))
        drawn = Drawn({name: float(generator.uniform(*span)) for name, span in self.scenario.parameters.items()})
        drawn.background_density = float(generator.uniform(*self._config.background_density))
        vehicles = int(generator.integers(self._config.traffic[0], self._config.traffic[1] + 1))
        walkers = int(generator.integers(self._config.pedestrians[0], self._config.pedestrians[1] + 1))
        self.drawn = drawn
        plan = building.read_plan(self.scenario, self._checkout.root)
        self._town.load(plan.town)
        self._is_dirty, self._is_terminated = True, False
        connection = self._town.connection
        self._provide(seed)
        building.prepare(plan, connection.client, drawn.parameters)
        self.mirror = self._town.mirror()
        self.mirror.enter(seed, building.way_of(plan, self._town.map))
        self.mirror.draws(self.draws)
        self.draws[_DENSITY] = drawn.background_density
        self._thin_background(drawn.background_density)
        with connection.guard("building a scenario"):
            standing = building.build(plan, connection.world, self._checkout.root, self._weather(), drawn.parameters)
            self._built = standing.scenario
            self._enter(standing.ego, vehicles, walkers, generator)
        return self._row()

    def _enter(self, ego: Any, vehicles: int, walkers: int, generator: np.random.Generator) -> None:
        connection, carla = self._town.connection, self._town.connection.carla
        self._ego = ego
        connection.world.set_weather(self._weather())
        if self.draws[_FRICTION] < 1.0:
            _wet(ego, float(self.draws[_FRICTION]))
        self._ambient = Ambient(connection, self._town.managers)
        self._ambient.enter(ego, vehicles, walkers, generator)
        self.drawn.vehicles, self.drawn.pedestrians = self._ambient.vehicles, self._ambient.walkers
        sensor = connection.world.spawn_actor(
            connection.world.get_blueprint_library().find("sensor.other.collision"), carla.Transform(), attach_to=ego
        )
        self._listener = CollisionListener(sensor)
        snapshot = connection.tick()
        self._tree = ScenarioTree(self._built)
        self._tree.see(snapshot)
        self.criteria = CriteriaReader(self._built.get_criteria())
        self._ledger = Ledger(self.scenario.reference_time_s)
        self._sights = Sights(connection, ego, self.mirror)
        seen = self._sights.ego(snapshot)
        if seen is None:
            raise SimulatorError(f"{connection.address}: {self.scenario.name!r} was without its ego after one tick.")
        self.mirror.place(seen)
        self._show_lights(seen)
        self.mirror.meet(self._sights.others(snapshot, seen))

    def drive(self, steer: float, pedal: float) -> Entry:
        """Drives for one decision.

        Raises:
            SimulatorError: The server failed.
        """
        connection, carla = self._town.connection, self._town.connection.carla
        self.mirror.decide(steer, pedal)
        with connection.guard("a step of a scenario"):
            for _ in range(self._decision_steps):
                # A new one for every step: behaviours add their noise to the object itself.
                control = carla.VehicleControl(max(pedal, 0.0), steer, max(-pedal, 0.0))  # throttle, steer, brake
                if self._advance(control) or self._tree.state is not TreeState.RUNNING:
                    break
        has_ended = self._tree.state is not TreeState.RUNNING
        terms = np.zeros(len(REWARD_TERM_NAMES), np.float32)
        counts = np.zeros(len(INFRACTION_NAMES), np.int32)
        terminated, truncated = self.mirror.conclude(terms, counts)
        if terminated or truncated or has_ended:
            with connection.guard("ending a scenario"):
                self._terminate()  # some criteria say only now what they have found
        judged = Entry(counts, terms, self._row(), terminated, truncated)
        return self._ledger.enter(judged, self.criteria.read(), self._tree.state)

    def show_all_lights(self) -> None:
        """Has the world see what all lights show, not only those that the ego has to heed."""
        with self._town.connection.guard("asking what lights show"):
            self.mirror.show_lights(self._sights.all_lights())

    @property
    def state(self) -> TreeState:
        """How the scenario stands."""
        return self._tree.state

    @property
    def has_story_failed(self) -> bool:
        """Whether somebody else couldn't do its part in the scenario's story."""
        return self._tree.has_story_failed

    @property
    def tree_s(self) -> float:
        """Wall-clock seconds spent in ScenarioRunner's tree in this episode."""
        return self._tree.seconds

    def clear(self) -> None:
        """Ends the episode and leaves nothing of it behind.

        Raises:
            SimulatorError: The server failed.
        """
        if not self._is_dirty:
            return
        if self._listener is not None:
            with self._town.connection.guard("stopping an episode's own actors"):
                self._listener.stop()
                self._listener.sensor.destroy()
                self._ambient.leave()
            self._listener.let_go()
            self._listener = None
        built, self._built = self._built, None
        with self._town.connection.guard("ending a scenario"):
            if built is not None and not self._is_terminated:
                built.terminate()
        self.left_over = clean_up(self._town.connection, built, self._town.own_ids)
        self._is_dirty = False

    def _terminate(self) -> None:
        if not self._is_terminated:
            self._is_terminated = True
            self._built.terminate()

    def _row(self) -> NDArray[np.float64]:
        self.obs, row = np.zeros(_native.WorldBatch.obs_dim, np.float32), np.zeros(self._info_size)
        self.mirror.observe(self.obs, row)
        return row

    def _advance(self, control: Any) -> bool:
        """Makes one step of the simulation; returns whether the world's judgement ends the episode."""
        self._ego.apply_control(control)
        self._tree.act(control)
        self.mirror.plan()
        snapshot = self._town.connection.tick()
        self._tree.see(snapshot)
        ego = self._sights.ego(snapshot)
        if ego is None:
            self._tree.lose_ego()
            return True
        self._tree.judge()
        others = self._sights.others(snapshot, ego)
        self._show_lights(ego)
        return bool(self.mirror.look(ego, others, self._felt(snapshot.frame, ego, others)))

    def _felt(self, frame: int, ego: EgoSighting, others: list[Sighting]) -> list[Contact]:
        if self._listener is None:
            return []
        x, y = ego[:2]
        near = [other for other in others if abs(other[2] - x) < _NEAR_M and abs(other[3] - y) < _NEAR_M]
        is_close = bool(near) and self.mirror.is_close(ego, near, _CLOSE_M)
        return self._listener.take(frame, wait_s=_MESSAGE_WAIT_S if is_close else 0.0)

    def _show_lights(self, ego: EgoSighting) -> None:
        lights = self._sights.changed_lights(ego)
        if lights is not None:
            self.mirror.show_lights(lights)

    def _provide(self, seed: int) -> None:
        """Gives ScenarioRunner's global state what it needs of this episode."""
        import random

        from srunner.scenariomanager.carla_data_provider import CarlaDataProvider

        connection, managers = self._town.connection, self._town.managers
        random.seed(seed)
        np.random.seed(seed % 2**32)
        CarlaDataProvider._random_seed = seed % 2**32
        CarlaDataProvider._rng = np.random.RandomState(seed % 2**32)
        managers.begin(connection.client, managers.port or _free_port(), seed)
        with connection.guard("handing a world to ScenarioRunner"):
            connection.world.reset_all_traffic_lights()
            CarlaDataProvider.set_client(connection.client)
            CarlaDataProvider.set_world(connection.world)
            CarlaDataProvider.set_traffic_manager_port(managers.port)

    def _thin_background(self, density: float) -> None:
        """Tells a route's background activity how many vehicles to keep around the ego."""
        if self.scenario.kind != "route" or density == 1.0:
            return
        import py_trees

        # Vehicles ahead (two by default), vehicles behind (two), and distances, which stay as they are.
        amount = [round(2 * density), round(2 * density), None, None]
        py_trees.blackboard.Blackboard().set("BA_ChangeRoadBehavior", amount, overwrite=True)

    def _weather(self) -> Any:
        weather = self._town.connection.carla.WeatherParameters()
        for name, value in zip(_WEATHER, self.draws, strict=False):
            setattr(weather, name, float(value))
        return weather


def _wet(ego: Any, friction: float) -> None:
    physics = ego.get_physics_control()
    wheels = physics.wheels
    for wheel in wheels:
        wheel.tire_friction *= friction
    physics.wheels = wheels
    ego.apply_physics_control(physics)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quietly_cleared(session: Session) -> None:
    """Clears a session whose server may have failed."""
    with suppress(SimulatorError):
        session.clear()
