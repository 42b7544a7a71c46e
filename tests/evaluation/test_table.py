"""Route tables: exact round trips, and nothing wrong let in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from carla_online.errors import EvaluationError
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteTable, concatenate


def test_a_saved_table_comes_back_bit_for_bit(make_table, tmp_path):
    seeds = np.array([0, 2**63 + 1, 2**64 - 1], np.uint64)
    table = make_table(scores=[1 / 3, 100.0, 0.0], seeds=seeds, finished=np.array([True, False, True]))
    table.save(tmp_path / "deep" / "table.json")
    loaded = RouteTable.load(tmp_path / "deep" / "table.json")
    assert loaded.to_dict() == table.to_dict()
    assert loaded.seeds.dtype == np.uint64
    assert loaded.seeds.tolist() == seeds.tolist()


def test_summary_of_hand_computed_routes(make_table):
    table = make_table(
        scores=[10.0, 20.0, 60.0, 90.0],
        collisions=np.array([0, 1, 0, 2]),
        finished=np.array([True, True, False, True]),
    )
    summary = table.summary()
    assert summary.timed_driving_score == 45.0
    assert summary.finished_share == 0.75
    assert summary.distance_km == pytest.approx(3.2)
    assert summary.collisions_per_km == pytest.approx(3 / 3.2)
    assert summary.mean_speed_mps == pytest.approx(10.0)
    assert table.end_reasons() == {"finished": 3, "timed_out": 1}
    assert table.infraction_counts()["collision_vehicle"] == 3


def test_joined_tables_keep_their_rows(make_table):
    first = make_table(scores=[1.0, 2.0])
    second = make_table(scores=[3.0], seeds=np.array([9], np.uint64))
    assert concatenate([first, second]).timed_driving_score.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(EvaluationError, match="seed 1 stands 2 times"):
        concatenate([first, first])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"time_s": [1.0]}, "time_s has 1 rows"),
        ({"time_s": [-1.0, 1.0]}, "time_s of the route"),
        ({"timed_driving_score": [101.0, 1.0]}, "timed_driving_score of the route"),
        ({"timed_driving_score": [None, 1.0]}, "timed_driving_score of the route"),
        ({"seeds": [1, -1]}, "route table"),
        ({"seeds": ["x", 1]}, "route table"),
        ({"collisions": [0, -1]}, "negative"),
        ({"infractions": [[1], [2]]}, "infractions|reshape"),
    ],
)
def test_damaged_tables_are_refused(make_table, change, message):
    data = {**make_table(scores=[1.0, 2.0]).to_dict(), **change}
    with pytest.raises(EvaluationError, match=message):
        RouteTable.from_dict(json.loads(json.dumps(data)))


def test_a_missing_column_is_named(make_table):
    data = make_table(scores=[1.0]).to_dict()
    del data["end_reason"]
    with pytest.raises(EvaluationError, match="'end_reason' is missing"):
        RouteTable.from_dict(data)


def test_suites_of_other_splits_and_sets_share_no_seed():
    suite = SuiteConfig(routes=200)
    sets = [suite, suite.model_copy(update={"set_number": 1}), suite.for_selection()]
    seeds = np.concatenate([chosen.seeds() for chosen in sets])
    assert len(np.unique(seeds)) == 600
    assert suite.for_selection(routes=7).seeds().tolist() == suite.for_selection().seeds()[:7].tolist()
