"""Reads the drives of vehicles out of a log of CARLA's recorder.

A log is a header and packets: one byte of kind, four of size, content. Frames begin with the packet of kind 0; what is
read of them is poses, controls with gear, and velocities. Everything else is skipped by its size. Bytes are hostile
until checked: every size and count is compared with what is left before anything is read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import ConfigError

MOST_BYTES: Final = 1 << 30
_MOST_FRAMES: Final = 5_000_000
_MAGIC: Final = "CARLA_RECORDER"
_FRAME, _EVENT_ADD, _POSITIONS, _CONTROLS, _KINEMATICS = 0, 2, 6, 8, 12
_VEHICLE: Final = 1
_FRAME_BYTES: Final = struct.Struct("<Qdd")
_PLACED: Final = struct.Struct("<I6f")
_CONTROL: Final = struct.Struct("<Ifff?i")
# Number, type, place, attribute's owner: what stands before the name of an actor that was added.
_ADDED: Final = struct.Struct("<IB6fI")


@dataclass(frozen=True, slots=True)
class Drive:
    """What one vehicle did, one row a frame, in CARLA's frame and SI units."""

    name: str
    """Blueprint, such as `vehicle.lincoln.mkz_2017`."""
    actor: int
    """Number in the log."""
    time_s: NDArray[np.float64]
    """float64 [T], growing."""
    speed_mps: NDArray[np.float64]
    """float64 [T]: length of the velocity in the plane."""
    yaw_rad: NDArray[np.float64]
    """float64 [T], without jumps."""
    controls: NDArray[np.float64]
    """float64 [T, 3]: steer, throttle, brake."""
    gear: NDArray[np.int64]
    """int64 [T]; 0 while it shifts."""


@dataclass(slots=True)
class _Rows:
    time_s: list[float] = field(default_factory=list)
    speed_mps: list[float] = field(default_factory=list)
    yaw_deg: list[float] = field(default_factory=list)
    controls: list[tuple[float, float, float]] = field(default_factory=list)
    gear: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Frame:
    time_s: float
    yaw_deg: dict[int, float] = field(default_factory=dict)
    controls: dict[int, tuple[float, float, float, int]] = field(default_factory=dict)
    speed_mps: dict[int, float] = field(default_factory=dict)


class _Reader:
    """Takes values from bytes and refuses to read beyond their end."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._path, self.at = data, path, 0

    def fail(self, what: str) -> ConfigError:
        """Returns the error that names the place."""
        return ConfigError(
            f"{self._path}: {what} at byte {self.at}; it isn't a log of CARLA's recorder, or it is torn."
        )

    def left(self, end: int | None = None) -> int:
        """Returns the bytes up to `end`, or the end of all."""
        return (len(self._data) if end is None else end) - self.at

    def take(self, layout: struct.Struct, end: int | None = None) -> tuple[int | float | bool, ...]:
        """Returns the values of `layout`."""
        if self.left(end) < layout.size:
            raise self.fail(f"{layout.size} bytes are expected, {max(self.left(end), 0)} are left")
        values = layout.unpack_from(self._data, self.at)
        self.at += layout.size
        return values

    def text(self, end: int | None = None) -> str:
        """Returns a string behind its 16 bit length."""
        size = int(self.take(_SHORT, end)[0])
        if self.left(end) < size:
            raise self.fail(f"a string of {size} bytes is expected, {max(self.left(end), 0)} are left")
        self.at += size
        return self._data[self.at - size : self.at].decode("utf-8", "replace")


_SHORT: Final = struct.Struct("<H")
_PACKET: Final = struct.Struct("<BI")
_DATE: Final = struct.Struct("<q")


def read_drives(path: Path) -> list[Drive]:
    """Returns the drive of every vehicle that has poses, controls and velocities, in the order of their numbers.

    Args:
        path: A log as `client.start_recorder(path, additional_data=True)` writes it; without the additional data it
            has no velocities.

    Raises:
        ConfigError: No such file, not a log, torn, or no vehicle with all three in it.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MOST_BYTES:
            raise ConfigError(f"{path} has {size_bytes} bytes, more than {MOST_BYTES}; record a shorter drive.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} doesn't exist. Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder. Name one .log file.") from None
    reader = _Reader(data, path)
    reader.take(_SHORT)
    if reader.text() != _MAGIC:
        raise reader.fail(f"{_MAGIC!r} isn't there")
    reader.take(_DATE)
    reader.text()
    names: dict[int, str] = {}
    rows: dict[int, _Rows] = {}
    frame: _Frame | None = None
    frames = 0
    while reader.left() > 0:
        kind, size = (int(value) for value in reader.take(_PACKET))
        end = reader.at + size
        if reader.left() < size:
            raise reader.fail(f"a packet of {size} bytes is announced, {reader.left()} are left")
        if kind == _FRAME:
            _keep(frame, rows)
            time_s = float(reader.take(_FRAME_BYTES, end)[2])
            frames += 1
            if frames > _MOST_FRAMES or not math.isfinite(time_s):
                raise reader.fail(f"frame {frames} has the time {time_s}")
            frame = _Frame(time_s)
        elif kind == _EVENT_ADD:
            _read_added(reader, end, names)
        elif frame is not None:
            _read_rows(reader, kind, end, frame)
        reader.at = end
    _keep(frame, rows)
    drives = [_drive(names[actor], actor, rows[actor]) for actor in sorted(rows) if actor in names]
    drives = [drive for drive in drives if len(drive.time_s) > 1]
    if not drives:
        raise ConfigError(
            f"{path} has no vehicle with poses, controls and velocities; record with additional_data=True."
        )
    return drives


def _read_added(reader: _Reader, end: int, names: dict[int, str]) -> None:
    """Reads the actors that came in a frame and keeps the names of vehicles."""
    for _ in range(int(reader.take(_SHORT, end)[0])):
        actor, kind = (int(value) for value in reader.take(_ADDED, end)[:2])
        name = reader.text(end)
        for _ in range(int(reader.take(_SHORT, end)[0])):
            reader.at += 1  # the attribute's type
            reader.text(end)
            reader.text(end)
        if kind == _VEHICLE:
            names[actor] = name


def _read_rows(reader: _Reader, kind: int, end: int, frame: _Frame) -> None:
    """Reads poses, controls or velocities of a frame; other kinds are left alone."""
    if kind not in (_POSITIONS, _CONTROLS, _KINEMATICS):
        return
    for _ in range(int(reader.take(_SHORT, end)[0])):
        if kind == _CONTROLS:
            actor, steer, throttle, brake, _, gear = reader.take(_CONTROL, end)
            frame.controls[int(actor)] = (float(steer), float(throttle), float(brake), int(gear))
            continue
        actor, *values = reader.take(_PLACED, end)
        if kind == _POSITIONS:
            frame.yaw_deg[int(actor)] = float(values[5])
        else:
            frame.speed_mps[int(actor)] = math.hypot(float(values[0]), float(values[1]))


def _keep(frame: _Frame | None, rows: dict[int, _Rows]) -> None:
    """Adds what a frame told of each vehicle, if it told everything and time went on."""
    if frame is None:
        return
    for actor, control in frame.controls.items():
        values = (*control[:3], frame.yaw_deg.get(actor, math.nan), frame.speed_mps.get(actor, math.nan))
        kept = rows.setdefault(actor, _Rows())
        is_later = not kept.time_s or frame.time_s > kept.time_s[-1]
        if not is_later or not all(math.isfinite(value) for value in values):
            continue
        kept.time_s.append(frame.time_s)
        kept.controls.append(control[:3])
        kept.gear.append(control[3])
        kept.yaw_deg.append(values[3])
        kept.speed_mps.append(values[4])


def _drive(name: str, actor: int, rows: _Rows) -> Drive:
    return Drive(
        name=name,
        actor=actor,
        time_s=np.array(rows.time_s, np.float64),
        speed_mps=np.array(rows.speed_mps, np.float64),
        yaw_rad=np.unwrap(np.radians(np.array(rows.yaw_deg, np.float64))),
        controls=np.array(rows.controls, np.float64).reshape(-1, 3),
        gear=np.array(rows.gear, np.int64),
    )
