"""Finds ScenarioRunner, its requirements and CARLA's `agents`, and makes them importable in a worker process.

ScenarioRunner is no package: it is used from a checkout, unmodified. Its requirements may pin other versions than this
project's; a folder of their own (`pip install --target FOLDER`) is put behind this environment's packages, so that
NumPy and the like stay this environment's and only what is missing comes from there.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from carla_online.envs.scenario_runner.config import (
    AGENTS_VARIABLE,
    PACKAGES_VARIABLE,
    ROOT_VARIABLE,
    ScenarioRunnerEnvConfig,
)
from carla_online.errors import ConfigError, MissingExtra

VERSION: Final = "0.9.16"
REQUIREMENTS: Final = (
    "py-trees==0.8.3",
    "xmlschema==1.0.18",
    "antlr4-python3-runtime==4.10",
    "networkx",
    "shapely",
    "ephem",
    "tabulate",
    "six",
    "simple-watchdog-timer",
    "opencv-python-headless",
)
"""What ScenarioRunner imports beside this project's own requirements. py-trees must be 0.8.3: its later versions have
another blackboard and other policies."""
_MODULES: Final = ("py_trees", "xmlschema", "antlr4", "networkx", "shapely", "ephem", "tabulate", "six")


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where everything is."""

    root: Path
    """The checkout."""
    packages: Path | None
    """Folder of the requirements."""
    agents: Path | None
    """Folder that holds the package `agents`."""


def find_checkout(config: ScenarioRunnerEnvConfig) -> Checkout:
    """Returns the folders that a configuration or the environment variables name.

    Raises:
        ConfigError: No checkout is named, or a folder isn't what it should be.
    """
    root = config.find("root")
    if not root:
        raise ConfigError(
            f"no checkout of ScenarioRunner is named: set {ROOT_VARIABLE} or `root` to a clone of "
            f"https://github.com/carla-simulator/scenario_runner at the tag v{VERSION}."
        )
    folder = Path(root)
    if not (folder / "srunner" / "scenariomanager" / "carla_data_provider.py").is_file():
        raise ConfigError(f"{folder} isn't a checkout of ScenarioRunner: it has no srunner/scenariomanager.")
    packages, agents = config.find("packages"), config.find("agents")
    if packages and not Path(packages).is_dir():
        raise ConfigError(f"{PACKAGES_VARIABLE}: {packages} isn't a folder.")
    if agents and not (Path(agents) / "agents" / "navigation").is_dir():
        raise ConfigError(f"{AGENTS_VARIABLE}: {agents} holds no package `agents`; use PythonAPI/carla of a release.")
    return Checkout(folder, Path(packages) if packages else None, Path(agents) if agents else None)


def make_importable(checkout: Checkout) -> None:
    """Puts the folders onto this process's path and checks that all can be imported; call it in a worker process.

    Raises:
        MissingExtra: A requirement, or CARLA's `agents`, is missing.
    """
    os.environ[ROOT_VARIABLE] = str(checkout.root)
    for folder in (checkout.packages, checkout.agents or _stand_in(), checkout.root):
        if folder is not None and str(folder) not in sys.path:
            sys.path.append(str(folder))
    missing = [name for name in _MODULES if _import(name) is None]
    if missing:
        words = " ".join(f"'{requirement}'" for requirement in REQUIREMENTS)
        raise MissingExtra(
            f"ScenarioRunner needs {', '.join(missing)}: pip install --target FOLDER {words}, and set "
            f"{PACKAGES_VARIABLE} to the folder."
        )
    if _import("agents.navigation.global_route_planner") is None:
        raise MissingExtra(
            f"ScenarioRunner needs CARLA's package `agents`, which the wheel lacks: set {AGENTS_VARIABLE} to the "
            "folder PythonAPI/carla of a CARLA 0.9.16 release. (PyPI's `agents` is something else.)"
        )


def _stand_in() -> Path | None:
    """Returns the folder of this package's own `agents`, for those who have no other; None in builds without it."""
    standin = _import("carla_online.standin")
    return None if standin is None else Path(standin.agents_folder())


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
