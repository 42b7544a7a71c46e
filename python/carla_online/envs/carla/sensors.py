"""Sensors that a user hangs on the ego: what they give, and taking it by frame number, never "the newest"."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from pydantic import Field, field_validator

from carla_online.config import Config
from carla_online.envs.carla.client import Connection
from carla_online.errors import ConfigError, SimulatorError

SPEED: Final = "speed"
"""No sensor of CARLA's: the ego's speed in the snapshot."""
_RESERVED: Final = ("vector", "birdseye")
_KEPT_FRAMES: Final = 16

Array = NDArray[Any]


class SensorConfig(Config):
    """One sensor on the ego."""

    blueprint: str
    """CARLA's name, such as `sensor.camera.rgb`, `sensor.lidar.ray_cast`, `sensor.other.imu`, `sensor.other.gnss`; or
    `speed`."""
    x: float = 0.0
    """Metres ahead of the ego's middle."""
    y: float = 0.0
    """Metres to its right."""
    z: float = 1.5
    """Metres above the ground."""
    pitch_deg: float = 0.0
    """Degrees upward."""
    yaw_deg: float = 0.0
    """Degrees to the right."""
    roll_deg: float = 0.0
    """Degrees."""
    attributes: dict[str, str | int | float] = Field(default_factory=dict)
    """The blueprint's attributes, such as `image_size_x`, `fov`, `channels`."""
    points: int = Field(default=4_096, ge=1, le=1_000_000)
    """Points of a lidar's array: further ones are left out, missing ones are zeros."""

    @field_validator("blueprint")
    @classmethod
    def _check_blueprint(cls, blueprint: str) -> str:
        if _form_of(blueprint) is None:
            raise ValueError(f"{blueprint!r} isn't known here; take one of {', '.join(_FORMS)}, by its whole name")
        return blueprint

    @property
    def space(self) -> Box:
        """What it gives.

        Camera uint8 [H, W, 3] (RGB), lidar float32 [points, 4] (x, y, z in metres, intensity), IMU float32 [7]
        (acceleration, rates, compass), GNSS float64 [3] (latitude, longitude, altitude), speed float32 [1].
        """
        return _known(self.blueprint).space(self)


def check_names(sensors: Mapping[str, SensorConfig]) -> None:
    """Refuses names that mean something else.

    Raises:
        ValueError: Such a name.
    """
    wrong = [name for name in sensors if name in _RESERVED or not name.isidentifier()]
    if wrong:
        raise ValueError(f"sensors can't be called {wrong}; take plain names other than {list(_RESERVED)}")


class Sensors:
    """The sensors of one episode.

    Args:
        connection: The server, in synchronous mode.
        ego: What they hang on.
        configs: By name.
        timeout_s: How long the message of a frame may take.

    Raises:
        ConfigError: The server has no such blueprint or attribute.
    """

    def __init__(self, connection: Connection, ego: Any, configs: Mapping[str, SensorConfig], timeout_s: float) -> None:
        self._address, self._ego, self._configs, self._timeout_s = connection.address, ego, configs, timeout_s
        self._listeners: dict[str, _Listener] = {}
        for name, config in configs.items():
            if config.blueprint != SPEED:
                self._listeners[name] = _Listener(_spawn(connection, ego, name, config), config)

    @property
    def ids(self) -> list[int]:
        """Ids of their actors."""
        return [listener.actor.id for listener in self._listeners.values()]

    def read(self, snapshot: Any, out: Mapping[str, Array], row: int) -> None:
        """Writes what was measured in the frame of `snapshot` into `out[name][row]`.

        Raises:
            ConfigError: The server has never sent anything for a sensor.
            SimulatorError: A message of this frame didn't come in time.
        """
        until_s = time.monotonic() + self._timeout_s
        for name, config in self._configs.items():
            if config.blueprint == SPEED:
                velocity = snapshot.find(self._ego.id).get_velocity()
                out[name][row] = np.float32(np.sqrt(velocity.x**2 + velocity.y**2 + velocity.z**2))
                continue
            listener = self._listeners[name]
            value = listener.take(snapshot.frame, until_s)
            if value is None and not listener.has_heard:
                raise ConfigError(
                    f"{self._address} sends nothing for sensor {name!r} ({config.blueprint}); carla-online serve has "
                    "no cameras and lidars, and a server with -nullrhi renders none. Leave it out, or take another "
                    "server."
                )
            if value is None:
                raise SimulatorError(f"{self._address}: sensor {name!r} sent nothing for frame {snapshot.frame}.")
            out[name][row] = value

    def stop(self) -> None:
        """Stops listening, and asks nothing of a server that has gone."""
        for listener in self._listeners.values():
            with suppress(RuntimeError):
                listener.actor.stop()

    def let_go(self) -> None:
        """Drops the actors, whose destructors ask the server, now."""
        for listener in self._listeners.values():
            listener.actor = None
        self._listeners.clear()


class _Listener:
    """Keeps a sensor's last messages by frame; they come in a thread of the client's."""

    def __init__(self, actor: Any, config: SensorConfig) -> None:
        self.actor, self.has_heard = actor, False
        self._config, self._form = config, _known(config.blueprint)
        self._arrived = threading.Condition()
        self._values: dict[int, Array] = {}
        actor.listen(self._hear)

    def take(self, frame: int, until_s: float) -> Array | None:
        with self._arrived:
            self._arrived.wait_for(lambda: frame in self._values, max(0.0, until_s - time.monotonic()))
            value = self._values.get(frame)
            self._values = {seen: kept for seen, kept in self._values.items() if seen > frame}
        return value

    def _hear(self, message: Any) -> None:
        value = self._form.read(message, self._config)
        with self._arrived:
            self.has_heard = True
            self._values[int(message.frame)] = value
            while len(self._values) > _KEPT_FRAMES:
                del self._values[min(self._values)]
            self._arrived.notify_all()


class _Form(NamedTuple):
    space: Callable[[SensorConfig], Box]
    read: Callable[[Any, SensorConfig], Array]


def _image_space(config: SensorConfig) -> Box:
    height, width = (int(config.attributes.get(f"image_size_{axis}", size)) for axis, size in (("y", 600), ("x", 800)))
    return Box(0, 255, (height, width, 3), np.uint8)


def _image(message: Any, config: SensorConfig) -> Array:
    pixels = np.frombuffer(message.raw_data, np.uint8).reshape(message.height, message.width, 4)
    return pixels[:, :, 2::-1].copy()


def _numbers(count: int, kind: type[np.floating[Any]]) -> Callable[[SensorConfig], Box]:
    return lambda config: Box(-np.inf, np.inf, (count,), kind)


def _points(message: Any, config: SensorConfig) -> Array:
    seen = np.frombuffer(message.raw_data, np.float32).reshape(-1, 4)[: config.points]
    return np.concatenate([seen, np.zeros((config.points - len(seen), 4), np.float32)])


def _imu(message: Any, config: SensorConfig) -> Array:
    force, turn = message.accelerometer, message.gyroscope
    return np.array([force.x, force.y, force.z, turn.x, turn.y, turn.z, message.compass], np.float32)


def _gnss(message: Any, config: SensorConfig) -> Array:
    return np.array([message.latitude, message.longitude, message.altitude], np.float64)


_FORMS: Final[Mapping[str, _Form]] = {
    "sensor.camera.": _Form(_image_space, _image),
    "sensor.lidar.ray_cast": _Form(lambda config: Box(-np.inf, np.inf, (config.points, 4), np.float32), _points),
    "sensor.other.imu": _Form(_numbers(7, np.float32), _imu),
    "sensor.other.gnss": _Form(_numbers(3, np.float64), _gnss),
    SPEED: _Form(lambda config: Box(0.0, np.inf, (1,), np.float32), lambda message, config: np.zeros(1, np.float32)),
}
"""By the beginning of the blueprint's name, or the whole of it."""


def _form_of(blueprint: str) -> _Form | None:
    is_camera = blueprint.startswith("sensor.camera.") and blueprint not in ("sensor.camera.", "sensor.camera.dvs")
    return _FORMS.get("sensor.camera." if is_camera else blueprint)


def _known(blueprint: str) -> _Form:
    form = _form_of(blueprint)
    assert form is not None  # the schema refuses others
    return form


def _spawn(connection: Connection, ego: Any, name: str, config: SensorConfig) -> Any:
    carla = connection.carla
    try:
        blueprint = connection.world.get_blueprint_library().find(config.blueprint)
    except (IndexError, RuntimeError):
        raise ConfigError(f"{connection.address} has no blueprint {config.blueprint!r}, for sensor {name!r}.") from None
    for attribute, value in config.attributes.items():
        if not blueprint.has_attribute(attribute):
            known = sorted(each.id for each in blueprint)
            raise ConfigError(
                f"sensor {name!r}: {config.blueprint} has no attribute {attribute!r}; it has {', '.join(known)}."
            )
        blueprint.set_attribute(attribute, str(value))
    place = carla.Transform(
        carla.Location(config.x, config.y, config.z), carla.Rotation(config.pitch_deg, config.yaw_deg, config.roll_deg)
    )
    return connection.world.spawn_actor(blueprint, place, attach_to=ego)
