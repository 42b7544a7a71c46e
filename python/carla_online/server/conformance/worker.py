"""Runs the checks of groups in a process of its own: a client can end its process.

`python -m carla_online.server.conformance.worker HOST PORT TIMEOUT_S GROUP...` says a line of JSON at the begin of each
group, before and after each check, and at the end of each group.
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


def work(host: str, port: int, timeout_s: float, names: list[str]) -> None:
    """Runs the checks of groups, one after the other, each group with a client of its own."""
    groups = {group.name: group for group in GROUPS}
    for name in names:
        _say(group=name)
        site = Site(host, port, timeout_s)
        for check in groups[name].checks:
            _say(begun=check.operation)
            _say(result=asdict(check.run(name, site)))
        site.asynchronous()
        _say(ended=name)


if __name__ == "__main__":
    try:
        work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
    except RuntimeError as error:
        _say(failed=str(error))
    # The client's threads may not survive an orderly end.
    os._exit(0)
