"""Open-loop errors of the ego's dynamics on a recorded drive, beside two published models.

A drive is cut into windows that don't overlap. In each the models start with the true speed, gear and yaw rate, get the
recorded controls, and nothing else; what counts is how far speed and heading are off at the window's end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.envs.carla.recording import Drive
from carla_online.errors import ConfigError

STEP_S: Final = 0.05
DEFAULT_GRIP_MPS2: Final = 11.0
CARLA_GRIP_MPS2: Final = 20.0
"""What recorded drives reach sideways; `ego.grip_mps2` sets it in the world."""
_THROTTLE_LAG_S: Final = 0.2
_BRAKE_LAG_S: Final = 0.1

Floats = NDArray[np.float64]

# World on Rails (https://arxiv.org/abs/2105.00636), the bicycle fitted there at 4 Hz.
_RAILS_FRONT_M, _RAILS_REAR_M = -0.0908, 1.4178
_RAILS_STEER_RAD, _RAILS_THROTTLE_MPS2, _RAILS_BRAKE_MPS2 = 0.3685, 0.5634, -4.952
# The speed forecast of carla_garage, in km/h and steps of 50 ms.
_GARAGE_THROTTLE: Final = np.array([0.96387, 4.375e-4, -0.38019, 1.74950, 0.091679, -0.070546, -1.0600e-3, 6.711e-4])
_GARAGE_BRAKE: Final = np.array([9.317e-3, 0.082097, -2.8383e-3, 5.0659e-5, -4.9036e-7, 2.4442e-9, -4.914e-12])
_GARAGE_LEAST_THROTTLE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a drive at 20 Hz: the truth at its start, the controls, the truth at its end."""

    speed_mps: float
    yaw_rate_radps: float
    pedals: tuple[float, float]
    """Throttle and brake as they have arrived, lags included."""
    gear: int
    controls: Floats
    """float64 [T, 3]: steer, throttle, brake."""
    end_speed_mps: float
    turned_rad: float


@dataclass(frozen=True, slots=True)
class Errors:
    """Root mean square errors at the end of the windows."""

    speed_mps: float
    heading_deg: float


def windows_of(drive: Drive, length_s: float) -> list[Window]:
    """Cuts a drive into windows of `length_s` that don't overlap, sampled at 20 Hz.

    Raises:
        ConfigError: It is shorter than one window.
    """
    steps = round(length_s / STEP_S)
    times_s = np.arange(drive.time_s[0], drive.time_s[-1] + 1e-9, STEP_S)
    if len(times_s) <= steps:
        raise ConfigError(
            f"actor {drive.actor} was recorded for {drive.time_s[-1] - drive.time_s[0]:.1f} s, less than a window of "
            f"{length_s} s; record a longer drive."
        )
    speed = np.interp(times_s, drive.time_s, drive.speed_mps)
    yaw = np.interp(times_s, drive.time_s, drive.yaw_rad)
    # A frame is written behind its tick: its control is the one that has led to its pose.
    held = np.clip(np.searchsorted(drive.time_s, times_s + 0.5 * STEP_S), 0, len(drive.time_s) - 1)
    controls = drive.controls[held]
    gears = _driving_gears(drive.gear)[np.clip(np.searchsorted(drive.time_s, times_s, side="right") - 1, 0, None)]
    throttle, brake = _lagged(controls[:, 1], _THROTTLE_LAG_S), _lagged(controls[:, 2], _BRAKE_LAG_S)
    windows = []
    for first in range(0, len(times_s) - steps, steps):
        last = first + steps
        before = max(first - 1, 0)
        rate = (yaw[first] - yaw[before]) / STEP_S if first > before else 0.0
        windows.append(
            Window(
                speed_mps=float(speed[first]),
                yaw_rate_radps=float(rate),
                pedals=(float(throttle[first]), float(brake[first])),
                gear=int(gears[first]),
                controls=controls[first:last],
                end_speed_mps=float(speed[last]),
                turned_rad=float(yaw[last] - yaw[first]),
            )
        )
    return windows


def compare_models(drive: Drive, length_s: float) -> tuple[int, Mapping[str, Errors]]:
    """Returns the number of windows, and the errors of every model on them, by its name.

    Raises:
        ConfigError: The drive is shorter than one window.
    """
    windows = windows_of(drive, length_s)
    found = {name: _errors(model, windows) for name, model in MODELS.items()}
    return len(windows), found


def _errors(model: Callable[[Window], tuple[float, float]], windows: list[Window]) -> Errors:
    ends = np.array([model(window) for window in windows])
    truth = np.array([(window.end_speed_mps, window.turned_rad) for window in windows])
    off = ends - truth
    return Errors(
        speed_mps=float(np.sqrt(np.mean(off[:, 0] ** 2))),
        heading_deg=math.degrees(float(np.sqrt(np.mean(off[:, 1] ** 2)))),
    )


def _powertrain(window: Window, grip_mps2: float = DEFAULT_GRIP_MPS2) -> tuple[float, float]:
    start = [window.speed_mps, window.yaw_rate_radps, *window.pedals, float(window.gear)]
    out = np.zeros((len(window.controls), 2), np.float32)
    _native.drive_open_loop(
        start, np.ascontiguousarray(window.controls, np.float32), out, step_s=STEP_S, grip_mps2=grip_mps2
    )
    # The native heading wraps; nobody turns by more than half a circle within a window.
    return float(out[-1, 0]), float(out[-1, 1])


def _constant(window: Window) -> tuple[float, float]:
    return window.speed_mps, window.yaw_rate_radps * len(window.controls) * STEP_S


def _world_on_rails(window: Window) -> tuple[float, float]:
    speed, yaw = window.speed_mps, 0.0
    for steer, throttle, brake in window.controls:
        slip = math.atan(_RAILS_REAR_M / (_RAILS_FRONT_M + _RAILS_REAR_M) * math.tan(_RAILS_STEER_RAD * steer))
        yaw += speed / _RAILS_REAR_M * math.sin(slip) * STEP_S
        pull = _RAILS_BRAKE_MPS2 if brake > 0.0 else _RAILS_THROTTLE_MPS2 * throttle
        speed = max(speed + pull * STEP_S, 0.0)
    return speed, yaw


def _carla_garage(window: Window) -> tuple[float, float]:
    kmh, yaw = 3.6 * window.speed_mps, 0.0
    for steer, throttle, brake in window.controls:
        slip = math.atan(_RAILS_REAR_M / (_RAILS_FRONT_M + _RAILS_REAR_M) * math.tan(_RAILS_STEER_RAD * steer))
        yaw += kmh / 3.6 / _RAILS_REAR_M * math.sin(slip) * STEP_S
        if brake > 0.0:
            kmh = float(np.dot(kmh ** np.arange(1, 8), _GARAGE_BRAKE))
        elif throttle >= _GARAGE_LEAST_THROTTLE:
            u, v = throttle, kmh
            kmh = float(np.dot([v, v * v, u, u * u, v * u, v * u * u, v * v * u, v * v * u * u], _GARAGE_THROTTLE))
        kmh = max(kmh, 0.0)
    return kmh / 3.6, yaw


MODELS: Final[Mapping[str, Callable[[Window], tuple[float, float]]]] = {
    "powertrain (ours)": _powertrain,
    "powertrain, grip 20 m/s2": partial(_powertrain, grip_mps2=CARLA_GRIP_MPS2),
    "World on Rails": _world_on_rails,
    "carla_garage": _carla_garage,
    "constant speed, yaw rate": _constant,
}
"""What is compared: a window to speed (m/s) and turn (rad) at its end."""


def _driving_gears(gears: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the gears with the last driven one in place of neutral and reverse, which a shift passes through."""
    driven = np.where(gears > 0, np.arange(len(gears)), 0)
    return np.maximum(gears[np.maximum.accumulate(driven)], 1)


def _lagged(values: Floats, lag_s: float) -> Floats:
    share = 1.0 - math.exp(-STEP_S / lag_s)
    lagged = np.zeros_like(values)
    state = 0.0
    for index, value in enumerate(values):
        lagged[index] = state  # before this step's command acts
        state += (value - state) * share
    return lagged
