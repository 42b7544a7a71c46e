"""Distillation: it learns what was executed, nothing but the head changes, it repeats, and what it made drives."""

import json

import numpy as np
import pytest
import torch
from driven_replay import SHORT, drive, write_episodes
from heads import SCALE, obs_dim_of, shifted_head

from carla_online.errors import ConfigError, PolicyError, SchemaMismatch
from carla_online.evaluation import SuiteConfig, evaluate_routes
from carla_online.imitation import DistilConfig, distil, good_episodes
from carla_online.imitation.fitting import _Fit, composed_action
from carla_online.policies import (
    Baseline,
    DeltaPolicy,
    FullPolicy,
    ScriptedBaselineConfig,
    load_policy,
    policy_to_bytes,
    scripted_baseline,
)

STEER, THROTTLE = 0.01, 0.12
BASELINE = scripted_baseline(ScriptedBaselineConfig(speed_factor=0.5))
QUICK = DistilConfig(epochs=30, patience=5)


@pytest.fixture(scope="module")
def obs_dim():
    return obs_dim_of(SHORT)


@pytest.fixture(scope="module")
def teacher(obs_dim):
    """Faster than the baseline, a little to the right, and noisy: std 0.37 before tanh, so 0.07 and 0.17 in actions."""
    return shifted_head(BASELINE, obs_dim, steer=STEER, throttle=THROTTLE)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory, teacher):
    path = drive(tmp_path_factory.mktemp("driven"), teacher, steps=900)
    return good_episodes(path)


def fresh(obs_dim, seed=0, **settings):
    torch.manual_seed(seed)
    return DeltaPolicy(BASELINE, obs_dim=obs_dim, delta_scale=SCALE, hidden_sizes=(32, 32), **settings)


@pytest.fixture(scope="module")
def distilled(episodes, obs_dim):
    return distil(fresh(obs_dim), episodes, QUICK)


def test_the_loss_falls_and_the_known_shift_is_found(distilled, episodes):
    assert episodes.count > 20
    assert distilled.loss_after < 0.95 * distilled.loss_before
    obs = episodes.rows["obs"][::7]
    action, _, extra = distilled.policy.act(obs, deterministic=True)
    inside = np.abs(extra["baseline_action"]).max(axis=1) < 0.8  # where clipping doesn't hide the shift
    shift = (action - extra["baseline_action"])[inside].mean(axis=0)
    # A tanh of noise is a little smaller than the tanh of its mean.
    assert shift == pytest.approx([STEER, THROTTLE], abs=0.02)


def test_it_drives_like_the_teacher_and_better_than_where_it_started(distilled, teacher, obs_dim):
    suite = SuiteConfig(name="short", env=SHORT, routes=20)
    ours, theirs, start = (evaluate_routes(policy, suite) for policy in (distilled.policy, teacher, fresh(obs_dim)))
    assert ours.finished.all()
    assert ours.timed_driving_score.mean() > start.timed_driving_score.mean() + 5.0
    assert ours.timed_driving_score.mean() == pytest.approx(theirs.timed_driving_score.mean(), abs=6.0)


def test_the_start_is_left_alone_and_only_the_head_learns(episodes, obs_dim):
    start = fresh(obs_dim)
    before = policy_to_bytes(start)
    result = distil(start, episodes, DistilConfig(epochs=2, log_std=-2.0))
    assert policy_to_bytes(start) == before
    assert result.policy.baseline is start.baseline
    assert torch.equal(result.policy.delta_scale, start.delta_scale)
    obs = torch.from_numpy(episodes.rows["obs"][:50])
    _, log_std = result.policy.head(result.policy.inputs(obs, torch.from_numpy(episodes.rows["baseline_action"][:50])))
    assert torch.equal(log_std, torch.full_like(log_std, -2.0))


def test_it_repeats_to_the_bit_and_another_seed_differs(episodes, obs_dim):
    first, again, other = (distil(fresh(obs_dim), episodes, DistilConfig(epochs=2, seed=seed)) for seed in (1, 1, 2))
    assert policy_to_bytes(first.policy) == policy_to_bytes(again.policy)
    assert first.record == again.record
    assert policy_to_bytes(first.policy) != policy_to_bytes(other.policy)


def test_no_episode_stands_on_both_sides_of_the_split(episodes, obs_dim):
    fit = _Fit(fresh(obs_dim), episodes, DistilConfig(validation_share=0.3))
    assert not set(fit.training_episodes.tolist()) & set(fit.validation_episodes.tolist())
    assert len(fit.training_episodes) + len(fit.validation_episodes) == episodes.count
    assert len(fit.validation_episodes) == round(0.3 * episodes.count)
    rows = np.concatenate([fit._training, fit._validation])
    assert np.array_equal(np.sort(rows), np.arange(len(episodes.episode)))


def test_training_stops_at_the_best_epoch_and_keeps_its_weights(episodes, obs_dim):
    result = distil(fresh(obs_dim), episodes, DistilConfig(epochs=60, patience=3, lr=0.02))
    losses = result.record["validation_losses"]
    assert result.record["best_epoch"] == int(np.argmin(losses))
    assert len(losses) <= result.record["best_epoch"] + 1 + 3
    kept = _Fit(result.policy, episodes, DistilConfig(epochs=60, patience=3, lr=0.02))
    assert kept._validation_loss() == pytest.approx(result.loss_after, rel=1e-5)


def test_going_on_from_a_policy_starts_at_its_loss(episodes, teacher, obs_dim):
    result = distil(teacher, episodes, DistilConfig(epochs=1))
    assert result.loss_before < 1.2 * distil(fresh(obs_dim), episodes, QUICK).loss_after


def test_a_full_policy_learns_the_executed_actions_whoever_drove(episodes, obs_dim):
    torch.manual_seed(0)
    policy = FullPolicy(obs_dim=obs_dim, hidden_sizes=(32, 32))
    result = distil(policy, episodes, QUICK)
    assert result.record["baseline_fingerprint"] is None
    assert result.loss_after < 0.9 * result.loss_before


def test_an_action_that_overshoots_the_limit_still_has_a_gradient(obs_dim):
    policy = fresh(obs_dim)
    baseline_action = torch.tensor([[0.0, 0.9]])
    squashed = torch.tensor([[0.0, 0.8]], requires_grad=True)
    action = composed_action(policy, baseline_action, squashed)
    assert torch.equal(action, policy.compose(baseline_action, squashed))
    (action[0, 1] - 0.7).square().backward()
    assert squashed.grad[0, 1] > 0.1


def test_the_files_are_written_once(distilled, tmp_path):
    folder = distilled.save(tmp_path / "out")
    record = json.loads((folder / "distilled.json").read_text())
    assert record["baseline_fingerprint"] == BASELINE.fingerprint
    assert record["data"]["episodes"] == record["training_episodes"] + record["validation_episodes"]
    assert {"left_out", "policy_versions", "buffers", "rows"} <= record["data"].keys()
    assert policy_to_bytes(load_policy(folder / "policy.safetensors")) == policy_to_bytes(distilled.policy)
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        distilled.save(folder)


def test_episodes_that_mean_something_else_beside_the_policy_are_refused(episodes, obs_dim, tmp_path):
    other = scripted_baseline(ScriptedBaselineConfig(headway_s=1.0))
    with pytest.raises(SchemaMismatch, match="driven beside the baseline"):
        distil(DeltaPolicy(other, obs_dim=obs_dim), episodes)
    with pytest.raises(SchemaMismatch, match="same environment"):
        distil(fresh(obs_dim + 1), episodes)
    hand_made = good_episodes(write_episodes(tmp_path / "replay", [{}] * 12))
    with pytest.raises(SchemaMismatch, match="same environment"):
        distil(fresh(obs_dim), hand_made)
    drifted = Baseline(lambda obs: np.full((len(obs), 2), 0.5, np.float32), fingerprint=BASELINE.fingerprint)
    with pytest.raises(PolicyError, match="acts differently"):
        distil(DeltaPolicy(drifted, obs_dim=obs_dim), episodes)
