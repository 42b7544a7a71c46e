"""The scripted baseline: keeps its lane, follows at a distance, slows for curves, never overtakes.

On street networks it follows the route, lane changes included, stops for lights and signs, and lets those pass who are
about to cross its way.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from carla_online._native import WorldBatch
from carla_online.errors import PolicyError
from carla_online.policies.baseline import Baseline, fingerprint_of
from carla_online.policies.config import ScriptedBaselineConfig
from carla_online.policies.contract import FloatArray
from carla_online.policies.hazards import Hazards

_VERSION = 2
_CURVATURE_FIELD = "ego/curvature_at_0_10_25_45_m"
_CURVATURE_AT_M = (0.0, 10.0, 25.0, 45.0)
_WHEELBASE_M = 2.871
_UNDERSTEER_S2_PER_M2 = 9.4e-4
_FULL_LOCK_RAD = math.radians(70.0)
_HARDEST_BRAKING_MPS2 = 8.0
_FULL_BRAKE_MPS2 = 11.0
_PEDAL_GAIN = 0.06
# A lane change of the route begins so far before the place where the route has it.
_CHANGE_BEFORE_M = 25.0
_CHANGE_FRONT_M, _CHANGE_REAR_M = 6.0, 5.0
_CHANGE_HEADWAY_S = 0.8
_BEFORE_LINE_M = 0.5
_LINE_HEADWAY_S = 0.6


def scripted_baseline(config: ScriptedBaselineConfig | None = None) -> Baseline:
    """Returns the scripted baseline; its fingerprint covers the settings.

    It reads only the driving world's vector, so it drives every backend that has it; what stands behind it, such as a
    backbone's features, it leaves alone.
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
        self._hazards = Hazards(self._fields)
        self._obs_dim = max(start + size for start, size, _ in self._fields.values())

    def __call__(self, obs: FloatArray) -> FloatArray:
        if obs.ndim != 2 or obs.shape[1] < self._obs_dim:
            raise PolicyError(
                f"the scripted baseline reads the driving world's observation [N, {self._obs_dim}], got {obs.shape}. "
                "Set policy.baseline to one that reads yours, or to none."
            )
        speed_mps = self._read(obs, "ego/speed")
        wanted_mps2 = self._stopping(obs, speed_mps, self._acceleration(obs, speed_mps))
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
        lateral_m = lateral_m - self._change(obs, speed_mps) * self._read(obs, "ego/lane_width")
        wanted_per_m = curvature_per_m - 2.0 * (lateral_m / lookahead_m + heading_rad) / lookahead_m
        road_wheel_rad = np.arctan(wanted_per_m * _WHEELBASE_M * (1.0 + _UNDERSTEER_S2_PER_M2 * speed_mps**2))
        return np.asarray(road_wheel_rad / (_FULL_LOCK_RAD * _steering_curve(speed_mps)), dtype=np.float32)

    def _change(self, obs: FloatArray, speed_mps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the side of the lane change that the route asks for and the gaps permit: -1, 0 or 1, float32 [N]."""
        wanted = self._read(obs, "route/lane_change_direction")
        wanted = np.where(self._read(obs, "route/manoeuvre_distance") < _CHANGE_BEFORE_M, wanted, 0.0)
        wanted = wanted - (self._read(obs, "route/change_left") > 0.5) + (self._read(obs, "route/change_right") > 0.5)
        wanted = np.sign(wanted)
        permitted = np.zeros(len(obs), np.bool_)
        for sign, side in ((-1.0, "left"), (1.0, "right")):
            gaps = f"lane_gaps/{side}"
            front_m, rear_m = self._read(obs, f"{gaps}/gap_ahead"), self._read(obs, f"{gaps}/gap_behind")
            closing_mps = np.maximum(-self._read(obs, f"{gaps}/relative_speed_ahead"), 0.0)
            chased_mps = np.maximum(self._read(obs, f"{gaps}/relative_speed_behind"), 0.0)
            is_free = (front_m > _CHANGE_FRONT_M + closing_mps * 2.0) & (
                rear_m > _CHANGE_REAR_M + _CHANGE_HEADWAY_S * chased_mps * 2.0
            )
            permitted |= (wanted == sign) & is_free & (self._read(obs, f"ego/change_allowed_{side}") > 0.5)
        return np.where(permitted, wanted, 0.0).astype(np.float32)

    def _stopping(
        self, obs: FloatArray, speed_mps: NDArray[np.float32], wanted_mps2: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Returns the acceleration that also stops where the ego must stand."""
        stop_m = self._hazards.stop_m(obs, speed_mps)
        rows = np.isfinite(stop_m)
        if not rows.any():
            return wanted_mps2
        settings = self._settings
        # The place is a standing vehicle that one comes up to more closely.
        gap_m = np.maximum(stop_m + settings.standstill_gap_m - _BEFORE_LINE_M, 0.5)
        comfort = 2.0 * math.sqrt(settings.acceleration_mps2 * settings.braking_mps2)
        wanted_gap_m = settings.standstill_gap_m + speed_mps * _LINE_HEADWAY_S + speed_mps**2 / comfort
        braking = settings.acceleration_mps2 * (1.0 - (wanted_gap_m / gap_m) ** 2)
        limited = np.minimum(wanted_mps2, np.maximum(braking, -_HARDEST_BRAKING_MPS2))
        return np.asarray(np.where(rows, limited, wanted_mps2), dtype=np.float32)

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
