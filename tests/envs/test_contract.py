"""One contract for every environment: the world (single, vector, every mode and preset) and adapted toys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from carla_online.envs import INFO_KEYS, Capabilities, capabilities, done_api, make_vector_env
from carla_online.envs.world import WorldEnv, WorldVectorEnv
from carla_online.envs.world.presets import MAPS, TRAFFICS
from carla_online.errors import ConfigError

MODES = list(AutoresetMode)
FULL_RIGHT = np.float32([1.0, 0.5])


def worlds(mode: AutoresetMode) -> VectorEnv:
    return WorldVectorEnv(3, autoreset_mode=mode)


def gathered_worlds(mode: AutoresetMode) -> VectorEnv:
    return SyncVectorEnv([WorldEnv] * 3, autoreset_mode=mode)


def pendulums(mode: AutoresetMode) -> VectorEnv:
    return make_vector_env("Pendulum-v1", 3, autoreset_mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [worlds, gathered_worlds, pendulums])
class TestVector:
    def test_shapes_types_and_spaces(self, make: Callable[..., VectorEnv], mode: AutoresetMode) -> None:
        env = make(mode)
        assert env.metadata["autoreset_mode"] is mode
        env.action_space.seed(0)
        obs, _ = env.reset(seed=0)
        for _ in range(5):
            assert env.observation_space.contains(obs)
            obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            assert reward.shape == terminated.shape == truncated.shape == (3,)
            assert np.isfinite(reward).all()
            assert terminated.dtype == truncated.dtype == np.bool_
        env.close()

    def test_a_seed_fixes_the_run(self, make: Callable[..., VectorEnv], mode: AutoresetMode) -> None:
        def run(seed: int) -> bytes:
            env = make(mode)
            obs, _ = env.reset(seed=seed)
            parts = [obs.tobytes()]
            for number in range(20):
                obs, reward, *_ = env.step(np.full(env.action_space.shape, np.sin(number), np.float32))
                parts += [obs.tobytes(), reward.tobytes()]
            return b"".join(parts)

        assert run(3) == run(3)
        assert run(3) != run(4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [worlds, gathered_worlds])
def test_info_has_the_same_keys_from_reset_on(make: Callable[..., VectorEnv], mode: AutoresetMode) -> None:
    env = make(mode)
    _, info = env.reset(seed=0)
    infos = [info, *(env.step(np.zeros((3, 2), np.float32))[4] for _ in range(3))]
    for seen in infos:
        assert set(seen) == {name for key in INFO_KEYS for name in (key.name, f"_{key.name}")}
        for key in INFO_KEYS:
            assert seen[key.name].shape == (3, *key.shape), key.name
            assert seen[key.name].dtype == key.dtype, key.name
            assert seen[f"_{key.name}"].all()
    assert infos[1]["sim_time_s"].tolist() == pytest.approx([0.1] * 3)
    assert infos[2]["frame"].tolist() == [4] * 3


class TestSingleWorld:
    def test_gymnasiums_checker_is_content(self) -> None:
        check_env(gym.make("CarlaOnline/World-v0", render_mode="rgb_array").unwrapped)

    def test_single_is_a_vector_of_one(self) -> None:
        single, vector = WorldEnv(), WorldVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED)
        assert single.reset(seed=9)[0].tobytes() == vector.reset(seed=9)[0].tobytes()
        for number in range(60):
            action = np.float32([0.02 * np.sin(number), 0.4])
            obs, reward, terminated, truncated, info = single.step(action)
            others = vector.step(action[None])
            assert obs.tobytes() == others[0].tobytes()
            assert (reward, terminated, truncated) == (others[1][0], others[2][0], others[3][0])
            assert info["driving_score"] == others[4]["driving_score"][0]
            if terminated or truncated:
                break

    def test_a_named_episode_is_that_episode(self) -> None:
        env, seed = WorldEnv(), 2**64 - 5
        first, info = env.reset(seed=1, options={"episode_seed": seed})
        assert info["episode_seed"] == seed
        env.step(FULL_RIGHT)
        again, _ = env.reset(seed=2, options={"episode_seed": seed})
        assert first.tobytes() == again.tobytes()

    def test_misuse_is_refused(self) -> None:
        env = WorldEnv()
        with pytest.raises(gym.error.ResetNeeded):
            env.step(FULL_RIGHT)
        with pytest.raises(ConfigError, match=r"\['town'\].*'episode_seed'"):
            env.reset(options={"town": "Town01"})
        with pytest.raises(ConfigError, match="-3"):
            env.reset(options={"episode_seed": -3})
        env.reset(seed=0)
        with pytest.raises(ConfigError, match=r"\[3\]"):
            env.step(np.zeros(3, np.float32))
        while not env.step(FULL_RIGHT)[2]:
            pass
        with pytest.raises(gym.error.ResetNeeded, match=r"\[0\]"):
            env.step(FULL_RIGHT)


class TestEnds:
    """A short straight road without traffic, driven by constant pedal."""

    def drive(self, pedal: float, **simulation: float) -> tuple[float, bool, bool, dict[str, Any]]:
        short = {"curved_share": 0.0, "length_m": [60.0, 80.0]}
        env = WorldEnv(map=short, traffic="none", simulation=simulation)
        env.reset(seed=0)
        for _ in range(400):
            _, reward, terminated, truncated, info = env.step(np.float32([0.0, pedal]))
            if terminated or truncated:
                return reward, terminated, truncated, info
        raise AssertionError("the episode doesn't end")

    def told(self, info: dict[str, Any]) -> list[str]:
        return [name for name in ("collision", "off_road", "finished", "blocked", "timed_out") if info[name]]

    def test_the_finish_terminates_and_pays(self) -> None:
        reward, terminated, truncated, info = self.drive(0.5)
        assert (terminated, truncated, self.told(info)) == (True, False, ["finished"])
        assert info["route_completion"] == pytest.approx(1.0)
        assert info["driving_score"] == pytest.approx(100.0)
        assert reward > 4.0

    def test_the_time_limit_truncates_and_isnt_punished(self) -> None:
        reward, terminated, truncated, info = self.drive(-1.0, time_limit_factor=1.0)
        assert (terminated, truncated, self.told(info)) == (False, True, ["timed_out"])
        assert info["sim_time_s"] == pytest.approx(info["time_limit_s"], abs=0.11)
        assert reward == pytest.approx(0.0, abs=0.01)

    def test_standing_too_long_terminates(self) -> None:
        reward, terminated, truncated, info = self.drive(-1.0, blocked_after_s=1.0)
        assert (terminated, truncated, self.told(info)) == (True, False, ["blocked"])
        assert reward < -9.0


class TestVectorWorld:
    def test_reset_mask_touches_only_its_rows(self) -> None:
        env = WorldVectorEnv(3, autoreset_mode=AutoresetMode.DISABLED)
        env.reset(seed=0)
        before = env.step(np.zeros((3, 2), np.float32))[0]
        mask = np.array([False, True, False])
        after, info = env.reset(options={"reset_mask": mask})
        assert (after == before).all(axis=1).tolist() == [True, False, True]
        assert info["_progress"].tolist() == mask.tolist()
        assert info["sim_time_s"].tolist() == pytest.approx([0.1, 0.0, 0.1])

    def test_finished_rows_wait_for_the_others(self) -> None:
        env = WorldVectorEnv(2, autoreset_mode=AutoresetMode.DISABLED)
        env.reset(seed=0)
        actions = np.float32([[1.0, 0.5], [0.0, 0.0]])
        terminated = np.zeros(2, np.bool_)
        while not terminated[0]:
            obs, _, terminated, _, info = env.step(actions)
        with pytest.raises(gym.error.ResetNeeded, match=r"\[0\]"):
            env.step(actions)
        later, reward, again, _, after = env.step(actions, active=np.array([False, True]))
        assert later[0].tobytes() == obs[0].tobytes()
        assert (reward[0], again[0]) == (0.0, False)
        assert after["driving_score"][0] == info["driving_score"][0]
        assert after["sim_time_s"][1] > info["sim_time_s"][1]

    def test_the_final_info_is_the_ended_episodes(self) -> None:
        env = WorldVectorEnv(2, autoreset_mode=AutoresetMode.SAME_STEP)
        _, info = env.reset(seed=0)
        first_seed = info["episode_seed"][0]
        while "final_info" not in info:
            before = info["sim_time_s"][0]
            obs, _, terminated, _, info = env.step(np.float32([[1.0, 0.5], [0.0, 0.0]]))
        assert terminated.tolist() == info["_final_obs"].tolist() == info["_final_info"].tolist() == [True, False]
        # An episode may end within a decision, after one of its simulation steps.
        assert before < info["final_info"]["sim_time_s"][0] <= before + 0.1 + 1e-9
        assert info["final_info"]["_sim_time_s"].tolist() == [True, False]
        assert info["final_info"]["episode_seed"][0] == first_seed != info["episode_seed"][0]
        assert info["sim_time_s"][0] == 0.0
        assert info["final_obs"][1] is None
        assert not np.array_equal(info["final_obs"][0], obs[0])

    @pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
    def test_gymnasiums_statistics_work_on_it(self, mode: AutoresetMode) -> None:
        env = RecordEpisodeStatistics(WorldVectorEnv(2, autoreset_mode=mode))
        env.reset(seed=0)
        for _ in range(80):
            env.step(np.float32([[1.0, 0.5], [0.0, 0.0]]))
        assert len(env.return_queue) >= 2

    def test_an_ignored_action_may_be_anything(self) -> None:
        env = WorldVectorEnv(1)
        env.reset(seed=0)
        while not env.step(FULL_RIGHT[None])[2][0]:
            pass
        _, reward, terminated, _, info = env.step(np.full((1, 2), np.nan, np.float32))
        assert (reward[0], terminated[0], info["sim_time_s"][0]) == (0.0, False, 0.0)
        with pytest.raises(ValueError, match=r"\b0\b"):
            env.step(np.full((1, 2), np.nan, np.float32))

    def test_returned_arrays_belong_to_the_caller(self) -> None:
        env = WorldVectorEnv(2)
        obs, info = env.reset(seed=0)
        kept = (obs.copy(), info["driving_score"].copy(), info["reward_terms"].copy())
        env.step(np.ones((2, 2), np.float32))
        for mine, before in zip((obs, info["driving_score"], info["reward_terms"]), kept, strict=True):
            np.testing.assert_array_equal(mine, before)
        shared = WorldVectorEnv(2, copy=False)
        first, _ = shared.reset(seed=0)
        assert shared.step(np.ones((2, 2), np.float32))[0] is first

    def test_threads_and_neighbours_change_nothing(self) -> None:
        def run(num_envs: int, threads: int) -> bytes:
            env = WorldVectorEnv(num_envs, threads=threads, autoreset_mode=AutoresetMode.SAME_STEP)
            env.reset(seed=2)
            steps = [env.step(np.full((num_envs, 2), 0.4, np.float32)) for _ in range(60)]
            return b"".join(obs[:2].tobytes() + reward[:2].tobytes() for obs, reward, *_ in steps)

        assert run(2, 1) == run(5, 1) == run(5, 2)

    def test_wrong_options_are_refused(self) -> None:
        env = WorldVectorEnv(2)
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"seed": 1}, "'reset_mask', 'episode_seeds'"),
            ({"reset_mask": np.array([1, 0])}, "int64"),
            ({"reset_mask": np.array([True])}, r"\[1\]"),
            ({"reset_mask": np.array([False, False])}, "marks no world"),
            ({"reset_mask": np.array([True, False])}, "first reset"),
            ({"episode_seeds": np.array([1.0, 2.0])}, "float64"),
            ({"episode_seeds": ["1", "2"]}, "<U1"),
            ({"episode_seeds": [1]}, r"\[1\]"),
            ({"episode_seeds": [1, -7]}, "-7"),
        ]
        for options, message in wrong:
            with pytest.raises(ConfigError, match=message):
                env.reset(options=options)
        with pytest.raises(ConfigError, match="NextStep"):
            WorldVectorEnv(1, autoreset_mode="soon")

    @pytest.mark.parametrize(
        ("map_name", "traffic"),
        [*((name, "default") for name in MAPS), *(("highway", name) for name in TRAFFICS)],
    )
    def test_every_preset_drives(self, map_name: str, traffic: str) -> None:
        env = WorldVectorEnv(4, map=map_name, traffic=traffic)
        env.reset(seed=0)
        for _ in range(20):
            obs, _, terminated, *_ = env.step(np.tile(np.float32([0.0, 0.3]), (4, 1)))
            assert env.observation_space.contains(obs)
        assert not terminated.all()


class TestCapabilities:
    def test_of_anything(self) -> None:
        assert capabilities(WorldVectorEnv(1)).exact_restore
        assert capabilities(gym.make("CarlaOnline/World-v0")).exact_restore
        assert capabilities(gym.make("Pendulum-v1")) == Capabilities()
        assert capabilities(SyncVectorEnv([WorldEnv])) == Capabilities()
        assert capabilities(make_vector_env("Pendulum-v1", 1)).exact_restore
        assert Capabilities(scene=True).missing("scene", "walkers", "weather") == ["walkers", "weather"]

    def test_a_wrapper_that_may_keep_state_takes_exact_restore_away(self) -> None:
        wrapped = capabilities(TimeLimit(WorldEnv(), 5))
        assert (wrapped.exact_restore, wrapped.reward_terms) == (False, True)
        assert not capabilities(RecordEpisodeStatistics(WorldVectorEnv(1))).exact_restore


class TestFourTuple:
    def test_single(self) -> None:
        env = done_api(TimeLimit(WorldEnv(traffic="none"), 3))
        assert env.reset(seed=0).shape == env.observation_space.shape
        ends = []
        for _ in range(3):
            _, reward, done, info = env.step(np.float32([0.0, 0.0]))
            ends.append((done, info["TimeLimit.truncated"]))
        assert ends == [(False, False), (False, False), (True, True)]
        assert isinstance(reward, float)

    def test_vector(self) -> None:
        env = done_api(WorldVectorEnv(2, autoreset_mode=AutoresetMode.SAME_STEP))
        env.reset(seed=0)
        done = np.zeros(2, np.bool_)
        while not done.any():
            _, _, done, info = env.step(np.float32([[1.0, 0.5], [0.0, 0.0]]))
        assert done.tolist() == [True, False]
        assert info["TimeLimit.truncated"].tolist() == [False, False]
        assert env.num_envs == 2
