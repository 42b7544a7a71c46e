"""The scripted baseline: keeps the nearest lane, follows at a distance, slows for curves, never overtakes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from carla_online._native import WorldBatch
from carla_online.errors import PolicyError
from carla_online.policies.baseline import Baseline, fingerprint_of
from carla_online.policies.config import ScriptedBaselineConfig
from carla_online.policies.contract import FloatArray

_VERSION = 1
_CURVATURE_FIELD = "ego/curvature_at_0_10_25_45_m"
_CURVATURE_AT_M = (0.0, 10.0, 25.0, 45.0)
_WHEELBASE_M = 2.871
_UNDERSTEER_S2_PER_M2 = 9.4e-4
_FULL_LOCK_RAD = math.radians(70.0)
_HARDEST_BRAKING_MPS2 = 8.0
_FULL_BRAKE_MPS2 = 11.0
_PEDAL_GAIN = 0.06


def scripted_baseline(config: ScriptedBaselineConfig | None = None) -> Baseline:
    """Returns the scripted baseline; its fingerprint covers the settings.

    It reads only the vector observation, so it drives every backend that has it.
    """
    settings = config or ScriptedBaselineConfig()
    parameters = settings.model_dump()
    driver = _Driver(settings)
    return Baseline(
        driver, fingerprint=fingerprint_of(f"scripted-{_VERSION}", parameters), name="scripted", spec=parameters
    )


class _Driver:
    """Observation [N, D] in, action [N, 2] out; keeps no state between calls."""

    def __init__(self, settings: ScriptedBaselineConfig) -> None:
        self._settings = settings
        self._fields = {name: (start, size, scale) for name, start, size, scale, _ in WorldBatch.layout()}
        self._obs_dim = max(start + size for start, size, _ in self._fields.values())

    def __call__(self, obs: FloatArray) -> FloatArray:
        if obs.ndim != 2 or obs.shape[1] != self._obs_dim:
            raise PolicyError(
                f"the scripted baseline reads the driving world's observation [N, {self._obs_dim}], got {obs.shape}. "
                "Set policy.baseline to one that reads yours, or to none."
            )
        speed_mps = self._read(obs, "ego/speed")
        wanted_mps2 = self._acceleration(obs, speed_mps)
        action = np.empty((len(obs), 2), dtype=np.float32)
        action[:, 0] = self._steer(obs, speed_mps)
        action[:, 1] = self._pedals(obs, wanted_mps2)
        return np.clip(action, -1.0, 1.0)

    def _read(self, obs: FloatArray, name: str) -> NDArray[np.float32]:
        start, _, scale = self._fields[name]
        return np.asarray(obs[:, start] * np.float32(scale))

    def _steer(self, obs: FloatArray, speed_mps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pure pursuit in lane coordinates.

        Source: Coulter, "Implementation of the Pure Pursuit Path Tracking Algorithm", CMU-RI-TR-92-01, 1992.
        """
        start, _, scale = self._fields[_CURVATURE_FIELD]
        curvature_per_m = 0.5 * (obs[:, start] + obs[:, start + 1]) * scale
        lookahead_m = np.maximum(6.0, 0.9 * speed_mps)
        lateral_m, heading_rad = self._read(obs, "ego/lateral_in_lane"), self._read(obs, "ego/heading_error")
        wanted_per_m = curvature_per_m - 2.0 * (lateral_m / lookahead_m + heading_rad) / lookahead_m
        road_wheel_rad = np.arctan(wanted_per_m * _WHEELBASE_M * (1.0 + _UNDERSTEER_S2_PER_M2 * speed_mps**2))
        return np.asarray(road_wheel_rad / (_FULL_LOCK_RAD * _steering_curve(speed_mps)), dtype=np.float32)

    def _acceleration(self, obs: FloatArray, speed_mps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Intelligent driver model towards the cruising speed, slower where a curve asks for it.

        Source: Treiber, Hennecke and Helbing, https://arxiv.org/abs/cond-mat/0002177, equations 2 and 3.
        """
        settings = self._settings
        cruise_mps = np.minimum(settings.speed_factor * self._read(obs, "ego/speed_limit"), self._curve_speed(obs))
        cruise_mps = np.maximum(cruise_mps, 0.5)
        start, _, scale = self._fields["lane_gaps/own/gap_ahead"]
        gap_m = np.maximum(obs[:, start] * scale, 0.5)
        is_free = obs[:, start] >= 2.0 - 1e-6
        closing_mps = -self._read(obs, "lane_gaps/own/relative_speed_ahead")
        comfort = 2.0 * math.sqrt(settings.acceleration_mps2 * settings.braking_mps2)
        dynamic_m = speed_mps * settings.headway_s + speed_mps * closing_mps / comfort
        wanted_gap_m = settings.standstill_gap_m + np.maximum(0.0, dynamic_m)
        interaction = np.where(is_free, 0.0, (wanted_gap_m / gap_m) ** 2)
        free = np.where(
            speed_mps <= cruise_mps,
            settings.acceleration_mps2 * (1.0 - (speed_mps / cruise_mps) ** 4),
            -settings.braking_mps2 * (1.0 - (cruise_mps / np.maximum(speed_mps, 0.1)) ** 4),
        )
        wanted = free - settings.acceleration_mps2 * interaction
        return np.asarray(np.clip(wanted, -_HARDEST_BRAKING_MPS2, settings.acceleration_mps2), dtype=np.float32)

    def _curve_speed(self, obs: FloatArray) -> NDArray[np.float32]:
        """Returns the speed from which comfortable braking still meets every curve seen ahead."""
        start, size, scale = self._fields[_CURVATURE_FIELD]
        curvature_per_m = np.maximum(np.abs(obs[:, start : start + size] * scale), 1e-4)
        at_curve = self._settings.lateral_acceleration_mps2 / curvature_per_m
        braking = 2.0 * self._settings.braking_mps2 * np.asarray(_CURVATURE_AT_M, dtype=np.float32)
        return np.asarray(np.sqrt(at_curve + braking).min(axis=1), dtype=np.float32)

    def _pedals(self, obs: FloatArray, wanted_mps2: NDArray[np.float32]) -> NDArray[np.float32]:
        """Moves the pedals from where they are by the error in acceleration; brakes hard without delay."""
        pedal = self._read(obs, "ego/throttle_state") - self._read(obs, "ego/brake_state")
        error_mps2 = wanted_mps2 - self._read(obs, "ego/longitudinal_acceleration")
        moved = pedal + _PEDAL_GAIN * error_mps2
        hard = np.minimum(moved, wanted_mps2 / _FULL_BRAKE_MPS2)
        return np.asarray(np.where(wanted_mps2 < -2.5, hard, moved), dtype=np.float32)


def _steering_curve(speed_mps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the share of full lock that CARLA's MKZ grants at this speed."""
    share = np.interp(speed_mps * 3.6, [0.0, 20.0, 60.0, 120.0], [1.0, 0.9, 0.8, 0.7])
    return np.asarray(share, dtype=np.float32)
