"""The stability guard: what it sees, what it restores, when it gives up."""

import math
import re

import pytest
import torch

from carla_online.online.guard import GuardConfig, StabilityGuard


class Learner:
    """Stands for a learner with one weight."""

    def __init__(self) -> None:
        self.weight = torch.tensor(1.0)

    def save(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight.clone()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.weight = state["weight"].clone()


def look(guard: StabilityGuard, learner: Learner, metrics: dict[str, float], updates: int):
    return guard.look(metrics, updates=updates, step_id=updates * 10, save=learner.save, restore=learner.restore)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"q_loss": math.nan}, "q_loss is nan"),
        ({"actor_loss": -math.inf}, "actor_loss is -inf"),
        ({"q_max": 13.0}, "13.*allows 12"),
    ],
)
def test_a_fault_brings_the_last_good_weights_back(metrics, reason):
    guard, learner = StabilityGuard(GuardConfig(good_every_updates=50), q_limit=12.0), Learner()
    assert look(guard, learner, {"q_max": 11.9}, 50) is None
    learner.weight = torch.tensor(math.nan)
    rollback = look(guard, learner, metrics, 100)
    assert rollback is not None
    assert not rollback.frozen
    assert rollback.first_bad_step_id == 500
    assert float(learner.weight) == 1.0

    assert re.search(reason, rollback.reason)


def test_two_rollbacks_in_a_row_freeze_but_two_with_a_good_stretch_between_do_not():
    config = GuardConfig(good_every_updates=100)
    guard, learner = StabilityGuard(config, q_limit=1.0), Learner()
    guard.keep(learner.save(), step_id=500, updates=50)
    assert not look(guard, learner, {"q_max": 2.0}, 100).frozen
    assert look(guard, learner, {"q_max": 0.5}, 160) is None
    assert not look(guard, learner, {"q_max": 2.0}, 200).frozen
    assert look(guard, learner, {"q_max": 2.0}, 250).frozen
    assert guard.is_frozen


def test_counters_survive_a_restart():
    guard = StabilityGuard(GuardConfig(), q_limit=None)
    guard.rollbacks, guard.in_a_row, guard.is_frozen = 5, 1, True
    twin = StabilityGuard(GuardConfig(), q_limit=None)
    twin.load_state_dict(guard.state_dict())
    assert twin.state_dict() == guard.state_dict()


def test_without_a_limit_a_large_q_is_no_fault():
    guard = StabilityGuard(GuardConfig(), q_limit=None)
    assert guard.fault({"q_max": 1e9, "q_loss": 1.0}) is None
