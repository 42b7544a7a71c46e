"""The schema of an environment on CARLA servers.

What an episode is (road, traffic, weather, limits) is said as for the embedded world, and means the same: both draw it
from the episode's seed with the same code. What is added says where the servers are and how long they may take.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from carla_online.config import Config, NameOrParts
from carla_online.envs.carla.backbone import BackboneConfig
from carla_online.envs.carla.launch import LaunchConfig
from carla_online.envs.carla.sensors import SensorConfig, check_names
from carla_online.envs.curriculum import CurriculumConfig, read_curriculum, staged
from carla_online.envs.reward import RewardConfig
from carla_online.envs.safety import SafetyConfig
from carla_online.envs.world.config import WorldEnvConfig
from carla_online.errors import ConfigError

SERVE: Final = "serve"
"""In place of an address: an own `carla-online serve`, for as long as the environment lives."""
LAUNCH: Final = "launch"
"""In place of an address: a server started by `launch.command`, for as long as the environment lives."""
_STARTED: Final = (SERVE, LAUNCH)
_ADDRESS: Final = re.compile(r"^(?P<host>[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})$")
_EGO_KEYS: Final = ("start_speed_mps",)


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of `host:port`.

    Raises:
        ValueError: Another form, or a port outside 1 to 65534 (the next one is the server's too).
    """
    match = _ADDRESS.match(address)
    port = int(match["port"]) if match else 0
    if match is None or not 1 <= port <= 65_534:
        raise ValueError(
            f"{address!r} is no server; write 'host:port', for one '127.0.0.1:2000', '{SERVE}' or '{LAUNCH}'"
        )
    return match["host"], port


def servers_for(num_envs: int, servers: tuple[str, ...], *, started: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the servers of `num_envs` environments: the first ones, or as many of a single one that is started.

    Args:
        num_envs: How many.
        servers: Those of a configuration.
        started: Words that stand for a server that is started here, not for a running one.

    Raises:
        ConfigError: There are fewer, or `num_envs` isn't at least 1.
    """
    if num_envs < 1:
        raise ConfigError(f"num_envs must be at least 1, got {num_envs}.")
    if num_envs <= len(servers):
        return servers[:num_envs]
    if len(servers) != 1 or servers[0] not in started:
        raise ConfigError(
            f"num_envs is {num_envs}, but the servers are {list(servers)}; name one for each environment."
        )
    return servers * num_envs


class CarlaEnvConfig(Config):
    """An environment that drives on CARLA 0.9.16 servers through the official client."""

    kind: Literal["carla"] = "carla"
    """Which backend this is."""
    servers: tuple[str, ...] = Field(default=("127.0.0.1:2000",), min_length=1, max_length=64)
    """One server for each environment: `host:port`; `serve` to start an own `carla-online serve`; `launch` to start
    `launch.command`."""
    launch: LaunchConfig = Field(default_factory=LaunchConfig)
    """How own servers are started, where their output goes, and when they are renewed."""
    map: NameOrParts = "straight"
    """As in the embedded world; sent to the server as OpenDRIVE, and only when it changes. Few `map_variants` spare a
    real server many loads."""
    traffic: NameOrParts = "default"
    """As in the embedded world."""
    traffic_by: Literal["world", "traffic_manager"] = "world"
    """`world`: vehicles without physics are put where the embedded world's traffic is, so episodes are the same on both
    backends. `traffic_manager`: CARLA's own drives those vehicles from the same start."""
    traffic_manager_port: int = Field(default=0, ge=0, le=65_535)
    """Port of the Traffic Manager in this process; 0 takes a free one. Numbered on by one for each further server."""
    walkers: int = Field(default=0, ge=0, le=200)
    """Pedestrians who walk about, where the server has a navigation mesh."""
    ego: dict[str, Any] = Field(default_factory=dict)
    """`start_speed_mps`, as in the embedded world. Everything else about the ego is the simulator's."""
    ego_blueprint: str = "vehicle.lincoln.mkz_2017"
    """The ego's blueprint. Lines and overlaps are judged with the box of the MKZ 2017."""
    simulation: dict[str, Any] = Field(default_factory=dict)
    """As in the embedded world: `simulation_step_s`, `decision_steps`, `time_limit_factor`, ..."""
    weather: NameOrParts = "clear"
    """As in the embedded world; set on the server, and its wetness on the ego's tyres."""
    observation: Literal["vector", "birdseye_small", "birdseye_carl"] = "vector"
    """As in the embedded world."""
    randomization: Literal["none", "traffic"] = "none"
    """`traffic` draws the traffic's density anew for every episode, as in the embedded world; the ego's dynamics are
    the simulator's."""
    spectator: Literal["follow", "leave"] = "follow"
    """Whether the server's spectator follows the ego, for whoever looks at its window."""
    sensors: dict[str, SensorConfig] = Field(default_factory=dict, max_length=32)
    """Sensors on the ego by name; without a `backbone`, observations are then a `Dict` of `vector` and these. Their
    messages are taken by frame number, and a missing one ends the episode."""
    backbone: BackboneConfig | None = None
    """A frozen network over the sensors, whose features stand behind the vector in place of the readings: so a learner
    can learn from cameras, and replay keeps features with the network's hash."""
    sensor_timeout_s: float = Field(default=5.0, gt=0.0, le=600.0)
    """How long the message of a sensor may take after its frame."""
    call_timeout_s: float = Field(default=10.0, gt=0.0, le=600.0)
    """Deadline of every call and tick of an episode."""
    load_timeout_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Deadline of loading a map."""
    connect_timeout_s: float = Field(default=20.0, gt=0.0, le=600.0)
    """Deadline of the first calls to a server."""
    reconnect_attempts: int = Field(default=3, ge=0, le=100)
    """How often a reset tries again, each time with a new connection, before it gives up."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    """A preset and weights of the reward terms."""
    safety: SafetyConfig = Field(default_factory=SafetyConfig)
    """What stands between the proposed and the executed action."""
    curriculum: NameOrParts = "none"
    """As in the embedded world; another stage's road is sent to the server when its first episode is drawn."""

    @field_validator("servers")
    @classmethod
    def _check_servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        attached = [server for server in servers if server not in _STARTED]
        for server in attached:
            split_address(server)
        if len(set(attached)) != len(attached):
            raise ValueError("a server stands twice; one server serves one environment")
        return servers

    @field_validator("ego")
    @classmethod
    def _check_ego(cls, ego: dict[str, Any]) -> dict[str, Any]:
        foreign = [name for name in ego if name not in _EGO_KEYS]
        if foreign:
            raise ValueError(f"{foreign} can't be set on CARLA, whose physics move the ego; allowed: {list(_EGO_KEYS)}")
        return ego

    @field_validator("sensors")
    @classmethod
    def _check_sensors(cls, sensors: dict[str, SensorConfig]) -> dict[str, SensorConfig]:
        check_names(sensors)
        return sensors

    @model_validator(mode="after")
    def _check_launch(self) -> CarlaEnvConfig:
        if LAUNCH in self.servers and not self.launch.command:
            raise ValueError(f"servers has {LAUNCH!r}, but launch.command is empty; give the words that start a server")
        return self

    @model_validator(mode="after")
    def _check_backbone(self) -> CarlaEnvConfig:
        unknown = [name for name in (self.backbone.inputs if self.backbone else ()) if name not in self.sensors]
        if unknown:
            raise ValueError(f"backbone.inputs: {unknown} aren't among the sensors {sorted(self.sensors)}")
        if self.backbone is not None and not self.sensors:
            raise ValueError("backbone looks at sensors, but there are none; name them under sensors")
        return self

    @property
    def num_envs(self) -> int:
        """Environments: one for each server."""
        return len(self.servers)

    @property
    def threads(self) -> int:
        """Threads of the embedded world; there is none here."""
        return 1

    @property
    def birdseye(self) -> str | None:
        """Kind of the view from above, or None."""
        return self.world().birdseye

    @property
    def slice_names(self) -> tuple[str, ...]:
        """Map, traffic and weather class, which tag the experience made here."""
        return tuple(f"carla/{name}" for name in self.world().slice_names)

    def with_envs(self, num_envs: int) -> CarlaEnvConfig:
        """Returns this configuration for `num_envs` environments.

        Raises:
            ConfigError: There are fewer than `num_envs` servers; only a single one that is started can be multiplied.
        """
        return self.model_copy(update={"servers": servers_for(num_envs, self.servers, started=_STARTED)})

    def for_worker(self, index: int, workers: int, *, port_base: int | None, log_dir: Path) -> CarlaEnvConfig:
        """Returns the configuration of one of several workers that share the servers evenly.

        Args:
            index: Number of the worker.
            workers: How many there are.
            port_base: First port of the first server, unless `launch` names one.
            log_dir: Where own servers' output goes, unless `launch` names a folder.
        """
        share = self.num_envs // workers
        first = index * share
        launch = self.launch.model_copy(
            update={
                "first": self.launch.first + first,
                "port_base": self.launch.port_base or port_base,
                "log_dir": self.launch.log_dir or str(log_dir),
            }
        )
        return self.model_copy(
            update={
                "servers": self.servers[first : first + share],
                "launch": launch,
                "traffic_manager_port": self.traffic_manager_port and self.traffic_manager_port + first,
            }
        )

    def world(self) -> WorldEnvConfig:
        """Returns the configuration of the embedded world that has the same episodes."""
        return WorldEnvConfig(
            num_envs=self.num_envs,
            map=self.map,
            traffic=self.traffic,
            ego=self.ego,
            simulation=self.simulation,
            weather=self.weather,
            randomization=self.randomization,
            observation=self.observation,
            reward=self.reward,
            safety=self.safety,
            curriculum=self.curriculum,
        )

    def course_of_stages(self) -> CurriculumConfig | None:
        """Returns the curriculum, if there is one."""
        return read_curriculum(self.curriculum)

    def stage_configs(self) -> tuple[CarlaEnvConfig, ...]:
        """Returns this configuration for every stage; without a curriculum just itself."""
        return staged(self, self.course_of_stages())

    def world_json(self) -> str:
        """Returns the complete configuration of that world as JSON; raises as `WorldEnvConfig.world_json`."""
        return self.world().world_json()
