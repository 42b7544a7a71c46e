"""Speed of the advantage kernels beside NumPy, torch, the formulas of TRL and verl, TorchRL, and plain loops.

TRL and verl can't be installed beside the rest; their formulas are written here as vectorised torch code, from their
sources. verl's default is a loop over a dict of groups, hundreds of times slower: no fair comparison.

Run: `make bench`, or `python -m pytest benches/test_advantage.py --benchmark-enable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from arena import Arena
from rounds import Contender, repeated

limits = pytest.importorskip("_limits", reason="the limits crate isn't built: make bench builds it")
advantage = pytest.importorskip("carla_online.advantage", reason="this version has no advantage kernels")

EPSILON = 1e-4
GAMMA, GAE_LAMBDA = 0.99, 0.95


def numpy_group(rewards: np.ndarray, out: np.ndarray) -> Callable[[], None]:
    """Centre, then the centred squares by einsum: NumPy's own std along a short axis is slower."""
    size = rewards.shape[1]

    def once() -> None:
        np.subtract(rewards, rewards.mean(axis=1, keepdims=True), out=out)
        std = np.sqrt(np.einsum("ij,ij->i", out, out) / (size - 1))
        np.divide(out, (std + EPSILON)[:, None], out=out)

    return once


def numpy_group_std(rewards: np.ndarray, out: np.ndarray) -> Callable[[], None]:
    """The same as most people write it."""

    def once() -> None:
        np.subtract(rewards, rewards.mean(axis=1, keepdims=True), out=out)
        np.divide(out, rewards.std(axis=1, ddof=1, keepdims=True) + EPSILON, out=out)

    return once


def torch_group(rewards: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + EPSILON)


def trl_group(rewards: torch.Tensor, size: int) -> Callable[[], torch.Tensor]:
    """GRPOTrainer: flat rewards, means and deviations repeated for every member."""
    flat = rewards.reshape(-1)

    def once() -> torch.Tensor:
        grouped = flat.view(-1, size)
        mean = grouped.mean(dim=1).repeat_interleave(size, dim=0)
        std = grouped.std(dim=1).repeat_interleave(size, dim=0)
        return torch.nan_to_num((flat - mean) / (std + EPSILON))

    return once


def verl_group(rewards: torch.Tensor, groups: torch.Tensor, count: int) -> Callable[[], torch.Tensor]:
    """compute_grpo_vectorized_outcome_advantage: sums by group number, variance in one pass."""

    def once() -> torch.Tensor:
        zeros = torch.zeros(count)
        number = zeros.clone().index_add_(0, groups, torch.ones_like(rewards))
        total = zeros.clone().index_add_(0, groups, rewards)
        squares = zeros.clone().index_add_(0, groups, rewards * rewards)
        mean = total / number
        std = ((squares - total * mean) / (number - 1)).clamp_min(1e-6).sqrt() + 1e-6
        return (rewards - mean[groups]) / std[groups]

    return once


@pytest.mark.parametrize(("groups", "size"), [(1_000, 8), (1_000_000, 8), (1_000_000, 16)])
def test_equal_groups(benchmark: Any, arena: Arena, groups: int, size: int) -> None:
    groups = groups if arena.is_measuring else 100
    rewards = np.random.default_rng(0).standard_normal((groups, size), np.float32)
    tensor, numbers = torch.from_numpy(rewards), torch.arange(groups).repeat_interleave(size)
    ours, plain, numpy_out = (np.empty_like(rewards) for _ in range(3))
    scalar = limits.group_advantages(rewards, plain, groups=groups, group_size=size, epsilon=EPSILON)

    def group() -> None:
        advantage.group(rewards, estimator="grpo", epsilon=EPSILON, out=ours, threads=1)

    contenders = [
        Contender("group(estimator='grpo')", "ours", repeated(group)),
        Contender("scalar loop, f64 sums", "limit", repeated(scalar)),
        Contender("memcpy", "reference", repeated(limits.copy(rewards, plain.copy()))),
        Contender("NumPy, einsum", "numpy", repeated(numpy_group(rewards, numpy_out))),
        Contender("NumPy, std", "numpy", repeated(numpy_group_std(rewards, numpy_out))),
        Contender("torch", "library", repeated(torch_group(tensor))),
        Contender("TRL's formula", "library", repeated(trl_group(tensor, size))),
        Contender("verl's vectorised formula", "library", repeated(verl_group(tensor.reshape(-1), numbers, groups))),
    ]
    arena.contest(benchmark, f"advantage/{groups:,} groups of {size}", contenders)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    np.testing.assert_allclose(numpy_out, plain, atol=1e-3)


@pytest.mark.parametrize("groups", [1_000, 100_000])
def test_ragged_groups(benchmark: Any, arena: Arena, groups: int) -> None:
    groups = groups if arena.is_measuring else 100
    generator = np.random.default_rng(0)
    sizes = generator.integers(2, 17, groups)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rewards = generator.standard_normal(offsets[-1], np.float32)
    numbers = np.repeat(np.arange(groups), sizes)
    ours, out = np.empty_like(rewards), np.empty_like(rewards)

    def group() -> None:
        advantage.group(rewards, offsets=offsets, estimator="grpo", epsilon=EPSILON, out=ours, threads=1)

    def reduceat() -> None:
        mean = np.add.reduceat(rewards, offsets[:-1]) / sizes
        np.subtract(rewards, np.repeat(mean, sizes), out=out)
        std = np.sqrt(np.add.reduceat(out * out, offsets[:-1]) / (sizes - 1)) + EPSILON
        np.divide(out, np.repeat(std, sizes), out=out)

    contenders = [
        Contender("group(offsets=)", "ours", repeated(group)),
        Contender("NumPy, reduceat", "numpy", repeated(reduceat)),
        Contender(
            "verl's vectorised formula",
            "library",
            repeated(verl_group(torch.from_numpy(rewards), torch.from_numpy(numbers), groups)),
        ),
    ]
    arena.contest(benchmark, f"advantage/{groups:,} groups of 2 to 16", contenders)
    np.testing.assert_allclose(ours, out, atol=1e-3)


def numpy_gae(window: list[np.ndarray], outputs: list[np.ndarray]) -> Callable[[], None]:
    """A loop over time, nothing allocated inside."""
    rewards, values, next_values, terminated, truncated = window
    advantages, returns = outputs
    carried, delta, lives, goes_on = (np.zeros(rewards.shape[1], np.float32) for _ in range(4))

    def once() -> None:
        carried.fill(0.0)
        for step in range(len(rewards) - 1, -1, -1):
            np.logical_not(terminated[step], out=lives)
            np.multiply(lives, next_values[step], out=delta)
            np.multiply(delta, GAMMA, out=delta)
            np.add(delta, rewards[step], out=delta)
            np.subtract(delta, values[step], out=delta)
            np.logical_not(truncated[step], out=goes_on)
            np.multiply(goes_on, lives, out=goes_on)
            np.multiply(carried, goes_on, out=carried)
            np.multiply(carried, GAMMA * GAE_LAMBDA, out=carried)
            np.add(carried, delta, out=carried)
            advantages[step] = carried
        np.add(advantages, values, out=returns)

    return once


def torchrl_gae(window: list[np.ndarray]) -> Callable[[], Any]:
    """TorchRL wants [environments, steps, 1]."""
    from torchrl.objectives.value.functional import generalized_advantage_estimate

    rewards, values, next_values, terminated, truncated = (
        torch.from_numpy(np.ascontiguousarray(array.T)).unsqueeze(-1) for array in window
    )
    done = terminated | truncated
    return lambda: generalized_advantage_estimate(
        GAMMA, GAE_LAMBDA, values, next_values, rewards, done=done, terminated=terminated
    )


@pytest.mark.parametrize("environments", [64, 512, 4096])
def test_gae(benchmark: Any, arena: Arena, environments: int) -> None:
    shape = (256 if arena.is_measuring else 16, environments)
    generator = np.random.default_rng(0)
    rewards, values, next_values = (generator.standard_normal(shape, np.float32) for _ in range(3))
    terminated, truncated = (generator.random(shape) < 0.01 for _ in range(2))
    window = [rewards, values, next_values, terminated, truncated]
    ours, plain, numpy_out = ([np.empty(shape, np.float32) for _ in range(2)] for _ in range(3))
    settings = {"steps": shape[0], "environments": environments, "gamma": GAMMA, "gae_lambda": GAE_LAMBDA}
    loops = {double: limits.gae(window[:3], window[3:], plain, double=double, **settings) for double in (False, True)}

    def gae() -> None:
        advantage.gae(*window, gamma=GAMMA, gae_lambda=GAE_LAMBDA, out=tuple(ours), threads=1)

    contenders = [
        Contender("gae", "ours", repeated(gae)),
        Contender("plain loop, f32", "limit", repeated(loops[False])),
        Contender("plain loop, f64", "limit", repeated(loops[True])),
        Contender("NumPy loop over time", "numpy", repeated(numpy_gae(window, numpy_out))),
    ]
    skipped = {}
    if arena.wants("torchrl"):
        try:
            contenders.append(Contender("torchrl", "library", repeated(torchrl_gae(window))))
        except ImportError as error:
            skipped["torchrl"] = str(error)
    arena.contest(benchmark, f"advantage/GAE 256 x {environments}", contenders, skipped=skipped)
    for mine, theirs, loop in zip(ours, numpy_out, plain, strict=True):
        np.testing.assert_allclose(mine, loop, atol=1e-4)
        np.testing.assert_allclose(theirs, loop, atol=1e-3)
