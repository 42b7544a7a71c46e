"""The way of the weights to the workers: one safetensors file, replaced as a whole; the latest wins."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from carla_online.errors import PolicyError
from carla_online.files import replace_bytes

_VERSION = "version"


def publish_weights(path: Path, policy: nn.Module, *, version: int) -> bool:
    """Replaces the file by the policy's weights; weights that aren't finite are kept from the simulators.

    Args:
        path: The file.
        policy: Its `state_dict` is written.
        version: Gradient steps that it has taken.

    Returns:
        Whether the weights were finite, and published.
    """
    tensors = dict(policy.state_dict())
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point()):
        return False
    # No sync to the disk: the file is written anew at every start, and a kill can't tear a rename.
    replace_bytes(path, save(tensors, metadata={_VERSION: str(version)}))
    return True


def load_weights(path: Path, policy: nn.Module) -> int:
    """Loads the newest weights into a policy and returns their version.

    Raises:
        PolicyError: There is no such file, or it doesn't fit the policy.
    """
    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        version = int(header["__metadata__"][_VERSION])
        policy.load_state_dict(load(data))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise PolicyError(
            f"can't load the weights {path}: {error}. The learner writes them anew when it starts."
        ) from None
    return version
