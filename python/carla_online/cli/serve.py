"""`carla-online serve`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from types import FrameType

from carla_online._native import ServerThreads
from carla_online.errors import ConfigError, SimulatorCrashed

# Signals and lines of the journal are looked at this often.
_SLICE_S = 0.1
# Of either: the rules of the road look at 64 vehicles, and those of clients need room among them.
MOST_RESIDENTS = 48


def _alias(word: str) -> tuple[str, str]:
    name, equals, target = word.partition("=")
    if not (name and equals and target):
        raise ConfigError(f"--alias {word!r} isn't NAME=MAP; write for example --alias Town03=Town04.")
    return name, target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online serve",
        description="Serve CARLA 0.9.16's protocol to the unmodified carla client, Traffic Manager and scripts. "
        "Cameras, lidars and radars exist and stay silent. Stop with Ctrl-C.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=2000, help="port; the next one is taken too; 0: any free pair")
    parser.add_argument("--map", default=None, help="name of the first map")
    parser.add_argument(
        "--maps", metavar="DIR", default=None, help="folder of OpenDRIVE files (.xodr) to serve by name"
    )
    parser.add_argument("--alias", metavar="NAME=MAP", action="append", default=[], help="serve MAP under NAME as well")
    parser.add_argument(
        "--traffic", metavar="N", type=int, default=0, help="vehicles that the server itself drives, 48 at most"
    )
    parser.add_argument(
        "--walkers", metavar="N", type=int, default=0, help="people that it walks at the map's crosswalks, 48 at most"
    )
    parser.add_argument("--seed", type=int, default=0, help="where these start and go (default: 0)")
    parser.add_argument("--parent", metavar="PID", type=int, default=None, help="stop when this parent process ends")
    parser.add_argument(
        "--fault",
        metavar="FAULT",
        action="append",
        default=[],
        help="make something go wrong, to test "
        "your recovery: hang-at=FRAME, crash-at=FRAME, slow=MS, drop-sensor=NTH, refuse-spawn=NTH",
    )
    return parser


def serve(arguments: list[str]) -> int:
    """Serves until a signal; prints what is served and, later, what a user should know."""
    options = _parser().parse_args(arguments)
    if not 0 <= options.port < 65535:
        raise ConfigError(f"--port is {options.port}; it must lie in 0..65534, because the next one is needed too.")
    for flag, count in (("--traffic", options.traffic), ("--walkers", options.walkers)):
        if not 0 <= count <= MOST_RESIDENTS:
            raise ConfigError(f"{flag} is {count}; it must lie in 0..{MOST_RESIDENTS}.")
    if not 0 <= options.seed < 2**64:
        raise ConfigError(f"--seed is {options.seed}; it must lie in 0..2**64 - 1.")
    server = ServerThreads(
        host=options.host,
        port=options.port,
        map=options.map,
        maps=options.maps,
        aliases=[_alias(word) for word in options.alias],
        residents=(options.traffic, options.walkers, options.seed),
        faults=options.fault,
    )
    signal.signal(signal.SIGTERM, _end)
    try:
        print(f"serving CARLA 0.9.16 on {options.host} port {server.port} (streams: {server.port + 1})", flush=True)
        while server.is_running():
            if options.parent is not None and os.getppid() != options.parent:
                raise SystemExit
            for line in server.take_journal():
                print(line, flush=True)
            time.sleep(_SLICE_S)
    except (KeyboardInterrupt, SystemExit):
        print("stopped", file=sys.stderr)
        return 0
    finally:
        server.stop()
    raise SimulatorCrashed(
        "a thread of the server has failed; its reason stands above. Start it again and report this."
    )


def _end(number: int, frame: FrameType | None) -> None:
    """Lets SIGTERM end the command as Ctrl-C does."""
    raise SystemExit(0)
