"""Kinds of arrays, strides, outputs, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from carla_online.advantage import branch_gae, branch_reward_to_go, gae, group, reward_to_go, v_trace, whiten
from carla_online.errors import AdvantageError


def window(shape=(5, 19)):
    generator = np.random.default_rng(0)
    rewards, values, next_values = generator.normal(size=(3, *shape)).astype(np.float32)
    return rewards, values, next_values, generator.random(shape) < 0.2, generator.random(shape) < 0.2


DISCOUNTS = {"gamma": 0.9, "gae_lambda": 0.8}
REARRANGED = {
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "reversed": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "every other": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
}


@pytest.mark.parametrize("how", REARRANGED)
def test_any_stride_gives_the_same_bits(how):
    arrays = window()
    odd = [REARRANGED[how](array) for array in arrays]
    assert not any(array.flags.c_contiguous for array in odd)
    expected, seen = gae(*arrays, **DISCOUNTS), gae(*odd, **DISCOUNTS)
    assert all((a == b).all() for a, b in zip(expected, seen, strict=True))
    assert (group(odd[0]).advantages == group(arrays[0]).advantages).all()
    out = REARRANGED[how](np.zeros_like(arrays[0]))
    assert group(arrays[0], out=out).advantages is out
    assert (out == group(arrays[0]).advantages).all()


def test_tensors_in_give_tensors_out_with_the_same_numbers():
    arrays = window()
    tensors = [torch.from_numpy(array) for array in arrays]
    for seen, expected in zip(gae(*tensors, **DISCOUNTS), gae(*arrays, **DISCOUNTS), strict=True):
        assert isinstance(seen, torch.Tensor)
        assert (seen.numpy() == expected).all()
    advantages, degenerate, _ = group(tensors[0].t())
    assert isinstance(degenerate, torch.Tensor)
    assert degenerate.dtype == torch.bool
    assert (advantages.numpy() == group(arrays[0].T).advantages).all()
    assert isinstance(whiten(tensors[0]), torch.Tensor)
    mixed = reward_to_go(tensors[0], arrays[3], gamma=0.9)
    assert isinstance(mixed, torch.Tensor)


def test_no_gradient_flows_and_none_is_needed():
    rewards = torch.tensor([[1.0, 3.0]], requires_grad=True)
    assert not group(rewards).advantages.requires_grad
    with pytest.raises(AdvantageError, match="requires a gradient"):
        group(rewards.detach(), out=rewards)


def test_out_is_written_and_returned():
    arrays = window()
    expected = gae(*arrays, **DISCOUNTS)
    out = (np.empty_like(arrays[0]), np.empty_like(arrays[0]))
    seen = gae(*arrays, **DISCOUNTS, out=out)
    assert seen[0] is out[0]
    assert all((a == b).all() for a, b in zip(out, expected, strict=True))
    tensor = torch.empty(5, 19)
    assert group(torch.from_numpy(arrays[0]), out=tensor).advantages is tensor
    assert tensor.any()


def test_out_may_be_an_input():
    arrays = window()
    expected = gae(*arrays, **DISCOUNTS)
    rewards, values = arrays[0].copy(), arrays[1].copy()
    gae(rewards, values, *arrays[2:], **DISCOUNTS, out=(values, rewards))
    assert (values == expected[0]).all()
    assert (rewards == expected[1]).all()
    rewards = arrays[0].copy()
    assert (group(rewards, out=rewards).advantages == group(arrays[0]).advantages).all()
    rewards = arrays[0].copy()
    assert (whiten(rewards, out=rewards) == whiten(arrays[0])).all()


def test_two_outputs_in_one_array_are_kept_apart():
    arrays = window()
    both = np.zeros_like(arrays[0])
    advantages, returns = gae(*arrays, **DISCOUNTS, out=(both, both))
    assert advantages is both
    assert (returns == gae(*arrays, **DISCOUNTS)[1]).all()  # the second result is copied last


REWARDS = np.array([[1.0, 2.0], [3.0, 5.0]])
FLAT = REWARDS.reshape(-1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: group(FLAT), "offsets or group_size"),
        (lambda: group(FLAT, group_size=3), "groups of 3"),
        (lambda: group(FLAT, group_size=0), "groups of 0"),
        (lambda: group(FLAT, offsets=np.array([0, 4]), group_size=2), "both"),
        (lambda: group(REWARDS, group_size=2), "neither"),
        (lambda: group(REWARDS[None]), "shape"),
        (lambda: group(FLAT, offsets=np.array([], np.int64)), "groups \\+ 1"),
        (lambda: group(FLAT, offsets=np.array([1, 4])), "offsets"),
        (lambda: group(FLAT, offsets=np.array([0, 5])), "offsets"),
        (lambda: group(FLAT, offsets=np.array([0, 3, 2, 4])), "offsets"),
        (lambda: group(FLAT, offsets=np.array([0, -(2**62), 4])), "offsets"),
        (lambda: group(REWARDS, estimator="ppo"), "unknown estimator"),
        (lambda: group(REWARDS, estimator="ema"), "scale"),
        (lambda: group(REWARDS, scale=1.0), "scale"),
        (lambda: group(REWARDS, estimator="ema", scale=0.0), "scale"),
        (lambda: group(REWARDS, estimator="opo"), "lengths"),
        (lambda: group(REWARDS, lengths=REWARDS), "lengths"),
        (lambda: group(REWARDS, estimator="opo", lengths=-REWARDS), "length of group 0"),
        (lambda: group(REWARDS, estimator="opo", lengths=REWARDS * [[1], [0]]), "length of group 1"),
        (lambda: group(REWARDS, estimator="opo", lengths=REWARDS * np.inf), "lengths\\[0, 0\\] is inf"),
        (lambda: group(REWARDS, ddof=2), "ddof"),
        (lambda: group(REWARDS, epsilon=-1.0), "epsilon"),
        (lambda: group(REWARDS, std_floor=np.nan), "std_floor"),
        (lambda: group(REWARDS, clip=0.0), "clip"),
        (lambda: group(REWARDS, degenerate_range=(0.0, -1.0)), "degenerate_range"),
        (lambda: group(REWARDS, mask=np.ones(4, np.bool_)), "mask has shape"),
        (lambda: group(REWARDS, out=np.zeros((2, 3))), "out has shape"),
        (lambda: gae(FLAT, FLAT, FLAT, FLAT > 0, FLAT > 0, **DISCOUNTS), "\\[T, N\\]"),
        (lambda: gae(REWARDS, REWARDS, FLAT, REWARDS > 9, REWARDS > 9, **DISCOUNTS), "next_values has shape"),
        (lambda: gae(REWARDS, REWARDS, REWARDS, REWARDS > 9, REWARDS > 9, gamma=1.1, gae_lambda=1), "gamma"),
        (lambda: gae(REWARDS, REWARDS, REWARDS, REWARDS > 9, REWARDS > 9, gamma=np.nan, gae_lambda=1), "gamma"),
        (lambda: reward_to_go(REWARDS, REWARDS > 9, gamma=0.9, bootstrap=FLAT), "bootstrap has shape"),
        (lambda: branch_reward_to_go(REWARDS, REWARDS > 0, FLAT, gamma=0.9), "\\[S, G, H\\]"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(AdvantageError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: group([[1.0, 2.0]]), "NumPy array or a torch CPU tensor, got list"),
        (lambda: group(np.array([[1, 2]])), "float32 or float64, got int64"),
        (lambda: group(REWARDS.astype(">f8")), "float32 or float64, got >f8"),
        (lambda: group(REWARDS.astype(np.float16)), "float16"),
        (lambda: group(torch.zeros(2, 2, dtype=torch.bfloat16)), "bfloat16"),
        (lambda: group(torch.zeros(2, 2, device="meta")), "meta"),
        (lambda: group(REWARDS, mask=np.ones((2, 2))), "bool"),
        (lambda: group(FLAT, offsets=np.array([0, 4], np.int32)), "int64"),
        (lambda: group(REWARDS, out=np.zeros((2, 2), np.float32)), "out is float32"),
        (lambda: whiten("rewards"), "got str"),
        (lambda: v_trace(REWARDS, REWARDS, REWARDS, REWARDS, REWARDS, REWARDS, gamma=1.0), "bool"),
        (lambda: gae(REWARDS, REWARDS.astype(np.float32), FLAT, FLAT, FLAT, **DISCOUNTS), "the same type"),
    ],
)
def test_another_element_type_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_a_read_only_output_is_refused():
    out = np.zeros((2, 2))
    out.flags.writeable = False
    with pytest.raises(AdvantageError, match="read-only"):
        group(REWARDS, out=out)


def test_a_refused_shape_names_the_argument():
    rewards, alive = np.zeros((2, 3, 4)), np.ones((2, 3, 4), np.bool_)
    with pytest.raises(AdvantageError, match="terminated has shape"):
        branch_gae(rewards, rewards, np.zeros((2, 3)), alive, alive, **DISCOUNTS)
