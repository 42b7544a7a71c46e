"""The stability guard: what it sees, what it restores, when it gives up."""

import json
import math

import pytest
import torch
from safety_toy import trained

from carla_online.online.detectors import Detector, LimitConfig, Watch
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.return_watch import ReturnWatch


class Learner:
    """Stands for a learner with one weight and a step size."""

    def __init__(self) -> None:
        self.weight, self.step_size = torch.tensor(1.0), 1.0

    def save(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight.clone(), "lr": torch.tensor(self.step_size)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.weight, self.step_size = state["weight"].clone(), float(state["lr"])

    def rescale(self, factor: float) -> None:
        self.step_size *= factor


def make_guard(learner: Learner, *, q_limit: float | None = None, **settings: object) -> StabilityGuard:
    guard = StabilityGuard(GuardConfig(**settings), q_limit=q_limit)
    guard.begin(learner.save(), step_id=0, updates=0)
    return guard


def look(guard: StabilityGuard, learner: Learner, metrics: dict[str, float], updates: int):
    return guard.look(
        metrics,
        updates=updates,
        step_id=updates * 10,
        save=learner.save,
        restore=learner.restore,
        rescale=learner.rescale,
    )


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"q_loss": math.nan}, "q_loss is nan"),
        ({"actor_loss": -math.inf}, "actor_loss is -inf"),
        ({"q_max": 13.0}, "q_max is 13, above 12"),
    ],
)
def test_a_fault_brings_back_the_weights_that_have_proved_themselves(metrics, reason):
    learner = Learner()
    guard = make_guard(learner, q_limit=12.0, good_every_updates=50)
    for updates, weight in ((50, 2.0), (100, 3.0)):
        learner.weight = torch.tensor(weight)
        assert look(guard, learner, {"q_max": 11.9}, updates) is None
    learner.weight = torch.tensor(math.nan)
    rollback = look(guard, learner, metrics, 120)
    assert rollback is not None
    assert not rollback.frozen
    # The newest kept state, of update 100, might be infected already; that of update 50 has driven on in good health.
    assert float(learner.weight) == 2.0
    assert rollback.first_bad_step_id == 500
    assert rollback.reason == reason


def test_a_state_is_not_kept_while_anything_looks_bad():
    learner = Learner()
    guard = make_guard(learner, good_every_updates=10, saturation={"warn": 0.5}, rollbacks_before_freeze=3)
    for updates in range(10, 100, 10):
        learner.weight = torch.tensor(float(updates))
        look(guard, learner, {"saturation": 0.9}, updates)
    assert guard.take_warnings() == ["guard: saturation is 0.9, above 0.5; nothing was done"]
    assert guard.take_warnings() == []
    assert look(guard, learner, {"q_loss": math.nan}, 100) is not None
    assert float(learner.weight) == 1.0


def test_two_rollbacks_in_a_row_freeze_but_two_with_a_good_stretch_between_do_not():
    learner = Learner()
    guard = make_guard(learner, q_limit=1.0, good_every_updates=100)
    assert not look(guard, learner, {"q_max": 2.0}, 100).frozen
    assert look(guard, learner, {"q_max": 0.5}, 210) is None
    assert not look(guard, learner, {"q_max": 2.0}, 250).frozen
    assert look(guard, learner, {"q_max": 2.0}, 300).frozen
    assert guard.is_frozen


def test_step_sizes_are_lowered_until_good_states_have_followed():
    learner = Learner()
    guard = make_guard(learner, q_limit=1.0, good_every_updates=10, recover_after_good=3)
    sizes = []
    for updates in range(10, 130, 10):
        rollback = look(guard, learner, {"q_max": 2.0 if updates in (10, 80) else 0.5}, updates)
        assert rollback is None or rollback.step_share == learner.step_size
        sizes.append(learner.step_size)
    # The second rollback goes to a state that was kept at full step sizes, and halves those.
    assert sizes == [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0]
    recovered = "guard: healthy since the rollback; the step sizes are the configured ones again"
    assert guard.take_warnings() == [recovered, recovered]


def test_a_rollback_to_a_state_with_small_steps_makes_them_smaller_still():
    learner = Learner()
    guard = make_guard(learner, q_limit=1.0, good_every_updates=10, recover_after_good=100)
    for updates in (10, 20, 30, 40):
        look(guard, learner, {"q_max": 2.0 if updates in (10, 40) else 0.5}, updates)
    assert learner.step_size == guard.step_share == 0.25


def test_everything_survives_a_restart():
    learner = Learner()
    guard = make_guard(learner, good_every_updates=50, loss={"stop": 5.0, "looks": 3})
    for updates in range(10, 210, 10):
        learner.weight = torch.tensor(float(updates))
        look(guard, learner, {"q_loss": 1.0, "reward_agreement": 0.9}, updates)
        guard.returns.add({"return": float(updates % 7)})
    look(guard, learner, {"q_loss": 9.0}, 210)
    twin = StabilityGuard(guard.config, q_limit=None)
    twin.load_state_dict(json.loads(json.dumps(guard.state_dict())), guard.tensors())
    assert twin.state_dict() == guard.state_dict()
    for each in (guard, twin):
        assert look(each, learner, {"q_loss": 9.0}, 220) is None
        assert "for 3 looks" in look(each, learner, {"q_loss": 9.0}, 230).reason
        assert float(learner.weight) == 150.0


def test_without_a_limit_a_large_q_is_no_fault():
    learner = Learner()
    assert look(make_guard(learner), learner, {"q_max": 1e9, "q_loss": 1.0}, 50) is None


RELATIVE = Detector(
    "loss", LimitConfig(warn=5.0, stop=10.0, looks=2), of_median=True, settle_looks=3, least_median=0.01
)


def test_limits_relative_to_the_median_sleep_until_it_is_known():
    watch = Watch([RELATIVE])
    assert watch.look({"loss": 1e9}).is_healthy
    assert watch.look({"loss": 1.0}).is_healthy
    assert watch.look({"loss": 1.0}).is_healthy
    assert watch.look({"loss": 6.0}).warnings == ["loss is 6, above 5 for 2 looks (usually 1)"]
    assert watch.look({"loss": 6.0}) == watch.look({"loss": 7.0})  # told once
    assert watch.look({"loss": 11.0}).fault is None
    assert watch.look({"loss": 12.0}).fault == "loss is 12, above 10 for 2 looks (usually 1)"


def test_a_single_outlier_starts_the_count_anew_and_is_no_custom():
    watch = Watch([RELATIVE])
    for _ in range(10):
        for value in (1.0, 1.0, 1.0, 100.0):
            assert watch.look({"loss": value}).fault is None


def test_a_median_that_is_only_noise_is_no_yardstick():
    watch = Watch([RELATIVE])
    for _ in range(20):
        watch.look({"loss": 1e-6})
    assert [watch.look({"loss": 0.09}).fault for _ in range(3)] == [None] * 3
    watch.look({"loss": 0.11})
    assert watch.look({"loss": 0.11}).fault is not None
    sleeper = Detector("agreement", LimitConfig(stop=0.2), side="below", of_median=True, least_median=0.2)
    watch = Watch([sleeper])
    for _ in range(20):
        watch.look({"agreement": 0.1})
    assert watch.look({"agreement": -1.0}).fault is None


def test_a_share_of_the_median_finds_a_flipped_sign():
    detector = Detector("agreement", LimitConfig(stop=0.2), side="below", of_median=True, settle_looks=5)
    watch = Watch([detector])
    for _ in range(5):
        assert watch.look({"agreement": 0.9}).fault is None
    assert watch.look({"agreement": 0.3}).fault is None
    assert watch.look({"agreement": -0.8}).fault == "agreement is -0.8, below 0.18 (usually 0.9)"


def test_explained_variance_may_start_below_zero_but_not_fall_there():
    config = GuardConfig(settle_looks=2)
    watch = Watch(config.detectors(q_limit=None))
    assert all(watch.look({"explained_variance": -1.0}).fault is None for _ in range(20))
    assert all(watch.look({"explained_variance": 0.8}).fault is None for _ in range(60))
    faults = [watch.look({"explained_variance": -0.1}).fault for _ in range(5)]
    assert [fault is None for fault in faults] == [True] * 4 + [False]


def test_critics_that_knew_and_know_nothing_any_more_are_found_within_three_updates():
    watch = Watch(GuardConfig().detectors(q_limit=None))
    assert all(watch.look({"q_fit": -1.0}).fault is None for _ in range(20))  # they haven't learned yet
    assert all(watch.look({"q_fit": 0.9}).fault is None for _ in range(60))
    assert watch.look({"q_fit": -1.5}).fault is None  # a batch with an event that nobody foresaw
    assert watch.look({"q_fit": 0.8}).fault is None
    faults = [watch.look({"q_fit": -0.9}).fault for _ in range(3)]
    assert faults == [None, None, "q_fit is -0.9, below -0.3 for 3 looks"]


def test_targets_that_are_noise_are_found_in_the_first_window():
    watch = Watch(GuardConfig().detectors(q_limit=None, by_window=True))
    assert all(watch.look({"value_fit": 0.4}).fault is None for _ in range(20))
    assert watch.look({"value_fit": 0.02}).fault is None  # it knows too little for a window to mean much
    assert all(watch.look({"value_fit": 0.7}).fault is None for _ in range(60))
    assert watch.look({"value_fit": 0.3}).fault is None  # a window with little in it
    assert watch.look({"value_fit": 0.01}).fault == "value_fit is 0.01, below 0.14 (usually 0.7)"


def test_a_window_is_enough_where_looks_at_batches_must_be_several():
    for by_window, faults in ((False, [None] * 2), (True, [True])):
        watch = Watch(GuardConfig().detectors(q_limit=None, by_window=by_window))
        for _ in range(10):
            watch.look({"reward_agreement": 0.9})
        found = [watch.look({"reward_agreement": -0.9}).fault for _ in faults]
        assert [fault is None for fault in found] == [fault is None for fault in faults]


def returns(values, *, level: float | None = None) -> list[dict[str, float]]:
    extra = {} if level is None else {"curriculum_level": level}
    return [{"return": float(value), **extra} for value in values]


def test_lumps_of_rare_events_are_no_fault_once_one_was_seen():
    ratio = Detector("ratio", LimitConfig(stop=6.0), of_median=True, settle_looks=3, of_largest=2.0)
    watch = Watch([ratio])
    for value in (0.1, 1.5, 0.1, 0.1, 0.1):
        assert watch.look({"ratio": value}).fault is None
    assert watch.look({"ratio": 2.9}).fault is None
    assert watch.look({"ratio": 5.9}).fault == "ratio is 5.9, above 5.8 (usually 0.1)"


def test_one_terrible_episode_is_no_collapse():
    watch = ReturnWatch()
    for episode in returns([1.0, 1.1, 0.9] * 20 + [-1_000.0] + [1.0, 1.1, 0.9] * 3):
        watch.add(episode)
        assert watch.shortfall < 15.0


def test_returns_may_be_noisy_and_may_rise_without_alarm():
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(2_000, generator=generator)
    for course in (noise, noise + torch.linspace(0.0, 300.0, 2_000), 2.0 * noise.sign() * (noise.abs() > 2.0)):
        watch = ReturnWatch()
        largest = 0.0
        for episode in returns(course):
            watch.add(episode)
            largest = max(largest, watch.shortfall)
        assert largest < 15.0


@pytest.mark.parametrize(("drop", "episodes"), [(10.0, 8), (4.0, 20)])
def test_returns_that_stay_down_add_up(drop, episodes):
    generator = torch.Generator().manual_seed(4)
    watch = ReturnWatch()
    for episode in returns(torch.randn(100, generator=generator)):
        watch.add(episode)
    for episode in returns(torch.randn(episodes, generator=generator) - drop):
        watch.add(episode)
    assert watch.shortfall > 30.0
    watch.forgive(open_episodes=2)
    for episode in returns([-100.0, -100.0]):  # begun before learning was taken back
        watch.add(episode)
    assert watch.shortfall == 0.0


def test_a_new_stage_of_a_curriculum_is_no_drop():
    watch = ReturnWatch()
    for episode in returns([1.0, 1.1, 0.9] * 40, level=0) + returns([-5.0, -4.0, -6.0] * 40, level=1):
        watch.add(episode)
    assert watch.shortfall < 15.0


def test_healthy_learning_of_rare_severe_events_is_left_alone():
    assert trained(seed=0, windows=100).guard.rollbacks == 0
