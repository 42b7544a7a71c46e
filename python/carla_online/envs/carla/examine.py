"""What stands between this machine and an environment on CARLA servers, each with its cure."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

from carla_online.envs.carla.client import VERSION, import_carla
from carla_online.envs.carla.config import split_address

_PROBE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    severity: Literal["fault", "warning", "fine"]
    """How bad it is."""
    message: str
    """What was seen."""
    cure: str = ""
    """What to do about it; empty where nothing is wrong."""


def examine_client() -> Iterator[Finding]:
    """Looks at Python, the wheel and CARLA's `agents`."""
    python = ".".join(map(str, sys.version_info[:2]))
    try:
        seen = version("carla")
    except PackageNotFoundError:
        fits = sys.version_info[:2] in ((3, 11), (3, 12)) and sys.platform == "linux"
        cure = (
            "pip install 'carla-online[carla]'" if fits else "use Linux x86-64 and Python 3.11 or 3.12, then install it"
        )
        yield Finding("fault", f"the client isn't installed for Python {python}", cure)
        return
    if seen == VERSION:
        yield Finding("fine", f"client {seen} on Python {python}")
    else:
        yield Finding("fault", f"the client is CARLA {seen}, {VERSION} is needed", f"pip install carla=={VERSION}")
    if importlib.util.find_spec("agents") is None:
        yield Finding(
            "warning",
            "CARLA's `agents` can't be imported; environments don't need it, ScenarioRunner does",
            "add the folder PythonAPI/carla of a CARLA release to PYTHONPATH",
        )


def examine_server(address: str) -> Iterator[Finding]:
    """Looks at a server: its ports, its version, and whether somebody else ticks it.

    Args:
        address: `host:port`.

    Raises:
        ValueError: Another form.
        MissingExtra: The client isn't installed.
    """
    host, port = split_address(address)
    for each, what in ((port, "calls"), (port + 1, "streams")):
        if not _listens(host, each):
            yield Finding(
                "fault",
                f"{host}:{each} (for {what}) doesn't answer",
                f"start CarlaUE4.sh -carla-rpc-port={port}, or carla-online serve --port {port}; open both ports",
            )
            return
    client = import_carla().Client(host, port)
    client.set_timeout(_PROBE_S * 5.0)
    try:
        seen = str(client.get_server_version())
        settings = client.get_world().get_settings()
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        yield Finding(
            "fault", f"{address} listens but doesn't answer: {reason}", "restart it; it hangs, or isn't CARLA"
        )
        return
    if seen.split("-")[0] == VERSION:
        yield Finding("fine", f"{address} is CARLA {seen}")
    else:
        yield Finding("fault", f"{address} is CARLA {seen}, {VERSION} is needed", f"start a CARLA {VERSION} server")
    if settings.synchronous_mode:
        yield Finding(
            "warning",
            f"{address} is in synchronous mode: another client uses it, or one ended without restoring it",
            "end the other client, or give this environment a server of its own",
        )


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_S):
            return True
    except OSError:
        return False
