"""Snapshots of environments: what follows a restore is bit-equal, and damage is refused."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from safetensors.numpy import load, save

from carla_online.envs import Snapshot, TransitionSource, make_vector_env
from carla_online.envs.toy import ToyVectorEnv
from carla_online.envs.world import WorldEnv, WorldVectorEnv
from carla_online.errors import CapabilityError, CheckpointError

from .numbered import NumberedEnv

MODES = list(AutoresetMode)


def make(backend: str, mode: AutoresetMode) -> VectorEnv:
    if backend == "world":
        return WorldVectorEnv(3, autoreset_mode=mode)
    return make_vector_env(backend, 3, autoreset_mode=mode, max_episode_steps=25)


def run(source: TransitionSource, obs: np.ndarray, steps: int) -> tuple[np.ndarray, bytes]:
    parts: list[Any] = []
    for _ in range(steps):
        weights = np.linspace(-1, 1, obs.shape[1] * source.action_dim).reshape(obs.shape[1], -1)
        step = source.step(np.tanh(obs @ weights + 0.4).astype(np.float32))
        parts += [step.obs, step.next_obs, step.reward, step.terminated, step.truncated, step.valid]
        obs = step.obs
    return obs, b"".join(part.tobytes() for part in parts)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["world", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_a_restored_source_goes_on_bit_for_bit(backend: str, mode: AutoresetMode) -> None:
    source = TransitionSource(make(backend, mode))
    obs, _ = source.reset(seed=11)
    for before in (10, 15, 7):  # borders of the toys' episodes lie among these
        obs, _ = run(source, obs, before)
        stored = load(save(source.snapshot()))  # as a checkpoint keeps it
        obs, expected = run(source, obs, 60)

        fresh = TransitionSource(make(backend, mode))
        assert run(fresh, fresh.restore(stored), 60)[1] == expected
        assert run(source, source.restore(stored), 60)[1] == expected


def test_a_single_world_is_restored_too() -> None:
    env = WorldEnv()
    env.reset(seed=3)
    env.step(np.float32([0.1, 1.0]))
    snapshot = env.snapshot()
    expected = [env.step(np.float32([0.0, 1.0]))[0].tobytes() for _ in range(5)]
    fresh = WorldEnv()
    fresh.restore(snapshot)
    assert [fresh.step(np.float32([0.0, 1.0]))[0].tobytes() for _ in range(5)] == expected
    env.restore(snapshot)
    assert env.reset()[0].tobytes() == fresh.reset()[0].tobytes()


class TestDamage:
    def damaged(self, snapshot: Snapshot) -> list[tuple[Snapshot, str]]:
        half = {**snapshot, "worlds": snapshot["worlds"][: snapshot["worlds"].size // 2]}
        flipped = snapshot["worlds"].copy()
        flipped[int(snapshot["world_sizes"][0]) + 1 :] ^= 0xFF
        sizes = snapshot["world_sizes"].copy()
        sizes[0] += 1
        return [
            ({name: array for name, array in snapshot.items() if name != "ended"}, "the arrays"),
            ({**snapshot, "obs": snapshot["obs"].astype(np.float64)}, "obs is float64"),
            ({**snapshot, "ended": snapshot["ended"][:1]}, "same num_envs"),
            ({**snapshot, "fingerprint": snapshot["fingerprint"] ^ 1}, "another world configuration"),
            (half, "damaged"),
            ({**snapshot, "world_sizes": sizes}, "damaged"),
            ({**snapshot, "world_sizes": np.array([-1, snapshot["worlds"].size + 1])}, "damaged"),
            ({**snapshot, "worlds": flipped}, "can't be restored"),
        ]

    def test_is_refused_and_changes_nothing(self) -> None:
        env = WorldVectorEnv(2)
        env.reset(seed=0)
        snapshot = env.snapshot()
        env.step(np.ones((2, 2), np.float32))
        here = env.snapshot()
        for wrong, message in self.damaged(snapshot):
            with pytest.raises(CheckpointError, match=message):
                env.restore(wrong)
            for name, array in env.snapshot().items():
                assert array.tobytes() == here[name].tobytes(), (name, message)

    def test_a_snapshot_of_another_traffic_is_refused(self) -> None:
        env = WorldVectorEnv(2, traffic="dense")
        env.reset(seed=0)
        with pytest.raises(CheckpointError, match="another world configuration"):
            WorldVectorEnv(2).restore(env.snapshot())

    def test_toys_refuse_other_toys(self) -> None:
        pendulum = make_vector_env("Pendulum-v1", 2)
        pendulum.reset(seed=0)
        with pytest.raises(CheckpointError, match="isn't of 3"):
            make_vector_env("Pendulum-v1", 3).restore(pendulum.snapshot())
        with pytest.raises(CheckpointError, match="PendulumEnv"):
            make_vector_env("MountainCarContinuous-v0", 2).restore(pendulum.snapshot())

    @pytest.mark.parametrize(
        ("part", "value"),
        [("random", {"bit_generator": "seed"}), ("attributes", {"step": 1}), ("wrappers", []), ("id", None)],
    )
    def test_toys_refuse_doctored_state(self, part: str, value: Any) -> None:
        env = make_vector_env("Pendulum-v1", 1)
        env.reset(seed=0)
        snapshot = env.snapshot()
        plain = {**json.loads(snapshot["env0"].tobytes()), part: value}
        doctored = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        with pytest.raises(CheckpointError, match="snapshot"):
            env.restore({**snapshot, "env0": doctored})
        with pytest.raises(CheckpointError, match="isn't readable"):
            env.restore({**snapshot, "env0": doctored[:40]})
        assert env.snapshot()["env0"].tobytes() == snapshot["env0"].tobytes()

    def test_a_source_refuses_another_sources(self) -> None:
        source = TransitionSource(make_vector_env("Pendulum-v1", 2))
        source.reset(seed=0)
        with pytest.raises(CheckpointError, match="due_reset"):
            source.restore(source.env.snapshot())
        with pytest.raises(CheckpointError, match="isn't of 2"):
            source.restore({"due_reset": np.zeros(2, np.bool_)})
        incomplete = {name: array for name, array in source.snapshot().items() if "rewards" not in name}
        with pytest.raises(CheckpointError, match="vector_rewards is missing"):
            source.restore(incomplete)


class TestWhatCantBeRestored:
    def test_state_that_isnt_numbers_is_named(self) -> None:
        env = ToyVectorEnv([lambda: NumberedEnv([5])])
        env.reset(seed=0)
        assert not env.capabilities.exact_restore
        with pytest.raises(CapabilityError, match=r"NumberedEnv\.lengths"):
            env.snapshot()
        with pytest.raises(CapabilityError, match="exact_restore"):
            TransitionSource(env).snapshot()

    def test_a_wrapper_with_state_of_its_own_is_named(self) -> None:
        env = ToyVectorEnv([lambda: gym.wrappers.NormalizeReward(gym.make("Pendulum-v1"))])
        with pytest.raises(CapabilityError, match="NormalizeReward"):
            env.snapshot()

    def test_there_is_no_state_before_a_reset(self) -> None:
        with pytest.raises(gym.error.ResetNeeded):
            WorldVectorEnv(1).snapshot()
