"""Advantages of branches: G rollouts of at most H steps from each of S states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.advantage.arrays import BoolArray, FloatArray, Output, flags, floats, shaped_floats
from carla_online.advantage.temporal import require_unit
from carla_online.errors import AdvantageError

_OF = "the shape of rewards"


class _Branches(NamedTuple):
    rewards: NDArray[Any]
    alive: NDArray[np.bool_]
    bootstrap: NDArray[Any]


def branch_reward_to_go(
    rewards: FloatArray,
    alive: BoolArray,
    bootstrap: FloatArray,
    *,
    gamma: float,
    centre: bool = True,
    out: FloatArray | None = None,
) -> FloatArray:
    """Discounted reward-to-go of each branch, against the branches that are still alive at that step.

    R_t = r_t + gamma R_{t+1}, with the bootstrap in place of R_{t+1} behind a branch's last step;
    A_t = R_t - mean of R_t over the branches of the state with alive_t.

    Args:
        rewards: [S, G, H]; only steps that were taken are looked at.
        alive: bool [S, G, H], whether the branch took step t. Once false it stays false.
        bootstrap: [S, G], value of the state behind a branch's last step; 0 where it terminated.
        gamma: Discount per step, [0, 1].
        centre: False leaves the reward-to-go as it is.
        out: Where to write the result.

    Returns:
        [S, G, H], 0 where not alive. Exactly 0 too where one branch alone is alive, or all still alive agree exactly.

    Raises:
        AdvantageError: Shapes or settings don't fit; a branch comes alive again; an element that counts is NaN or
            infinite (the message names the first one, `index` holds its place in the flattened array).
        TypeError: An array has another element type, or is no NumPy array or torch CPU tensor.
    """
    branches = _branches(rewards, alive, bootstrap)
    require_unit("gamma", gamma)
    output = Output(out, branches.rewards, branches)
    _native.branch_reward_to_go(*branches, output.array, gamma=gamma, centre=centre)
    return output.finish(rewards)  # type: ignore[no-any-return]


def branch_gae(
    rewards: FloatArray,
    values: FloatArray,
    bootstrap: FloatArray,
    alive: BoolArray,
    terminated: BoolArray,
    *,
    gamma: float,
    gae_lambda: float,
    centre: bool = True,
    out: FloatArray | None = None,
) -> FloatArray:
    """Generalised advantage estimation along each branch, against the branches that are still alive at that step.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lambda A_{t+1}; behind a branch's last step V is
    `bootstrap`, or 0 where it terminated. Then the mean over the branches with alive_t is taken off.

    Args:
        rewards: [S, G, H]; only steps that were taken are looked at, and so in `values`.
        values: [S, G, H], V of the state that step t was taken from.
        bootstrap: [S, G], value of the state behind a branch's last step.
        alive: bool [S, G, H], whether the branch took step t. Once false it stays false.
        terminated: bool [S, G], whether the branch's last step ended the driving.
        gamma: Discount per step, [0, 1].
        gae_lambda: [0, 1].
        centre: False leaves the estimates as they are.
        out: Where to write the result.

    Returns:
        [S, G, H], 0 where not alive.

    Raises:
        AdvantageError: As `branch_reward_to_go`.
        TypeError: As `branch_reward_to_go`.
    """
    branches = _branches(rewards, alive, bootstrap)
    state_values = shaped_floats("values", values, branches.rewards, branches.rewards.shape, _OF)
    ends = flags("terminated", terminated, branches.bootstrap.shape, "one a branch")
    require_unit("gamma", gamma)
    require_unit("gae_lambda", gae_lambda)
    inputs = (branches.rewards, branches.alive, branches.bootstrap, state_values, ends)
    output = Output(out, branches.rewards, inputs)
    _native.branch_gae(
        branches.rewards,
        state_values,
        branches.bootstrap,
        branches.alive,
        ends,
        output.array,
        gamma=gamma,
        gae_lambda=gae_lambda,
        centre=centre,
    )
    return output.finish(rewards)  # type: ignore[no-any-return]


def _branches(rewards: object, alive: object, bootstrap: object) -> _Branches:
    checked = floats("rewards", rewards)
    if checked.ndim != 3:
        raise AdvantageError(f"rewards have shape {list(checked.shape)}; pass [S, G, H]: states, branches, steps")
    return _Branches(
        checked,
        flags("alive", alive, checked.shape, _OF),
        shaped_floats("bootstrap", bootstrap, checked, checked.shape[:2], "one a branch"),
    )
