"""What lets a candidate pass, what doesn't, and when driving stops."""

import json

import numpy as np
import pytest
from heads import obs_dim_of, shifted_head
from judged import ROUTES, evidence_for, judged, routes_of, scores
from route_tables import build_table

from carla_online.errors import ConfigError, RegistryError
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.suites import SuiteSetConfig, find_suite
from carla_online.policies import ScriptedBaselineConfig, scripted_baseline
from carla_online.promotion import Evidence, GateConfig, gate_routes, judge_again, run_gate
from carla_online.promotion.betting import betting_log_wealth, first_shown
from carla_online.promotion.gate import judge_tables
from carla_online.promotion.watches import slice_findings

SHORT = {"kind": "world", "map": {"preset": "straight", "length_m": [60.0, 80.0], "map_variants": 4}, "traffic": "none"}
SLOW = ScriptedBaselineConfig(speed_factor=0.5)


def test_a_clear_gain_on_all_slices_passes():
    result = judged(champion_gain=20.0)
    assert result.passed, result.failures
    assert [each.against for each in result.comparisons] == ["baseline", "champion"]
    assert all(each.shown_after < ROUTES for each in result.comparisons)
    assert "passed" in str(result)


def test_better_than_the_baseline_but_not_than_the_champion_is_not_enough():
    result = judged(champion_gain=0.5)
    assert [each.holds for each in result.comparisons] == [True, False]
    assert all("champion" in failure for failure in result.failures)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"finished": np.arange(ROUTES) >= 6}, "share of finished routes"),
        ({"collisions": (np.arange(ROUTES) < 4).astype(np.int64)}, "collisions per km"),
    ],
)
def test_a_gain_bought_with_unfinished_routes_or_collisions_is_refused(columns, said):
    result = judged(**columns)
    assert not result.passed
    assert said in result.failures[0]


def test_a_slice_shown_to_be_worse_vetoes_a_gain_in_the_mean():
    base = scores(60.0)
    slices = ("town",) * 30 + ("highway",) * 30
    change = np.where(np.arange(ROUTES) < 30, 40.0, -25.0)
    candidate = build_table(scores=np.clip(base + change, 0.0, 100.0), slices=slices)
    other = build_table(scores=base, slices=slices)
    config = GateConfig(slice_significance=0.05)
    result = judge_tables({"candidate": candidate, "baseline": other}, routes=routes_of(), config=config)
    assert [finding.is_worse for finding in result.comparisons[0].slices] == [False, True]
    assert any("highway" in failure for failure in result.failures)
    forgotten = judge_tables(
        {"candidate": candidate, "baseline": build_table(scores=base - 30.0, slices=slices), "champion": other},
        routes=routes_of(),
        config=config,
    )
    watch = next(each for each in forgotten.watches if each.watch == "forgetting")
    assert watch.is_found
    assert watch.text in forgotten.failures
    told_only = judge_tables(forgotten.tables, routes=routes_of(), config=GateConfig(blocking=()))
    assert watch.text not in told_only.failures


def test_slices_that_are_merely_noisy_rarely_veto_however_many_there_are():
    rng = np.random.default_rng(2)
    slices = tuple(f"slice {number % 6}" for number in range(480))
    runs, vetoes = 300, 0
    for _ in range(runs):
        modes = np.where(rng.random(480) < 0.3, rng.choice([-80.0, 80.0], 480), 0.0)
        vetoes += any(finding.is_worse for finding in slice_findings(modes, slices, GateConfig()))
    assert vetoes / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_the_level_is_shared_among_the_slices():
    """Just enough evidence for one slice alone isn't enough for one of six."""
    config = GateConfig()
    lost = np.full(100, -40.0)
    needed = first_shown(betting_log_wealth(lost, bound=0.0, direction="below"), config.slice_significance)
    alone = slice_findings(lost[:needed], ("a",) * needed, config)
    others = tuple(f"other {number}" for number in range(5))
    among = slice_findings(np.append(lost[:needed], np.zeros(5)), ("a",) * needed + others, config)
    assert (alone[0].is_worse, among[0].is_worse) == (True, False)
    assert alone[0].log_wealth == among[0].log_wealth


def test_routes_that_the_simulator_failed_on_are_counted_and_too_many_give_no_verdict():
    result = judged()
    told = {**result.tables}
    few = judge_tables(told, routes=result.routes, config=GateConfig(), missing={"candidate": [901, 902]})
    many = judge_tables(told, routes=result.routes, config=GateConfig(), missing={"champion": list(range(900, 920))})
    assert few.passed
    assert "20 of 80 routes" in many.failures[-1]


@pytest.fixture(scope="module")
def obs_dim():
    return obs_dim_of(SHORT)


def test_driving_stops_when_success_is_shown_and_repeats_to_the_bit(obs_dim):
    routes = gate_routes(SuiteConfig(name="short", env=SHORT, routes=80))
    baseline = scripted_baseline(SLOW)
    looks = []
    faster = shifted_head(baseline, obs_dim, throttle=0.15)
    config = GateConfig(batch_routes=5)

    def drive():
        return run_gate(faster, baseline=baseline, champion=None, routes=routes, config=config, on_batch=looks.append)

    first = drive()
    assert (first.passed, first.end) == (True, "success"), str(first)
    assert first.comparisons[0].shown_after < 40
    assert len(first.tables["candidate"]) == 5 * len(looks) == 40  # not before half of the suite
    second = drive()
    assert second.tables["candidate"].to_dict() == first.tables["candidate"].to_dict()
    assert (second.comparisons[0].log_wealth == first.comparisons[0].log_wealth).all()


def test_a_hopeless_candidate_stops_early_and_an_equal_one_never_passes(obs_dim):
    routes = gate_routes(SuiteConfig(name="short", env=SHORT, routes=120))
    baseline = scripted_baseline(SLOW)
    slower = shifted_head(baseline, obs_dim, throttle=-0.1)
    result = run_gate(slower, baseline=baseline, champion=None, routes=routes)
    assert (result.passed, result.end) == (False, "futility"), str(result)
    assert len(result.tables["candidate"]) < 120
    equal = run_gate(baseline, baseline=baseline, champion=None, routes=gate_routes(_parts()))
    assert not equal.passed


def _parts() -> SuiteSetConfig:
    parts = [{"name": "dry", "routes": 12}, {"name": "wet", "routes": 18, "env": {"weather": "wet"}}]
    return SuiteSetConfig.model_validate({"name": "two", "env": SHORT, "parts": parts})


def test_batches_hold_every_route_of_every_part_once_in_one_shuffled_order():
    routes = gate_routes(_parts())
    driven = [(place, seed) for batch in routes.batches(7, order_seed=3) for place, seeds in batch for seed in seeds]
    wanted = [(place, seed) for place, part in enumerate(routes.parts) for seed in part.seeds()]
    assert sorted(driven) == sorted(wanted)
    assert driven != wanted
    again = [(place, seed) for batch in routes.batches(7, order_seed=3) for place, seeds in batch for seed in seeds]
    assert again == driven


def test_a_suite_of_parts_is_judged_by_its_parts_as_slices(obs_dim):
    baseline = scripted_baseline(SLOW)
    result = run_gate(
        shifted_head(baseline, obs_dim, throttle=0.15), baseline=baseline, champion=None, routes=gate_routes(_parts())
    )
    assert {finding.name for finding in result.comparisons[0].slices} == {"dry", "wet"}
    assert result.passed, result.failures


def test_only_evaluation_seeds_judge_and_our_own_world_is_told_from_carla():
    with pytest.raises(ConfigError, match="chosen on those"):
        gate_routes(SuiteConfig(env=SHORT).for_selection())
    assert gate_routes(find_suite("world")).is_embedded
    assert gate_routes(find_suite("scenario_runner")).is_embedded  # ScenarioRunner in front of our own server
    assert gate_routes(SuiteConfig(env="CarlaOnline/World-v0")).is_embedded
    assert not routes_of().is_embedded
    assert not np.array_equal(*(gate_routes(SuiteConfig(env=SHORT), set_number=n).parts[0].seeds() for n in (0, 1)))


def test_evidence_is_judged_anew_from_its_tables_alone():
    evidence = evidence_for("a" * 64, champion_gain=20.0)
    told = Evidence.read(evidence.to_bytes(), source="memory")
    again = judge_again(told)
    assert again.passed is told["passed"] is True
    assert json.loads(json.dumps([each.to_dict() for each in again.comparisons])) == told["comparisons"]
    # A verdict that was written by hand doesn't survive its own tables.
    forged = json.loads(json.dumps(told))
    forged["tables"]["candidate"]["timed_driving_score"] = forged["tables"]["baseline"]["timed_driving_score"]
    assert not judge_again(forged).passed
    for damage in ({"suite": 3}, {"tables": {}}, {"watches": [{}]}, {"config": {"batch_routes": -1}}):
        with pytest.raises(RegistryError, match="judged anew"):
            judge_again({**told, **damage})
