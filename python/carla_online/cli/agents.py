"""`carla-online agents`."""

from __future__ import annotations

import argparse

from carla_online.standin import agents_folder


def agents(arguments: list[str]) -> int:
    """Prints the folder to put on the path for scripts that import `agents`."""
    argparse.ArgumentParser(
        prog="carla-online agents",
        description="Print the folder that holds CARLA's package `agents`: your own if Python finds one, else our "
        'stand-in. For unmodified scripts: PYTHONPATH="$PYTHONPATH:$(carla-online agents)" python automatic_control.py',
    ).parse_args(arguments)
    print(agents_folder())
    return 0
