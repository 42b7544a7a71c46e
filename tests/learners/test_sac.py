"""The SAC update against numbers computed by other means, and its state."""

import copy

import numpy as np
import pytest
import torch

from carla_online.errors import CheckpointError
from carla_online.learners import SACConfig, SACLearner, TransitionBatch
from carla_online.learners.critics import CriticEnsemble
from carla_online.policies import DeltaPolicy, FullPolicy, wrap_baseline

OBS_DIM = 5


def zero_baseline(obs: np.ndarray) -> np.ndarray:
    return np.zeros((len(obs), 2), dtype=np.float32)


def make_learner(**settings) -> SACLearner:
    torch.manual_seed(0)
    policy = DeltaPolicy(wrap_baseline(zero_baseline), obs_dim=OBS_DIM, hidden_sizes=(16, 16))
    config = SACConfig(hidden_sizes=(16, 16), **settings)
    return SACLearner(policy, config=config, generator=torch.Generator().manual_seed(1))


def make_batch(rows: int = 64, *, seed: int = 0, discount: float = 0.9) -> TransitionBatch:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    actions = [normal(rows, 2).clamp(-1, 1) for _ in range(3)]
    return TransitionBatch(
        obs=normal(rows, OBS_DIM),
        baseline_action=actions[0],
        executed_action=actions[1],
        reward=normal(rows),
        discount=torch.full((rows,), discount),
        next_obs=normal(rows, OBS_DIM),
        next_baseline_action=actions[2],
    )


def reference_q(critic: CriticEnsemble, index: int, inputs: np.ndarray) -> np.ndarray:
    """Evaluates one member in float64 NumPy, layer by layer."""
    hidden = inputs.astype(np.float64)
    layers = list(zip(critic.weights, critic.biases, strict=True))
    for weight, bias in layers[:-1]:
        hidden = hidden @ weight[index].detach().numpy().astype(np.float64) + bias[index].detach().numpy()
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        hidden = np.maximum(centred / np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5), 0.0)
    weight, bias = layers[-1]
    return (hidden @ weight[index].detach().numpy() + bias[index].detach().numpy())[:, 0]


def test_the_ensemble_equals_its_members_computed_apart():
    critic = CriticEnsemble(3, 7, hidden_sizes=(16, 8), generator=torch.Generator().manual_seed(2))
    state, action = torch.randn(20, 5), torch.randn(20, 2)
    together = critic(state, action).detach().numpy()
    for index in range(3):
        apart = reference_q(critic, index, torch.cat([state, action], dim=1).numpy())
        np.testing.assert_allclose(together[index], apart, atol=1e-5)


def test_critic_loss_equals_the_hand_computed_one_and_termination_cuts_the_bootstrap():
    learner = make_learner()
    for discount in (0.9, 0.0):
        batch = make_batch(discount=discount)
        noise = torch.randn(64, 2, generator=copy_generator(learner.generator)).numpy().astype(np.float64)
        next_state = torch.cat([batch.next_obs, batch.next_baseline_action], dim=1)
        with torch.no_grad():
            mean, log_std = (part.numpy().astype(np.float64) for part in learner.policy.head(next_state))
        u = mean + np.exp(log_std) * noise
        logp = (-0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - np.tanh(u) ** 2)).sum(axis=1)
        action = np.clip(batch.next_baseline_action.numpy() + np.array([0.2, 0.5]) * np.tanh(u), -1, 1)
        inputs = np.concatenate([next_state.numpy(), action], axis=1)
        next_q = np.minimum(*(reference_q(learner.target_critic, index, inputs) for index in range(2)))
        target = batch.reward.numpy() + discount * (next_q - float(learner.temperature) * logp)
        taken = torch.cat([batch.obs, batch.baseline_action, batch.executed_action], dim=1).numpy()
        critics = [reference_q(learner.critic, index, taken) for index in range(2)]
        expected = sum(((critic - target) ** 2).mean() for critic in critics)
        fit = 1.0 - (target - np.mean(critics, axis=0)).var() / target.var()
        metrics = learner.update(batch)
        # float32 networks against float64: six digits.
        assert float(metrics["q_loss"]) == pytest.approx(expected, rel=1e-4)
        assert float(metrics["q_fit"]) == pytest.approx(fit, abs=1e-4)


def copy_generator(generator: torch.Generator) -> torch.Generator:
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    return twin


def test_the_critic_overfits_one_batch_and_the_actor_follows_its_gradient():
    learner = make_learner(critic_lr=3e-3, actor_lr=3e-3, temperature_lr=0.0, initial_temperature=1e-4)
    batch = make_batch(32, discount=0.0)
    # Reward falls with the distance of the executed steer from 0.15: the best delta on a zero baseline.
    wanted = 0.15
    rewards = -10.0 * (batch.executed_action[:, 0] - wanted).square()
    centred = TransitionBatch(
        batch.obs,
        torch.zeros_like(batch.baseline_action),
        batch.executed_action * 0.3,
        -10.0 * (batch.executed_action[:, 0] * 0.3 - wanted).square(),
        batch.discount,
        batch.next_obs,
        torch.zeros_like(batch.baseline_action),
    )
    assert rewards.std() > 0
    told = [learner.update(centred) for _ in range(600)]
    losses = [float(metrics["q_loss"]) for metrics in told]
    assert np.mean(losses[-20:]) < 0.02 * np.mean(losses[:5])
    assert float(told[-1]["q_fit"]) > 0.9
    action, _, _ = learner.policy.act(centred.obs.numpy(), deterministic=True)
    assert np.abs(action[:, 0] - wanted).mean() < 0.05


def test_targets_are_clipped_to_the_reachable_return():
    learner = make_learner(value_bounds=(-1.0, 1.0))
    batch = make_batch(discount=0.99)
    far = TransitionBatch(*[getattr(batch, name) for name in ("obs", "baseline_action", "executed_action")],
                          batch.reward * 1e6, batch.discount, batch.next_obs, batch.next_baseline_action)  # fmt: skip
    assert learner._target(far).abs().max() <= 1.0


def test_temperature_moves_towards_the_target_entropy_and_stays_in_bounds():
    low = make_learner(target_entropy=-50.0, temperature_lr=0.1, temperature_bounds=(1e-3, 0.5))
    high = make_learner(target_entropy=50.0, temperature_lr=0.1, temperature_bounds=(1e-3, 0.5))
    for _ in range(150):
        low.update(make_batch())
        high.update(make_batch())
    assert float(low.temperature) == pytest.approx(1e-3, rel=1e-4)
    assert float(high.temperature) == pytest.approx(0.5, rel=1e-4)


def test_a_restored_learner_continues_bit_equal():
    first = make_learner(actor_every=2)
    for seed in range(7):
        first.update(make_batch(seed=seed))
    second = make_learner(actor_every=2)
    second.load_state_dict(first.state_dict())
    for seed in range(7, 12):
        ours, theirs = first.update(make_batch(seed=seed)), second.update(make_batch(seed=seed))
        assert {name: float(value) for name, value in ours.items()} == {
            name: float(value) for name, value in theirs.items()
        }
    for (name, ours), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_state_of_another_shape_is_refused():
    other = SACLearner(FullPolicy(obs_dim=9), config=SACConfig(), generator=torch.Generator())
    with pytest.raises(CheckpointError, match="doesn't fit"):
        make_learner().load_state_dict(other.state_dict())


def test_a_subset_of_critics_makes_the_target():
    learner = make_learner(critics=10, target_subset=2)
    metrics = learner.update(make_batch())
    assert np.isfinite(float(metrics["q_loss"]))
    assert copy.deepcopy(learner.critic).count == 10


def test_steps_tell_the_step_size_that_took_effect():
    learner = make_learner(critic_lr=1e-4, actor_lr=1e-4, actor_every=1)
    usual = [learner.update(make_batch(seed=seed)) for seed in range(20)]
    learner.scale_learning_rates(100.0)
    far = learner.update(make_batch(seed=20))
    for name in ("critic_step", "actor_step"):
        steps = [float(metrics[name]) for metrics in usual]
        assert max(steps) < 5.0 * np.median(steps)
        assert float(far[name]) > 30.0 * np.median(steps)
    before = learner.state_dict()
    learner.update(make_batch(seed=21))
    learner.load_state_dict(before)  # being put back is no step
    learner.scale_learning_rates(0.01)
    assert float(learner.update(make_batch(seed=22))["critic_step"]) < 10.0 * np.median(
        [float(metrics["critic_step"]) for metrics in usual]
    )


def test_the_expected_reward_is_the_one_that_leaves_no_error_and_draws_nothing():
    learner = make_learner()
    batch = make_batch(discount=0.9)
    generator = learner.generator.get_state()
    expected = learner.expected_reward(batch)
    assert torch.equal(generator, learner.generator.get_state())
    state = torch.cat([batch.obs, batch.baseline_action, batch.executed_action], dim=1).numpy()
    q = np.mean([reference_q(learner.critic, index, state) for index in range(2)], axis=0)
    next_state = torch.cat([batch.next_obs, batch.next_baseline_action], dim=1)
    with torch.no_grad():
        mean = learner.policy.head(next_state)[0].numpy().astype(np.float64)
    action = np.clip(batch.next_baseline_action.numpy() + np.array([0.2, 0.5]) * np.tanh(mean), -1, 1)
    inputs = np.concatenate([next_state.numpy(), action], axis=1)
    following = np.minimum(*(reference_q(learner.target_critic, index, inputs) for index in range(2)))
    entropy = float(learner.temperature) * learner.target_entropy
    np.testing.assert_allclose(expected.numpy(), q - 0.9 * (following + entropy), atol=1e-4)
