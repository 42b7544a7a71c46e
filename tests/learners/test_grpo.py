"""The on-policy update against numbers computed by other means, and its state."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carla_online.errors import CheckpointError
from carla_online.learners import GRPOConfig, GRPOLearner, PolicyBatch, ValueBatch
from carla_online.learners.surrogate import clipped_surrogate
from carla_online.learners.value import ValueNetwork
from carla_online.policies import FullPolicy
from carla_online.policies.networks import gaussian_entropy, gaussian_kl, gaussian_logp

OBS_DIM = 3


def make_learner(**settings) -> GRPOLearner:
    torch.manual_seed(0)
    policy = FullPolicy(obs_dim=OBS_DIM, action_dim=2, hidden_sizes=(16, 16))
    config = GRPOConfig(hidden_sizes=(16, 16), batch_size=64, **settings)
    return GRPOLearner(policy, config=config, generator=torch.Generator().manual_seed(1))


def make_batch(learner: GRPOLearner, rows: int = 256, *, seed: int = 0, wanted: float = 0.5) -> PolicyBatch:
    """Fresh draws; the nearer the first action's u is to `wanted`, the better."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, OBS_DIM, generator=generator)
    with torch.no_grad():
        mean, log_std = learner.policy.head(inputs)
    u = mean + log_std.exp() * torch.randn(mean.shape, generator=generator)
    worth = -(u[:, 0] - wanted).square()
    advantage = (worth - worth.mean()) / worth.std()
    return PolicyBatch(inputs, u, gaussian_logp(u, mean, log_std), advantage)


def no_values() -> ValueBatch:
    return ValueBatch(torch.zeros(0, OBS_DIM), torch.zeros(0))


@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-12, 12)), min_size=1, max_size=20),
    st.floats(0.05, 0.5),
    st.floats(0.05, 0.9),
)
def test_the_surrogate_equals_its_definition_draw_by_draw(rows, low, high):
    expected = []
    for logp, behaviour_logp, advantage in rows:
        ratio = math.exp(logp - behaviour_logp)
        value = min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
        expected.append(max(value, 3.0 * advantage) if advantage < 0 else value)
    columns = torch.tensor(rows, dtype=torch.float64).T
    surrogate = clipped_surrogate(*columns, clip_low=low, clip_high=high, dual_clip=3.0)
    assert float(surrogate.loss) == pytest.approx(-np.mean(expected), rel=1e-9, abs=1e-9)


def test_a_clipped_draw_has_no_gradient_and_a_dual_clipped_one_neither():
    for ratio, advantage, moves in ((1.0, 1.0, True), (1.5, 1.0, False), (0.5, 1.0, True), (0.5, -1.0, False),
                                    (2.0, -1.0, True), (3.5, -1.0, False)):  # fmt: skip
        logp = torch.tensor([math.log(ratio)], requires_grad=True)
        loss = clipped_surrogate(
            logp, torch.zeros(1), torch.tensor([advantage]), clip_low=0.2, clip_high=0.28, dual_clip=3.0
        ).loss
        loss.backward()
        assert bool(logp.grad.abs() > 0) is moves, (ratio, advantage)


def test_density_and_entropy_agree_with_torch_distributions():
    generator = torch.Generator().manual_seed(3)
    mean, log_std, u = (torch.randn(50, 2, generator=generator) for _ in range(3))
    normal = torch.distributions.Normal(mean, log_std.exp())
    torch.testing.assert_close(gaussian_logp(u, mean, log_std), normal.log_prob(u).sum(-1))
    torch.testing.assert_close(gaussian_entropy(log_std), normal.entropy().sum(-1))


def test_learning_moves_the_policy_towards_what_was_better():
    learner = make_learner(actor_lr=3e-3, target_kl=0.05)
    for seed in range(60):
        learner.learn(make_batch(learner, seed=seed), no_values())
    action, _, _ = learner.policy.act(np.zeros((1, OBS_DIM), np.float32), deterministic=True)
    assert math.atanh(float(action[0, 0])) == pytest.approx(0.5, abs=0.1)


def test_epochs_end_where_the_policy_has_moved_far_enough():
    learner = make_learner(actor_lr=3e-2, epochs=50, target_kl=0.01)
    batch = make_batch(learner)
    with torch.no_grad():
        before = learner.policy.head(batch.inputs)
    metrics = learner.learn(batch, no_values())
    with torch.no_grad():
        moved = float(gaussian_kl(*before, *learner.policy.head(batch.inputs)).mean())
    assert metrics["gradient_steps"] < 200
    assert metrics["kl_to_previous"] == pytest.approx(moved)
    calm = make_learner(actor_lr=1e-6, epochs=50, target_kl=0.01)
    assert calm.learn(make_batch(calm), no_values())["gradient_steps"] == 200


def test_the_entropy_bonus_widens_draws_up_to_its_limit_and_no_further():
    def entropy_after(*, limit: float | None) -> float:
        learner = make_learner(
            entropy_coefficient=1.0, entropy_limit=limit, target_kl=1e9, actor_lr=5e-4, actor_grad_clip=1e9
        )
        for _ in range(10):
            batch = make_batch(learner)
            worthless = replace(batch, advantage=torch.zeros_like(batch.advantage))
            entropy = learner.learn(worthless, no_values())["entropy"]
        return entropy

    learner = make_learner()
    begun = gaussian_entropy(learner.policy.head(make_batch(learner).inputs)[1]).mean().item()
    assert entropy_after(limit=begun - 1.0) == pytest.approx(begun, abs=0.05)
    assert entropy_after(limit=begun + 0.5) == pytest.approx(begun + 0.5, abs=0.2)
    assert entropy_after(limit=None) > begun + 0.9


def test_the_pull_to_the_initial_policy_limits_the_drift():
    drifts = []
    for weight in (0.0, 1.0):
        learner = make_learner(actor_lr=3e-3, kl_coefficient=weight, target_kl=0.05)
        for seed in range(30):
            metrics = learner.learn(make_batch(learner, seed=seed, wanted=3.0), no_values())
        drifts.append(metrics["kl_to_initial"])
    assert drifts[1] < 0.5 * drifts[0]


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e4), st.floats(0.01, 1.0))
def test_moving_the_scale_of_a_value_network_changes_no_output(mean, spread, rate):
    network = ValueNetwork(4, hidden_sizes=(8,), generator=torch.Generator().manual_seed(0)).double()
    inputs = torch.randn(32, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    network.track(torch.randn(100, generator=torch.Generator().manual_seed(3)).double(), rate=rate)
    before = network.normalised(inputs) * network.scale + network.mean
    network.track(mean + spread * torch.randn(100, generator=torch.Generator().manual_seed(2)).double(), rate=rate)
    after = network.normalised(inputs) * network.scale + network.mean
    # The corrected weights are rounded to float32, so errors are relative to the largest number involved.
    assert float((after - before).detach().abs().max()) <= 1e-5 * (1.0 + abs(mean) + spread)


@pytest.mark.parametrize("offset,spread", [(0.0, 1.0), (-1500.0, 300.0), (0.0, 1e-3)])
def test_values_are_learned_whatever_the_size_of_returns(offset, spread):
    learner = make_learner(value_lr=3e-3)
    generator = torch.Generator().manual_seed(5)
    for _ in range(60):
        inputs = torch.randn(256, OBS_DIM, generator=generator)
        targets = offset + spread * inputs[:, 0]
        learner.learn(PolicyBatch(*(torch.zeros(0, n) for n in (OBS_DIM, 2)), torch.zeros(0), torch.zeros(0)),
                      ValueBatch(inputs, targets))  # fmt: skip
    error = learner.values(inputs) - targets
    assert float(error.square().mean()) < 0.05 * spread**2


def test_a_restored_learner_continues_bit_equal():
    first, second = make_learner(group_mode="critic"), make_learner(group_mode="critic")
    values = ValueBatch(torch.randn(100, OBS_DIM), torch.randn(100))
    critics = ValueBatch(torch.randn(100, OBS_DIM + 2), torch.randn(100))
    for seed in range(3):
        first.learn(make_batch(first, seed=seed), values, critics)
    second.load_state_dict(first.state_dict())
    batch = make_batch(first, seed=9)
    assert first.learn(batch, values, critics) == second.learn(batch, values, critics)
    for (name, ours), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_state_of_another_shape_is_refused():
    other = GRPOLearner(FullPolicy(obs_dim=9), config=GRPOConfig(), generator=torch.Generator())
    with pytest.raises(CheckpointError, match="doesn't fit"):
        make_learner().load_state_dict(other.state_dict())
