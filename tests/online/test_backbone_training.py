"""Features of a frozen network over the sensors: from the server over the replay, which knows it, to the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tiny import tiny_config

from carla_online.config import merge, validate
from carla_online.envs import make_vector_env
from carla_online.envs.carla import CarlaVectorEnv
from carla_online.errors import ConfigError, SchemaMismatch
from carla_online.online import ExperimentConfig, open_run
from carla_online.online.sac import OnlineSACTrainer
from carla_online.replay import ReplayBuffer, ReplaySchema
from carla_online.server import Server, ServerConfig

SENSORS = {"imu": {"blueprint": "sensor.other.imu"}, "speed": {"blueprint": "speed"}}
WORLD_NUMBERS = 144


class Eye(torch.nn.Module):
    """Three features of acceleration, rates, compass and speed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(8, 3)
        torch.nn.init.normal_(self.mix.weight, generator=torch.Generator().manual_seed(seed))

    def forward(self, imu: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.mix(torch.cat([imu, speed], 1) / 10.0))


@pytest.fixture(scope="module")
def server() -> Any:
    with Server(ServerConfig(map="Straight")) as running:
        yield running


@pytest.fixture
def eyes(tmp_path: Path) -> list[Path]:
    """Two networks' files."""
    paths = [tmp_path / f"eye{seed}.ts" for seed in range(2)]
    for seed, path in enumerate(paths):
        torch.jit.script(Eye(seed)).save(str(path))
    return paths


def settings(server: Server, path: Path) -> dict[str, Any]:
    return {
        "servers": (f"127.0.0.1:{server.port}",),
        "map": {"preset": "straight", "map_variants": 1, "length_m": [120.0, 130.0]},
        "traffic": "light",
        "sensors": SENSORS,
        "backbone": {"path": str(path)},
    }


def experiment(server: Server, path: Path, **sections: Any) -> ExperimentConfig:
    env = {"kind": "carla", **settings(server, path)}
    data = merge(tiny_config(total_env_steps=900).model_dump(mode="json"), sections)
    # The suite's routes are driven while training holds its server, so on another one.
    data |= {"env": env, "suite": data["suite"] | {"env": env | {"servers": ["serve"]}, "routes": 1}}
    return validate(ExperimentConfig, data, source="test")


def test_features_stand_behind_the_vector_and_are_those_of_the_networks_readings(server: Server, eyes) -> None:
    described = settings(server, eyes[0])
    env = CarlaVectorEnv(**described, autoreset_mode="SAME_STEP")
    assert isinstance(env.single_observation_space, Box)
    assert env.single_observation_space.shape == (WORLD_NUMBERS + 3,)
    obs, _ = env.reset(seed=3)
    seen = [obs]
    for _ in range(400):
        obs, _, terminated, truncated, info = env.step(np.float32([[0.0, 0.3]]))
        assert env.observation_space.contains(obs)
        if terminated[0] or truncated[0]:
            assert info["final_obs"][0].shape == (WORLD_NUMBERS + 3,)
            assert np.abs(info["final_obs"][0] - obs[0])[-3:].max() > 0.01, "the last one, not the next episode's"
            break
        seen.append(obs)
    else:
        pytest.fail("the episode never ended")
    env.close()
    plain = CarlaVectorEnv(**{name: value for name, value in described.items() if name != "backbone"})
    readings, _ = plain.reset(seed=3)
    eye = torch.jit.load(str(eyes[0]))
    for each in seen[:40]:
        expected = eye(torch.from_numpy(readings["imu"]), torch.from_numpy(readings["speed"])).detach().numpy()
        np.testing.assert_allclose(each[:, WORLD_NUMBERS:], expected, atol=2e-3)
        np.testing.assert_allclose(each[:, :WORLD_NUMBERS], readings["vector"], atol=1e-4)
        readings, *_ = plain.step(np.float32([[0.0, 0.3]]))
    plain.close()


def test_a_safety_layer_goes_round_them(server: Server, eyes) -> None:
    env = make_vector_env({"kind": "carla", **settings(server, eyes[0]), "safety": {"mode": "enforce"}})
    env.reset(seed=0)
    obs, _, _, _, info = env.step(np.float32([[1.0, 1.0]]))
    assert obs.shape == (1, WORLD_NUMBERS + 3) and np.abs(info["executed_action"] - 1.0).max() > 0.0
    env.close()


def test_sac_learns_from_them_and_another_networks_experience_is_refused(server: Server, eyes, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with open_run(experiment(server, eyes[0]), run_dir=run_dir, show_progress=False) as run:
        run.run()
        assert isinstance(run.trainer, OnlineSACTrainer) and run.trainer.updates > 20
        fingerprint = run.trainer.replay.backbone_hash
        batch = run.trainer.replay.sampler(seed=0).sample(64)
        assert batch["obs"].shape == (64, WORLD_NUMBERS + 3) and np.ptp(batch["obs"][:, -3:], axis=0).min() > 0.0
    assert fingerprint is not None
    earlier = {"replay": {"earlier": {str(run_dir / "replay"): 0.5}}}
    with pytest.raises(ConfigError, match=f"features of the backbone {fingerprint[:12]}.*same backbone"):
        open_run(experiment(server, eyes[1], **earlier), run_dir=tmp_path / "other", show_progress=False).run()
    with open_run(experiment(server, eyes[0], **earlier), run_dir=tmp_path / "same", show_progress=False) as run:
        assert "share 50%" in "".join(run.trainer._messages)
    offline = merge(earlier, {"replay": {"offline": True}, "runner": {"total_env_steps": 200}})
    with open_run(experiment(server, eyes[0], **offline), run_dir=tmp_path / "offline", show_progress=False) as run:
        run.run()
        assert run.trainer.updates > 20


def test_a_buffer_belongs_to_one_network_for_good(tmp_path: Path) -> None:
    schema = ReplaySchema.transitions(obs_dim=4, action_dim=2, reward_terms=1)
    with ReplayBuffer.create(tmp_path / "replay", schema, capacity_rows=1_000) as buffer:
        assert buffer.backbone_hash is None
        buffer.bind_backbone("a" * 64)
        buffer.bind_backbone("a" * 64)
        with pytest.raises(SchemaMismatch, match="no features"):
            buffer.bind_backbone(None)
        buffer.compact(tmp_path / "copy", capacity_rows=2_000)
    with (
        ReplayBuffer.open(tmp_path / "copy", read_only=True) as copy,
        pytest.raises(SchemaMismatch, match="backbone aaaaaaaaaaaa.*backbone bbbbbbbbbbbb"),
    ):
        copy.check_backbone("b" * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": {"path": "eye.ts", "inputs": ["radar"]}}, r"\['radar'\] aren't among the sensors"),
        ({"sensors": {}}, "there are none; name them under sensors"),
        ({"backbone": None}, "name a frozen network"),
        ({"backbone": {"path": "missing.ts"}}, "backbone file not found: missing.ts"),
        ({"sensors": {"gnss": {"blueprint": "sensor.other.gnss"}}}, "fails on gnss float64"),
    ],
)
def test_what_cant_work_is_said_at_the_start(server: Server, eyes, changes, message, tmp_path: Path) -> None:
    env = {"kind": "carla", **settings(server, eyes[0])} | changes
    data = tiny_config(total_env_steps=100).model_dump(mode="json")
    data |= {"env": env, "suite": data["suite"] | {"env": env, "routes": 1}}
    with pytest.raises(ConfigError, match=message):
        open_run(validate(ExperimentConfig, data, source="test"), run_dir=tmp_path / "run", show_progress=False)


def test_a_suite_without_the_features_is_refused(server: Server, eyes) -> None:
    data = experiment(server, eyes[0]).model_dump(mode="json")
    data["suite"]["env"] = {"kind": "world"}
    with pytest.raises(ConfigError, match="couldn't be judged"):
        validate(ExperimentConfig, data, source="test")
