"""A process that adds versions and settles them without end, or once, and tells what was decided."""

from __future__ import annotations

import os
import sys

from judged import evidence_for

from carla_online.promotion import Registry


def policy_like(number: int) -> bytes:
    """Bytes in place of a policy: the registry keeps whatever it is given."""
    return f"policy {number}".encode() * 50


def settle(registry: Registry, number: int, champion: str) -> str:
    version = registry.add(policy_like(number), baseline_fingerprint=None, label=f"policy {number}")
    entry = registry.settle(version.id, evidence_for(version.sha256, champion=champion), reason="test", by="tester")
    return f"{entry.event} {version.id}"


if __name__ == "__main__":
    opened = Registry(sys.argv[1])
    first = int(sys.argv[3])
    if sys.argv[2] == "once":  # compares with the champion of this moment, then waits until all are ready
        champion = opened.champion_id
        os.write(1, b"ready\n")
        sys.stdin.readline()
        os.write(1, f"{settle(opened, first, champion)}\n".encode())
    else:
        while True:
            os.write(1, f"{settle(opened, first, opened.champion_id)}\n".encode())
            first += 1
