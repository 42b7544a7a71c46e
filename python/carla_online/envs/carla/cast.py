"""The actors of an episode: spawned for it, moved in it, and the only ones destroyed after it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from carla_online.envs.carla.client import Connection
from carla_online.envs.carla.contacts import CollisionListener
from carla_online.envs.carla.sensors import SensorConfig, Sensors
from carla_online.errors import ConfigError, SimulatorError

SCRIPTED_BLUEPRINTS: Final = (
    "vehicle.lincoln.mkz_2017",
    "vehicle.lincoln.mkz_2020",
    "vehicle.tesla.model3",
    "vehicle.nissan.patrol",
)
"""Blueprints of the embedded world's vehicles, by the number of their model."""

_SPAWN_LIFT_M: Final = 0.2
"""A spawn on the very ground counts as a collision with it; whoever is put this much higher falls for a moment."""
_WALKER_LIFT_M: Final = 0.93
"""The place of somebody on foot is the middle of the body."""
_HANG_M: Final = 30.0
_HANG_APART_M: Final = 4.0
_FEWEST_SETTLING_STEPS: Final = 3
_MOST_SETTLING_STEPS: Final = 60
_SETTLED_MPS: Final = 0.02
_WALK_MPS: Final = 1.4
_BEHIND_M: Final = 7.0
_ABOVE_M: Final = 4.0
_LOOK_DOWN_DEG: Final = -18.0


class Start(NamedTuple):
    """Where and how the ego begins: as the embedded world says it."""

    x: float
    y: float
    z: float
    yaw_deg: float
    velocity_x_mps: float
    velocity_y_mps: float
    gear: int


class Scripted(NamedTuple):
    """A vehicle of the embedded world's traffic."""

    model: int
    x: float
    y: float
    z: float
    yaw_deg: float
    speed_mps: float
    is_gone: bool


class Pedestrian(NamedTuple):
    """Somebody on foot in the embedded world; z is that of the ground."""

    x: float
    y: float
    z: float
    yaw_deg: float
    speed_mps: float


class Cast:
    """The actors of one episode on one server.

    Args:
        connection: The server; it is in synchronous mode and has the episode's map.

    Attributes:
        ego: The ego's actor.
        listener: Its collision sensor's messages.
        scripted_ids: Ids of the traffic, in the embedded world's order; 0 for those that aren't on the road.
        walker_ids: Ids of the embedded world's people on foot, in its order.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._carla = connection.carla
        self._library = connection.world.get_blueprint_library()
        self._owned: list[int] = []
        self._controllers: list[Any] = []
        self.ego: Any = None
        self.listener: CollisionListener | None = None
        self.scripted_ids: list[int] = []
        self.walker_ids: list[int] = []
        self._walker_lift_m: list[float] = []
        self._spectator: Any = None
        self._sensors: Sensors | None = None

    def enter(
        self,
        start: Start,
        scripted: list[Scripted],
        walkers: list[Pedestrian],
        ego_blueprint: str,
        *,
        with_physics: bool,
    ) -> None:
        """Spawns ego, traffic and collision sensor, and lets the ego settle on its wheels, standing.

        Args:
            start: Where the ego begins.
            scripted: The traffic, where it begins.
            walkers: People on foot, where they begin.
            ego_blueprint: The ego's blueprint.
            with_physics: Whether the traffic will drive by itself.
        """
        carla, connection = self._carla, self._connection
        present = [index for index, vehicle in enumerate(scripted) if not vehicle.is_gone]
        spawns = [self._spawn(ego_blueprint, "hero", start)]
        if with_physics:
            spawns += [self._spawn(_blueprint_of(scripted[index]), "traffic", scripted[index]) for index in present]
        else:
            spawns += [self._hang_up(_blueprint_of(scripted[index]), scripted[index], index) for index in present]
        looks = self._walker_looks() if walkers else [""]
        for index, walker in enumerate(walkers):
            spawns.append(self._hang_up(looks[index % len(looks)], walker, len(scripted) + index))
        ids = self._run(spawns)
        self._owned += ids
        self.scripted_ids = [0] * len(scripted)
        for index, actor_id in zip(present, ids[1:], strict=False):
            self.scripted_ids[index] = actor_id
        self.walker_ids = ids[1 + len(present) :]
        self._walker_lift_m = [_WALKER_LIFT_M] * len(walkers)
        if not with_physics:
            connection.client.apply_batch(self._moves(scripted, walkers))
        connection.tick()  # the client knows an actor only from the state of the next frame on
        self.ego = connection.world.get_actor(ids[0])
        if self.ego is None:
            raise SimulatorError(f"{connection.address}: the ego that was spawned, actor {ids[0]}, isn't there.")
        boxes = {actor.id: actor.bounding_box for actor in connection.world.get_actors(self.walker_ids)}
        self._walker_lift_m = [boxes[each].extent.z - boxes[each].location.z for each in self.walker_ids]
        sensor = connection.world.spawn_actor(
            self._library.find("sensor.other.collision"), carla.Transform(), attach_to=self.ego
        )
        self._owned.append(sensor.id)
        self.listener = CollisionListener(sensor)
        self.ego.apply_control(carla.VehicleControl(hand_brake=True))
        for step in range(_MOST_SETTLING_STEPS):
            fall_mps = abs(connection.tick().find(ids[0]).get_velocity().z)
            if step >= _FEWEST_SETTLING_STEPS and fall_mps < _SETTLED_MPS:
                break

    def show(self) -> None:
        """Has the server's spectator follow the ego from now on, for whoever looks at its window."""
        self._spectator = self._connection.world.get_spectator()

    def equip(self, configs: Mapping[str, SensorConfig], timeout_s: float) -> Sensors:
        """Hangs a user's sensors on the ego."""
        self._sensors = sensors = Sensors(self._connection, self.ego, configs, timeout_s)
        self._owned += sensors.ids
        return sensors

    def wet(self, friction: float) -> None:
        """Gives the ego's tyres a share of their grip."""
        physics = self.ego.get_physics_control()
        wheels = physics.wheels
        for wheel in wheels:
            wheel.tire_friction *= friction
        physics.wheels = wheels
        self.ego.apply_physics_control(physics)

    def hand_over(self, port: int, traffic: list[Scripted], seed: int) -> Any:
        """Lets the Traffic Manager of this process drive the traffic; returns it."""
        manager = self._connection.client.get_trafficmanager(port)
        manager.set_synchronous_mode(True)
        manager.set_hybrid_physics_mode(False)
        manager.set_random_device_seed(seed % 2**31)
        for actor_id, vehicle in zip(self.scripted_ids, traffic, strict=True):
            actor = self._connection.world.get_actor(actor_id)
            forward = actor.get_transform().get_forward_vector()
            speed_mps = vehicle.speed_mps
            actor.set_target_velocity(self._carla.Vector3D(speed_mps * forward.x, speed_mps * forward.y, 0.0))
            actor.set_autopilot(True, port)
            manager.set_desired_speed(actor, 3.6 * vehicle.speed_mps)
        self.scripted_ids = []
        return manager

    def let_walk(self, count: int, seed: int) -> None:
        """Spawns pedestrians who walk from place to place.

        Raises:
            ConfigError: The server has no navigation mesh for this map.
        """
        world = self._connection.world
        world.set_pedestrians_seed(seed % 2**31)
        places = [world.get_random_location_from_navigation() for _ in range(count)]
        if any(place is None for place in places):
            raise ConfigError(
                f"{self._connection.address} has no navigation mesh for this map, so nobody can walk; set walkers to 0."
            )
        looks = sorted(self._library.filter("walker.pedestrian.*"), key=lambda blueprint: str(blueprint.id))
        control = self._library.find("controller.ai.walker")
        for number, place in enumerate(places):
            walker = world.try_spawn_actor(looks[number % len(looks)], self._carla.Transform(place))
            if walker is None:
                continue  # somebody stands there: one walker fewer
            controller = world.spawn_actor(control, self._carla.Transform(), attach_to=walker)
            self._owned += [walker.id, controller.id]
            self._controllers.append(controller)
        self._connection.tick()
        for controller in self._controllers:
            controller.start()
            controller.go_to_location(world.get_random_location_from_navigation())
            controller.set_max_speed(_WALK_MPS)

    def set_off(self, start: Start) -> None:
        """Puts the start's gear in, and gives the ego the start's velocity from the next step on."""
        carla = self._carla
        self.ego.apply_control(carla.VehicleControl(hand_brake=True, manual_gear_shift=True, gear=start.gear))
        self._connection.tick()
        self.ego.set_target_velocity(carla.Vector3D(start.velocity_x_mps, start.velocity_y_mps, 0.0))

    def act(self, scripted: list[Scripted], walkers: list[Pedestrian], control: tuple[float, float] | None) -> bool:
        """Puts everybody where they are now, and gives the ego a new action (steer, signed pedal) if there is one.

        Returns:
            Whether ids have changed, because somebody has come onto the road or left it.
        """
        commands = self._carla.command
        batch: list[Any] = []
        before = list(self.scripted_ids)
        for index, vehicle in enumerate(scripted):
            actor_id = self.scripted_ids[index]
            if actor_id and vehicle.is_gone:
                batch.append(commands.DestroyActor(actor_id))
                self._owned.remove(actor_id)
                self.scripted_ids[index] = 0
            elif not actor_id and not vehicle.is_gone:
                (self.scripted_ids[index],) = self._run([self._hang_up(_blueprint_of(vehicle), vehicle, index)])
                self._owned.append(self.scripted_ids[index])
        batch += self._moves(scripted, walkers)
        if control is not None:
            steer, pedal = control
            driver = self._carla.VehicleControl(throttle=max(pedal, 0.0), steer=steer, brake=max(-pedal, 0.0))
            batch.append(commands.ApplyVehicleControl(self.ego.id, driver))
            if self._spectator is not None:
                batch.append(commands.ApplyTransform(self._spectator.id, self._view()))
        if batch:
            self._connection.client.apply_batch(batch)
        return self.scripted_ids != before

    def leave(self) -> None:
        """Destroys the actors of this cast, and no others."""
        for controller in self._controllers:
            controller.stop()
        if self.listener is not None:
            self.listener.stop()
        if self._sensors is not None:
            self._sensors.stop()
        commands = self._carla.command
        self._connection.client.apply_batch_sync([commands.DestroyActor(each) for each in reversed(self._owned)], False)
        self._owned.clear()
        self._connection.tick()
        if self.listener is not None:
            self.listener.let_go()
        if self._sensors is not None:
            self._sensors.let_go()
        self._controllers.clear()
        self.ego = None

    def abandon(self) -> None:
        """Stops listening, without asking the server for anything."""
        if self.listener is not None:
            with suppress(RuntimeError):
                self.listener.stop()
        if self._sensors is not None:
            self._sensors.stop()

    def _spawn(
        self, blueprint_id: str, role: str, at: Start | Scripted | Pedestrian, lift_m: float = _SPAWN_LIFT_M
    ) -> Any:
        try:
            blueprint = self._library.find(blueprint_id)
        except (IndexError, RuntimeError):
            raise ConfigError(f"{self._connection.address} has no blueprint {blueprint_id!r}.") from None
        blueprint.set_attribute("role_name", role)
        return self._carla.command.SpawnActor(blueprint, self._transform(at, lift_m))

    def _walker_looks(self) -> list[str]:
        looks = sorted(str(blueprint.id) for blueprint in self._library.filter("walker.pedestrian.*"))
        if not looks:
            raise ConfigError(f"{self._connection.address} has no blueprint for somebody on foot.")
        return looks

    def _hang_up(self, blueprint_id: str, at: Scripted | Pedestrian, number: int) -> Any:
        """Spawns somebody without physics high above their place, where nobody is, each at another height.

        On the ground a neighbour's box, which is a little larger than the embedded world's, would refuse them.
        """
        commands = self._carla.command
        spawn = self._spawn(blueprint_id, "traffic", at, _HANG_M + _HANG_APART_M * number)
        return spawn.then(commands.SetSimulatePhysics(commands.FutureActor, False))

    def _moves(self, scripted: list[Scripted], walkers: list[Pedestrian]) -> list[Any]:
        """Commands that put everybody where they are in the embedded world."""
        move = self._carla.command.ApplyTransform
        vehicles = [
            move(actor_id, self._transform(vehicle, 0.0))
            for actor_id, vehicle in zip(self.scripted_ids, scripted, strict=False)
            if actor_id
        ]
        people = zip(self.walker_ids, walkers, self._walker_lift_m, strict=True)
        return vehicles + [move(actor_id, self._transform(walker, lift_m)) for actor_id, walker, lift_m in people]

    def _view(self) -> Any:
        """The pose from behind and above the ego, as it was seen last."""
        carla, pose = self._carla, self.ego.get_transform()
        ahead, place = pose.get_forward_vector(), pose.location
        return carla.Transform(
            carla.Location(place.x - _BEHIND_M * ahead.x, place.y - _BEHIND_M * ahead.y, place.z + _ABOVE_M),
            carla.Rotation(_LOOK_DOWN_DEG, pose.rotation.yaw, 0.0),
        )

    def _transform(self, at: Start | Scripted | Pedestrian, lift_m: float) -> Any:
        carla = self._carla
        return carla.Transform(carla.Location(at.x, at.y, at.z + lift_m), carla.Rotation(0.0, at.yaw_deg, 0.0))

    def _run(self, spawns: list[Any]) -> list[int]:
        answers = self._connection.client.apply_batch_sync(spawns, False)
        failed = [answer.error for answer in answers if answer.error]
        ids = [int(answer.actor_id) for answer in answers if not answer.error]
        if failed:
            self._owned += ids
            raise SimulatorError(
                f"{self._connection.address}: {len(failed)} of {len(spawns)} actors couldn't be spawned: {failed[0]}"
            )
        return ids


def _blueprint_of(vehicle: Scripted) -> str:
    return SCRIPTED_BLUEPRINTS[vehicle.model % len(SCRIPTED_BLUEPRINTS)]
