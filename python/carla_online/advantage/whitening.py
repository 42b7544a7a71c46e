"""Whitening of advantages over a whole batch."""

from __future__ import annotations

import math

from carla_online.advantage.arrays import BoolArray, FloatArray, Output, flags, floats
from carla_online.advantage.groups import group


def whiten(
    advantages: FloatArray,
    *,
    mask: BoolArray | None = None,
    ddof: int = 1,
    epsilon: float = 1e-8,
    out: FloatArray | None = None,
) -> FloatArray:
    """Shifts and scales values to mean 0 and variance 1: (x - mean) / sqrt(var + epsilon).

    It hides rare, large advantages behind the batch's own spread; for groups prefer `EmaScale`.

    Source: the usual PPO implementation detail; `masked_whiten` of verl and TRL (their epsilon 1e-8).

    Args:
        advantages: Any shape, finite where the mask is true.
        mask: bool, the same shape; false elements count nowhere and become 0.
        ddof: 1 or 0.
        epsilon: Added to the variance, 0 or more.
        out: Where to write the result; may be `advantages`.

    Returns:
        The shape, type and kind of `advantages`; zeros if there are fewer than two elements or all are equal.

    Raises:
        AdvantageError: Shapes or settings don't fit, an element is NaN or infinite.
        TypeError: An array has another element type, or is no NumPy array or torch CPU tensor.
    """
    values = floats("advantages", advantages)
    valid = None if mask is None else flags("mask", mask, values.shape, "the shape of advantages").reshape(1, -1)
    output = Output(out, values, (values,))
    row = values.reshape(1, -1)
    pooled = group(row, ddof=ddof, mask=valid, degenerate_range=(0.0, 0.0)).statistics.pooled_std
    group(
        row,
        estimator="ema",
        scale=math.sqrt(pooled * pooled + epsilon) or 1.0,
        epsilon=0.0,
        mask=valid,
        degenerate_range=(0.0, 0.0),
        out=output.array.reshape(1, -1),
    )
    return output.finish(advantages)  # type: ignore[no-any-return]
