"""The stability guard: what it sees, what it restores, when it gives up."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carla_online.envs.transitions import Step
from carla_online.online.guard import GuardConfig, StabilityGuard

CONFIG = GuardConfig(
    good_every_looks=1,
    good_states=20,
    burn_in_looks=5,
    rest_looks=2,
    longest_rest_looks=6,
    onset_margin_looks=1,
)


class Learner:
    """Stands for a learner with one weight; looks every 50 updates, ten transitions an update."""

    def __init__(self, config: GuardConfig = CONFIG, *, q_limit: float | None = None) -> None:
        self.guard = StabilityGuard(config, q_limit=q_limit)
        self.weight = torch.tensor(0.0)
        self.updates = 0
        self.guard.keep(self.save(), step_id=0, updates=0)

    def save(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight.clone()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.weight = state["weight"].clone()

    def look(self, **metrics: float):
        """One look later; a learner that may learn has come further."""
        self.updates += 50
        if self.guard.may_learn:
            self.weight = torch.tensor(float(self.updates))
        return self.guard.look(
            metrics, updates=self.updates, step_id=self.updates * 10, save=self.save, restore=self.restore
        )

    def looks(self, count: int, **metrics: float) -> None:
        for _ in range(count):
            assert self.look(**metrics) is None


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"q_loss": math.nan}, "q_loss is nan"),
        ({"actor_loss": -math.inf}, "actor_loss is -inf"),
        ({"q_max": 15.0}, r"15.*allows 14\.4"),
        ({"kl_to_previous": 1.0}, "step.*1000 times"),
        ({"reward_scale": 100.0}, "rewards are 100 times"),
    ],
)
def test_a_grave_fault_is_taken_back_at_the_first_look(metrics, reason):
    learner = Learner(q_limit=12.0)
    learner.looks(20, q_max=9.0, kl_to_previous=1e-3, reward_scale=1.0)
    rollback = learner.look(**metrics)
    assert rollback is not None and rollback.is_new and not rollback.frozen
    assert re.search(reason, rollback.reason)
    # The last healthy look was after 1,000 updates; one more is taken back for the margin.
    assert float(learner.weight) == 950.0
    assert rollback.first_bad_step_id == 9_500
    assert not learner.guard.may_learn


def test_a_fault_that_shows_late_goes_back_to_before_its_first_sign():
    learner = Learner()
    learner.looks(20, q_loss=1.0)
    learner.looks(6, q_loss=8.0)  # worth a warning
    learner.looks(2, q_loss=30.0)  # a strike, and another
    rollback = learner.look(q_loss=30.0)
    assert rollback is not None
    assert float(learner.weight) == 950.0
    assert rollback.first_bad_step_id == 9_500


def test_strikes_hold_the_weights_back_but_a_single_one_takes_nothing_back():
    learner = Learner()
    learner.looks(20, q_loss=1.0)
    assert learner.guard.may_publish
    learner.looks(1, q_loss=30.0)
    assert not learner.guard.may_publish
    learner.looks(1, q_loss=1.0)
    assert learner.guard.may_publish
    assert learner.guard.rollbacks == 0


@pytest.mark.parametrize(
    ("usual", "bad", "looks"),
    [
        ({"explained_variance": 0.9}, {"explained_variance": -0.5}, 2),
        ({"fresh_td_rms": 1.0}, {"fresh_td_rms": 9.0}, 2),
        ({"fresh_td_median": 0.0, "fresh_td_spread": 0.1}, {"fresh_td_median": -0.5, "fresh_td_spread": 0.1}, 2),
        ({"q_grad_norm": 1.0}, {"q_grad_norm": 21.0}, 3),
        ({"disagreement": 0.1}, {"disagreement": 0.6}, 3),
        ({"saturation": 0.1}, {"saturation": 0.9}, 2),
        ({"action_std": 0.5}, {"action_std": 0.01}, 3),
        ({"q_gap": 0.1}, {"q_gap": 2.5}, 3),
        ({"log_mean_ratio": 0.0}, {"log_mean_ratio": -0.2}, 1),
        ({"degenerate_groups": 0.1}, {"degenerate_groups": 0.95}, 3),
        ({"safety_interventions": 0.1}, {"safety_interventions": 0.3}, 5),
    ],
)
def test_a_noisy_signal_must_stay_bad(usual, bad, looks):
    learner = Learner()
    learner.looks(10, **usual)
    learner.looks(looks - 1, **bad)
    learner.looks(1, **usual)
    learner.looks(looks - 1, **bad)
    assert learner.look(**bad) is not None


def test_what_was_never_good_is_no_fault_when_it_is_bad():
    learner = Learner()
    learner.looks(30, explained_variance=-0.5, q_max=1e9, q_loss=1e6)


def test_after_a_rollback_learning_rests_until_the_data_are_healthy():
    learner = Learner()
    learner.looks(20, reward_scale=1.0)
    assert learner.look(reward_scale=100.0).is_new
    still = learner.look(reward_scale=100.0)
    assert not still.is_new and not still.frozen and learner.guard.is_resting
    learner.looks(1, reward_scale=1.0)
    assert learner.guard.is_resting
    learner.looks(1, reward_scale=1.0)
    assert learner.guard.may_learn
    assert learner.guard.rollbacks == 1


def test_a_fault_that_stays_freezes_learning_on_the_good_weights():
    learner = Learner()
    learner.looks(20, reward_scale=1.0)
    outcomes = [learner.look(reward_scale=100.0) for _ in range(7)]
    assert [outcome.is_new for outcome in outcomes] == [True, False, False, False, False, False, True]
    assert outcomes[-1].frozen and learner.guard.is_frozen
    assert float(learner.weight) == 950.0


def test_two_rollbacks_in_a_row_freeze_but_two_with_a_good_stretch_between_do_not():
    learner = Learner()
    learner.looks(20, reward_scale=1.0)
    learner.look(reward_scale=100.0)
    learner.looks(2 + 2, reward_scale=1.0)  # the rest, and two states that are kept
    assert not learner.look(reward_scale=100.0).frozen
    learner.looks(2, reward_scale=1.0)
    assert learner.look(reward_scale=100.0).frozen


def test_scores_that_fall_for_good_are_a_fault_and_scores_that_vary_are_not():
    learner = Learner()
    learner.guard.prepare(1)
    random = np.random.default_rng(0)

    def episodes(mean: float, count: int):
        for _ in range(count):
            score = np.array([random.normal(mean, 15.0)], dtype=np.float32)
            obs, no, yes = np.zeros((1, 1), np.float32), np.zeros(1, np.bool_), np.ones(1, np.bool_)
            learner.guard.observe(Step(obs, obs, score, no, yes, yes, {}))
            if (outcome := learner.look(q_mean=0.0)) is not None:
                return outcome
        return None

    assert episodes(20.0, 20) is None
    assert episodes(80.0, 400) is None
    assert "score worse" in episodes(20.0, 30).reason


@given(
    st.lists(
        st.fixed_dictionaries(
            {"q_loss": st.sampled_from([1.0, 8.0, 30.0, math.nan]), "reward_scale": st.sampled_from([1.0, 100.0])}
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 39),
)
def test_a_restored_guard_goes_on_as_the_first_would_have(looks, cut):
    first = Learner()
    first.looks(8, q_loss=1.0, reward_scale=1.0)
    for metrics in looks[:cut]:
        first.look(**metrics)
    second = Learner()
    second.guard.load_state_dict(json.loads(json.dumps(first.guard.state_dict())), first.guard.tensors())
    second.updates, second.weight = first.updates, first.weight.clone()
    for metrics in looks[cut:]:
        assert first.look(**metrics) == second.look(**metrics)
        assert first.weight.equal(second.weight)
    assert first.guard.state_dict() == second.guard.state_dict()


def test_a_warning_is_told_once_for_each_spell():
    learner = Learner()
    learner.looks(10, q_loss=1.0)
    learner.looks(5, q_loss=8.0)
    assert learner.guard.take_warnings() == ["the critics' loss is 8 times its running median (5)"]
    learner.looks(25, q_loss=1.0)
    learner.looks(1, q_loss=8.0)
    assert len(learner.guard.take_warnings()) == 1
