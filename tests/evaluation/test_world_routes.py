"""Evaluation in the embedded driving world."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorWrapper

from carla_online.envs.transitions import make_vector_env
from carla_online.errors import CapabilityError, SimulatorError
from carla_online.evaluation import (
    SuiteConfig,
    TraceRecorder,
    better,
    env_factory,
    evaluate,
    evaluate_returns,
    evaluate_routes,
    load_trace,
)

SHORT = {"kind": "world", "map": {"length_m": [150.0, 220.0]}, "traffic": "light"}
SUITE = SuiteConfig(name="short", env=SHORT, routes=24)


def gentle(obs):
    """Speeds up to about half the limit and steers nowhere."""
    action = np.zeros((len(obs), 2), np.float32)
    action[:, 1] = 0.35
    return action


def reckless(obs):
    action = np.zeros((len(obs), 2), np.float32)
    action[:, 0], action[:, 1] = 0.3, 1.0
    return action


@pytest.fixture(scope="module")
def gentle_table():
    return evaluate_routes(gentle, SUITE)


def test_one_row_a_seed_with_scores_that_fit_together(gentle_table):
    table = gentle_table
    assert table.seeds.tolist() == SUITE.seeds().tolist()
    assert (table.timed_driving_score <= table.driving_score + 1e-9).all()
    assert (table.finished == np.array([reason == "finished" for reason in table.end_reason])).all()
    assert table.mean_speed_mps == pytest.approx(1000.0 * table.distance_km / table.time_s)
    names = list(table.infraction_names)
    kinds = [names.index(name) for name in names if name.startswith("collision")]
    assert (table.collisions == table.infractions[:, kinds].sum(axis=1)).all()
    assert ((table.collisions > 0) == np.array([reason == "collision" for reason in table.end_reason])).all()


class Narrow:
    """Makes environments of few rows, as of few servers; with `step` of Gymnasium's signature if asked to."""

    largest_batch = 3

    def __init__(self, *, is_plain):
        self.is_plain, self.made = is_plain, []

    def __call__(self, rows):
        self.made.append(rows)
        env = make_vector_env(SHORT, rows, autoreset_mode=AutoresetMode.DISABLED)
        return Plain(env) if self.is_plain else env


class Plain(VectorWrapper):
    def step(self, actions):
        return self.env.step(actions)


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_few_rows_drive_all_routes_one_after_the_other_with_the_same_results(gentle_table, is_plain):
    make, recorder = Narrow(is_plain=is_plain), TraceRecorder(seed=int(SUITE.seeds()[-1]), label="last")
    table = evaluate_routes(gentle, make, SUITE.seeds(), recorders=[recorder])
    assert make.made == [3]
    assert table.to_dict() == gentle_table.to_dict()
    assert recorder.trace()["frames"]


def test_results_repeat_to_the_bit_in_any_batch(gentle_table):
    def in_threads(rows):
        return make_vector_env({**SHORT, "threads": 2}, rows, autoreset_mode=AutoresetMode.DISABLED)

    seeds = SUITE.seeds()
    assert evaluate_routes(gentle, in_threads, seeds).to_dict() == gentle_table.to_dict()
    alone = evaluate_routes(gentle, env_factory(SUITE), seeds[3:4])
    assert alone.timed_driving_score[0] == gentle_table.timed_driving_score[3]
    assert alone.episode_return[0] == gentle_table.episode_return[3]


def test_a_wrapped_environment_that_cannot_wait_gives_the_same(gentle_table):
    class Plain(VectorWrapper):
        """Hides `step(active=...)`, as any Gymnasium wrapper does."""

    def wrapped(rows):
        return Plain(env_factory(SUITE)(rows))

    assert evaluate_routes(gentle, wrapped, SUITE.seeds()).to_dict() == gentle_table.to_dict()


def test_returns_agree_with_those_of_the_routes(gentle_table):
    returns = evaluate_returns(gentle, SUITE, SUITE.seeds())
    assert returns.episode_return.tolist() == gentle_table.episode_return.tolist()


def test_leaving_the_road_is_seen_and_not_better(gentle_table):
    table = evaluate_routes(reckless, SUITE)
    assert set(table.end_reason) <= {"off_road", "collision"}
    verdict = better(table, gentle_table, SUITE)
    assert not verdict.is_better


class Failing(VectorWrapper):
    """Ends one route with a simulator failure, once in each drive, until all of its kind have done so often enough."""

    failures_left: int
    seed: int
    has_failed = False

    def reset(self, *, seed=None, options=None):
        # A row that has ended is restarted by itself; nobody looks at it.
        self.has_failed = self.has_failed and "reset_mask" in (options or {})
        return self.env.reset(seed=seed, options=options)

    def step(self, actions):
        obs, reward, terminated, truncated, info = self.env.step(actions)
        row = np.flatnonzero(info["episode_seed"] == np.uint64(self.seed))
        if row.size and type(self).failures_left > 0 and not self.has_failed:
            self.has_failed = True
            type(self).failures_left -= 1
            truncated[row[0]] = True
            info["sim_failure"][row[0]] = "crash"
        return obs, reward, terminated, truncated, info


def failing(count):
    seed = int(SUITE.seeds()[5])
    kind = type("FailingOnce", (Failing,), {"failures_left": count, "seed": seed})
    return lambda rows: kind(env_factory(SUITE)(rows))


def test_a_route_that_the_simulator_failed_on_is_driven_again(gentle_table):
    assert evaluate_routes(gentle, failing(2), SUITE.seeds()).to_dict() == gentle_table.to_dict()
    with pytest.raises(SimulatorError, match=rf"failed 3 times.*{SUITE.seeds()[5]}"):
        evaluate_routes(gentle, failing(3), SUITE.seeds())


def test_a_trace_holds_every_decision_of_its_route(gentle_table, tmp_path):
    seed = int(SUITE.seeds()[2])
    recorder = TraceRecorder(seed, "gentle")
    table = evaluate_routes(gentle, SUITE, recorders=[recorder])
    assert table.to_dict() == gentle_table.to_dict()  # watching changes nothing
    recorder.save(tmp_path / "trace.json")
    trace = load_trace(tmp_path / "trace.json")
    frames = trace["frames"]
    assert frames[-1]["time_s"] == pytest.approx(table.time_s[2])
    assert frames[-1]["timed_driving_score"] == pytest.approx(table.timed_driving_score[2], abs=1e-3)
    assert sum(frame["reward"] for frame in frames) == pytest.approx(table.episode_return[2], abs=1e-4 * len(frames))
    assert [frame.get("ended", False) for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert {line["kind"] for line in trace["road"]} >= {"edge", "route"}
    with pytest.raises(CapabilityError, match="no scene"):
        recorder_of_a_toy = TraceRecorder(1)
        env = make_vector_env("Pendulum-v1", 1, autoreset_mode=AutoresetMode.DISABLED)
        env.reset(seed=1)
        step = type("Step", (), {"driven": np.array([True])})
        try:
            recorder_of_a_toy.add(env, 0, step)
        finally:
            env.close()


def test_evaluate_compares_and_keeps_the_result(gentle_table, tmp_path):
    result = evaluate(gentle, suite=SUITE, against=gentle, name="same", label="the same again")
    assert result.table.to_dict() == gentle_table.to_dict()
    assert str(result).endswith(
        "not better (the difference's lower end +0.0 is not above the smallest useful effect +2.0)"
    )
    assert result.save(tmp_path) == tmp_path / "evaluation" / "same.json"
