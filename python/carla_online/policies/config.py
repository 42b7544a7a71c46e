"""Settings of baseline and policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from carla_online.config import Config


class ScriptedBaselineConfig(Config):
    """Lane keeping and car following at a cautious speed; needs no weights. It never changes lanes by itself."""

    kind: Literal["scripted"] = "scripted"
    speed_factor: float = Field(0.85, gt=0, le=1.5)
    """Cruising speed as a share of the speed limit."""
    headway_s: float = Field(2.0, gt=0, le=10)
    """Time gap kept to the vehicle ahead."""
    standstill_gap_m: float = Field(3.0, ge=0, le=20)
    """Gap kept to a standing vehicle."""
    acceleration_mps2: float = Field(1.5, gt=0, le=6)
    """Largest comfortable acceleration."""
    braking_mps2: float = Field(2.0, gt=0, le=8)
    """Comfortable braking."""
    lateral_acceleration_mps2: float = Field(2.0, gt=0, le=8)
    """Curves are taken at the speed that gives this."""


class FileBaselineConfig(Config):
    """A baseline from a file: TorchScript, ONNX, or safetensors with a factory."""

    kind: Literal["file"] = "file"
    path: str
    """The file."""
    factory: str | None = None
    """`module:function` that returns the empty module for a safetensors file."""


class NoBaselineConfig(Config):
    """No baseline; only for `policy.kind: full`."""

    kind: Literal["none"] = "none"


BaselineConfig = Annotated[ScriptedBaselineConfig | FileBaselineConfig | NoBaselineConfig, Field(discriminator="kind")]


class PolicyConfig(Config):
    """What learns: a delta head over a frozen baseline, or a policy of its own."""

    kind: Literal["delta", "full"] = "delta"
    """`delta`: executed action = clip(baseline + delta_scale * tanh(u)). `full`: executed action = tanh(u)."""
    baseline: BaselineConfig = ScriptedBaselineConfig()
    """The frozen supervised policy."""
    delta_scale: tuple[float, ...] = (0.2, 0.5)
    """Largest change of each action (steer, throttle/brake)."""
    hidden_sizes: tuple[int, ...] = Field((128, 128), min_length=1)
    """Hidden layers of the head."""
    log_std_bias: float = Field(-1.0, ge=-5, le=1)
    """Initial log standard deviation of the pre-squash action."""
