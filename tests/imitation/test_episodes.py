"""Which episodes are good, why the others aren't, and that a user's buffers stay what they were."""

import hashlib

import numpy as np
import pytest
from driven_replay import drive, write_episodes
from heads import obs_dim_of, shifted_head

from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.errors import ConfigError, ReplayCorrupt, SchemaMismatch
from carla_online.imitation import GoodEpisodesConfig, good_episodes
from carla_online.policies import scripted_baseline
from carla_online.replay import ReplayBuffer, ReplaySchema

FEW = GoodEpisodesConfig(fewest_episodes=2)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_each_fault_is_counted_under_its_name(tmp_path):
    faults = {
        "collision": {"terms": {"collision": 1.0}},
        "off_road": {"terms": {"off_road": 1.0}},
        "blocked": {"terms": {"blocked": 1.0}},
        "wrong_way": {"terms": {"wrong_way": 0.4}},
        "red_light": {"terms": {"red_light": 1.0}},
        "stop_sign": {"terms": {"stop_sign": 2.0}},
        "safety intervention": {"intervened": True},
        "weight 0": {"weight": 0.0},
        "quarantined": {"quarantined": True},
        "not finished": {"finished": False},
    }
    told = [{}, *faults.values(), {"terms": {"overspeed": 1.0}}, {"ends": False}]
    found = good_episodes(write_episodes(tmp_path / "replay", told), FEW)
    assert dict(found.left_out) == dict.fromkeys(faults, 1)
    assert (found.count, found.seen) == (2, len(faults) + 2)  # the open one isn't an episode yet
    assert found.rows["obs"][:, 0].tolist() == [0.0] * 3 + [float(len(faults) + 1)] * 3
    assert found.episode.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.versions == (0, len(faults) + 1)
    assert found.to_dict()["left_out"]["collision"] == 1


def test_rules_can_be_relaxed_one_by_one(tmp_path):
    path = write_episodes(
        tmp_path / "replay", [{}, {"intervened": True}, {"finished": False}, {"terms": {"collision": 1}}]
    )
    assert good_episodes(path, FEW.model_copy(update={"interventions": True})).count == 2
    assert good_episodes(path, FEW.model_copy(update={"finished": False})).count == 2
    assert good_episodes(path, FEW.model_copy(update={"infractions": ()})).count == 2


def test_episodes_of_older_policy_versions_can_be_left_out(tmp_path):
    found = good_episodes(write_episodes(tmp_path / "replay", [{}] * 5), FEW.model_copy(update={"oldest_version": 3}))
    assert found.versions == (3, 4)
    assert found.left_out == {"an older policy version": 3}


def test_the_top_share_is_taken_within_each_slice(tmp_path):
    """Slice b pays a tenth of slice a: its best stay all the same."""
    told = [{"slice": "a", "reward": float(number)} for number in range(10)]
    told += [{"slice": "b", "reward": number / 10.0} for number in range(10)]
    found = good_episodes(write_episodes(tmp_path / "replay", told), FEW.model_copy(update={"top_share": 0.3}))
    assert found.returns.tolist() == pytest.approx([21.0, 24.0, 27.0, 2.1, 2.4, 2.7])
    assert found.slices == ("a",) * 3 + ("b",) * 3
    assert found.left_out == {"return below the slice's top share": 14}


def test_more_rows_than_memory_is_meant_to_hold_leave_whole_episodes_out(tmp_path):
    path = write_episodes(tmp_path / "replay", [{}] * 60)
    config = FEW.model_copy(update={"most_rows": 100})
    found = good_episodes(path, config, seed=1)
    assert len(found.episode) == 99
    assert found.left_out == {"more rows than most_rows": 27}
    assert np.array_equal(found.rows["obs"], good_episodes(path, config, seed=1).rows["obs"])
    assert not np.array_equal(found.rows["obs"], good_episodes(path, config, seed=2).rows["obs"])


def test_several_buffers_are_read_together_and_none_is_changed(tmp_path):
    paths = [write_episodes(tmp_path / f"replay-{number}", [{}, {"weight": 0.0}]) for number in range(3)]
    before = [hashes(path) for path in paths]
    found = good_episodes(paths, FEW)
    assert (found.count, found.left_out) == (3, {"weight 0": 3})
    assert [each.path for each in found.buffers] == [str(path) for path in paths]
    assert [hashes(path) for path in paths] == before


def test_episodes_that_were_really_driven_are_those_that_a_second_reading_finds(tmp_path):
    baseline = scripted_baseline()
    policy = shifted_head(baseline, obs_dim_of({"kind": "world"}))
    path = drive(tmp_path, policy, steps=400)
    before = hashes(path)
    found = good_episodes(path, FEW)
    assert hashes(path) == before
    column = {name: number for number, name in enumerate(REWARD_TERM_NAMES)}
    bad = [column[name] for name in ("collision", "off_road", "blocked", "wrong_way", "red_light", "stop_sign")]
    with ReplayBuffer.open(path, read_only=True) as buffer:
        wanted = [
            episode["executed_action"]
            for episode in buffer.episodes()
            if not episode["reward_terms"][:, bad].any()
            and episode["reward_terms"][:, column["route_finished"]].sum() > 0
        ]
    assert found.count == len(wanted) > 5
    assert np.array_equal(found.rows["executed_action"], np.concatenate(wanted))
    assert found.baselines == (baseline.fingerprint,)


def test_too_few_good_episodes_say_why_the_others_were_left_out(tmp_path):
    path = write_episodes(tmp_path / "replay", [{}] * 2 + [{"terms": {"red_light": 1.0}}] * 7)
    with pytest.raises(ConfigError, match=r"2 good episodes of 9 .*7 for red_light.*relax"):
        good_episodes(path)


def test_buffers_that_cant_be_used_are_refused_with_the_cure(tmp_path):
    path = write_episodes(tmp_path / "replay", [{}] * 3)
    with pytest.raises(ReplayCorrupt):
        good_episodes(tmp_path / "nowhere", FEW)
    with pytest.raises(ConfigError, match="no replay buffer"):
        good_episodes([], FEW)
    with pytest.raises(SchemaMismatch, match="other fields"):
        good_episodes([path, write_episodes(tmp_path / "wide", [{}] * 3, obs_dim=4)], FEW)
    with pytest.raises(SchemaMismatch, match="backbone"):
        good_episodes(path, FEW.model_copy(update={"backbone": "f" * 64}))
    with pytest.raises(SchemaMismatch, match=r"episodes\.reward_terms"):
        good_episodes(path, FEW.model_copy(update={"reward_terms": ("progress", "crash")}))
    with pytest.raises(SchemaMismatch, match="fly_away"):
        good_episodes(path, FEW.model_copy(update={"infractions": ("fly_away",)}))
    toy = tmp_path / "toy"
    ReplayBuffer.create(toy, ReplaySchema.transitions(3, 2, 0), capacity_rows=1_024).close()
    with pytest.raises(SchemaMismatch, match=r"infractions: \[\]"):
        good_episodes(toy, FEW)
