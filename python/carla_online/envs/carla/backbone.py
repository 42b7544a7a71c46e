"""A frozen network that looks at the sensors: what it says joins the vector, and is what replay keeps of a picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from carla_online.config import Config
from carla_online.envs.carla.sensors import SensorConfig
from carla_online.errors import ConfigError, PolicyError
from carla_online.frozen import load_frozen

FloatArray = NDArray[np.float32]


class BackboneConfig(Config):
    """A frozen network over the sensors' readings."""

    path: str
    """TorchScript (.ts), ONNX (.onnx), or safetensors with a factory. It takes a batch of each input as the sensor
    gives it (a camera's uint8 [N, H, W, 3], for one) and returns features [N, F]."""
    factory: str | None = None
    """`module:function` that returns the empty module for a safetensors file."""
    inputs: tuple[str, ...] = ()
    """The sensors it looks at, in the order of its arguments; all of them, in their order, if none is named."""


class Backbone:
    """The network, loaded and tried.

    Args:
        config: What to load.
        sensors: The sensors by name.

    Raises:
        ConfigError: The file can't be loaded, or doesn't turn these readings into features.
    """

    def __init__(self, config: BackboneConfig, sensors: Mapping[str, SensorConfig]) -> None:
        self._inputs = config.inputs or tuple(sensors)
        self._path = config.path
        try:
            self._function, file_hash = load_frozen(config.path, factory=config.factory, what="backbone")
        except PolicyError as error:
            raise ConfigError(f"env.backbone: {error}") from None
        seen = {name: sensors[name].model_dump(mode="json") for name in self._inputs}
        described = json.dumps([file_hash, config.factory, list(seen.items())])
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()
        """Covers the file and the sensors: another mounting of a camera means other features too."""
        self.size = 0
        zeros = {name: np.zeros((2, *sensors[name].space.shape), sensors[name].space.dtype) for name in self._inputs}
        self.size = self(zeros).shape[1]

    def __call__(self, readings: Mapping[str, NDArray[Any]]) -> FloatArray:
        """Returns features, float32 [N, F], of the sensors' readings, [N, ...] by name.

        Raises:
            ConfigError: It fails on them, or returns something else than finite numbers [N, F].
        """
        inputs = [readings[name] for name in self._inputs]
        try:
            features = np.asarray(self._function(*inputs), np.float32)
        except (RuntimeError, TypeError, ValueError) as error:
            shapes = ", ".join(
                f"{name} {values.dtype} {list(values.shape)}" for name, values in zip(self._inputs, inputs, strict=True)
            )
            raise ConfigError(
                f"the backbone {self._path} fails on {shapes}: {error}. Export it for these inputs, or name others in "
                "backbone.inputs."
            ) from None
        rows = len(inputs[0])
        if features.ndim != 2 or len(features) != rows or self.size not in (0, features.shape[1]):
            raise ConfigError(
                f"the backbone {self._path} returned {list(features.shape)} for {rows} readings; it must return "
                f"[{rows}, {self.size or 'F'}]."
            )
        if not np.isfinite(features).all():
            row, column = np.argwhere(~np.isfinite(features))[0].tolist()
            raise ConfigError(
                f"the backbone {self._path} returned {features[row, column]} as feature {column}; learning from it "
                "would spread through every weight. Check its weights and the range of its inputs."
            )
        return features

    def extended(self, vector: Box) -> Box:
        """Returns the space of the vector with the features behind it."""
        unbounded = np.full(self.size, np.inf, np.float32)
        return Box(np.concatenate([vector.low, -unbounded]), np.concatenate([vector.high, unbounded]), dtype=np.float32)
