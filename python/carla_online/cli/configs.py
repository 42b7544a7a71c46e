"""Configurations from the command line: shipped ones by name, files by path, overrides by option."""

from __future__ import annotations

from pathlib import Path

import tyro
from pydantic import ValidationError

import carla_online
from carla_online.config import describe_errors, read_yaml, validate
from carla_online.errors import ConfigError
from carla_online.online.experiment import ExperimentConfig


def shipped_configs() -> dict[str, Path]:
    """Returns the experiments shipped with the package, by name."""
    folder = Path(carla_online.__file__).parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """Returns the file of a shipped configuration, or of a path.

    Raises:
        ConfigError: There is no such configuration.
    """
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return path
    raise ConfigError(f"there is no configuration {name!r}. Shipped: {', '.join(shipped)}; or give a YAML file.")


def load_experiment(name: str, overrides: list[str]) -> ExperimentConfig:
    """Reads a configuration and lays command line options over it.

    Args:
        name: Shipped name or path.
        overrides: For instance `["--learner.actor-lr", "1e-4", "--seed", "3"]`.

    Raises:
        ConfigError: With every fault on a line of its own.
        SystemExit: tyro has printed help (0) or what is wrong with an option (2).
    """
    path = find_config(name)
    config = validate(ExperimentConfig, read_yaml(path), source=str(path))
    if not overrides:
        return config
    try:
        return tyro.cli(
            ExperimentConfig,
            args=overrides,
            default=config,
            prog=f"carla-online train {name}",
            config=(tyro.conf.AvoidSubcommands,),
        )
    except ValidationError as error:
        raise ConfigError("\n".join(describe_errors(error, source="command line"))) from None
