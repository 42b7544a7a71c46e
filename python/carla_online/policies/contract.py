"""What a policy is: one method, `act`, for a batch of observations."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.envs.observations import ObservationArray
from carla_online.errors import PolicyError

FloatArray = NDArray[np.float32]


@runtime_checkable
class Policy(Protocol):
    """Anything that turns observations into actions.

    A policy may also offer `update(batch) -> metrics`; a trainer then calls that instead of a learner.
    """

    def act(
        self, obs: ObservationArray, *, deterministic: bool = False, generator: torch.Generator | None = None
    ) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
        """Chooses actions.

        Args:
            obs: float32 [N, D]; where there is a view from above, a structured array [N] with `vector` and `birdseye`.
            deterministic: Act by the mean, without noise.
            generator: Source of the noise; torch's global one if None.

        Returns:
            action: float32 [N, A] in [-1, 1].
            logp: float32 [N], log density of the noise-driven part (zero for a deterministic callable).
            extra: Named float32 arrays [N, ...], for instance `baseline_action`.
        """
        ...


def check_policy(policy: Policy, *, obs_dim: int, action_dim: int) -> None:
    """Calls a policy once and verifies what it returns.

    Args:
        policy: The policy to look at.
        obs_dim: D of the observations it will see.
        action_dim: A of the actions it must return.

    Raises:
        PolicyError: Naming the first broken promise: shape, dtype, finiteness or range.
    """
    for rows in (1, 3):
        obs = np.zeros((rows, obs_dim), dtype=np.float32)
        action, logp, extra = policy.act(obs, deterministic=True)
        check_actions(action, rows=rows, action_dim=action_dim, who=type(policy).__name__)
        if logp.shape != (rows,):
            raise PolicyError(f"{type(policy).__name__}.act returned logp of shape {logp.shape}; expected ({rows},).")
        if not isinstance(extra, dict):
            raise PolicyError(
                f"{type(policy).__name__}.act returned extra of type {type(extra).__name__}; need a dict."
            )


def check_actions(action: object, *, rows: int, action_dim: int, who: str) -> FloatArray:
    """Returns `action` as float32 [rows, action_dim] in [-1, 1], or says what is wrong with it.

    Raises:
        PolicyError: Another shape, a value that isn't finite, or one outside [-1, 1].
    """
    array = np.asarray(action.detach().cpu() if isinstance(action, torch.Tensor) else action, dtype=np.float32)
    if array.shape != (rows, action_dim):
        raise PolicyError(
            f"{who} returned actions of shape {array.shape} for {rows} observations; expected ({rows}, {action_dim})."
        )
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array).all(axis=1))[0, 0])
        raise PolicyError(f"{who} returned {array[row].tolist()} for observation {row}; actions must be finite.")
    if np.abs(array).max(initial=0.0) > 1.0 + 1e-6:
        row = int(np.abs(array).max(axis=1).argmax())
        raise PolicyError(f"{who} returned {array[row].tolist()} for observation {row}; scale actions to [-1, 1].")
    return np.clip(array, -1.0, 1.0)
