"""The on-policy trainer at work: branching, groups of episodes, what counts as a step, what is refused."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.wrappers import TimeLimit
from tiny import tiny_grpo_config

import carla_online as co
from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.envs.toy import ToyVectorEnv
from carla_online.envs.transitions import TransitionSource
from carla_online.errors import CapabilityError, ConfigError, PolicyError
from carla_online.online import Callback, CARLAOnlineRunner, OnlineGRPOTrainer, RunnerConfig, open_run
from carla_online.online.branches import drive_branches
from carla_online.online.guard import GuardConfig
from carla_online.online.rollouts import RolloutRecorder, Rollouts
from carla_online.policies import FullPolicy

PENDULUM = {"kind": "gymnasium", "id": "Pendulum-v1", "num_envs": 4}
SETTINGS = RunnerConfig(tensorboard=False, log_every_env_steps=100)


class SelfStoringPendulum(PendulumEnv):
    """A user's environment: what it keeps can't be seen from outside, but it offers snapshot and restore."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [object()]

    def snapshot(self) -> dict[str, np.ndarray]:
        words = json.dumps(self.np_random.bit_generator.state).encode()
        return {"state": self.state.copy(), "random": np.frombuffer(words, np.uint8)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.state = arrays["state"]
        self.np_random.bit_generator.state = json.loads(arrays["random"].tobytes())


def self_storing(count: int) -> TransitionSource:
    make = lambda: TimeLimit(SelfStoringPendulum(), 30)  # noqa: E731
    return TransitionSource(ToyVectorEnv([make] * count, autoreset_mode="SameStep"))


def world(count: int) -> TransitionSource:
    return TransitionSource(co.make_vector_env({"kind": "world", "map": "curve"}, count))


@pytest.mark.parametrize("make", [self_storing, world])
def test_branches_begin_alike_part_and_leave_the_environments_as_they_were(make):
    source = make(3)
    obs, _ = source.reset(seed=1)
    for _ in range(7):
        obs = source.step(np.zeros((3, source.action_dim), np.float32)).obs
    torch.manual_seed(0)
    policy = FullPolicy(obs_dim=source.obs_dim, action_dim=source.action_dim, hidden_sizes=(8,), log_std_bias=0.0)
    terms = len(REWARD_TERM_NAMES) if source.capabilities.reward_terms else 0
    recorder = RolloutRecorder(policy, num_envs=3, reward_terms=terms, hold_steps=2, gamma=0.9)
    rollouts = Rollouts(6, state_dim=source.obs_dim, action_dim=source.action_dim)
    before = source.snapshot()
    generator = torch.Generator().manual_seed(1)
    steps = drive_branches(source, recorder, rollouts, group_size=2, horizon_steps=8, generator=generator)
    after = source.snapshot()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes(), name
    assert steps == 2 * 3 * 8
    inputs = rollouts["inputs"]
    np.testing.assert_array_equal(inputs[0, :3], obs)
    np.testing.assert_array_equal(inputs[0, 3:], obs)
    assert (np.abs(rollouts["pre_squash"][0, :3] - rollouts["pre_squash"][0, 3:]).max(axis=1) > 0).all()
    assert (np.abs(inputs[1, :3] - inputs[1, 3:]).max(axis=1) > 0).all()


def test_branch_steps_count_towards_the_total(tmp_path):
    config = tiny_grpo_config(total_env_steps=100_000, env=PENDULUM, group_mode="branch", branch_points=2)
    with open_run(config, run_dir=tmp_path, show_progress=False) as runner:
        runner.run(4 * (24 + 2 * 2 * 4 * 3) * 5)
        assert runner.env_steps == 4 * (24 + 2 * 2 * 4 * 3) * 5
        assert runner.trainer.updates > 0


def test_without_exact_restore_branching_is_refused_with_the_alternatives(tmp_path):
    class Opaque(PendulumEnv):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [object()]

    env = ToyVectorEnv([lambda: TimeLimit(Opaque(), 20)] * 2, autoreset_mode="SameStep")
    policy = FullPolicy(obs_dim=3, action_dim=1, hidden_sizes=(8,))
    trainer = OnlineGRPOTrainer(policy, config=co.GRPOConfig(group_mode="branch"))
    with pytest.raises(CapabilityError, match=r"exact_restore.*episode.*critic.*ppo"):
        CARLAOnlineRunner(env, trainer, run_dir=tmp_path, settings=SETTINGS, show_progress=False)


def test_a_policy_without_a_head_is_refused_with_the_way_out():
    with pytest.raises(PolicyError, match="DeltaPolicy"):
        OnlineGRPOTrainer(co.scripted_baseline())


@pytest.mark.parametrize("env", [PENDULUM, {"kind": "world", "num_envs": 4}], ids=["pendulum", "world"])
def test_members_of_an_episode_group_drive_the_same_episodes(tmp_path, env):
    config = tiny_grpo_config(env=env, group_mode="episode")
    starts: list[np.ndarray] = []

    class Watch(Callback):
        def on_update(self, runner, metrics):
            starts.append(metrics["group_start_gap"])

    with open_run(config, run_dir=tmp_path, callbacks=[Watch()], show_progress=False) as runner:
        first = runner._intake._obs.copy()
        runner.run(6_000)
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(first[2], first[3])
    assert np.abs(first[0] - first[2]).max() > 0
    assert starts
    assert max(starts) == 0.0


def test_environments_must_fall_into_groups_of_episodes(tmp_path):
    config = tiny_grpo_config(env=PENDULUM | {"num_envs": 3}, group_mode="episode")
    with pytest.raises(ConfigError, match="num_envs 3 isn't a multiple"):
        open_run(config, run_dir=tmp_path, show_progress=False)


@pytest.mark.parametrize("group_mode", ["ppo", "branch", "episode", "critic"])
def test_every_mode_logs_what_the_guard_and_the_report_look_at(tmp_path, group_mode):
    config = tiny_grpo_config(env=PENDULUM, group_mode=group_mode)
    seen: dict[str, float] = {}

    class Collect(Callback):
        def on_update(self, runner, metrics):
            seen.update(metrics)

    with open_run(config, run_dir=tmp_path, callbacks=[Collect()], show_progress=False) as runner:
        runner.run(2_400)
    needed = {"entropy", "action_std", "saturation", "kl_to_initial", "kl_to_previous", "clip_fraction_low"}
    needed |= {"clip_fraction_high", "log_mean_ratio", "actor_grad_norm", "advantage_scale"}
    needed |= set() if group_mode == "ppo" else {"degenerate_groups"}
    needed |= set() if group_mode == "episode" else {"explained_variance", "value_loss", "value_grad_norm"}
    assert needed <= seen.keys()
    assert "reward_agreement" not in seen  # a few dozen rewards say too little
    assert all(np.isfinite(value) for value in seen.values())


@pytest.mark.parametrize("part", ["head", "value"])
def test_a_nan_in_the_weights_is_taken_back_before_it_reaches_the_environments(tmp_path, part):
    class Poison(Callback):
        done = False

        def on_step(self, runner, step):
            assert np.isfinite(step.obs).all()
            if runner.trainer.updates >= 20 and not self.done:
                broken = runner.trainer.policy.head if part == "head" else runner.trainer.learner.value
                with torch.no_grad():
                    next(broken.parameters())[0] = torch.nan
                self.done = True

    config = tiny_grpo_config(env=PENDULUM).model_copy(update={"guard": GuardConfig(recover_after_good=1_000)})
    poison = Poison()
    with open_run(config, run_dir=tmp_path, callbacks=[poison], show_progress=False) as runner:
        runner.run(4_000)
        assert poison.done
        assert runner.trainer.guard.rollbacks == 1
        assert all(torch.isfinite(value).all() for value in runner.trainer.learner.state_dict().values())
        assert runner.trainer.learner.actor_optimiser.param_groups[0]["lr"] == pytest.approx(1.5e-4)
        assert runner.trainer.updates > 20


def test_a_rollback_brings_the_scale_of_the_advantages_back(tmp_path):
    with open_run(tiny_grpo_config(env=PENDULUM), run_dir=tmp_path, show_progress=False) as runner:
        runner.run(2_000)
        trainer = runner.trainer
        trainer.guard.begin(trainer._good_state(), step_id=0, updates=0)
        before = trainer._scale.scale
        for _ in range(20):
            trainer._scale.update(1e4)
        assert trainer._scale.scale > 2.0 * before
        assert trainer._guard_against({"value_loss": float("inf")})
        assert trainer._scale.scale == before


def test_a_users_gymnasium_env_trains_with_branches(tmp_path):
    env = self_storing(4).env
    assert isinstance(env, gym.vector.VectorEnv)
    policy = FullPolicy(obs_dim=3, action_dim=1, hidden_sizes=(16,))
    config = co.GRPOConfig(group_mode="branch", window_steps=20, branch_horizon=5, group_size=2, hidden_sizes=(16,))
    trainer = OnlineGRPOTrainer(policy, config=config)
    with CARLAOnlineRunner(env, trainer, run_dir=tmp_path, settings=SETTINGS, show_progress=False) as runner:
        runner.run(1_000)
        assert trainer.updates > 0
