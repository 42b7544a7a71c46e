"""Policy files: weights in safetensors, everything else in JSON, head and baseline checked together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from carla_online.errors import PolicyError
from carla_online.policies.actor import ActorPolicy, DeltaPolicy, FullPolicy
from carla_online.policies.baseline import Baseline, load_baseline

FORMAT_VERSION = 1


def policy_to_bytes(policy: ActorPolicy) -> bytes:
    """Returns a policy as one safetensors file: weights, and in its header what they need to drive.

    A baseline made from a live Python object is named by its fingerprint only; `policy_from_bytes` then wants it.
    """
    baseline = policy.baseline
    description = {
        "version": FORMAT_VERSION,
        "kind": policy.kind,
        "obs_dim": policy.obs_dim,
        "action_dim": policy.action_dim,
        "hidden_sizes": list(policy.hidden_sizes),
        "log_std_bias": policy.log_std_bias,
        "birdseye_px": policy.birdseye_px,
        "delta_scale": policy.delta_scale.tolist() if isinstance(policy, DeltaPolicy) else None,
        "baseline": None if baseline is None else {"fingerprint": baseline.fingerprint, "spec": baseline.spec},
    }
    return tensors_to_bytes(dict(policy.state_dict()), metadata={"carla_online_policy": json.dumps(description)})


def load_policy(path: str | Path, *, baseline: Baseline | None = None) -> ActorPolicy:
    """Loads a policy file.

    Args:
        path: A file written from `policy_to_bytes`.
        baseline: The frozen baseline, where the file doesn't say how to build it.

    Raises:
        PolicyError: Missing, damaged, another format version, or made for another baseline.
    """
    return policy_from_bytes(read_policy_bytes(path), baseline=baseline, source=str(path))


def read_policy_bytes(path: str | Path) -> bytes:
    """Returns what a policy file holds, for `policy_from_bytes`.

    Raises:
        PolicyError: It can't be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PolicyError(f"can't read the policy file {path}: {error.strerror}. Check the path.") from error


def policy_from_bytes(data: bytes, *, baseline: Baseline | None = None, source: str = "policy") -> ActorPolicy:
    """Loads a policy from what `policy_to_bytes` returned; `source` names it in messages.

    Raises:
        PolicyError: As in `load_policy`.
    """
    try:
        header_size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header_size])["__metadata__"]
        description = json.loads(metadata["carla_online_policy"])
        tensors = tensors_from_bytes(data)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise PolicyError(f"{source} isn't a policy file, or is damaged ({error}).") from error
    if not isinstance(description, dict):
        raise PolicyError(f"{source} isn't a policy file: it describes itself by a {type(description).__name__}.")
    if description.get("version") != FORMAT_VERSION:
        raise PolicyError(
            f"{source} has format version {description.get('version')!r}; this build reads {FORMAT_VERSION}."
        )
    try:
        policy = _build(description, _resolve_baseline(description["baseline"], baseline, source))
        policy.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(f"{source} is damaged: its weights don't fit its description ({error}).") from error
    return policy


def _resolve_baseline(described: dict[str, Any] | None, given: Baseline | None, file: str) -> Baseline | None:
    if described is None:
        return None
    baseline = given if given is not None else baseline_from_spec(described.get("spec"), source=file)
    if baseline.fingerprint != described["fingerprint"]:
        raise PolicyError(
            f"{file} was trained beside the baseline {described['fingerprint'][:12]}, not beside {baseline!r}. A head "
            "belongs to its baseline: beside another one it drives worse than none. Load it with its own baseline."
        )
    return baseline


def baseline_from_spec(spec: dict[str, Any] | None, *, source: str) -> Baseline:
    """Builds a baseline from its `spec`; `source` names in messages where the spec was kept.

    Raises:
        PolicyError: There is no spec, as for a live Python object, or its file is missing or something else.
    """
    if spec is None:
        raise PolicyError(f"{source} was trained beside a live Python object: pass it as baseline=wrap_baseline(...).")
    if spec["kind"] == "scripted":
        from carla_online.policies.config import ScriptedBaselineConfig
        from carla_online.policies.scripted import scripted_baseline

        return scripted_baseline(ScriptedBaselineConfig.model_validate(spec))
    return load_baseline(spec["path"], factory=spec["factory"], action_dim=spec["action_dim"])


def _build(description: dict[str, Any], baseline: Baseline | None) -> ActorPolicy:
    hidden_sizes, log_std_bias = description["hidden_sizes"], description["log_std_bias"]
    birdseye_px = description.get("birdseye_px")
    if description["kind"] == "delta" and baseline is not None:
        return DeltaPolicy(
            baseline,
            obs_dim=description["obs_dim"],
            delta_scale=description["delta_scale"],
            hidden_sizes=hidden_sizes,
            log_std_bias=log_std_bias,
            birdseye_px=birdseye_px,
        )
    return FullPolicy(
        obs_dim=description["obs_dim"],
        action_dim=description["action_dim"],
        baseline=baseline,
        hidden_sizes=hidden_sizes,
        log_std_bias=log_std_bias,
        birdseye_px=birdseye_px,
    )
