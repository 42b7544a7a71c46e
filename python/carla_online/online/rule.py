"""A policy that brings its own update rule, in the place of a learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carla_online.errors import PolicyError
from carla_online.policies.contract import Policy


class OwnRule:
    """Calls `policy.update(batch)` and saves the policy's own state.

    Args:
        policy: Has `update(batch) -> metrics`; the batch is a mapping of arrays by replay field, with `next_` fields,
            `n_step_reward` and `discount`. If it is an `nn.Module` its `state_dict` is saved with a checkpoint.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._update: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, float]] = policy.update  # type: ignore[attr-defined]

    def update(self, batch: Mapping[str, NDArray[np.generic]]) -> dict[str, Tensor]:
        """Does one update by the policy's rule and returns its metrics as scalar tensors.

        Raises:
            PolicyError: The rule returned something else than numbers by name.
        """
        metrics = self._update(batch)
        try:
            return {str(name): torch.as_tensor(float(value)) for name, value in metrics.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise PolicyError(
                f"{type(self._policy).__name__}.update must return numbers by name, got {metrics!r:.200}."
            ) from error

    def scale_learning_rates(self, factor: float) -> None:
        """Does nothing: the step sizes are the rule's own."""

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the policy's tensors, if it is a module."""
        if not isinstance(self._policy, torch.nn.Module):
            return {}
        return {name: value.detach().clone() for name, value in self._policy.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the policy's tensors, if it is a module."""
        if isinstance(self._policy, torch.nn.Module):
            self._policy.load_state_dict(dict(state))
