"""Arrays in and out: NumPy arrays or torch CPU tensors, float32 or float64, any stride; the same kind out as in.

The kernels want C-contiguous NumPy memory. An array that has it is passed as it is, a torch CPU tensor shares its
memory through `.numpy()`, anything else is copied once.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.errors import AdvantageError

FloatArray = TypeVar("FloatArray", NDArray[np.float32], NDArray[np.float64], torch.Tensor)
"""float32 or float64; no gradient flows through any function of this package."""
BoolArray = NDArray[np.bool_] | torch.Tensor
"""bool."""
AnyArray = NDArray[Any] | torch.Tensor

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_BOOL = np.dtype(np.bool_)


def as_numpy(name: str, array: object) -> NDArray[Any]:
    """Views an array or CPU tensor as a NumPy array.

    Raises:
        TypeError: It is neither, or the tensor is on another device or of a type that NumPy doesn't know.
    """
    if isinstance(array, np.ndarray):
        return array
    if isinstance(array, torch.Tensor):
        if array.device.type != "cpu":
            raise TypeError(f"{name}: the tensor is on {array.device}; pass a CPU tensor ({name}.cpu())")
        if array.dtype in (torch.bfloat16, torch.float16):
            raise TypeError(f"{name}: expected float32 or float64, got {array.dtype}; pass {name}.float()")
        return array.detach().numpy()
    raise TypeError(f"{name}: expected a NumPy array or a torch CPU tensor, got {type(array).__name__}")


def require_shape(name: str, seen: tuple[int, ...], expected: tuple[int, ...], of: str) -> None:
    """Refuses another shape than expected."""
    if seen != expected:
        raise AdvantageError(f"{name} has shape {list(seen)}, but {list(expected)} is needed ({of})")


def floats(name: str, array: object, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Contiguous floats of `dtype`, or of either float type.

    Raises:
        TypeError: Another element type; nothing is converted silently.
    """
    view = as_numpy(name, array)
    if view.dtype not in _FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {view.dtype}; convert it first")
    if dtype is not None and view.dtype != dtype:
        raise TypeError(f"{name} is {view.dtype}, but the first argument is {dtype}; give both the same type")
    return np.ascontiguousarray(view)


def flags(name: str, array: object, shape: tuple[int, ...], of: str) -> NDArray[np.bool_]:
    """Contiguous booleans of that shape.

    Raises:
        TypeError: Another element type.
        AdvantageError: Another shape.
    """
    view = as_numpy(name, array)
    if view.dtype != _BOOL:
        raise TypeError(f"{name}: expected bool, got {view.dtype}; pass {name} != 0")
    require_shape(name, view.shape, shape, of)
    return np.ascontiguousarray(view)


def shaped_floats(name: str, array: object, like: NDArray[Any], shape: tuple[int, ...], of: str) -> NDArray[Any]:
    """Contiguous floats of the type of `like` and of that shape."""
    view = floats(name, array, like.dtype)
    require_shape(name, view.shape, shape, of)
    return view


class Output:
    """Memory for one result: the caller's array where a kernel can write it, else a fresh one, copied at the end."""

    __slots__ = ("_given", "_target", "array")

    array: NDArray[Any]
    """What the kernel writes: C-contiguous, sharing no memory with an input."""

    def __init__(self, out: object, like: NDArray[Any], inputs: tuple[NDArray[Any] | None, ...]) -> None:
        self._given = out
        self._target: NDArray[Any] | None = None
        if out is None:
            self.array = np.empty(like.shape, like.dtype)
            return
        target = as_numpy("out", out)
        if isinstance(out, torch.Tensor) and out.requires_grad:
            raise AdvantageError("out requires a gradient and can't be overwritten; pass out.detach()")
        if target.dtype != like.dtype:
            raise TypeError(f"out is {target.dtype}, but the first argument is {like.dtype}; give both the same type")
        require_shape("out", target.shape, like.shape, "the shape of the first argument")
        if not target.flags.writeable:
            raise AdvantageError("out is read-only; pass an array that may be written")
        is_apart = not any(given is not None and np.may_share_memory(target, given) for given in inputs)
        is_direct = target.flags.c_contiguous and is_apart
        self.array = target if is_direct else np.empty(like.shape, like.dtype)
        self._target = None if is_direct else target

    def finish(self, first: object) -> Any:
        """Returns the caller's array, or the fresh one in the kind of the call's first argument."""
        if self._given is None:
            return torch.from_numpy(self.array) if isinstance(first, torch.Tensor) else self.array
        if self._target is not None:
            self._target[...] = self.array
        return self._given
