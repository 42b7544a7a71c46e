"""Writes logs as CARLA's recorder does, with one vehicle in them."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<H", len(data)) + data


def _packet(kind: int, content: bytes) -> bytes:
    return struct.pack("<BI", kind, len(content)) + content


def header() -> bytes:
    return struct.pack("<H", 1) + _text("CARLA_RECORDER") + struct.pack("<q", 0) + _text("Town01")


def added(actor: int, name: str) -> bytes:
    placed = struct.pack("<IB6fI", actor, 1, *[0.0] * 6, 0)
    attributes = struct.pack("<H", 1) + b"\x02" + _text("role_name") + _text("hero")
    return _packet(2, struct.pack("<H", 1) + placed + _text(name) + attributes)


def frame(number: int, time_s: float, parts: Iterable[bytes]) -> bytes:
    return _packet(0, struct.pack("<Qdd", number, 0.05, time_s)) + b"".join(parts) + _packet(1, b"")


def pose(actor: int, yaw_deg: float) -> bytes:
    return _packet(6, struct.pack("<HI6f", 1, actor, 0.0, 0.0, 0.0, 0.0, 0.0, yaw_deg))


def control(actor: int, steer: float, throttle: float, brake: float, gear: int) -> bytes:
    return _packet(8, struct.pack("<HIfff?i", 1, actor, steer, throttle, brake, False, gear))


def velocity(actor: int, x: float, y: float) -> bytes:
    return _packet(12, struct.pack("<HI6f", 1, actor, x, y, 0.0, 0.0, 0.0, 0.0))
