"""Advantages and returns along time, for windows [T, N] of N environments.

Rows are time, columns environments. `terminated` says that the driving ended by itself: nothing comes after, so nothing
is bootstrapped. `truncated` says that it was cut off: the return goes on with the value of the state it would have gone
on from. Either one ends an episode: no sum runs over it. Arithmetic is float64 inside; each column is summed for
itself, so results don't depend on threads or on other columns.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carla_online import _native
from carla_online.advantage.arrays import BoolArray, FloatArray, Output, flags, floats, require_shape, shaped_floats
from carla_online.errors import AdvantageError

_OF = "the shape of rewards"


class _Window(NamedTuple):
    """The checked arrays that every function here takes."""

    rewards: NDArray[Any]
    valid: NDArray[np.bool_] | None


def gae(
    rewards: FloatArray,
    values: FloatArray,
    next_values: FloatArray,
    terminated: BoolArray,
    truncated: BoolArray,
    *,
    gamma: float,
    gae_lambda: float,
    mask: BoolArray | None = None,
    out: tuple[FloatArray, FloatArray] | None = None,
    threads: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Generalised advantage estimation.

    delta_t = r_t + gamma (1 - terminated_t) V'_t - V_t
    A_t = delta_t + gamma lambda (1 - terminated_t or truncated_t) A_{t+1}

    Source: Schulman et al., "High-dimensional continuous control using generalized advantage estimation", arXiv
    1506.02438, equations 11 and 16; truncation after Pardo et al., arXiv 1712.00378.

    Args:
        rewards: [T, N].
        values: [T, N], V of the state that step t was taken from.
        next_values: [T, N], V' of the state that step t led to (for a truncated step that of the true last state, not
            of the next episode's first); or [N], V of the state behind the last row, where V'_t is `values[t + 1]`. The
            short form is refused if an episode is truncated before the last row and the row behind it counts, since
            that row's value belongs to another episode.
        terminated: bool [T, N].
        truncated: bool [T, N].
        gamma: Discount per step, [0, 1].
        gae_lambda: [0, 1].
        mask: bool [T, N]; a row that doesn't count (an autoreset step) gets 0 in both results and is passed over: sums
            run on to the next row that counts. Its reward isn't looked at.
        out: Where to write advantages and returns.
        threads: Threads to use; None chooses one for small inputs.

    Returns:
        Advantages and returns (advantage + value), [T, N].

    Raises:
        AdvantageError: Shapes or settings don't fit; an element that counts is NaN or infinite (the message names the
            first one, `index` holds its place in the flattened array).
        TypeError: An array has another element type, or is no NumPy array or torch CPU tensor.
    """
    window = _window(rewards, mask)
    shape = window.rewards.shape
    state_values = shaped_floats("values", values, window.rewards, shape, _OF)
    behind = _next_values(next_values, window.rewards)
    ends = flags("terminated", terminated, shape, _OF)
    cuts = flags("truncated", truncated, shape, _OF)
    require_unit("gamma", gamma)
    require_unit("gae_lambda", gae_lambda)
    inputs = (window.rewards, state_values, behind, ends, cuts, window.valid)
    advantages, returns = _two_outputs(out, window.rewards, inputs)
    _native.gae(
        window.rewards,
        state_values,
        behind,
        ends,
        cuts,
        window.valid,
        advantages.array,
        returns.array,
        gamma=gamma,
        gae_lambda=gae_lambda,
        threads=threads,
    )
    return advantages.finish(rewards), returns.finish(rewards)


def reward_to_go(
    rewards: FloatArray,
    ends: BoolArray,
    *,
    gamma: float,
    bootstrap: FloatArray | None = None,
    mask: BoolArray | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Discounted sum of the rewards from each step to its episode's end.

    R_t = r_t + gamma R_{t+1} within an episode; at its last step R_t = r_t + gamma b_t.

    Args:
        rewards: [T, N].
        ends: bool [T, N], last steps of episodes.
        gamma: Discount per step, [0, 1].
        bootstrap: [T, N], value b_t of the state behind each step, used at `ends` and in the last row (0 where the
            driving terminated); or [N], value behind the last row for columns that don't end there, 0 at every end;
            None for 0.
        mask: bool [T, N]; rows that don't count get 0 and are passed over.
        out: Where to write the result.

    Returns:
        [T, N].

    Raises:
        AdvantageError: As `gae`.
        TypeError: As `gae`.
    """
    window = _window(rewards, mask)
    last = flags("ends", ends, window.rewards.shape, _OF)
    behind = None if bootstrap is None else _next_values(bootstrap, window.rewards, "bootstrap")
    require_unit("gamma", gamma)
    output = Output(out, window.rewards, (window.rewards, last, behind, window.valid))
    _native.reward_to_go(window.rewards, last, behind, window.valid, output.array, gamma=gamma)
    return output.finish(rewards)  # type: ignore[no-any-return]


def n_step(
    rewards: FloatArray,
    next_values: FloatArray,
    terminated: BoolArray,
    truncated: BoolArray,
    *,
    steps: int,
    gamma: float,
    out: FloatArray | None = None,
) -> FloatArray:
    """Returns of at most `steps` rewards, then a value.

    G_t = sum over k < m of gamma^k r_{t+k} + gamma^m (1 - terminated) V'_{t+m-1}, with m = `steps`, or fewer where the
    episode or the window ends first.

    Source: Sutton and Barto, "Reinforcement learning", 2nd edition, equation 7.1.

    Args:
        rewards: [T, N].
        next_values: [T, N], V' of the state that each step led to.
        terminated: bool [T, N].
        truncated: bool [T, N].
        steps: Most rewards in a return, 1 or more.
        gamma: Discount per step, [0, 1].
        out: Where to write the result.

    Returns:
        [T, N].

    Raises:
        AdvantageError: As `gae`.
        TypeError: As `gae`.
    """
    window = _window(rewards, None)
    shape = window.rewards.shape
    behind = shaped_floats("next_values", next_values, window.rewards, shape, _OF)
    ends = flags("terminated", terminated, shape, _OF)
    cuts = flags("truncated", truncated, shape, _OF)
    require_unit("gamma", gamma)
    if steps < 1:
        raise AdvantageError(f"steps is {steps}; a return needs at least 1")
    output = Output(out, window.rewards, (window.rewards, behind, ends, cuts))
    _native.n_step(window.rewards, behind, ends, cuts, output.array, steps=steps, gamma=gamma)
    return output.finish(rewards)  # type: ignore[no-any-return]


def v_trace(
    rewards: FloatArray,
    values: FloatArray,
    next_values: FloatArray,
    log_ratio: FloatArray,
    terminated: BoolArray,
    truncated: BoolArray,
    *,
    gamma: float,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """V-trace targets for data of an older policy.

    With ratio_t = exp(log_ratio_t), rho = min(rho_bar, ratio), c = min(c_bar, ratio):

    delta_t = rho_t (r_t + gamma (1 - terminated_t) V'_t - V_t)
    v_t = V_t + delta_t + gamma c_t (v_{t+1} - V_{t+1}) within an episode
    advantage_t = rho_t (r_t + gamma v_{t+1} - V_t), with (1 - terminated_t) V'_t in place of v_{t+1} at an episode's or
    the window's last step.

    Source: Espeholt et al., "IMPALA", arXiv 1802.01561, section 4.1 (equation 1 and remark 1) and section 4.2.

    Args:
        rewards: [T, N].
        values: [T, N], V of the state that step t was taken from.
        next_values: [T, N], V' of the state that step t led to.
        log_ratio: [T, N], log probability of the action now minus when it was taken; limited to [-20, 20].
        terminated: bool [T, N].
        truncated: bool [T, N].
        gamma: Discount per step, [0, 1].
        rho_bar: Limit of rho, above 0; what the targets converge to depends on it.
        c_bar: Limit of c, above 0; how far corrections reach back depends on it.
        out: Where to write targets and advantages.

    Returns:
        Targets v and advantages of the policy gradient, [T, N].

    Raises:
        AdvantageError: As `gae`.
        TypeError: As `gae`.
    """
    window = _window(rewards, None)
    shape = window.rewards.shape
    state_values = shaped_floats("values", values, window.rewards, shape, _OF)
    behind = shaped_floats("next_values", next_values, window.rewards, shape, _OF)
    ratios = shaped_floats("log_ratio", log_ratio, window.rewards, shape, _OF)
    ends = flags("terminated", terminated, shape, _OF)
    cuts = flags("truncated", truncated, shape, _OF)
    require_unit("gamma", gamma)
    for name, bar in (("rho_bar", rho_bar), ("c_bar", c_bar)):
        if not (math.isfinite(bar) and bar > 0.0):
            raise AdvantageError(f"{name} is {bar}; choose a finite value above 0")
    targets, advantages = _two_outputs(out, window.rewards, (window.rewards, state_values, behind, ratios, ends, cuts))
    _native.v_trace(
        window.rewards,
        state_values,
        behind,
        ratios,
        ends,
        cuts,
        targets.array,
        advantages.array,
        gamma=gamma,
        rho_bar=rho_bar,
        c_bar=c_bar,
    )
    return targets.finish(rewards), advantages.finish(rewards)


def require_unit(name: str, value: float) -> None:
    """Refuses a discount or trace parameter outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise AdvantageError(f"{name} is {value}; choose a value in [0, 1]")


def _window(rewards: object, mask: object) -> _Window:
    checked = floats("rewards", rewards)
    if checked.ndim != 2:
        raise AdvantageError(
            f"rewards have shape {list(checked.shape)}; pass [T, N], rewards[:, None] for one environment"
        )
    return _Window(checked, None if mask is None else flags("mask", mask, checked.shape, _OF))


def _next_values(given: object, rewards: NDArray[Any], name: str = "next_values") -> NDArray[Any]:
    """[T, N] or [N] floats."""
    checked = floats(name, given, rewards.dtype)
    if checked.ndim == 1:
        require_shape(name, checked.shape, rewards.shape[1:], "one value an environment, or the shape of rewards")
    else:
        require_shape(name, checked.shape, rewards.shape, _OF)
    return checked


def _two_outputs(out: object, like: NDArray[Any], inputs: tuple[NDArray[Any] | None, ...]) -> tuple[Output, Output]:
    if out is None:
        return Output(None, like, ()), Output(None, like, ())
    if not (isinstance(out, tuple) and len(out) == 2):
        raise AdvantageError("out must be a tuple of two arrays, one for each result")
    first = Output(out[0], like, inputs)
    return first, Output(out[1], like, (*inputs, first.array))
