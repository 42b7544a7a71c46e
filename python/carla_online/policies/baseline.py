"""Frozen baselines: a user's module, callable or file behind one face."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from carla_online.envs.observations import ObservationArray, vector_of
from carla_online.frozen import freeze, load_frozen
from carla_online.policies.contract import FloatArray, check_actions

BaselineFunction = Callable[[FloatArray], Any]


class Baseline:
    """The frozen supervised policy. It never changes during online learning.

    Args:
        function: Maps float32 observations [N, D] to actions [N, A] in [-1, 1].
        fingerprint: Identifies the function and its parameters; a delta head is saved with it.
        action_dim: A.
        name: For messages and reports.
        spec: JSON-able recipe to build it again (`{"kind": ...}`), or None for a live Python object.
    """

    def __init__(
        self,
        function: BaselineFunction,
        *,
        fingerprint: str,
        action_dim: int = 2,
        name: str = "baseline",
        spec: dict[str, Any] | None = None,
    ) -> None:
        self._function = function
        self.fingerprint = fingerprint
        self.action_dim = action_dim
        self.name = name
        self.spec = spec

    def __call__(self, obs: ObservationArray) -> FloatArray:
        """Returns the baseline's actions, float32 [N, A] in [-1, 1]; of a view from above it sees nothing.

        Raises:
            PolicyError: The wrapped function broke the contract.
        """
        numbers = np.ascontiguousarray(vector_of(obs), np.float32)
        return check_actions(self._function(numbers), rows=len(obs), action_dim=self.action_dim, who=self.name)

    def act(
        self, obs: ObservationArray, *, deterministic: bool = False, generator: torch.Generator | None = None
    ) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
        """Acts as a policy (see `Policy.act`); it is deterministic, so `logp` is zero."""
        action = self(obs)
        return action, np.zeros(len(obs), dtype=np.float32), {"baseline_action": action}

    def __repr__(self) -> str:
        return f"Baseline({self.name}, fingerprint={self.fingerprint[:12]})"


def wrap_baseline(
    function: BaselineFunction | torch.nn.Module, *, action_dim: int = 2, name: str | None = None
) -> Baseline:
    """Makes a baseline of a torch module or of any callable [N, D] -> [N, A].

    A module is put into eval mode and its parameters are frozen; it may take and return torch tensors. Its
    fingerprint covers its weights. A callable's fingerprint covers its name and byte code, but not what it
    closes over: give `name` a version where that matters.

    Args:
        function: The module or callable.
        action_dim: A.
        name: For messages, reports and a callable's fingerprint.
    """
    if isinstance(function, torch.nn.Module):
        label = name or type(function).__name__
        return Baseline(freeze(function), fingerprint=_hash_module(function), action_dim=action_dim, name=label)
    label = name or str(getattr(function, "__qualname__", type(function).__qualname__))
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    digest = hashlib.sha256(label.encode())
    digest.update(code.co_code if code is not None else b"")
    return Baseline(function, fingerprint=digest.hexdigest(), action_dim=action_dim, name=label)


def load_baseline(path: str | Path, *, factory: str | None = None, action_dim: int = 2) -> Baseline:
    """Loads a frozen baseline from a file.

    Args:
        path: `.pt` or `.ts` holding TorchScript, `.onnx` (needs onnxruntime), or `.safetensors` with `factory`.
        factory: `module:function` that returns the empty `nn.Module` for a safetensors file.
        action_dim: A.

    Raises:
        PolicyError: The file is missing, of an unknown kind, a pickle, or doesn't fit the factory.
    """
    spec = {"kind": "file", "path": str(path), "factory": factory, "action_dim": action_dim}
    function, fingerprint = load_frozen(path, factory=factory, what="baseline")
    return Baseline(function, fingerprint=fingerprint, action_dim=action_dim, name=Path(path).stem, spec=spec)


def _hash_module(module: torch.nn.Module) -> str:
    digest = hashlib.sha256(type(module).__qualname__.encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fingerprint_of(kind: str, parameters: dict[str, Any]) -> str:
    """Returns the fingerprint of a baseline that is fully described by a name and JSON parameters."""
    return hashlib.sha256(json.dumps([kind, parameters], sort_keys=True).encode()).hexdigest()
