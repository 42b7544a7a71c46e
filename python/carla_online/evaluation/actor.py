"""Anything that drives, as one function from observations to actions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from carla_online.errors import PolicyError

Actor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""float32 [N, D] to float32 [N, A], every value in [-1, 1]."""


@runtime_checkable
class ActingPolicy(Protocol):
    """The part of a policy that evaluation uses."""

    def act(
        self, obs: NDArray[np.float32], *, deterministic: bool = False, generator: Any = None
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Returns `(action [N, A], logp [N], extra)`."""
        ...


def as_actor(policy: ActingPolicy | Callable[..., Any]) -> Actor:
    """Returns a checked, deterministic function of a policy or of a plain callable.

    Args:
        policy: An object with `act`, or its `act` itself, which is asked for its deterministic action; or a callable
            [N, D] to [N, A] that returns an array or a torch tensor.

    Returns:
        A function that gives float32 [N, A], clipped to [-1, 1].

    Raises:
        PolicyError: `policy` is neither; later, when called: an action of a wrong shape.
    """
    function: Callable[..., Any] | None = getattr(policy, "act", policy if callable(policy) else None)
    if not callable(function):
        raise PolicyError(f"{type(policy).__name__} can't drive: give an object with act(obs), or a callable.")
    options = {"deterministic": True} if _takes_deterministic(function) else {}

    def actor(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        answer = function(obs, **options)
        action = answer[0] if isinstance(answer, tuple) else answer
        if hasattr(action, "detach"):  # a torch tensor, maybe with a gradient or on a GPU
            action = action.detach().cpu().numpy()
        action = np.asarray(action, dtype=np.float32)
        if action.ndim != 2 or len(action) != len(obs):
            raise PolicyError(f"the policy must return [{len(obs)}, actions], got the shape {list(action.shape)}.")
        clipped: NDArray[np.float32] = np.clip(action, np.float32(-1.0), np.float32(1.0))
        return clipped

    return actor


def _takes_deterministic(function: Callable[..., Any]) -> bool:
    try:
        return "deterministic" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a callable of an extension module may have no signature
        return False
