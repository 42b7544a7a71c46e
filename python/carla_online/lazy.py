"""Packages whose parts load when they are asked for (PEP 562), so that what needs no torch starts without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package.

    Args:
        package: the package's `__name__`.
        homes: for each of its modules, the names that the package shows as its own. The module itself is one, too.
    """
    home_of = {name: module for module, names in homes.items() for name in names}
    modules = frozenset(home.partition(".")[0] for home in homes)

    def load(name: str) -> Any:
        if name in home_of:
            return getattr(import_module(f"{package}.{home_of[name]}"), name)
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
