"""The schema of an embedded-world environment, and how it becomes the world's own configuration.

Python names presets and lays parts over each other; the world (Rust) owns every default and every range. So
no number of the world stands twice, and `resolve` asks the extension for the defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, Protocol

from pydantic import Field

from carla_online import _native
from carla_online.config import Config, NameOrParts, merge
from carla_online.envs.contract import WEATHER_CLASSES
from carla_online.envs.curriculum import CurriculumConfig, read_curriculum, staged
from carla_online.envs.randomization import RANDOMIZATIONS, WEATHERS
from carla_online.envs.reward import RewardConfig
from carla_online.envs.safety import SafetyConfig
from carla_online.envs.world.presets import MAPS, TRAFFICS, scale_speeds
from carla_online.errors import ConfigError

_SECTIONS = ("map", "traffic", "ego", "weather")


class EpisodesConfig(Protocol):
    """What a vector environment must know of its configuration."""

    @property
    def num_envs(self) -> int:
        """Environments stepped together."""

    @property
    def threads(self) -> int:
        """Threads that step the worlds."""

    @property
    def birdseye(self) -> str | None:
        """Kind of the view from above, or None."""

    @property
    def slice_names(self) -> tuple[str, ...]:
        """Names that tag experience, one for each weather class."""

    @property
    def reward(self) -> RewardConfig:
        """A preset and weights of the reward terms."""

    def world_json(self) -> str:
        """Returns the complete configuration of the world as JSON."""

    def course_of_stages(self) -> CurriculumConfig | None:
        """Returns the curriculum, if there is one."""

    def stage_configs(self) -> tuple[EpisodesConfig, ...]:
        """Returns this configuration for every stage; without a curriculum just itself."""


class WorldEnvConfig(Config):
    """An environment in the embedded driving world."""

    kind: Literal["world"] = "world"
    """Which backend this is."""
    num_envs: int = Field(default=1, ge=1, le=65_536)
    """Worlds stepped together."""
    map: NameOrParts = "straight"
    """A preset's name, or parts of the world's `map` section; `preset` in it names their ground."""
    traffic: NameOrParts = "default"
    """A preset's name, or parts of the world's `traffic` section; `preset` in it names their ground."""
    ego: dict[str, Any] = Field(default_factory=dict)
    """Parts of the world's `ego` section: `dynamics`, `start_speed_mps`, ..."""
    simulation: dict[str, Any] = Field(default_factory=dict)
    """The world's remaining keys: `simulation_step_s`, `decision_steps`, `time_limit_factor`, ..."""
    weather: NameOrParts = "clear"
    """A preset's name, or parts of the world's `weather` section: CARLA's parameters, each a pair (from, to) out of
    which every episode draws; `preset` in it names their ground."""
    randomization: str = "none"
    """A preset's name: which traits of the ego and of the traffic every episode draws anew."""
    observation: Literal["vector", "birdseye_small", "birdseye_carl"] = "vector"
    """`vector`: the numbers alone. `birdseye_small`, `birdseye_carl`: a `Dict` of these and a view from above, 96 or
    256 pixels at 2 a metre, one bit a plane."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads that step the worlds; results don't depend on it."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    """A preset and weights of the reward terms."""
    safety: SafetyConfig = Field(default_factory=SafetyConfig)
    """What stands between the proposed and the executed action."""
    curriculum: NameOrParts = "none"
    """A curriculum's name, or its stages: see `CurriculumConfig`."""

    @property
    def birdseye(self) -> str | None:
        """Kind of the view from above, or None."""
        return None if self.observation == "vector" else self.observation.removeprefix("birdseye_")

    def world_json(self) -> str:
        """Returns the complete configuration of the world as JSON.

        Raises:
            ConfigError: Unknown presets or keys, all of them, a line each. Ranges are checked by the world
                when it is built.
        """
        return json.dumps(self.resolve(), sort_keys=True)

    @property
    def slice_names(self) -> tuple[str, ...]:
        """Map, traffic and weather class, which tag the experience made here; mappings count by their preset.

        One name for each weather class, in their order: which one an episode has, its draw tells.
        """
        course = self.course_of_stages()
        if course is not None:
            return tuple(f"{stage.name}/{weather}" for stage in course.stages for weather in WEATHER_CLASSES)
        names = [
            value if isinstance(value, str) else str(value.get("preset", default))
            for value, default in ((self.map, "straight"), (self.traffic, "default"))
        ]
        return tuple("/".join([*names, weather]) for weather in WEATHER_CLASSES)

    def course_of_stages(self) -> CurriculumConfig | None:
        """Returns the curriculum, if there is one.

        Raises:
            ConfigError: It is wrong.
        """
        return read_curriculum(self.curriculum)

    def stage_configs(self) -> tuple[WorldEnvConfig, ...]:
        """Returns this configuration for every stage; without a curriculum just itself."""
        return staged(self, self.course_of_stages())

    def resolve(self) -> dict[str, Any]:
        """Returns the world's configuration: its defaults, the presets, then what the user wrote.

        Raises:
            ConfigError: As `world_json`.
        """
        defaults: dict[str, Any] = json.loads(_native.WorldBatch.default_config())
        faults: list[str] = []
        map_preset, map_parts = _split_preset("map", self.map, MAPS, "straight", faults)
        traffic_preset, traffic_parts = _split_preset("traffic", self.traffic, TRAFFICS, "default", faults)
        weather_preset, weather_parts = _split_preset("weather", self.weather, WEATHERS, "clear", faults)
        if self.randomization not in RANDOMIZATIONS:
            names = ", ".join(RANDOMIZATIONS)
            faults.append(f"randomization: unknown preset {self.randomization!r}; the presets are {names}")
        rest = {name: value for name, value in self.simulation.items() if name not in _SECTIONS}
        written = {"map": map_parts, "traffic": traffic_parts, "ego": self.ego, "weather": weather_parts, **rest}
        if self.safety.terminate_on:
            written["terminate_on"] = list(self.safety.terminate_on)
        misplaced = [name for name in self.simulation if name in _SECTIONS]
        faults += [f"simulation.{name}: `{name}` stands beside `simulation`, not in it" for name in misplaced]
        _unknown_keys(written, defaults, "", faults)
        if faults:
            raise ConfigError("\n".join(f"world environment: {fault}" for fault in faults))
        presets = {"map": dict(map_preset), "traffic": dict(traffic_preset), "weather": dict(weather_preset)}
        world = merge(merge(merge(defaults, presets), RANDOMIZATIONS[self.randomization]), written)
        scale_speeds(world, kept={"traffic": traffic_parts, "ego": self.ego})
        return world


def _split_preset(
    section: str,
    value: str | Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
    default: str,
    faults: list[str],
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Returns the preset that `value` names and the parts it adds."""
    parts = {} if isinstance(value, str) else dict(value)
    name = value if isinstance(value, str) else parts.pop("preset", default)
    if not isinstance(name, str) or name not in presets:
        faults.append(f"{section}: unknown preset {name!r}; the presets are {', '.join(presets)}")
        return {}, parts
    return presets[name], parts


def _unknown_keys(written: Mapping[str, Any], known: Mapping[str, Any], path: str, faults: list[str]) -> None:
    for key, value in written.items():
        if key not in known:
            near = get_close_matches(str(key), list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
            faults.append(f"{path}{key}: unknown key; {hint}")
        elif isinstance(known[key], Mapping):
            if isinstance(value, Mapping):
                _unknown_keys(value, known[key], f"{path}{key}.", faults)
            else:
                faults.append(f"{path}{key}: must be a mapping, got {value!r}")
