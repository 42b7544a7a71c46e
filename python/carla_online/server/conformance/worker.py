"""Runs the checks of one group in a process of its own: a client can end its process.

`python -m carla_online.server.conformance.worker HOST PORT GROUP TIMEOUT_S`; a line of JSON before and after each check.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from carla_online.server.conformance.checks import GROUPS
from carla_online.server.conformance.site import Site


def _say(**content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def work(host: str, port: int, group_name: str, timeout_s: float) -> None:
    """Runs a group's checks, one after the other."""
    group = next(group for group in GROUPS if group.name == group_name)
    site = Site(host, port, timeout_s)
    for check in group.checks:
        _say(begun=check.operation)
        _say(result=asdict(check.run(group.name, site)))
    site.asynchronous()


if __name__ == "__main__":
    try:
        work(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
    except RuntimeError as error:
        _say(failed=str(error))
    # The client's threads may not survive an orderly end.
    os._exit(0)
