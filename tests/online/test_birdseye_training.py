"""A policy that sees a view from above: from the world over the replay to the networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_config, tiny_grpo_config

from carla_online.config import merge, validate
from carla_online.envs import TransitionSource, make_vector_env
from carla_online.envs.observations import BIRDSEYE, VECTOR, fields_of, from_fields
from carla_online.errors import ConfigError
from carla_online.online import ExperimentConfig, open_run
from carla_online.policies.networks import BirdseyeEncoder
from carla_online.policies.storage import load_policy, policy_to_bytes

ENV = {"kind": "world", "num_envs": 2, "observation": "birdseye_small", "map": {"map_variants": 4}}


def test_views_are_part_of_every_transition() -> None:
    source = TransitionSource(make_vector_env(ENV))
    obs, _ = source.reset(seed=0)
    assert obs[BIRDSEYE].shape == (2, 96, 96) and obs[BIRDSEYE].any(axis=(1, 2)).all()
    plain = TransitionSource(make_vector_env({**ENV, "observation": "vector"}))
    np.testing.assert_array_equal(obs[VECTOR], plain.reset(seed=0)[0])
    last = obs
    for _ in range(20):
        step = source.step(np.array([[0.0, 0.5]] * 2, np.float32))
        assert (step.next_obs[BIRDSEYE] != last[BIRDSEYE]).any(axis=(1, 2)).all()
        last = step.obs
    again = from_fields(fields_of(step.obs))
    assert again.dtype == step.obs.dtype and (again == step.obs).all()


def test_the_encoder_tells_planes_apart() -> None:
    torch.manual_seed(0)
    for size in (96, 256):
        encoder = BirdseyeEncoder(size)
        views = torch.zeros(9, size, size, dtype=torch.uint8)
        for plane in range(8):
            views[plane, size // 4 : size // 2, size // 4 : size // 2] = 1 << plane
        said = encoder(views)
        assert said.shape == (9, 64) and torch.isfinite(said).all()
        assert torch.cdist(said, said).add(torch.eye(9)).min() > 1e-4


def test_sac_trains_encoder_and_head_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    config = tiny_config(total_env_steps=700, env=ENV)
    with open_run(config, run_dir=tmp_path / "whole", show_progress=False) as run:
        policy = run.trainer.policy
        before = {name: value.clone() for name, value in policy.state_dict().items()}
        run.run()
        after = policy.state_dict()
        assert run.trainer.updates > 20
        for part in ("encoder.layers.0.weight", "encoder.last.0.weight", "head.layers.0.weight"):
            assert not torch.equal(before[part], after[part]), part
        (tmp_path / "policy.safetensors").write_bytes(policy_to_bytes(policy))
    for total in (400, 700):
        with open_run(config, run_dir=tmp_path / "parts", show_progress=False) as run:
            run.run(total)
            parts = {name: value.clone() for name, value in run.trainer.policy.state_dict().items()}
    for name, value in after.items():
        assert torch.equal(value, parts[name]), name
    assert load_policy(tmp_path / "policy.safetensors").birdseye_px == 96


def test_what_cannot_be_judged_or_learned_is_refused_before_it_starts() -> None:
    data = tiny_config(env=ENV).model_dump(mode="json")
    blind = merge(data, {"suite": {"env": {"observation": "vector"}}})
    with pytest.raises(ConfigError, match="suite.env.observation is vector.* set suite.env.observation to birdseye_sm"):
        validate(ExperimentConfig, blind, source="blind")
    with pytest.raises(ConfigError, match="learner.kind grpo learns from vectors alone"):
        tiny_grpo_config(env=ENV)
