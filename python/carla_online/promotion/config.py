"""Settings of the gate: how much evidence, how soon, and what can block."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from carla_online.config import Config

Watch = Literal["forgetting", "reward_hacking"]
"""What looks over a candidate beside the comparison: see `carla_online.promotion.watches`."""


class GateConfig(Config):
    """How a candidate is judged. The smallest useful effect, the margins and the significance are the suite's."""

    batch_routes: int = Field(20, ge=1, le=10_000)
    """Routes that each policy drives before the evidence is looked at again."""
    truncation: float = Field(0.75, gt=0, lt=1)
    """Largest share of the wealth that one route may cost: larger is faster for large effects."""
    least_share: float = Field(0.5, ge=0, le=1)
    """Share of the suite's routes that is driven before success may stop it: finished routes and collisions per km are
    compared as they are, and few routes say little about them."""
    futility_significance: float = Field(0.05, gt=0, lt=0.5)
    """Error level at which "at least the smallest useful effect" is given up; stops a hopeless candidate early."""
    slice_significance: float = Field(0.05, gt=0, lt=0.5)
    """Error level of the veto, for all slices together (Bonferroni)."""
    slice_margin: float = Field(0.0, ge=0, le=100)
    """Points that a slice may lose; a slice shown to lose more vetoes."""
    most_missing_share: float = Field(0.05, ge=0, le=1)
    """Largest share of routes that the simulator may fail on; with more there is no verdict."""
    blocking: tuple[Watch, ...] = ("forgetting", "reward_hacking")
    """Watches whose finding refuses the candidate; the others only tell."""
    hacking_fall: float = Field(2.0, ge=0, le=100)
    """Points that the driving score must have fallen by, while the return rose, to be taken for reward hacking."""
    order_seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the order in which the suite's routes are driven."""
