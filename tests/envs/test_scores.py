"""Each leaderboard's arithmetic, against products and sums written out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carla_online._native import ScenarioLedger, WorldBatch
from carla_online.envs.contract import INFRACTION_NAMES, REWARD_TERM_NAMES
from carla_online.envs.scores import penalties
from carla_online.errors import ConfigError


def _counts(**named):
    row = np.zeros((1, len(INFRACTION_NAMES)), np.int32)
    for name, count in named.items():
        row[0, INFRACTION_NAMES.index(name)] = count
    return row


def _penalty(version, *, slow=1.0, outside=0.0, **named):
    return penalties(version, _counts(**named), np.array([slow]), np.array([outside]))[0]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.0", 0.5 * 0.6**2 * 0.7), ("2.0", 0.5 * 0.6**2 * 0.7 * 0.7), ("2.1", 1 / (1 + 1.0 + 2 * 0.7 + 0.4 + 0.4))],
)
def test_infractions_cost_what_the_leaderboard_says(version, expected):
    found = _penalty(version, collision_walker=1, collision_vehicle=2, red_light=1, timed_out=1)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("version", "expected"), [("1.0", 0.8 * 0.75), ("2.0", 0.8 * 0.75 * 0.88), ("2.1", 0.75 / (1 + 0.25 + 0.4 * 0.4))]
)
def test_the_shares_of_slow_and_outside_driving_cost_in_proportion(version, expected):
    assert _penalty(version, stop_sign=1, slow=0.6, outside=0.25) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.1"])
def test_what_no_leaderboard_charges_costs_nothing(version):
    assert _penalty(version, lane_invasion=9, wrong_way=2, speeding=4, route_deviation=1) == 1.0


def test_2_1_is_the_worlds_own_score():
    # The world's own unit tests have this product too.
    assert _penalty("2.1", collision_vehicle=1, off_road=1, slow=0.75) == pytest.approx(1 / 2.4, rel=1e-12)


def test_an_unknown_leaderboard_is_refused():
    with pytest.raises(ConfigError, match=r"'3\.0' is unknown; use '1\.0'"):
        _penalty("3.0")


_SHARES = st.floats(0.0, 1.0)


@given(
    counts=st.lists(st.integers(0, 20), min_size=len(INFRACTION_NAMES), max_size=len(INFRACTION_NAMES)),
    slow=_SHARES,
    outside=_SHARES,
    completion=_SHARES,
    reference_s=st.floats(0.1, 1e4),
    time_s=st.floats(0.0, 1e4),
)
def test_one_route_is_scored_as_a_table_of_them_is(counts, slow, outside, completion, reference_s, time_s):
    names = WorldBatch.info_names()
    told = {"min_speed_share": slow, "sim_time_s": time_s, "route_completion": 1.0, "outside_lanes_share": 1.0}
    info = np.array([told.get(name, 0.0) for name in names])
    row, terms = np.array(counts, np.int32), np.zeros(len(REWARD_TERM_NAMES), np.float32)
    found, watched = [0] * len(counts), [False] * len(counts)
    ledger = ScenarioLedger(reference_s)
    ledger.enter(row, terms, info, (False, False), found, watched, (completion, outside), "running")
    scored = dict(zip(names, info.tolist(), strict=True))
    factors = {
        version: penalties(version, np.array([counts]), np.array([slow]), np.array([outside]))[0]
        for version in ("1.0", "2.0", "2.1")
    }
    assert scored["infraction_score"] == pytest.approx(factors["2.1"], rel=1e-12)
    for version, name in (("1.0", "driving_score_1_0"), ("2.0", "driving_score_2_0"), ("2.1", "driving_score")):
        assert scored[name] == pytest.approx(100.0 * completion * factors[version], rel=1e-9, abs=1e-300)
    # The time factor never raises a score.
    share = min(1.0, reference_s * completion / time_s) if time_s else 1.0
    assert scored["timed_driving_score"] == pytest.approx(scored["driving_score"] * share, rel=1e-12)


def test_a_ledger_refuses_other_than_all_counts_and_states_that_it_does_not_know():
    info, terms = np.zeros(len(WorldBatch.info_names())), np.zeros(len(REWARD_TERM_NAMES), np.float32)
    row, none = np.zeros(len(INFRACTION_NAMES), np.int32), [False] * len(INFRACTION_NAMES)
    with pytest.raises(ValueError, match="13"):
        ScenarioLedger().enter(row, terms, info, (False, False), [0, 1], none, (None, None), "running")
    with pytest.raises(ConfigError, match="\"ended\"; use 'running', 'succeeded'"):
        ScenarioLedger().enter(row, terms, info, (False, False), row.tolist(), none, (None, None), "ended")
