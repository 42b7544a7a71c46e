"""What every learner does with an optimiser: a clipped step, and its state as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def gradient_step(optimiser: torch.optim.Adam, loss: Tensor, parameters: Sequence[Tensor], clip: float) -> Tensor:
    """Takes one clipped gradient step and returns the gradient's norm before clipping."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    optimiser.step()
    return norm


class Movement:
    """Measures how far parameters move, as a share of their own size: the step size that takes effect.

    Args:
        parameters: What an optimiser moves.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = [parameter.detach() for parameter in parameters]
        self._before = [parameter.clone() for parameter in self._parameters]

    @torch.no_grad()
    def measure(self) -> Tensor:
        """Returns the norm of the movement since the last call over the parameters' norm, a scalar."""
        moved = torch._foreach_norm(torch._foreach_sub(self._parameters, self._before))
        size = torch._foreach_norm(self._before)
        torch._foreach_copy_(self._before, self._parameters)
        share: Tensor = torch.stack(moved).norm() / torch.stack(size).norm().clamp(min=1e-12)
        return share

    def forget(self) -> None:
        """Begins anew, after the parameters were put somewhere else."""
        torch._foreach_copy_(self._before, self._parameters)


def optimiser_state(optimiser: torch.optim.Adam, prefix: str) -> dict[str, Tensor]:
    """Returns step size and moments as tensors named `prefix.lr` and `prefix.INDEX.MOMENT`."""
    group = optimiser.param_groups[0]
    state = {f"{prefix}.lr": torch.tensor(group["lr"], dtype=torch.float64)}
    for index, parameter in enumerate(group["params"]):
        for key, value in optimiser.state.get(parameter, {}).items():
            state[f"{prefix}.{index}.{key}"] = value
    return state


def load_optimiser_state(optimiser: torch.optim.Adam, state: Mapping[str, Tensor], prefix: str) -> None:
    """Restores `optimiser_state`; a parameter without moments has not been stepped yet.

    Raises:
        KeyError: The step size is missing.
    """
    group = optimiser.param_groups[0]
    group["lr"] = float(state[f"{prefix}.lr"])
    for index, parameter in enumerate(group["params"]):
        moments = tensors_below(state, f"{prefix}.{index}.")
        if moments:
            optimiser.state[parameter] = {key: value.clone() for key, value in moments.items()}
        else:
            optimiser.state.pop(parameter, None)


def all_finite(state: Mapping[str, Tensor]) -> bool:
    """Returns whether no tensor of a state holds NaN or infinity."""
    return all(bool(value.isfinite().all()) for value in state.values())


def tensors_below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
