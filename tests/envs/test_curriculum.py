"""The curriculum: when it moves, what it draws, and that it goes on exactly where it stood."""

import numpy as np
import pytest

from carla_online.envs.contract import INFRACTION_NAMES
from carla_online.envs.curriculum import Curriculum, CurriculumConfig, read_curriculum, successes
from carla_online.envs.world import WorldVectorEnv
from carla_online.errors import CheckpointError, ConfigError
from carla_online.policies.scripted import scripted_baseline

STAGES = [
    {"name": "easy", "map": {"preset": "straight", "length_m": [60, 80]}, "traffic": "none"},
    {"name": "town", "map": "four_way", "traffic": "light", "reward": {"weights": {"progress": 7.0}}},
]
QUICK = {"stages": STAGES, "promote_at": 0.75, "demote_below": 0.25, "window": 4, "rehearsal_share": 0.5}


def course(**changes):
    return Curriculum(CurriculumConfig(**(QUICK | changes)))


def told(curriculum, stage, outcomes):
    curriculum.note(np.full(len(outcomes), stage), np.array(outcomes, np.bool_))


def test_it_moves_up_and_down_with_hysteresis_once_the_window_is_full():
    curriculum = course()
    told(curriculum, 0, [1, 1, 1])
    assert curriculum.level == 0
    told(curriculum, 0, [1])
    assert curriculum.level == 1
    told(curriculum, 1, [0, 0, 1])
    told(curriculum, 0, [0, 0, 0, 0])  # rehearsals decide nothing
    assert curriculum.level == 1
    told(curriculum, 1, [1])  # half: between the two marks
    assert curriculum.level == 1
    told(curriculum, 1, [0, 0, 0])
    assert curriculum.level == 1
    told(curriculum, 1, [0])
    assert curriculum.level == 0
    told(curriculum, 0, [1, 1, 1])
    assert curriculum.level == 0  # the window began empty
    assert curriculum.success_rates().tolist() == [1.0, 0.0]


def test_a_stage_can_have_a_mark_of_its_own():
    curriculum = course(stages=[STAGES[0] | {"promote_at": 0.5}, STAGES[1]])
    told(curriculum, 0, [1, 0, 1, 0])
    assert curriculum.level == 1
    with pytest.raises(ConfigError, match="promote_at 0.2 of stage 'easy'"):
        read_curriculum(QUICK | {"stages": [STAGES[0] | {"promote_at": 0.2}]})


def test_earlier_stages_are_mixed_in_by_their_share():
    curriculum = course()
    seeds = np.arange(4000, dtype=np.uint64)
    assert not curriculum.choose(seeds).any()
    curriculum.level = 1
    stages = curriculum.choose(seeds)
    assert 0.46 < float((stages == 0).mean()) < 0.54
    np.testing.assert_array_equal(stages, curriculum.choose(seeds))


def test_what_fails_is_rehearsed_most_and_what_was_never_seen_as_if_it_failed():
    stages = [{"name": f"stage {number}"} for number in range(4)]
    curriculum = course(stages=stages, window=20, rehearsal_share=0.9)
    curriculum.level = 3
    told(curriculum, 0, [1] * 20)
    told(curriculum, 1, [1] * 15 + [0] * 5)
    seeds = np.arange(40_000, dtype=np.uint64)
    shares = np.bincount(curriculum.choose(seeds), minlength=4) / len(seeds)
    weights = np.array([0.05, 0.3, 1.05])
    np.testing.assert_allclose(shares, [*(0.9 * weights / weights.sum()), 0.1], atol=0.01)


def test_success_forgives_lines_and_speed_and_nothing_else():
    counts = np.eye(len(INFRACTION_NAMES), dtype=np.int32)
    forgiven = [INFRACTION_NAMES[i] for i in np.flatnonzero(successes(np.ones(len(counts), np.bool_), counts))]
    assert forgiven == ["lane_invasion", "speeding"]
    assert not successes(np.zeros(1, np.bool_), np.zeros((1, len(INFRACTION_NAMES)), np.int32)).any()


def drive(env, baseline, obs, steps):
    rows = []
    for _ in range(steps):
        obs, reward, _, _, info = env.step(np.asarray(baseline(obs)))
        rows.append((obs, reward, info["stage"], info["curriculum_level"], info["slice_index"]))
    return rows


def test_a_snapshot_takes_the_curriculum_along_and_each_stage_pays_its_own_reward():
    env, baseline = WorldVectorEnv(4, curriculum=QUICK, autoreset_mode="SAME_STEP"), scripted_baseline()
    assert env.slice_names == (
        "easy/dry",
        "easy/wet",
        "easy/low_visibility",
        "town/dry",
        "town/wet",
        "town/low_visibility",
    )
    obs, info = env.reset(seed=5)
    assert info["stage"].tolist() == [0, 0, 0, 0]
    drive(env, baseline, obs, 150)
    kept, level = env.snapshot(), env.curriculum.level
    assert level == 1, "the baseline finishes short straight roads"
    obs = env.restore(kept)
    first = drive(env, baseline, obs, 120)
    assert {int(stage) for row in first for stage in row[2]} == {0, 1}
    env.curriculum.level = 0
    again = drive(env, baseline, env.restore(kept), 120)
    other = WorldVectorEnv(4, curriculum=QUICK, autoreset_mode="SAME_STEP")
    third = drive(other, baseline, other.restore(kept), 120)
    for one, two, three in zip(first, again, third, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    town = np.concatenate([row[1][row[2] == 1] for row in first])
    easy = np.concatenate([row[1][row[2] == 0] for row in first])
    assert town.max() > 3.0 > np.median(easy)


def test_damaged_states_and_wrong_curricula_are_refused():
    env = WorldVectorEnv(2, curriculum=QUICK)
    env.reset(seed=0)
    kept = env.snapshot()
    for name, value in (
        ("curriculum_level", np.array([2])),
        ("curriculum_outcomes", np.full((2, 4), 3, np.int8)),
        ("curriculum_ended", np.zeros(3, np.int64)),
    ):
        with pytest.raises(CheckpointError):
            env.restore(kept | {name: value})
    with pytest.raises(CheckpointError):
        WorldVectorEnv(2, curriculum=QUICK | {"window": 5}).restore(kept)
    for wrong in ("unheard_of", {"stages": []}, QUICK | {"demote_below": 0.9}, QUICK | {"stages": [STAGES[0]] * 2}):
        with pytest.raises(ConfigError):
            read_curriculum(wrong)
    slow = [STAGES[0], STAGES[1] | {"simulation": {"decision_steps": 4}}]
    with pytest.raises(ConfigError, match="one pace"):
        WorldVectorEnv(2, curriculum=QUICK | {"stages": slow})
