"""The schema of an environment that drives ScenarioRunner's scenarios."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from carla_online.config import Config, NameOrParts
from carla_online.envs.carla.config import SERVE, servers_for, split_address
from carla_online.envs.reward import RewardConfig
from carla_online.envs.safety import SafetyConfig
from carla_online.envs.workers.config import SupervisionConfig
from carla_online.envs.world.config import WorldEnvConfig
from carla_online.errors import ConfigError

ROOT_VARIABLE: Final = "SCENARIO_RUNNER_ROOT"
"""Names the checkout where the configuration doesn't."""
PACKAGES_VARIABLE: Final = "SCENARIO_RUNNER_PACKAGES"
"""Names the folder of ScenarioRunner's requirements where the configuration doesn't."""
AGENTS_VARIABLE: Final = "CARLA_AGENTS"
"""Names the folder that holds CARLA's `agents` where the configuration doesn't."""
MAPS_VARIABLE: Final = "CARLA_ONLINE_MAPS"
"""Names the folder of OpenDRIVE files for own servers where the configuration doesn't."""
SHIPPED: Final = "shipped:"
_DATA: Final = Path(__file__).parent / "data"

Turn = Literal["straight", "left", "right"]


class ScenarioConfig(Config):
    """One scenario, and the way that the ego has to go in it."""

    name: str = Field(min_length=1, max_length=100)
    """Its name in tables and slices."""
    kind: Literal["xml", "route", "openscenario"] = "xml"
    """`xml`: a scenario of an XML file. `route`: a route with its scenarios. `openscenario`: a file of OpenSCENARIO
    1.0."""
    file: str = ""
    """A path; `shipped:NAME` for a file of this package; a name in the checkout's `srunner/examples`; empty for `xml`
    looks for the name in all of these examples."""
    id: str = ""
    """Name of the scenario in the XML file, or id of the route in its file; the configuration's own name if empty."""
    turn: Turn = "straight"
    """Where the ego's way turns at the first junction; routes have their own."""
    route_m: float = Field(default=300.0, ge=30.0, le=5000.0)
    """Length of the ego's way where the scenario has no route."""
    reference_time_s: float | None = Field(default=None, gt=0.0)
    """Time that the scenario should take; null computes it from the way's length and limits."""
    parameters: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Numbers of the scenario drawn anew for every episode, from and to: its attributes (`_first_vehicle_speed`), or,
    for OpenSCENARIO, its parameters. They are set before the scenario is built."""

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in parameters.items():
            if not name.isidentifier() or name.startswith("__") or not low <= high:
                raise ValueError(f"{name!r}: {low} to {high} must be an attribute's name and a range from low to high")
        return parameters

    @property
    def key(self) -> str:
        """Its name in its file."""
        return self.id or self.name

    def path(self, root: Path) -> Path | None:
        """Returns the file; None to look through the examples.

        Raises:
            ConfigError: There is no such file.
        """
        if not self.file:
            if self.kind != "xml":
                raise ConfigError(f"scenario {self.name!r} is of kind {self.kind} and has no file; name one.")
            return None
        if self.file.startswith(SHIPPED):
            path = _DATA / Path(self.file.removeprefix(SHIPPED)).name
        else:
            path = Path(self.file).expanduser()
            if not path.is_absolute() and not path.exists():
                path = root / "srunner" / "examples" / self.file
        if not path.is_file():
            raise ConfigError(f"scenario {self.name!r}: there is no file {path}; correct `file`.")
        return path.resolve()


class ScenarioRunnerEnvConfig(Config):
    """An environment in which ScenarioRunner's scenarios happen to the policy, on CARLA 0.9.16 servers."""

    kind: Literal["scenario_runner"] = "scenario_runner"
    """Which backend this is."""
    scenarios: tuple[ScenarioConfig, ...] = Field(min_length=1, max_length=1000)
    """An episode's seed picks one of them, each as often as the others."""
    root: str = ""
    """Checkout of ScenarioRunner 0.9.16; the environment variable SCENARIO_RUNNER_ROOT if empty."""
    packages: str = ""
    """Folder with ScenarioRunner's requirements (`pip install --target`), which only the workers see; the environment
    variable SCENARIO_RUNNER_PACKAGES if empty, and if that is too, the environment's own packages."""
    agents: str = ""
    """Folder that holds CARLA's package `agents`; the environment variable CARLA_AGENTS if empty."""
    servers: tuple[str, ...] = Field(default=(SERVE,), min_length=1, max_length=64)
    """One server for each environment: `host:port`, or `serve` to start an own `carla-online serve`."""
    maps: str = ""
    """Folder of OpenDRIVE files (`Town01.xodr`, ...) that own servers serve; the environment variable CARLA_ONLINE_MAPS
    if empty."""
    weather: NameOrParts = "clear"
    """As in the embedded world: drawn by the episode's seed, in place of the scenario's own."""
    traffic: tuple[int, int] = (0, 0)
    """Vehicles beside the scenario's, drawn between the two; CARLA's Traffic Manager drives them."""
    pedestrians: tuple[int, int] = (0, 0)
    """People on foot beside the scenario's, drawn between the two; the server needs a navigation mesh."""
    background_density: tuple[float, float] = (1.0, 1.0)
    """Factor on the vehicles that a route's background activity keeps around the ego, drawn between the two."""
    simulation: dict[str, Any] = Field(default_factory=dict)
    """As in the embedded world: `simulation_step_s`, `decision_steps`, `blocked_after_s`, ..."""
    observation: Literal["vector", "birdseye_small", "birdseye_carl"] = "vector"
    """As in the embedded world."""
    call_timeout_s: float = Field(default=10.0, gt=0.0, le=600.0)
    """Deadline of every call of an episode."""
    load_timeout_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Deadline of loading a town."""
    supervision: SupervisionConfig = Field(default_factory=lambda: SupervisionConfig(recycle_episodes=100))
    """Deadlines of the workers, their restarts and renewal."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    """A preset and weights of the reward terms."""
    safety: SafetyConfig = Field(default_factory=SafetyConfig)
    """What stands between the proposed and the executed action."""

    @field_validator("servers")
    @classmethod
    def _check_servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        attached = [server for server in servers if server != SERVE]
        for server in attached:
            split_address(server)
        if len(set(attached)) != len(attached):
            raise ValueError("a server stands twice; one server serves one environment")
        return servers

    @field_validator("traffic", "pedestrians", "background_density")
    @classmethod
    def _check_range(cls, drawn: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= drawn[0] <= drawn[1] <= 200:
            raise ValueError(f"{drawn[0]} to {drawn[1]} must go up and lie in 0 to 200")
        return drawn

    @model_validator(mode="after")
    def _check_names(self) -> ScenarioRunnerEnvConfig:
        names = [scenario.name for scenario in self.scenarios]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the scenarios {twice} stand twice; give each a name of its own")
        return self

    @property
    def num_envs(self) -> int:
        """Environments: one for each server."""
        return len(self.servers)

    @property
    def birdseye(self) -> str | None:
        """Kind of the view from above, or None."""
        return None if self.observation == "vector" else self.observation.removeprefix("birdseye_")

    @property
    def slice_names(self) -> tuple[str, ...]:
        """The scenarios, which tag the experience made here."""
        return tuple(f"scenario_runner/{scenario.name}" for scenario in self.scenarios)

    @property
    def decision_s(self) -> float:
        """Length of a decision, seconds."""
        world = json.loads(self.world_json(""))
        return float(world["simulation_step_s"] * world["decision_steps"])

    def with_envs(self, num_envs: int) -> ScenarioRunnerEnvConfig:
        """Returns this configuration for `num_envs` environments.

        Raises:
            ConfigError: There are fewer than `num_envs` servers; only a single `serve` can be multiplied.
        """
        return self.model_copy(update={"servers": servers_for(num_envs, self.servers, started=(SERVE,))})

    def for_worker(
        self, index: int, workers: int, *, port_base: int | None = None, log_dir: Path | None = None
    ) -> ScenarioRunnerEnvConfig:
        """Returns the configuration of one of several collecting processes: its share of the servers.

        Args:
            index: Number of the process.
            workers: How many share the environments, evenly.
            port_base: Unused: own servers take any free ports.
            log_dir: Unused.
        """
        share = self.num_envs // workers
        return self.model_copy(update={"servers": self.servers[index * share : (index + 1) * share]})

    def world_json(self, xodr: str) -> str:
        """Returns the configuration of the world that observes and judges on a map, as JSON.

        Args:
            xodr: OpenDRIVE text of the map.

        Raises:
            ConfigError: As `WorldEnvConfig.world_json`.
        """
        # ScenarioRunner ends what takes too long, and blames the ego for standing after 180 s.
        simulation = {"blocked_after_s": 180.0, "time_limit_factor": 20.0, "off_road_heading_deg": 180.0}
        world = WorldEnvConfig(
            map={"preset": "town", "kind": "xodr", "map_variants": 1, "xodr": xodr or "<"},
            traffic="none",
            simulation=simulation | self.simulation,
            weather=self.weather,
            observation=self.observation,
            reward=self.reward,
            safety=self.safety,
        )
        return world.world_json()

    def find(self, name: Literal["root", "packages", "agents", "maps"]) -> str:
        """Returns a folder: the configuration's, or the environment variable's; empty if neither names one."""
        variables = {
            "root": ROOT_VARIABLE,
            "packages": PACKAGES_VARIABLE,
            "agents": AGENTS_VARIABLE,
            "maps": MAPS_VARIABLE,
        }
        folder = getattr(self, name) or os.environ.get(variables[name], "")
        return str(Path(folder).expanduser().resolve()) if folder else ""
