"""The benchmark driver throws away what a loaded machine measured, and the check finds a loss."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHES = str(Path(__file__).resolve().parents[1] / "benches")


@pytest.fixture
def rounds(monkeypatch):
    monkeypatch.syspath_prepend(BENCHES)
    import rounds

    yield rounds
    for name in ("rounds", "check", "report", "machine"):
        sys.modules.pop(name, None)


class Machine:
    """A clock that contenders move: each call takes its time, longer while the machine is disturbed."""

    def __init__(self, monkeypatch, rounds, disturbed=()):
        self.now, self.visits, self.order = 0.0, 0, []
        self.disturbed = disturbed
        monkeypatch.setattr(rounds.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(rounds.time, "thread_time", lambda: self.now)
        monkeypatch.setattr(rounds, "_calibrate", lambda run, visit_s: 1)

    def slowed(self, number):
        return 2.0 if number in self.disturbed else 1.0

    def contender(self, rounds, name, kind, taken_s, contenders=2):
        def run(count):
            number = self.visits // contenders
            self.visits += 1
            self.order.append(name)
            self.now += count * taken_s * self.slowed(number)

        return rounds.Contender(name, kind, run)


def contest_on(machine, rounds):
    contenders = [machine.contender(rounds, "ours", "ours", 2.0), machine.contender(rounds, "limit", "limit", 1.0)]
    return rounds.Contest("test", contenders)


def test_order_turns_and_ratios_are_those_of_the_rounds(monkeypatch, rounds):
    machine = Machine(monkeypatch, rounds)
    contest = contest_on(machine, rounds)
    contest.run(rounds=3, visit_s=1.0, clock="wall")
    assert machine.order == ["ours", "limit", "limit", "ours", "ours", "limit"]
    assert contest.ratio(1).median == pytest.approx(0.5)


def test_disturbed_rounds_are_thrown_away(monkeypatch, rounds):
    contest = contest_on(Machine(monkeypatch, rounds, disturbed={1, 2}), rounds)
    contest.run(rounds=4, visit_s=1.0, clock="wall")
    assert contest.kept.tolist() == [True, False, False, True, True, True]
    np.testing.assert_allclose(contest.seconds(0), 2.0)


def test_a_machine_with_two_speeds_is_measured_at_the_one_it_mostly_has(monkeypatch, rounds):
    contest = contest_on(Machine(monkeypatch, rounds, disturbed={1, 2, 4, 5}), rounds)
    contest.run(rounds=4, visit_s=1.0, clock="wall")
    assert contest.kept.tolist() == [False, True, True, False, True, True]
    assert contest.ratio(1).median == pytest.approx(0.5)


def test_a_loaded_machine_gives_no_figures(monkeypatch, rounds):
    machine = Machine(monkeypatch, rounds)
    monkeypatch.setattr(machine, "slowed", lambda number: 1.2**number)
    contest = contest_on(machine, rounds)
    with pytest.raises(rounds.MachineLoadedError, match="limit took more than 15% longer or shorter"):
        contest.run(rounds=4, visit_s=1.0, clock="wall")


def test_check_finds_a_loss_of_more_than_a_fifth(rounds):
    import check

    reference = {"replay/sample 256": {"numpy": 1.5, "limit": 0.9}}
    assert check.losses({"replay/sample 256": {"numpy": 1.21, "limit": 0.73}}, reference) == []
    assert "a loss of 21%" in check.losses({"replay/sample 256": {"numpy": 1.185, "limit": 0.9}}, reference)[0]
    assert "was not measured" in check.losses({"replay/sample 256": {"numpy": 1.5}}, reference)[0]
