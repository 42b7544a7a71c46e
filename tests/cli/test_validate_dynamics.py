"""`carla-online validate-dynamics`: on a drive of our own model, and on what is no log."""

import math
import struct

import numpy as np
import pytest
import recorder_log as log

from carla_online._native import drive_open_loop
from carla_online.cli import main
from carla_online.envs.carla.dynamics import compare_models
from carla_online.envs.carla.recording import read_drives
from carla_online.errors import ConfigError

ACTOR = 7


def recorded(steps: int = 200) -> bytes:
    """Our own model's drive as CARLA would have logged it: throttle, a bend, and a braking."""
    controls = np.zeros((steps, 3), np.float32)
    controls[:, 0] = 0.05 * np.sin(0.05 * np.arange(steps))
    controls[:120, 1] = 0.35
    controls[160:, 2] = 0.05
    out = np.zeros((steps, 2), np.float32)
    drive_open_loop([8.0, 0.0, 0.0, 0.0, 2.0], controls, out, step_s=0.05)
    data = log.header() + log.frame(0, 0.0, [log.added(ACTOR, "vehicle.lincoln.mkz_2017")])
    for step in range(steps):
        speed, yaw = out[step]
        parts = [
            log.pose(ACTOR, math.degrees(yaw)),
            log.control(ACTOR, *controls[step].tolist(), 2),
            log.velocity(ACTOR, speed * math.cos(yaw), speed * math.sin(yaw)),
        ]
        data += log.frame(step + 1, 0.05 * (step + 1), parts)
    return data


def test_our_own_drive_is_followed_far_better_than_by_others(tmp_path, capsys):
    path = tmp_path / "own.log"
    path.write_bytes(recorded())
    (drive,) = read_drives(path)
    count, found = compare_models(drive, 1.0)
    assert count == 9 and len(drive.time_s) == 200
    own = found["powertrain (ours)"]
    # What is left: a log doesn't tell how far the throttle had come at a window's start, and the yaw rate is taken from
    # two poses, which are written as f32.
    assert own.heading_deg < 0.3
    assert all(4.0 * own.speed_mps < other.speed_mps for name, other in found.items() if "powertrain" not in name)
    assert main(["validate-dynamics", str(path)]) == 0
    assert "powertrain (ours)" in capsys.readouterr().out
    assert main(["validate-dynamics", str(path), "--actor", "3"]) == 2
    assert f"{ACTOR} (vehicle.lincoln.mkz_2017)" in capsys.readouterr().err


GOOD = recorded(5)
HOSTILE = {
    "empty": b"",
    "another file": b"\x7fELF" + bytes(200),
    "torn in a packet": GOOD[:-30],
    "a size beyond the end": GOOD + struct.pack("<BI", 6, 2**32 - 1),
    "a count beyond the packet": GOOD + struct.pack("<BIH", 8, 2, 65_535),
    "a name beyond the packet": GOOD
    + struct.pack("<BIH", 2, 41, 1)
    + struct.pack("<IB6fI", 1, 1, *[0.0] * 6, 0)
    + b"\xff" * 6,
    "a time that isn't one": GOOD + struct.pack("<BIQdd", 0, 24, 1, 0.0, math.nan),
    "no vehicle": log.header() + log.frame(0, 0.0, []),
    "velocities that aren't finite": log.header()
    + log.frame(0, 0.0, [log.added(1, "vehicle.a")])
    + b"".join(
        log.frame(n, n, [log.pose(1, 0.0), log.control(1, 0, 0, 0, 1), log.velocity(1, math.inf, 0)]) for n in (1, 2)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_log_is_refused_in_words(name, tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ConfigError, match=r"x\.log"):
        read_drives(path)
