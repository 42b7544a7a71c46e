"""Numbers as people read them: rounded to what they can bear, with a true minus and units."""

from __future__ import annotations

import math


def fixed(value: float, digits: int = 1) -> str:
    """Returns a number with fixed digits; an en-dash where there is none."""
    if not math.isfinite(value):
        return "\u2013" if math.isnan(value) else "\u221e"
    return f"{value:.{digits}f}".replace("-", "\u2212")


def signed(value: float, digits: int = 1) -> str:
    """Returns a number that always shows its sign."""
    return f"{value:+.{digits}f}".replace("-", "\u2212") if math.isfinite(value) else fixed(value)


def percent(value: float) -> str:
    """Returns a share as a percentage, with a decimal only where it isn't whole."""
    share = 100.0 * value
    return f"{fixed(share, 0 if abs(share - round(share)) < 0.05 else 1)} %"


def short(value: float) -> str:
    """Returns a number in at most about five characters: 0.0123, 3.14, 12.3, 1,250, 45k, 2.1M."""
    if not math.isfinite(value):
        return fixed(value)
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.3g}{unit}".replace("-", "\u2212")
    if size >= 1000:
        return f"{value:,.0f}".replace("-", "\u2212")
    if size != 0 and size < 1e-3:
        return f"{value:.1e}".replace("-", "\u2212")
    return f"{value:.3g}".replace("-", "\u2212")


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Returns about `count` round numbers within [low, high].

    Args:
        low: Lower end.
        high: Upper end, above `low`.
        count: How many are wanted.
    """
    rough = (high - low) / max(1, count)
    if not math.isfinite(rough) or rough <= 0.0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1.0, 2.0, 2.5, 5.0) if factor * power >= rough), 10.0 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]
