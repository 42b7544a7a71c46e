"""Criteria events in, exact reward out: no simulator and no checkout; criteria have the shape upstream gives them."""

from enum import Enum
from types import SimpleNamespace

import numpy as np
import pytest

from carla_online._native import WorldBatch
from carla_online.envs.contract import INFO_KEYS, INFRACTION_NAMES, REWARD_TERM_NAMES
from carla_online.envs.reward import Reward
from carla_online.envs.scenario_runner.criteria import EVENT_INFRACTIONS, CriteriaReader, Findings
from carla_online.envs.scenario_runner.driver import ScenarioDriver
from carla_online.envs.scenario_runner.ledger import Entry, Ledger, TreeState

INFO = WorldBatch.info_names()
EventType = Enum("EventType", [*EVENT_INFRACTIONS, "ROUTE_COMPLETION", "ROUTE_COMPLETED"])


class Criterion:
    def __init__(self, value=0.0):
        self.name, self.events, self.actual_value, self.test_status = type(self).__name__, [], value, "RUNNING"

    def happens(self, name, **details):
        self.events.append(SimpleNamespace(get_type=lambda: EventType[name], get_dict=lambda: details))


def _criterion(kind, value=0.0):
    return type(kind, (Criterion,), {})(value)


def _judged(*, completion=0.0, time_s=10.0, terms=None, ended=False, **counts):
    told = {"route_completion": completion, "sim_time_s": time_s, "reference_time_s": 20.0, "min_speed_share": 1.0}
    info = np.array([told.get(name, 0.0) for name in INFO])
    row, worth = np.zeros(len(INFRACTION_NAMES), np.int32), np.zeros(len(REWARD_TERM_NAMES), np.float32)
    for name, count in counts.items():
        row[INFRACTION_NAMES.index(name)] = count
    for name, value in (terms or {}).items():
        worth[REWARD_TERM_NAMES.index(name)] = value
    return Entry(row, worth, info, ended, False)


def _term(entry, name):
    return float(entry.reward_terms[REWARD_TERM_NAMES.index(name)])


def _told(entry, name):
    return float(entry.info[INFO.index(name)])


def _count(entry, name):
    return int(entry.infractions[INFRACTION_NAMES.index(name)])


def test_an_event_pays_once_and_stays_counted():
    light, ledger = _criterion("RunningRedLightTest"), Ledger()
    reader = CriteriaReader([light])
    before = ledger.enter(_judged(terms={"progress": 1.0}), reader.read(), TreeState.RUNNING)
    light.happens("TRAFFIC_LIGHT_INFRACTION")
    hit = ledger.enter(_judged(terms={"progress": 1.0}), reader.read(), TreeState.RUNNING)
    after = ledger.enter(_judged(terms={"progress": 1.0}), reader.read(), TreeState.RUNNING)
    reward = Reward()  # 0.1 for progress, -24 for a red light
    rewards = [float(reward(entry.reward_terms[None])[0]) for entry in (before, hit, after)]
    assert rewards == pytest.approx([0.1, -23.9, 0.1], abs=1e-6)
    assert [_count(entry, "red_light") for entry in (before, hit, after)] == [0, 1, 1]


def test_a_criterion_takes_the_place_of_the_worlds_count():
    reader = CriteriaReader([_criterion("RunningRedLightTest")])
    entry = Ledger().enter(_judged(red_light=1, stop_sign=1), reader.read(), TreeState.RUNNING)
    assert (_count(entry, "red_light"), _term(entry, "red_light")) == (0, 0.0)
    assert (_count(entry, "stop_sign"), _term(entry, "stop_sign")) == (1, 1.0)


def test_a_collision_that_the_sensor_missed_counts_and_one_that_both_saw_counts_once():
    collision, ledger = _criterion("CollisionTest"), Ledger()
    reader = CriteriaReader([collision])
    missed = ledger.enter(_judged(collision_walker=1), reader.read(), TreeState.RUNNING)
    assert (_count(missed, "collision_walker"), _term(missed, "collision"), _told(missed, "collision")) == (1, 1.0, 1.0)
    collision.happens("COLLISION_PEDESTRIAN")
    seen = ledger.enter(_judged(collision_walker=1), reader.read(), TreeState.RUNNING)
    assert (_count(seen, "collision_walker"), _term(seen, "collision")) == (1, 0.0)


def test_a_finished_scenario_pays_its_bonus_and_the_rest_of_its_way():
    ledger = Ledger(reference_time_s=30.0)
    first = ledger.enter(_judged(completion=0.25), Findings(), TreeState.RUNNING)
    last = ledger.enter(_judged(completion=0.5, time_s=60.0), Findings(), TreeState.SUCCEEDED)
    assert (_term(first, "completion"), _term(last, "completion")) == (25.0, 75.0)
    assert (_term(last, "route_finished"), last.terminated, last.truncated) == (1.0, True, False)
    assert (_told(last, "driving_score"), _told(last, "timed_driving_score")) == (100.0, 50.0)


def test_the_route_criterion_says_how_far_the_route_was_driven():
    route = _criterion("RouteCompletionTest", 40.0)
    entry = Ledger().enter(_judged(completion=0.9), CriteriaReader([route]).read(), TreeState.RUNNING)
    assert _told(entry, "route_completion") == pytest.approx(0.4)
    assert _told(entry, "driving_score") == pytest.approx(40.0)


def test_the_share_outside_of_the_lanes_comes_from_the_event_that_grows():
    outside = _criterion("OutsideRouteLanesTest")
    outside.happens("OUTSIDE_ROUTE_LANES_INFRACTION", percentage=20.0)
    entry = Ledger().enter(_judged(completion=1.0), CriteriaReader([outside]).read(), TreeState.RUNNING)
    assert _told(entry, "driving_score") == pytest.approx(80.0)


@pytest.mark.parametrize(
    ("state", "terminated", "truncated", "timed_out"),
    [
        (TreeState.RUNNING, False, False, 0),
        (TreeState.FAILED, True, False, 0),
        (TreeState.TIMED_OUT, False, True, 1),
        (TreeState.EGO_GONE, False, True, 0),
    ],
)
def test_how_a_scenario_ends(state, terminated, truncated, timed_out):
    entry = Ledger().enter(_judged(completion=0.5), Findings(), state)
    assert (entry.terminated, entry.truncated, _count(entry, "timed_out")) == (terminated, truncated, timed_out)
    assert (_told(entry, "finished"), _told(entry, "route_completion")) == (0.0, 0.5)


def test_the_drivers_info_has_every_key_of_the_contract():
    driver = ScenarioDriver.__new__(ScenarioDriver)  # a real one needs a checkout
    driver._seed, driver._session = 3, SimpleNamespace(scenario_index=0, draws=np.zeros(1))
    row = np.arange(len(INFO), dtype=np.float64)
    info = driver._info(row, np.zeros(1, np.int32), np.zeros(1, np.float32))
    assert info.keys() == {key.name for key in INFO_KEYS}
    assert [info[name] for name in ("progress", "speed_mps")] == [
        INFO.index(name) for name in ("progress_m", "speed_mps")
    ]
