"""A run in one process counts its simulators' failures, tells them, and stops where they are the rule."""

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv

from carla_online.envs.workers import IncidentLog, SupervisionConfig
from carla_online.errors import SimulatorError
from carla_online.learners.config import SACConfig
from carla_online.online.intake import InProcessIntake
from carla_online.online.sac import OnlineSACTrainer
from carla_online.policies import FullPolicy


class FailingServers(VectorEnv):
    """Two environments; the second's server fails at every `every`-th step."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, every):
        self.num_envs, self.every, self.steps = 2, every, 0
        self.single_observation_space = Box(-1, 1, (3,), np.float32)
        self.single_action_space = Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros((2, 3), np.float32), {}

    def step(self, actions):
        self.steps += 1
        failed = np.array([False, self.steps % self.every == 0])
        info = {
            "sim_failure": np.array(["", "crash" if failed[1] else ""], dtype=object),
            "episode_seed": np.array([5, 7], np.uint64),
        }
        return np.zeros((2, 3), np.float32), np.zeros(2), np.zeros(2, np.bool_), failed, info


class Idle:
    """Stands in for a trainer that does nothing."""

    rows_per_sequence = 1

    def act(self, obs):
        return np.zeros((len(obs), 2), np.float32)

    def observe(self, step):
        pass


def test_failures_are_counted_told_and_stop_the_run_above_the_limit(tmp_path):
    limits = SupervisionConfig(max_failures_per_1000_steps=20, judge_from_failures=5)
    log = IncidentLog(limits, path=tmp_path / "incidents.jsonl")
    intake = InProcessIntake(FailingServers(every=10), incidents=log)
    intake.begin(Idle(), seed=0)
    with pytest.raises(SimulatorError, match="5 failures in .* per 1,000, above the limit of 20"):
        for _ in range(1_000):
            intake.turn(Idle(), remaining=1_000)
    assert len(intake.messages()) == 5
    assert intake.metrics()["workers/failures"] == 5
    assert (tmp_path / "incidents.jsonl").read_text().count('"crash"') == 5


def test_what_follows_a_failure_between_two_transitions_is_another_episode(tmp_path):
    policy = FullPolicy(obs_dim=3, action_dim=2, hidden_sizes=(8,))
    trainer = OnlineSACTrainer(policy, config=SACConfig(hold_steps=2, batch_size=16), capacity_rows=1_000)
    intake = InProcessIntake(FailingServers(every=5))  # two steps, two steps, and a fifth that fails at once
    trainer.prepare(intake.facts, directory=tmp_path)
    intake.begin(trainer, seed=0)
    for _ in range(12):
        intake.turn(trainer, remaining=100)
    rows = next(iter(trainer.replay.read_rows()))
    own = rows["episode_id"] != rows["episode_id"][0]  # the first row is of the environment that never fails
    assert np.bincount(np.unique(rows["episode_id"][own], return_inverse=True)[1]).max() == 2
    # The failure at the tenth step ends a transition, the one at the fifth none: the row before is marked then.
    last = np.append(rows["episode_id"][own][1:] != rows["episode_id"][own][:-1], True)
    assert (rows["truncated"][own] == last).all() and not rows["terminated"].any()
    trainer.close()
    intake.close()
