"""Presets against the libraries' formulas, written out here in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from carla_online.advantage import PRESETS, EmaScale, preset
from carla_online.errors import AdvantageError

GOLDEN = np.array([[1.0, 2.0, 3.0, 6.0]])


def formula(name: str, r: np.ndarray, batch: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What the library computes for one group r of a batch; two passes, float64."""
    n, mean = len(r), r.mean()
    if n == 1 and name == "verl:gpg":
        return r * len(batch) / np.count_nonzero(batch)
    if n == 1 and name in ("verl:grpo", "verl:grpo_vectorized"):
        return r / (1 + 1e-6)
    if n == 1:
        return r if name in ("verl:dr_grpo", "verl:rloo", "verl:opo") else np.zeros(1)
    s1, s0 = r.std(ddof=1), r.std()
    return {
        "trl:grpo": (r - mean) / (s1 + 1e-4),
        "trl:batch": (r - mean) / (batch.std(ddof=1) + 1e-4),
        "trl:dr_grpo": r - mean,
        "trl:rloo": r - (r.sum() - r) / (n - 1),
        "verl:grpo": (r - mean) / (s1 + 1e-6),
        "verl:dr_grpo": r - mean,
        "verl:grpo_vectorized": (r - mean) / (math.sqrt(max(s1 * s1, 1e-6)) + 1e-6),
        "verl:rloo": n / (n - 1) * (r - mean),
        "verl:rloo_vectorized": (n * r - r.sum()) / max(n - 1, 1),
        "verl:opo": r - (lengths * r).sum() / lengths.sum(),
        "verl:gpg": len(batch) / np.count_nonzero(batch) * (r - mean),
        "rift": (r - mean) / (s0 + 1e-5),
    }[name]


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "verl:grpo_passk"])
def test_a_preset_is_its_librarys_formula(name):
    generator = np.random.default_rng(2)
    sizes = [4, 1, 8, 2, 16]
    batch = generator.normal(size=sum(sizes))
    batch[[0, 9]] = 0.0
    batch[13:15] = [0.5, 0.5002]  # a spread below verl's floor
    lengths = generator.integers(1, 50, size=sum(sizes)).astype(np.float64)
    offsets = np.cumsum([0, *sizes])
    weights = {"lengths": lengths} if name == "verl:opo" else {}
    seen = preset(name, batch, offsets=offsets, **weights).advantages
    for start, end in itertools.pairwise(offsets):
        expected = formula(name, batch[start:end], batch, lengths[start:end])
        assert np.allclose(seen[start:end], expected, rtol=1e-12, atol=1e-13)


def test_golden_vectors_of_the_three_libraries():
    assert np.allclose(preset("verl:grpo", GOLDEN).advantages, [[-0.92582, -0.46291, 0, 1.38873]], atol=5e-6)
    assert np.allclose(preset("trl:grpo", GOLDEN).advantages, [[-0.92578, -0.46289, 0, 1.38867]], atol=5e-6)
    assert np.allclose(preset("rift", GOLDEN).advantages, [[-1.06904, -0.53452, 0, 1.60356]], atol=5e-6)


def test_the_best_of_a_group_against_the_second_best():
    rewards = np.array([[1.0, 6.0, 3.0, 2.0], [4.0, 1.0, 4.0, 0.0]])
    seen = preset("verl:grpo_passk", rewards).advantages
    assert np.allclose(seen, [[0, 3 / (np.std([1, 6, 3, 2], ddof=1) + 1e-6), 0, 0], [0, 0, 0, 0]])
    with pytest.raises(AdvantageError, match="group 0 has 1 rewards"):
        preset("verl:grpo_passk", np.array([[1.0]]))


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "verl:opo"])
def test_equal_rewards_give_zero_where_the_libraries_give_noise(name):
    for reward in (1000.1, 12345.678):
        rewards = torch.full((4, 8), reward, dtype=torch.float32)
        advantages, degenerate, _ = preset(name, rewards)
        assert not advantages.any()
        assert degenerate.all()


def test_the_librarys_own_float32_formula_gives_noise():
    """The reason for float64 and for the range: TRL's formula on equal rewards, in its own number type."""
    rewards = torch.full((1, 7), 1000.1, dtype=torch.float32)
    theirs = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    assert theirs.abs().max() > 0.1
    assert preset("trl:grpo", rewards).advantages.abs().max() == 0.0


def test_a_mask_makes_a_group_of_one():
    rewards, mask = np.array([[5.0, 7.0], [1.0, 3.0]]), np.array([[True, False], [True, True]])
    seen = preset("verl:rloo", rewards, mask=mask).advantages
    assert seen.tolist() == [[5.0, 0.0], [-2.0, 2.0]]


def test_out_may_be_the_rewards_themselves():
    rewards = GOLDEN.copy()
    result = preset("verl:gpg", rewards, out=rewards)
    assert result.advantages is rewards
    assert rewards.tolist() == [[-2.0, -1.0, 0.0, 3.0]]


def test_an_unknown_preset_is_refused_with_the_choices():
    with pytest.raises(AdvantageError, match="choose one of trl:grpo"):
        preset("trl:ppo", GOLDEN)


def test_a_slow_scale_starts_as_a_mean_and_forgets_slowly():
    scale = EmaScale(decay=0.9)
    assert scale.scale is None
    assert scale.update(0.0) == 1e-6  # no group told its members apart: nothing learnt
    assert scale.update(3.0) == pytest.approx(3.0)
    assert scale.update(4.0) == pytest.approx(math.sqrt((0.09 * 9 + 0.1 * 16) / 0.19))
    for _ in range(300):
        scale.update(2.0)
    assert scale.update(2.0) == pytest.approx(2.0)
    given = EmaScale(decay=0.9, initial=1.0)
    assert given.scale == 1.0
    assert given.update(2.0) == pytest.approx(math.sqrt(0.9 + 0.4))


def test_a_slow_scale_goes_on_from_its_state():
    scale, other = EmaScale(), EmaScale()
    for std in (0.3, 7.0, 0.1):
        scale.update(std)
    other.load_state_dict(scale.state_dict())
    assert other.update(0.2) == scale.update(0.2)
    with pytest.raises(AdvantageError, match="lacks weight"):
        other.load_state_dict({"weighted_variance": torch.tensor(1.0)})
    with pytest.raises(AdvantageError, match="damaged"):
        other.load_state_dict({"weighted_variance": torch.tensor(float("nan")), "weight": torch.tensor(1.0)})
    with pytest.raises(AdvantageError, match="pooled_std is nan"):
        other.update(float("nan"))
