"""Faults injected into a learner that has learned something real: who sees them, how soon, what is restored."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from carla_online.learners import SACConfig, SACLearner, TransitionBatch
from carla_online.online.guard import GuardConfig
from carla_online.online.supervision import Supervision
from carla_online.policies import FullPolicy
from carla_online.replay import ReplayBuffer, ReplaySchema

ENVS, ROWS = 8, 80


class Bandit:
    """One-step episodes that pay obs[0] + 0.5 action + noise: a critic fits them within a few hundred updates."""

    def __init__(self, folder) -> None:
        torch.manual_seed(0)
        self.random = np.random.default_rng(0)
        self.policy = FullPolicy(obs_dim=3, action_dim=1, hidden_sizes=(16, 16))
        config = SACConfig(hidden_sizes=(32, 32), critic_lr=3e-3, actor_lr=1e-4, temperature_lr=0.0)
        generator = torch.Generator().manual_seed(1)
        self.learner = SACLearner(copy.deepcopy(self.policy), config=config, generator=generator)
        for _ in range(400):
            self.learner.update(self.batch(), train_actor=False)
        guard = GuardConfig(burn_in_looks=10, good_every_looks=2, onset_margin_looks=1, rest_looks=2)
        self.supervision = Supervision(self.policy, self.learner, config=guard, q_limit=None)
        schema = ReplaySchema.transitions(3, 1, ())
        self.replay = ReplayBuffer.create(folder / "replay", schema, capacity_rows=1_000, block_rows=8)
        self.supervision.prepare(num_envs=ENVS, discount=0.9, replay=self.replay)
        self.updates = self.transitions = 0

    def rows(self, count: int) -> dict[str, np.ndarray]:
        obs = self.random.normal(size=(count, 3)).astype(np.float32)
        action = self.random.uniform(-1, 1, (count, 1)).astype(np.float32)
        reward = obs[:, 0] + 0.5 * action[:, 0] + self.random.normal(0, 0.1, count)
        baseline = np.zeros((count, 1), np.float32)
        rows = {"obs": obs, "baseline_action": baseline, "executed_action": action}
        return rows | {"reward": reward.astype(np.float32), "terminated": np.ones(count, np.bool_)}

    def batch(self) -> TransitionBatch:
        rows = self.rows(64)
        tensors = [torch.from_numpy(rows[name]) for name in ("obs", "baseline_action", "executed_action", "reward")]
        return TransitionBatch(*tensors, torch.zeros(64), tensors[0], tensors[1])

    def look(self, *, factor: float = 1.0) -> int:
        """Learns for ten updates, stores new transitions whose rewards are scaled, looks; returns the rollbacks."""
        newest: dict[str, torch.Tensor] = {}
        for _ in range(10):
            self.updates += 1
            if self.supervision.guard.may_learn:
                newest |= self.learner.update(self.batch())
        for _ in range(ROWS // ENVS):
            rows = self.rows(ENVS)
            rows["reward"] *= np.float32(factor)
            step = _Step(rows)
            self.supervision.observe(step, np.ones(ENVS, np.bool_), rows, rows)
            self.transitions += ENVS
        self.supervision.look(self.batch(), newest, updates=self.updates, transitions=self.transitions, with_actor=True)
        return self.supervision.guard.rollbacks


class _Step:
    """As much of a `Step` as is looked at."""

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        self.reward, self.terminated, self.info = rows["reward"], rows["terminated"], {}
        self.truncated, self.valid = ~self.terminated, self.terminated


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Bandit:
    bandit = Bandit(tmp_path_factory.mktemp("bandit"))
    for _ in range(30):
        assert bandit.look() == 0, bandit.supervision.take_messages()
    return bandit


@pytest.fixture
def bandit(trained, tmp_path) -> Bandit:
    """The trained one as it was, with nothing wrong so far."""
    state = trained.learner.state_dict()
    counters, tensors = trained.supervision.guard.state_dict(), trained.supervision.tensors()
    arrays = {name: value.copy() for name, value in trained.supervision.arrays().items()}
    yield trained
    trained.learner.__dict__.pop("target", None)
    trained.learner.load_state_dict(state)
    trained.supervision.load(counters, tensors)
    trained.supervision.load_arrays(arrays)
    trained.supervision.take_messages()


def weights(learner: SACLearner) -> torch.Tensor:
    return torch.cat([value.flatten() for value in learner.policy.head.parameters()]).detach().clone()


@pytest.mark.parametrize(("factor", "said"), [(100.0, "rewards are"), (-1.0, "TD error on new")])
def test_rewards_of_another_scale_or_sign_are_seen_and_learning_waits_until_they_are_gone(bandit, factor, said):
    looks = 0
    while bandit.look(factor=factor) == 0:
        looks += 1
        assert looks < 6
    guard = bandit.supervision.guard
    (message,) = bandit.supervision.take_messages()
    assert said in message
    before = weights(bandit.learner)
    for _ in range(3):
        bandit.look(factor=factor)
    assert guard.is_resting and guard.rollbacks == 1
    assert weights(bandit.learner).equal(before)
    for _ in range(8):
        bandit.look()
    assert guard.may_learn and guard.rollbacks == 1


def test_corrupted_targets_are_seen_before_the_critic_has_followed_them(bandit):
    true = bandit.learner.target
    bandit.learner.target = lambda batch, generator: true(batch, generator=generator).roll(1)
    looks = 0
    while bandit.look() == 0:
        looks += 1
        assert looks < 4
    assert "explains" in bandit.supervision.take_messages()[0]


def test_weights_of_a_hundredfold_step_size_never_drive(bandit):
    before = weights(bandit.learner)
    bandit.learner.scale_learning_rates(100.0)
    assert bandit.look() == 1
    assert "policy's step" in bandit.supervision.take_messages()[0]
    # Some looks' worth of careful steps were taken back, nothing else: the policy that drives is one of before.
    drives = torch.cat([value.flatten() for value in bandit.policy.head.parameters()])
    assert (drives - before).abs().max() < 0.02
    assert bandit.learner.actor_optimiser.param_groups[0]["lr"] == pytest.approx(0.5e-4)


@pytest.mark.parametrize("part", ["critic", "target_critic", "head"])
def test_a_nan_is_gone_after_the_next_look(bandit, part):
    owner = bandit.learner.policy.head if part == "head" else getattr(bandit.learner, part)
    with torch.no_grad():
        next(iter(owner.parameters())).view(-1)[0] = math.nan
    assert bandit.look() == 1
    assert all(value.isfinite().all() for value in bandit.learner.state_dict().values() if value.is_floating_point())
