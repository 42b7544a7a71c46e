"""Stand-ins for what CARLA ships beside its wheel: the package `agents`.

CARLA's examples, ScenarioRunner and many users' scripts import `agents`, a package that comes with CARLA's release
archive but not with the `carla` wheel. The folder beside this file holds one with the same names. It is put on the
path on request only, and only where the user has none: nothing called `agents` is installed.

Example:
    from carla_online.standin import provide_agents

    provide_agents()
    from agents.navigation.basic_agent import BasicAgent
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

_NAME = "agents"
_MARK = "agents.navigation"

__all__ = ["agents_folder", "provide_agents"]


def agents_folder() -> Path:
    """Returns the folder that holds `agents`: the user's own if there is one, else ours. Changes nothing.

    A package of that name without a part `navigation` is somebody else's: it doesn't count.
    """
    found = _find()
    return found if found is not None else Path(__file__).resolve().parent


def provide_agents() -> Path:
    """Makes `import agents` work and returns the folder it comes from; the user's own comes first.

    Ours goes to the end of `sys.path`, so a later installation of CARLA's own wins in the next process.
    """
    folder = agents_folder()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    return folder


def _find() -> Path | None:
    """Returns the folder above an importable `agents.navigation`, or None."""
    if _NAME in sys.modules and not hasattr(sys.modules[_NAME], "__path__"):
        return None
    try:
        part = importlib.util.find_spec(_MARK)
    except ModuleNotFoundError:
        return None
    if part is None or not part.submodule_search_locations:
        return None
    return Path(next(iter(part.submodule_search_locations))).resolve().parents[1]
