"""The SAC trainer at work: its schedule, its guard, policies with a rule of their own, callbacks."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from faults import Fault
from tiny import tiny_config

import carla_online as co
from carla_online.errors import ConfigError, PolicyError
from carla_online.online import Callback, CARLAOnlineRunner, OnlineSACTrainer, RunnerConfig, open_run

PENDULUM = {"kind": "gymnasium", "id": "Pendulum-v1", "num_envs": 2}
SETTINGS = RunnerConfig(tensorboard=False, log_every_env_steps=100)


@pytest.mark.parametrize("updates_per_env_step", [1.0, 0.25, 2.5])
def test_updates_follow_transitions_after_warm_up(tmp_path, updates_per_env_step):
    assert co.SACConfig().updates_per_env_step == 1.0
    config = tiny_config(total_env_steps=900, env=PENDULUM, updates_per_env_step=updates_per_env_step, hold_steps=1)
    with open_run(config, run_dir=tmp_path, show_progress=False) as runner:
        runner.run()
        trainer = runner.trainer
        first = config.learner.warmup.critic_from_transitions
        assert trainer.transitions == 900
        # The rows that complete the warm-up count too: they come two at a time.
        learned_from = trainer.transitions - (first - PENDULUM["num_envs"])
        assert trainer.updates == int(learned_from * updates_per_env_step)
        assert trainer.learner.updates == trainer.updates


def test_the_actor_stays_as_it_was_until_the_warm_up_is_over(tmp_path):
    config = tiny_config(total_env_steps=580, env=PENDULUM, hold_steps=1)
    config = config.model_copy(
        update={
            "learner": config.learner.model_copy(
                update={"warmup": config.learner.warmup.model_copy(update={"transitions": 10_000})}
            )
        }
    )
    with open_run(config, run_dir=tmp_path, show_progress=False) as runner:
        before = [value.clone() for value in runner.trainer.policy.head.parameters()]
        runner.run()
        assert runner.trainer.updates > 0
        for old, new in zip(before, runner.trainer.policy.head.parameters(), strict=True):
            assert torch.equal(old, new)


@pytest.mark.parametrize("kind", ["delta", "full"])
def test_a_share_of_the_environments_is_the_baselines(tmp_path, kind):
    config = tiny_config(total_env_steps=1_600, hold_steps=1, guide_share=0.25)
    policy = config.policy.model_copy(update={"kind": kind})
    with open_run(config.model_copy(update={"policy": policy}), run_dir=tmp_path, show_progress=False) as runner:
        runner.run()
        rows = runner.trainer.replay.sampler(seed=0).sample(600)
    after_warm_up = rows["step_id"] >= 200
    is_guided = rows["step_id"] % 4 == 0  # four environments store a row each at every step
    is_baselines = (rows["baseline_action"] == rows["proposed_action"]).all(axis=1)
    assert is_baselines[is_guided].all()
    assert not is_baselines[~is_guided & after_warm_up].any()


def test_a_guide_needs_a_baseline_and_leaves_something_to_drive(tmp_path):
    for index, config in enumerate(
        (
            tiny_config(env=PENDULUM, guide_share=0.25),
            tiny_config(env={"kind": "world", "num_envs": 1}, guide_share=0.25),
        )
    ):
        with pytest.raises(ConfigError, match="guide_share"):
            open_run(config, run_dir=tmp_path / str(index), show_progress=False)


class Poison(Callback):
    """Puts a NaN into the critic once, some updates after the guard has kept a good state."""

    def __init__(self, after_updates: int, *, again: bool = False) -> None:
        self.after_updates = after_updates
        self.again = again

    def on_step(self, runner, step) -> None:
        if runner.trainer.updates >= self.after_updates:
            with torch.no_grad():
                runner.trainer.learner.critic.weights[0][0, 0, 0] = torch.nan
            self.after_updates = runner.trainer.updates + 1 if self.again else 10**9


def guarded(tmp_path, callback):
    config = tiny_config(total_env_steps=2_400, env=PENDULUM, hold_steps=1)
    guard = {"check_every_updates": 10, "good_every_updates": 20, "recover_after_good": 1_000}
    config = type(config).model_validate(config.model_dump() | {"guard": guard})
    return open_run(config, run_dir=tmp_path, callbacks=[callback], show_progress=False)


def test_a_nan_is_rolled_back_and_its_data_quarantined(tmp_path):
    with guarded(tmp_path, Poison(60)) as runner:
        runner.run()
        trainer = runner.trainer
        assert trainer.guard.rollbacks == 1
        assert not trainer.guard.is_frozen
        assert all(torch.isfinite(value).all() for value in trainer.learner.state_dict().values())
        assert trainer.learner.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.5e-3)
        rows = list(trainer.replay.read_rows())
        quarantined = np.concatenate([block["quarantined"] for block in rows])
        assert 0 < quarantined.sum() < len(quarantined)
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert any("guard" in key and "nan" in str(value) for event in events for key, value in event.items())


def test_a_fault_before_anything_good_was_kept_leaves_the_warm_up_to_learn_from(tmp_path):
    with guarded(tmp_path, Poison(5)) as runner:
        runner.run()
        trainer = runner.trainer
        assert trainer.guard.rollbacks == 1
        assert trainer.updates > 100
        blocks = list(trainer.replay.read_rows())
        step_id, quarantined = (
            np.concatenate([block[name] for block in blocks]) for name in ("step_id", "quarantined")
        )
        assert not quarantined[step_id < trainer.config.warmup.critic_from_transitions].any()


def test_a_fault_that_comes_back_freezes_learning_and_driving_goes_on(tmp_path):
    with guarded(tmp_path, Poison(60, again=True)) as runner:
        runner.run()
        assert runner.trainer.guard.is_frozen
        assert runner.env_steps >= 2_400
        assert all(torch.isfinite(value).all() for value in runner.trainer.policy.head.parameters())


@pytest.mark.parametrize(("name", "signal"), [("lr_x100", "_step"), ("reward_x100", "reward_ratio|loss|grad")])
def test_an_injected_fault_is_noticed_and_nothing_before_it(tmp_path, name, signal):
    config = tiny_config(total_env_steps=2_400, env=PENDULUM, updates_per_env_step=0.5, hold_steps=1, value_bounds=None)
    guard = {"good_every_updates": 100}
    config = type(config).model_validate(config.model_dump() | {"guard": guard})
    fault = Fault(name, at_env_steps=2_000, lasts=False)
    with open_run(config, run_dir=tmp_path, callbacks=[fault], show_progress=False) as runner:
        runner.run()
        assert fault.began is not None
        assert runner.trainer.guard.rollbacks == 1
    told = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    messages = [line for line in told if "guard" in line]
    assert len(messages) == 1
    assert re.search(signal, messages[0]["guard"])
    assert messages[0]["step"] >= 2_000


class Centre(torch.nn.Module):
    """A policy with a rule of its own: it moves its one weight towards the mean executed action."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.5]))
        self.batches: list[set[str]] = []

    def act(self, obs, *, deterministic=False, generator=None):
        action = np.tile(self.weight.detach().numpy(), (len(obs), 1)).astype(np.float32)
        return action, np.zeros(len(obs), np.float32), {}

    def update(self, batch):
        self.batches.append(set(batch))
        return {"mean_reward": float(np.mean(batch["reward"]))}


def test_a_policy_with_its_own_rule_is_called_in_place_of_a_learner(tmp_path):
    policy = Centre()
    config = co.SACConfig(batch_size=8, warmup={"transitions": 10, "critic_from_transitions": 10})
    trainer = OnlineSACTrainer(policy, config=config, capacity_rows=2_000)
    env = co.make_vector_env("Pendulum-v1", 2)
    with CARLAOnlineRunner(env, trainer, run_dir=tmp_path, settings=SETTINGS, show_progress=False) as runner:
        runner.run(200)
    assert len(policy.batches) > 100
    assert {"obs", "next_obs", "executed_action", "reward", "terminated", "n_step_reward"} <= policy.batches[0]


def test_a_policy_that_cant_learn_is_refused_with_the_way_out():
    with pytest.raises(PolicyError, match="DeltaPolicy"):
        OnlineSACTrainer(co.scripted_baseline())


def test_noise_around_the_baseline_needs_a_value_for_each_action(tmp_path):
    warmup = {"kind": "around_baseline", "transitions": 200, "noise": [0.1]}
    with pytest.raises(ConfigError, match="2 actions"):
        open_run(tiny_config(warmup=warmup), run_dir=tmp_path, show_progress=False)


def test_callbacks_see_steps_episodes_updates_and_checkpoints(tmp_path):
    seen = {"steps": 0, "episodes": 0, "updates": 0, "checkpoints": 0}

    class Count(Callback):
        def on_step(self, runner, step):
            seen["steps"] += 1

        def on_episode(self, runner, episode):
            assert {"return", "length"} <= episode.keys()
            seen["episodes"] += 1

        def on_update(self, runner, metrics):
            assert all(np.isfinite(value) for value in metrics.values())
            seen["updates"] += 1

        def on_checkpoint(self, runner, path):
            assert path.exists()
            seen["checkpoints"] += 1

    config = tiny_config(total_env_steps=1_600, env=PENDULUM, hold_steps=1)
    with open_run(config, run_dir=tmp_path, callbacks=[Count()], show_progress=False) as runner:
        runner.run()
    assert seen["steps"] == 800
    assert seen["episodes"] == 8
    assert seen["updates"] > 0
    assert seen["checkpoints"] == 2


def test_experience_is_tagged_with_where_it_was_made(tmp_path):
    config = tiny_config(total_env_steps=200, env={"kind": "world", "num_envs": 4, "map": "curve", "traffic": "light"})
    with open_run(config, run_dir=tmp_path, show_progress=False) as runner:
        runner.run()
        replay = runner.trainer.replay
        tags = {int(tag) for block in replay.read_rows() for tag in block["slice_id"]}
        assert [replay.slice_names[tag] for tag in tags] == ["curve/light/dry"]
        assert replay.baseline_hashes[0] == runner.trainer.policy.baseline.fingerprint
