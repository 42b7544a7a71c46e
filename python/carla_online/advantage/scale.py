"""A slow scale for advantages."""

from __future__ import annotations

import math

import torch

from carla_online.errors import AdvantageError


class EmaScale:
    """Exponential moving average of the pooled within-group variance; its root divides centred rewards.

    A group's own standard deviation makes a rare, dangerous state count no more than a harmless one; a slow scale keeps
    their ratio. Without `initial` the average is corrected for its start: the first scale is the first pooled std, and
    the early ones are plain means.

    Source: VD-GRPO of Plan-R1, arXiv 2505.17659 (centre, then one scale for all groups); the correction is Adam's,
    arXiv 1412.6980, section 3.
    """

    def __init__(self, decay: float = 0.99, initial: float | None = None, floor: float = 1e-6) -> None:
        """Checks and keeps the settings.

        Args:
            decay: Weight of the past at each update, in [0, 1).
            initial: A first scale, in units of reward, that counts as the whole past; None to learn it.
            floor: Lowest scale returned, above 0.

        Raises:
            AdvantageError: A value out of range.
        """
        if not 0.0 <= decay < 1.0:
            raise AdvantageError(f"decay is {decay}; choose a value in [0, 1)")
        if initial is not None and not (math.isfinite(initial) and initial > 0.0):
            raise AdvantageError(f"initial is {initial}; choose a finite scale above 0, or None to learn it")
        if not (math.isfinite(floor) and floor > 0.0):
            raise AdvantageError(f"floor is {floor}; choose a finite scale above 0")
        self._decay = decay
        self._floor = floor
        self._weighted_variance = 0.0 if initial is None else initial * initial
        self._weight = 0.0 if initial is None else 1.0

    @property
    def scale(self) -> float | None:
        """The scale now; None before the first update without `initial`."""
        if self._weight == 0.0:
            return None
        return max(math.sqrt(self._weighted_variance / self._weight), self._floor)

    def update(self, pooled_std: float) -> float:
        """Takes in a batch's `GroupStatistics.pooled_std` and returns the scale.

        A pooled std of 0 says that no group told its members apart: the average stays as it is.

        Raises:
            AdvantageError: `pooled_std` is negative or not finite.
        """
        if not (math.isfinite(pooled_std) and pooled_std >= 0.0):
            raise AdvantageError(f"pooled_std is {pooled_std}; a finite value of at least 0 is needed")
        if pooled_std > 0.0:
            fresh = 1.0 - self._decay
            self._weighted_variance = self._decay * self._weighted_variance + fresh * pooled_std * pooled_std
            self._weight = self._decay * self._weight + fresh
        return self._floor if self.scale is None else self.scale

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The average's state as float64 scalars."""
        return {
            "weighted_variance": torch.tensor(self._weighted_variance, dtype=torch.float64),
            "weight": torch.tensor(self._weight, dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Goes on from a state.

        Raises:
            AdvantageError: A value is missing or impossible; nothing is changed then.
        """
        missing = {"weighted_variance", "weight"} - state.keys()
        if missing:
            raise AdvantageError(f"the scale's state lacks {', '.join(sorted(missing))}; load a state of EmaScale")
        variance, weight = float(state["weighted_variance"]), float(state["weight"])
        if not (math.isfinite(variance) and variance >= 0.0 and 0.0 <= weight <= 1.0):
            raise AdvantageError(f"the scale's state holds variance {variance} and weight {weight}; it is damaged")
        self._weighted_variance, self._weight = variance, weight

    def __repr__(self) -> str:
        return f"EmaScale(decay={self._decay}, floor={self._floor}, scale={self.scale})"
