"""What would end up in replay, in each of the three autoreset modes."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from carla_online.envs import TransitionSource, make_vector_env
from carla_online.envs.toy import ToyVectorEnv
from carla_online.envs.transitions import ActionScaling
from carla_online.envs.world import WorldVectorEnv
from carla_online.errors import ConfigError

from .numbered import NumberedEnv, Row, expected_rows

MODES = list(AutoresetMode)


def numbered(lengths: list[list[int]], mode: AutoresetMode) -> TransitionSource:
    make = [lambda own=own: NumberedEnv(own) for own in lengths]
    return TransitionSource(ToyVectorEnv(make, autoreset_mode=mode))


def stored_rows(source: TransitionSource, steps: int) -> list[list[Row]]:
    """The rows that a trainer would append, for each environment."""
    obs, _ = source.reset(seed=0)
    rows: list[list[Row]] = [[] for _ in range(source.num_envs)]
    for _ in range(steps):
        step = source.step(np.zeros((source.num_envs, 1), np.float32))
        for n in np.flatnonzero(step.valid):
            numbers = (*map(int, obs[n]), *map(int, step.next_obs[n]))
            rows[n].append((*numbers, float(step.reward[n]), bool(step.terminated[n]), bool(step.truncated[n])))
            assert (step.info["episode_number"][n], step.info["step_number"][n]) == numbers[2:]
        obs = step.obs
    return rows


class TestNothingIsMissingNothingIsDoubled:
    @pytest.mark.parametrize("mode", MODES)
    @given(lengths=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=4))
    @settings(max_examples=30, deadline=None)
    def test_rows_are_the_episodes_in_order(self, mode: AutoresetMode, lengths: list[list[int]]) -> None:
        rows = stored_rows(numbered(lengths, mode), 25)
        for own, seen in zip(lengths, rows, strict=True):
            assert seen == expected_rows(own, len(seen))
            lost = sum(terminated or truncated for *_, terminated, truncated in seen)
            at_least = 25 - lost if mode is AutoresetMode.NEXT_STEP else 25
            assert len(seen) >= at_least

    def test_only_next_step_returns_rows_that_are_no_transitions(self) -> None:
        invalid = {}
        for mode in MODES:
            source = numbered([[2]], mode)
            source.reset(seed=0)
            steps = [source.step(np.zeros((1, 1), np.float32)) for _ in range(6)]
            invalid[mode] = [bool(~step.valid[0]) for step in steps]
        assert invalid[AutoresetMode.NEXT_STEP] == [False, False, True, False, False, True]
        assert not any(invalid[AutoresetMode.SAME_STEP] + invalid[AutoresetMode.DISABLED])

    def test_a_new_reset_forgets_a_pending_one(self) -> None:
        source = numbered([[1]], AutoresetMode.NEXT_STEP)
        source.reset(seed=0)
        source.step(np.zeros((1, 1), np.float32))
        source.reset(seed=0)
        assert source.step(np.zeros((1, 1), np.float32)).valid.all()


class TestWorldInEveryMode:
    def drive(self, mode: AutoresetMode, steps: int) -> list[list[bytes]]:
        source = TransitionSource(WorldVectorEnv(3, autoreset_mode=mode))
        obs, _ = source.reset(seed=5)
        rows: list[list[bytes]] = [[] for _ in range(3)]
        self.ended = 0
        for _ in range(steps):
            actions = np.tanh(obs[:, :2] * 3.0 + np.float32([0.3, 1.0]))  # leaves the road soon
            step = source.step(actions)
            for n in np.flatnonzero(step.valid):
                ended = step.terminated[n] or step.truncated[n]
                self.ended += int(ended)
                parts = (obs[n], step.next_obs[n], step.reward[n], step.terminated[n], step.truncated[n])
                told = [step.info[key][n] for key in ("driving_score", "episode_seed", "sim_time_s")]
                rows[n].append(b"".join(np.asarray(part).tobytes() for part in (*parts, *told)))
            obs = step.obs
        return rows

    def test_the_same_experience_bit_for_bit(self) -> None:
        disabled = self.drive(AutoresetMode.DISABLED, 150)
        assert self.ended >= 3, "the drive must cross the borders of episodes"
        same_step = self.drive(AutoresetMode.SAME_STEP, 150)
        next_step = self.drive(AutoresetMode.NEXT_STEP, 150)
        assert same_step == disabled
        for with_gaps, without in zip(next_step, disabled, strict=True):
            assert 100 < len(with_gaps) <= 150
            assert with_gaps == without[: len(with_gaps)]


class TestActions:
    def test_are_scaled_onto_the_box_and_clipped(self) -> None:
        source = numbered([[100]], AutoresetMode.SAME_STEP)
        source.reset(seed=0)
        for given_action, executed in ((-1.0, -2.0), (0.0, 0.0), (0.25, 0.5), (1.0, 2.0), (7.0, 2.0)):
            source.step(np.full((1, 1), given_action, np.float32))
            assert source.env.envs[0].last_action.item() == executed

    def test_a_box_of_minus_one_to_one_changes_no_bit(self) -> None:
        actions = np.random.default_rng(0).uniform(-1, 1, (100, 2)).astype(np.float32)
        scaling = ActionScaling(gym.spaces.Box(-1.0, 1.0, (2,), np.float32))
        assert scaling(actions).tobytes() == actions.tobytes()

    @pytest.mark.parametrize(
        "space",
        [
            gym.spaces.Discrete(3),
            gym.spaces.Box(-np.inf, np.inf, (2,)),
            gym.spaces.Box(0, 255, (2,), np.uint8),
        ],
    )
    def test_other_spaces_are_refused(self, space: gym.Space) -> None:
        with pytest.raises(ConfigError, match=r"Box of one dimension|floating point"):
            ActionScaling(space)


class TestMakeVectorEnv:
    def test_takes_ids_and_configs(self) -> None:
        assert make_vector_env("Pendulum-v1", 2, g=9.0).envs[1].unwrapped.g == 9.0
        assert make_vector_env({"kind": "gymnasium", "id": "Pendulum-v1", "num_envs": 3}).num_envs == 3
        world = make_vector_env({"kind": "world", "map": "highway"}, 2)
        assert isinstance(world, WorldVectorEnv)
        assert world.config.map == "highway"
        assert make_vector_env("CarlaOnline/Highway-v0", 2, traffic="light").num_envs == 2

    def test_names_what_is_wrong(self) -> None:
        with pytest.raises(ConfigError, match="NoSuchEnv"):
            make_vector_env("NoSuchEnv-v0", 1)
        with pytest.raises(ConfigError, match="kind"):
            make_vector_env({"kind": "carla9"})
        with pytest.raises(ConfigError, match=r"num_envs.*0"):
            make_vector_env({"kind": "world", "num_envs": 0})
        with pytest.raises(ConfigError, match="traffic: put these into the config"):
            make_vector_env({"kind": "world"}, traffic="none")
