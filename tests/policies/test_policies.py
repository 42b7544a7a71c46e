"""One contract for every policy, and what holds a delta head and its baseline together."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from carla_online.errors import PolicyError
from carla_online.policies import (
    Baseline,
    DeltaPolicy,
    FullPolicy,
    Policy,
    ScriptedBaselineConfig,
    check_policy,
    load_baseline,
    load_policy,
    policy_to_bytes,
    scripted_baseline,
    wrap_baseline,
)

OBS_DIM = 144


def small_module() -> torch.nn.Module:
    torch.manual_seed(7)
    return torch.nn.Sequential(torch.nn.Linear(OBS_DIM, 2), torch.nn.Tanh())


def steer_left(obs: np.ndarray) -> np.ndarray:
    return np.tile(np.array([-0.25, 0.5], dtype=np.float32), (len(obs), 1))


POLICIES = {
    "scripted baseline": lambda: scripted_baseline(),
    "wrapped callable": lambda: wrap_baseline(steer_left),
    "wrapped module": lambda: wrap_baseline(small_module()),
    "delta": lambda: DeltaPolicy(wrap_baseline(steer_left), obs_dim=OBS_DIM),
    "full with baseline": lambda: FullPolicy(obs_dim=OBS_DIM, baseline=wrap_baseline(steer_left)),
    "full": lambda: FullPolicy(obs_dim=OBS_DIM),
}


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES.keys())
def test_every_policy_keeps_the_contract(make):
    policy = make()
    assert isinstance(policy, Policy)
    check_policy(policy, obs_dim=OBS_DIM, action_dim=2)
    obs = np.random.default_rng(0).normal(size=(5, OBS_DIM)).astype(np.float32)
    before = obs.copy()
    first, _, _ = policy.act(obs, deterministic=True)
    again, _, _ = policy.act(obs, deterministic=True)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(obs, before)
    draws = [policy.act(obs, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    np.testing.assert_array_equal(draws[0][0], draws[1][0])
    assert np.abs(draws[0][0]).max() <= 1.0


@given(st.integers(0, 2**31), st.booleans())
def test_a_scale_of_zero_is_the_baseline_bit_for_bit(seed, deterministic):
    rng = np.random.default_rng(seed)
    actions = rng.choice(np.array([-1.0, -0.0, 0.0, 1.0, 0.3, -1e-30], dtype=np.float32), size=(6, 2))
    baseline = wrap_baseline(lambda obs: actions, name="table")
    policy = DeltaPolicy(baseline, obs_dim=3, delta_scale=(0.2, 0.5))
    with torch.no_grad():
        policy.head.layers[-1].bias.fill_(2.0)
    obs = rng.normal(size=(6, 3)).astype(np.float32)
    off, _, _ = policy.scaled(0.0).act(obs, deterministic=deterministic)
    assert off.tobytes() == actions.tobytes()
    on, _, _ = policy.act(obs, deterministic=True)
    assert on.tobytes() != actions.tobytes()


def test_logp_matches_an_independent_density_of_the_squashed_action():
    policy = FullPolicy(obs_dim=3, log_std_bias=-0.5)
    obs = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    action, logp, _ = policy.act(obs, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, log_std = policy.head(torch.from_numpy(obs))
    u = np.arctanh(action.astype(np.float64))
    normal = -0.5 * ((u - mean.numpy()) / np.exp(log_std.numpy())) ** 2 - log_std.numpy() - 0.5 * np.log(2 * np.pi)
    expected = (normal - np.log(1.0 - action.astype(np.float64) ** 2)).sum(axis=1)
    # float32 actions near +-1 lose digits in arctanh; the draws here stay below 0.95.
    np.testing.assert_allclose(logp, expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["delta", "full with baseline", "full"])
def test_a_saved_policy_drives_as_before(tmp_path, kind):
    policy = POLICIES[kind]()
    file = tmp_path / "policy.safetensors"
    file.write_bytes(policy_to_bytes(policy))
    loaded = load_policy(file, baseline=policy.baseline)
    obs = np.random.default_rng(2).normal(size=(9, OBS_DIM)).astype(np.float32)
    np.testing.assert_array_equal(policy.act(obs, deterministic=True)[0], loaded.act(obs, deterministic=True)[0])


def test_a_head_refuses_another_baseline(tmp_path):
    policy = DeltaPolicy(scripted_baseline(), obs_dim=OBS_DIM)
    file = tmp_path / "policy.safetensors"
    file.write_bytes(policy_to_bytes(policy))
    assert load_policy(file).baseline.fingerprint == policy.baseline.fingerprint
    other = scripted_baseline(ScriptedBaselineConfig(headway_s=1.0))
    with pytest.raises(PolicyError, match="belongs to its baseline"):
        load_policy(file, baseline=other)


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_a_damaged_policy_file_is_refused(tmp_path, cut):
    data = policy_to_bytes(FullPolicy(obs_dim=4))
    file = tmp_path / "policy.safetensors"
    file.write_bytes(data[:cut])
    with pytest.raises(PolicyError, match="damaged|isn't a policy file"):
        load_policy(file)


def test_baselines_come_from_torchscript_and_safetensors(tmp_path, monkeypatch):
    module = small_module()
    obs = np.random.default_rng(3).normal(size=(4, OBS_DIM)).astype(np.float32)
    expected = module(torch.from_numpy(obs)).detach().numpy()
    script = tmp_path / "baseline.ts"
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.trace(module, torch.from_numpy(obs)), str(script))
    np.testing.assert_allclose(load_baseline(script)(obs), expected, atol=1e-6)
    weights = tmp_path / "baseline.safetensors"
    save_file(module.state_dict(), weights)
    (tmp_path / "factory_module.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(144, 2), torch.nn.Tanh())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    np.testing.assert_allclose(load_baseline(weights, factory="factory_module:make")(obs), expected, atol=1e-6)
    with pytest.raises(PolicyError, match="factory='module:function'"):
        load_baseline(weights)


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path):
    file = tmp_path / "module.pt"
    torch.save(small_module(), file)
    with pytest.raises(PolicyError, match="refused.*safetensors"):
        load_baseline(file)
    plain = tmp_path / "module.pkl"
    plain.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(PolicyError, match="refused"):
        load_baseline(plain)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda obs: np.zeros((len(obs), 3)), "shape"),
        (lambda obs: np.full((len(obs), 2), np.nan), "finite"),
        (lambda obs: np.full((len(obs), 2), 1.5), r"\[-1, 1\]"),
    ],
)
def test_a_baseline_that_breaks_the_contract_is_named(function, message):
    baseline = wrap_baseline(function, name="mine")
    with pytest.raises(PolicyError, match=f"mine.*{message}"):
        baseline(np.zeros((2, 4), dtype=np.float32))


def test_the_fingerprint_follows_weights_and_settings():
    module = small_module()
    first = wrap_baseline(module).fingerprint
    with torch.no_grad():
        module[0].bias.add_(1e-3)
    assert wrap_baseline(module).fingerprint != first
    assert scripted_baseline().fingerprint == scripted_baseline().fingerprint
    slower = ScriptedBaselineConfig(speed_factor=0.7)
    assert scripted_baseline(slower).fingerprint != scripted_baseline().fingerprint


def test_a_baseline_is_a_policy_without_noise():
    baseline = Baseline(steer_left, fingerprint="x")
    _, logp, extra = baseline.act(np.zeros((3, 4), dtype=np.float32))
    np.testing.assert_array_equal(logp, np.zeros(3))
    np.testing.assert_array_equal(extra["baseline_action"], steer_left(np.zeros((3, 4))))
