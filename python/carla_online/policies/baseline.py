"""Frozen baselines: a user's module, callable or file behind one face."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.envs.observations import ObservationArray, vector_of
from carla_online.errors import PolicyError
from carla_online.policies.contract import FloatArray, check_actions

BaselineFunction = Callable[[FloatArray], Any]

_PICKLES = {".pt": "TorchScript archive", ".pth": "pickled module", ".pkl": "pickle", ".bin": "pickled weights"}


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
        return check_actions(self._function(vector_of(obs)), rows=len(obs), action_dim=self.action_dim, who=self.name)

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
        return Baseline(_run_module(function), fingerprint=_hash_module(function), action_dim=action_dim, name=label)
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
    file = Path(path)
    if not file.is_file():
        raise PolicyError(f"baseline file not found: {file}. Check the path.")
    spec = {"kind": "file", "path": str(file), "factory": factory, "action_dim": action_dim}
    fingerprint = hashlib.sha256(file.read_bytes()).hexdigest()
    if file.suffix == ".onnx":
        function = _load_onnx(file)
    elif file.suffix == ".safetensors":
        function = _run_module(_load_safetensors(file, factory))
    elif file.suffix in {".ts", *_PICKLES}:
        function = _run_module(_load_torchscript(file))
    else:
        raise PolicyError(
            f"{file} ends in {file.suffix or 'nothing'!r}; a baseline is TorchScript (.ts), ONNX (.onnx) or "
            "safetensors (.safetensors with factory='module:function')."
        )
    return Baseline(function, fingerprint=fingerprint, action_dim=action_dim, name=file.stem, spec=spec)


def _run_module(module: torch.nn.Module) -> BaselineFunction:
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def run(obs: FloatArray) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(np.ascontiguousarray(obs, dtype=np.float32)))

    return run


def _hash_module(module: torch.nn.Module) -> str:
    digest = hashlib.sha256(type(module).__qualname__.encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load_torchscript(file: Path) -> torch.nn.Module:
    try:
        # mypy has no types for torch.jit.load.
        module: torch.nn.Module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise PolicyError(
            f"{file} isn't TorchScript. If it is a pickled module, it is refused, since loading a pickle runs code "
            "from the file: save the weights with safetensors and give factory='module:function', or export the "
            "module with torch.jit.script or torch.onnx.export."
        ) from error
    return module


def _load_safetensors(file: Path, factory: str | None) -> torch.nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if factory is None or factory.count(":") != 1:
        raise PolicyError(f"{file} holds weights only: give factory='module:function', got {factory!r}.")
    module_name, function_name = factory.split(":")
    try:
        module = getattr(importlib.import_module(module_name), function_name)()
    except (ImportError, AttributeError) as error:
        raise PolicyError(f"the factory {factory!r} can't be imported: {error}.") from error
    if not isinstance(module, torch.nn.Module):
        raise PolicyError(f"the factory {factory!r} returned {type(module).__name__}; it must return an nn.Module.")
    try:
        module.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise PolicyError(f"{file} doesn't fit the module of {factory!r}: {error}") from error
    return module


def _load_onnx(file: Path) -> BaselineFunction:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise PolicyError(f"{file} is ONNX, which needs onnxruntime: pip install onnxruntime.") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name

    def run(obs: NDArray[np.float32]) -> Any:
        return session.run(None, {input_name: obs})[0]

    return run


def fingerprint_of(kind: str, parameters: dict[str, Any]) -> str:
    """Returns the fingerprint of a baseline that is fully described by a name and JSON parameters."""
    return hashlib.sha256(json.dumps([kind, parameters], sort_keys=True).encode()).hexdigest()
