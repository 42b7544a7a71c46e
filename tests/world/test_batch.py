"""The native batch of worlds: what it promises about arrays, seeds and endings."""

import json

import numpy as np
import pytest

from carla_online._native import WorldBatch
from carla_online.errors import CarlaOnlineError, ConfigError, EpisodeEnded

from .driven import Driven, keep_lane

SHORT = {"map": {"length_m": [250.0, 330.0], "map_variants": 8}, "traffic": {"spread_m": 200.0}}
EMPTY = {**SHORT, "traffic": {"slow_vehicles": 0, "fast_vehicles": 0}}


def test_the_layout_is_whole():
    layout = WorldBatch.layout()
    assert [start for _, start, *_ in layout] == [
        sum(size for _, _, size, *_ in layout[:i]) for i in range(len(layout))
    ]
    assert sum(size for _, _, size, *_ in layout) == WorldBatch.obs_dim == 144
    assert len({name for name, *_ in layout}) == len(layout)
    groups = dict.fromkeys(name.split("/")[0] for name, *_ in layout)
    assert list(groups) == ["ego", "lane_gaps", "route", "lights", "vehicles", "walkers", "weather"]


def test_the_default_configuration_is_what_an_empty_one_means():
    batch = WorldBatch(num_envs=1, config="{}")
    assert json.loads(batch.config) == json.loads(WorldBatch.default_config())


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("{", "line 1"),
        ("[]", "must be an object"),
        ('{"map": [3]}', "`map`: must be an object"),
        ('{"maps": {}}', "unknown field `maps`"),
        ('{"map": {"lanes": 9}}', "map.lanes is 9"),
        ('{"map": {"lanes": 2.5}}', "map.lanes"),
        ('{"map": {"length_m": [700, 600]}}', "map.length_m"),
        ('{"traffic": {"slow_vehicles": 65}}', "traffic.slow_vehicles x traffic.density is 65"),
        ('{"traffic": {"idm": {"headway_s": -1}}}', "traffic.idm.headway_s is -1"),
        ('{"ego": {"dynamics": "hover"}}', "hover"),
        ('{"simulation_step_s": 1e999}', "simulation_step_s"),
        ('{"decision_steps": 0}', "decision_steps is 0"),
    ],
)
def test_a_wrong_configuration_is_told_by_its_key(config, part):
    with pytest.raises(ConfigError) as caught:
        WorldBatch(num_envs=1, config=config)
    assert part in str(caught.value)


@pytest.mark.parametrize("sizes", [{"num_envs": 0}, {"num_envs": 10**6}, {"num_envs": 1, "threads": 0}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ConfigError, match="must lie in"):
        WorldBatch(config="{}", **sizes)


WRONG_ARRAYS = [
    ("obs", lambda a: a.astype(np.float64), TypeError, "float32"),
    ("obs", lambda a: a[:, :-1].copy(), ValueError, "shape"),
    ("obs", lambda a: np.asfortranarray(a), ValueError, "contiguous"),
    ("info", lambda a: a.astype(np.float32), TypeError, "float64"),
    ("reward_terms", lambda a: a[:1].copy(), ValueError, "shape"),
    ("terminated", lambda a: a.astype(np.uint8), TypeError, "bool"),
    ("infractions", lambda a: a.astype(np.int64), TypeError, "int32"),
    ("truncated", lambda a: a.tolist(), TypeError, "array"),
]


@pytest.mark.parametrize(("name", "spoil", "error", "part"), WRONG_ARRAYS)
def test_a_wrong_array_is_named_with_what_is_expected(name, spoil, error, part):
    driven = Driven([1, 2], EMPTY)
    hashes = driven.hashes()
    setattr(driven, name, spoil(getattr(driven, name)))
    with pytest.raises(error, match=name) as caught:
        driven.step(np.zeros((2, 2)))
    assert part in str(caught.value)
    assert driven.hashes() == hashes


def test_read_only_and_shared_outputs_are_refused():
    driven = Driven([1, 2], EMPTY)
    driven.obs.setflags(write=False)
    with pytest.raises(ValueError, match=r"obs.*read-only"):
        driven.step(np.zeros((2, 2)))
    driven = Driven([1, 2], EMPTY)
    driven.truncated = driven.terminated
    with pytest.raises(ValueError, match="shares memory"):
        driven.step(np.zeros((2, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_no_number_is_refused_by_environment_and_value(value):
    driven = Driven([1, 2, 3], EMPTY)
    hashes = driven.hashes()
    actions = np.zeros((3, 2))
    actions[1, 0] = value
    with pytest.raises(ValueError, match=r"action\[1, 0\] is"):
        driven.step(actions)
    assert driven.hashes() == hashes
    driven.step(actions, np.array([True, False, True]))


def test_actions_beyond_one_are_clipped():
    one, other = Driven([5], EMPTY), Driven([5], EMPTY)
    for _ in range(5):
        one.step([[-0.01, 1.0]])
        other.step([[-0.01, 40.0]])
    assert one.hashes() == other.hashes()


def test_an_episode_must_be_begun_and_not_be_over():
    driven = Driven([1, 2], SHORT)
    fresh = WorldBatch(num_envs=1, config="{}")
    for call in (fresh.snapshot, fresh.state_hash, fresh.scene, fresh.road):
        with pytest.raises(EpisodeEnded, match="never reset"):
            call(0)
    while driven.running[1]:
        driven.step([[0.0, 0.3], [1.0, 1.0]], np.array([False, True]))
    with pytest.raises(EpisodeEnded, match="environment 1 has ended") as caught:
        driven.step(np.zeros((2, 2)))
    assert caught.value.env == 1
    assert isinstance(caught.value, CarlaOnlineError)
    with pytest.raises(IndexError, match="environment 2"):
        driven.batch.state_hash(2)


def test_reset_touches_the_masked_rows_only():
    driven = Driven([1, 2, 3], SHORT)
    hashes, obs = driven.hashes(), driven.obs.copy()
    driven.batch.reset(np.array([7, 8, 9], np.uint64), np.array([False, True, False]), driven.obs, driven.info)
    assert [hashes[0], hashes[2]] == driven.hashes()[::2]
    np.testing.assert_array_equal(driven.obs[[0, 2]], obs[[0, 2]])
    assert driven.hashes()[1] == Driven([8], SHORT).hashes()[0]


def test_threads_and_batches_change_no_bit():
    seeds = list(range(40, 90))  # enough that three threads have work
    drives = [Driven(seeds, SHORT, threads=threads) for threads in (1, 3)]
    drives += [Driven([seed], SHORT) for seed in seeds[::7]]
    for _ in range(60):
        for driven in drives:
            driven.step(keep_lane(driven), driven.running)
    assert drives[0].hashes() == drives[1].hashes()
    assert drives[0].hashes()[::7] == [driven.hashes()[0] for driven in drives[2:]]
    np.testing.assert_array_equal(drives[0].obs[::7], np.concatenate([driven.obs for driven in drives[2:]]))


def test_a_lane_keeper_on_an_empty_road_earns_the_full_score():
    driven = Driven(range(20, 28), {**EMPTY, "map": {"length_m": [250.0, 330.0], "curved_share": 1.0}})
    total_m = np.zeros(8)
    while driven.running.any():
        running = driven.running
        driven.step(keep_lane(driven, speed_mps=15.5), running)
        total_m[running] += driven.column("progress_m")[running]
    assert driven.column("finished").all() and driven.terminated.all()
    np.testing.assert_array_equal(driven.column("route_completion"), 1.0)
    np.testing.assert_allclose(driven.column("timed_driving_score"), 100.0)
    np.testing.assert_allclose(total_m, driven.column("route_length_m"), atol=0.01)
    assert not driven.infractions.any()


def test_collisions_end_the_episode_and_cost_what_the_leaderboard_says():
    driven = Driven(range(16), SHORT)
    while driven.running.any():
        actions = keep_lane(driven)
        actions[:, 1] = 0.6  # nobody brakes
        driven.step(actions, driven.running)
    hits = driven.infractions[:, 0]
    assert np.array_equal(driven.column("collision"), hits.clip(0, 1))
    assert hits.sum() >= 8
    hit = (hits == 1) & (driven.column("off_road") == 0)
    expected = 1 / (1.7 + 0.4 * (1 - driven.column("min_speed_share")[hit]))
    np.testing.assert_allclose(driven.column("infraction_score")[hit], expected)
    term = WorldBatch.reward_term_names().index("collision")
    assert (driven.reward_terms[hit, term] == 1).all()


def test_a_scene_shows_whom_the_observation_sees():
    driven = Driven([3], SHORT)
    for _ in range(20):
        driven.step(keep_lane(driven))
    scene = driven.batch.scene(0)
    ego = {name: values[0] for name, values in scene["ego"].items()}
    dx, dy = np.subtract(scene["actors"]["x"], ego["x"]), np.subtract(scene["actors"]["y"], ego["y"])
    ahead_m = dx * np.cos(ego["yaw"]) + dy * np.sin(ego["yaw"])
    right_m = dy * np.cos(ego["yaw"]) - dx * np.sin(ego["yaw"])
    nearest = np.argmin(np.hypot(dx, dy))
    assert driven.quantity("vehicles/0/dx")[0] == pytest.approx(ahead_m[nearest], abs=1e-3)
    assert driven.quantity("vehicles/0/dy")[0] == pytest.approx(right_m[nearest], abs=1e-3)
    kinds = {kind for kind, _ in driven.batch.road(0)}
    assert kinds == {"edge", "lane", "route"}
    points = np.frombuffer(dict(driven.batch.road(0))["route"], np.float32).reshape(-1, 2)
    length_m = np.hypot(*np.diff(points, axis=0).T).sum()
    assert length_m == pytest.approx(driven.column("route_length_m")[0], rel=1e-3)
