"""Frozen networks from files, as plain functions of arrays: baselines and backbones."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import PolicyError

if TYPE_CHECKING:
    import torch

FrozenFunction = Callable[..., Any]
"""Takes arrays [N, ...], and returns one, or a tensor."""
_PICKLES: Final = (".pt", ".pth", ".pkl", ".bin")


def load_frozen(path: str | Path, *, factory: str | None, what: str) -> tuple[FrozenFunction, str]:
    """Loads a network that is never trained here.

    Args:
        path: `.pt` or `.ts` holding TorchScript, `.onnx` (needs onnxruntime), or `.safetensors` with `factory`.
        factory: `module:function` that returns the empty `nn.Module` for a safetensors file.
        what: What it is, for messages.

    Returns:
        The function, and the SHA-256 of the file.

    Raises:
        PolicyError: The file is missing, of an unknown kind, a pickle, or doesn't fit the factory.
    """
    file = Path(path)
    if not file.is_file():
        raise PolicyError(f"{what} file not found: {file}. Check the path.")
    fingerprint = hashlib.sha256(file.read_bytes()).hexdigest()
    if file.suffix == ".onnx":
        return _load_onnx(file), fingerprint
    if file.suffix == ".safetensors":
        return freeze(_load_safetensors(file, factory)), fingerprint
    if file.suffix in {".ts", *_PICKLES}:
        return freeze(_load_torchscript(file)), fingerprint
    raise PolicyError(
        f"{file} ends in {file.suffix or 'nothing'!r}; a {what} is TorchScript (.ts), ONNX (.onnx) or "
        "safetensors (.safetensors with factory='module:function')."
    )


def freeze(module: torch.nn.Module) -> FrozenFunction:
    """Returns a module as a function of arrays: in evaluation mode, its parameters fixed."""
    import torch

    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def run(*inputs: NDArray[Any]) -> Any:
        with torch.inference_mode():
            return module(*(torch.from_numpy(np.ascontiguousarray(each)) for each in inputs))

    return run


def _load_torchscript(file: Path) -> torch.nn.Module:
    import torch

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
    import torch
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


def _load_onnx(file: Path) -> FrozenFunction:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise PolicyError(f"{file} is ONNX, which needs onnxruntime: pip install onnxruntime.") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: NDArray[Any]) -> Any:
        return session.run(None, dict(zip(names, inputs, strict=True)))[0]

    return run
