"""The version that leaves training: chosen on selection routes, confirmed on more of them, kept across restarts."""

from __future__ import annotations

import numpy as np
import pytest

import carla_online as co
from carla_online.envs.seeding import Split, split_of
from carla_online.errors import EvaluationError
from carla_online.evaluation import evaluate_routes
from carla_online.online import selection
from carla_online.online.selection import BEST_POLICY, RouteSelector, SelectionConfig

SUITE = co.SuiteConfig(env={"kind": "world", "map": "straight", "traffic": "light"}, routes=4)


def make_selector(tmp_path, **settings) -> tuple[RouteSelector, co.DeltaPolicy]:
    baseline = co.scripted_baseline()
    policy = co.DeltaPolicy(baseline, obs_dim=144, hidden_sizes=(8,))
    config = SelectionConfig(**({"routes": 3, "confirm_routes": 2, "scales": (0.5, 1.0)} | settings))
    return RouteSelector(policy, baseline=baseline, suite=SUITE, config=config, run_dir=tmp_path), policy


def test_only_selection_routes_are_driven_and_a_candidate_drives_the_further_ones(tmp_path, monkeypatch):
    driven = []

    def record(policy, suite, seeds=None, **options):
        table = evaluate_routes(policy, suite, seeds, **options)
        driven.append(table.seeds)
        return table

    monkeypatch.setattr(selection, "evaluate_routes", record)
    selector, _ = make_selector(tmp_path)
    selector.evaluate(100, transitions=25)
    # Two scales and the baseline once, then the better scale and the baseline on the further ones.
    assert [len(seeds) for seeds in driven] == [3, 3, 3, 2, 2]
    assert all(split_of(seed) is Split.SELECTION for seeds in driven for seed in seeds)
    assert not set(np.concatenate(driven).tolist()) & set(SUITE.seeds().tolist())


def test_a_worse_version_does_not_replace_the_best_not_even_after_a_restart(tmp_path):
    selector, _ = make_selector(tmp_path)
    first = selector.evaluate(100, transitions=25)
    kept = (tmp_path / BEST_POLICY).read_bytes()
    again, worse = make_selector(tmp_path)
    with np.errstate(all="ignore"):
        worse.head.layers[-1].bias.data[0] = 5.0  # steers off the road
    second = again.evaluate(200, transitions=50)
    assert second["eval/timed_driving_score"] < first["eval/timed_driving_score"]
    assert second["eval/best_timed_driving_score"] == first["eval/best_timed_driving_score"]
    assert (tmp_path / BEST_POLICY).read_bytes() == kept


def test_selection_goes_on_without_a_route_on_which_the_simulator_fails(tmp_path, monkeypatch):
    def fail(policy, suite, seeds=None, *, missing, **options):
        # The policy's simulator fails on the first route, the baseline's on the last of the further ones.
        lost = seeds[seeds == suite.seeds()[0 if isinstance(policy, co.DeltaPolicy) else -1]]
        missing += lost.tolist()
        if len(lost) == len(seeds):
            raise EvaluationError("none of the routes could be driven")
        return evaluate_routes(policy, suite, np.setdiff1d(seeds, lost), **options)

    monkeypatch.setattr(selection, "evaluate_routes", fail)
    selector, _ = make_selector(tmp_path, confirm_routes=1)
    for steps in (100, 200):
        assert np.isfinite(selector.evaluate(steps, transitions=25)["eval/baseline_timed_driving_score"])
    assert (tmp_path / BEST_POLICY).exists()


def test_rows_of_a_table_are_found_by_route(tmp_path):
    table = evaluate_routes(co.scripted_baseline(), SUITE)
    chosen = table.select(table.seeds[[2, 0]])
    np.testing.assert_array_equal(chosen.timed_driving_score, table.timed_driving_score[[2, 0]])
    assert chosen.end_reason == (table.end_reason[2], table.end_reason[0])
    with pytest.raises(EvaluationError, match="isn't in the table"):
        table.select(np.array([7], dtype=np.uint64))
