"""From a configuration to a scenario that stands in the world: XML, route, OpenSCENARIO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from carla_online.envs.scenario_runner import upstream, ways
from carla_online.envs.scenario_runner.config import ScenarioConfig
from carla_online.errors import ConfigError, SimulatorError

_LARGEST_FILE_BYTES: Final = 8_000_000
_OSC_TIMEOUT_S: Final = 100.0
"""OpenSCENARIO files end by their own triggers; an ego that never sets them off must not drive on for ever."""


@dataclass(slots=True)
class Plan:
    """A scenario as its file describes it."""

    config: ScenarioConfig
    """What was asked for."""
    source: Any
    """ScenarioRunner's own configuration; None for OpenSCENARIO, which is read when the town is there."""
    town: str
    """Name of the town."""
    file: Path | None
    """The file."""


@dataclass(slots=True)
class Standing:
    """A scenario that was built."""

    scenario: Any
    """ScenarioRunner's object."""
    ego: Any
    """The ego's actor."""


def read_plan(config: ScenarioConfig, root: Path) -> Plan:
    """Reads a scenario's file.

    Raises:
        ConfigError: The file, or the scenario in it, doesn't exist or can't be read.
    """
    file = config.path(root)
    if file is not None:
        _require_harmless(file)
    if config.kind == "openscenario":
        assert file is not None  # `path` has refused that
        return Plan(config, None, _openscenario_town(file), file)
    if config.kind == "route":
        return _route_plan(config, file)
    from srunner.tools.scenario_parser import ScenarioConfigurationParser

    with upstream.kept_path():
        found = ScenarioConfigurationParser.parse_scenario_configuration(config.key, str(file or ""))
    if not found:
        raise ConfigError(f"scenario {config.name!r}: {file or 'the examples'} have no scenario named {config.key!r}.")
    return Plan(config, found[-1], str(found[-1].town), file)


def prepare(plan: Plan, client: Any, drawn: dict[str, float]) -> None:
    """Reads what can be read only with the town in place.

    Raises:
        SimulatorError: ScenarioRunner refuses the file.
    """
    if plan.config.kind != "openscenario":
        return
    from srunner.scenarioconfigs.openscenario_configuration import OpenScenarioConfiguration

    values = {name: str(value) for name, value in drawn.items()}
    try:
        plan.source = OpenScenarioConfiguration(str(plan.file), client, values)
    except Exception as error:
        raise SimulatorError(f"scenario {plan.config.name!r} can't be read: {type(error).__name__}: {error}") from error


def way_of(plan: Plan, carla_map: Any) -> list[ways.Place]:
    """Returns the places through which the ego's route leads.

    Raises:
        SimulatorError: There is no way.
    """
    if plan.config.kind == "route":
        from srunner.tools.route_manipulation import interpolate_trajectory

        _, route = interpolate_trajectory(plan.source.keypoints)
        return ways.along_a_route(carla_map, [transform for transform, _ in route])
    if not plan.source.ego_vehicles:
        raise SimulatorError(f"scenario {plan.config.name!r} has no ego.")
    start = plan.source.ego_vehicles[0].transform
    return ways.along_the_road(carla_map, start, plan.config.route_m, plan.config.turn)


def build(plan: Plan, world: Any, root: Path, weather: Any, drawn: dict[str, float]) -> Standing:
    """Spawns the ego and builds the scenario.

    Args:
        plan: The scenario, prepared.
        world: The world.
        root: The checkout.
        weather: Takes the place of the scenario's own.
        drawn: The scenario's parameters by name.

    Raises:
        SimulatorError: ScenarioRunner can't build it; actors that it made are left to be cleaned up.
    """
    from srunner.scenarios.open_scenario import OpenScenario
    from srunner.scenarios.route_scenario import RouteScenario

    source = plan.source
    try:
        with upstream.kept_path():
            if plan.config.kind == "route":
                source.weather = [(0.0, weather)]
                scenario = RouteScenario(world, source)
                ego = scenario.ego_vehicles[0]
            else:
                egos = [_spawn_ego(data) for data in source.ego_vehicles]
                ego = egos[0]
                world.tick()
                if plan.config.kind == "openscenario":
                    scenario = OpenScenario(world, egos, source, str(plan.file), timeout=_OSC_TIMEOUT_S)
                else:
                    source.weather = weather
                    kind = upstream.find_class(source.type, str(root))
                    kind = upstream.drawn_into(kind, drawn) if drawn else kind
                    scenario = kind(world, egos, source)
    except Exception as error:
        raise SimulatorError(
            f"scenario {plan.config.name!r} can't be built: {type(error).__name__}: {error}"
        ) from error
    upstream.make_harmless(scenario)
    return Standing(scenario, ego)


def _spawn_ego(data: Any) -> Any:
    from srunner.scenariomanager.carla_data_provider import CarlaDataProvider

    ego = CarlaDataProvider.request_new_actor(
        data.model, data.transform, data.rolename, color=data.color, actor_category=data.category
    )
    if ego is None:
        raise SimulatorError(f"the ego's place {data.transform.location} is taken, or off the road")
    return ego


def _route_plan(config: ScenarioConfig, file: Path | None) -> Plan:
    from srunner.tools.route_parser import RouteParser

    found = RouteParser.parse_routes_file(str(file), config.id)
    if not found:
        raise ConfigError(f"scenario {config.name!r}: {file} has no route {config.id!r}.")
    source = found[0]
    source.agent = None
    return Plan(config, source, str(source.town), file)


def _openscenario_town(file: Path) -> str:
    logic = ElementTree.parse(file).find("RoadNetwork/LogicFile")
    town = "" if logic is None else str(logic.get("filepath", ""))
    if not town:
        raise ConfigError(f"{file} names no map: it has no RoadNetwork/LogicFile with a filepath.")
    return Path(town).stem


def _require_harmless(file: Path) -> None:
    """Scenario files come from anywhere: no document type, so no entities; no more than 8 MB."""
    size_bytes = file.stat().st_size
    if size_bytes > _LARGEST_FILE_BYTES:
        raise ConfigError(f"{file} has {size_bytes} bytes; at most {_LARGEST_FILE_BYTES} are read.")
    if b"<!DOCTYPE" in file.read_bytes():
        raise ConfigError(f"{file} has a document type declaration, which scenario files don't need; remove it.")
