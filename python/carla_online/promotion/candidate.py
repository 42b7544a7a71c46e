"""Who wants to become champion: a policy file, a run, or a distilled policy, with what is known of its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from carla_online.config import read_yaml, validate
from carla_online.errors import ConfigError
from carla_online.evaluation.files import read_json
from carla_online.evaluation.suite import SuiteConfig
from carla_online.online.experiment import ExperimentConfig, build_baseline
from carla_online.online.judge import best_policy_path
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.baseline import Baseline
from carla_online.policies.storage import policy_from_bytes, policy_to_bytes, read_policy_bytes

# As `imitation.fitting` writes them: a neighbour on the same floor, which isn't imported.
DISTILLED_POLICY: Final = "policy.safetensors"
DISTILLED_RECORD: Final = "distilled.json"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A policy and where it comes from."""

    policy: ActorPolicy
    """Who drives."""
    data: bytes
    """Its file, as it is kept."""
    label: str
    """The run's or file's name."""
    config: Mapping[str, Any] | None = None
    """The run's configuration."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What it learnt from."""
    suite: SuiteConfig | None = None
    """The run's own suite."""
    metrics: Path | None = None
    """The run's curves, for the watch over reward hacking."""
    last_step: int | None = None
    """Environment steps behind it."""

    @classmethod
    def of(cls, policy: ActorPolicy, *, label: str, origin: Mapping[str, Any] | None = None) -> Candidate:
        """Makes a candidate of a policy in memory."""
        return cls(policy, policy_to_bytes(policy), label, origin=dict(origin or {}))


def read_candidate(path: Path, *, baseline: Baseline | None = None) -> Candidate:
    """Reads a policy file, a run's folder (its best policy), or a folder that distillation wrote.

    Args:
        path: File or folder.
        baseline: The frozen baseline, where the file doesn't say how to build it.

    Raises:
        ConfigError: There is nothing at the path, or a folder of another kind.
        CheckpointError: The run has no chosen policy yet.
        PolicyError: The policy file is damaged, or wants another baseline.
    """
    if path.is_file():
        data = read_policy_bytes(path)
        return Candidate(policy_from_bytes(data, baseline=baseline, source=str(path)), data, path.stem)
    if (path / DISTILLED_RECORD).is_file():
        return _distilled(path, baseline)
    if (path / "config.yaml").is_file():
        return _run(path, baseline)
    raise ConfigError(
        f"{path} is neither a policy file, nor a run's folder (it has no config.yaml), nor a distilled policy's (it "
        f"has no {DISTILLED_RECORD}). Check the path."
    )


def _run(run_dir: Path, baseline: Baseline | None) -> Candidate:
    file = run_dir / "config.yaml"
    config = validate(ExperimentConfig, read_yaml(file), source=str(file))
    if config.env.kind == "gymnasium":
        raise ConfigError(
            f"{run_dir} trained on {config.env.id}, which has no driving score; nothing could be compared."
        )
    baseline = baseline or build_baseline(config)
    path = best_policy_path(run_dir)
    data = read_policy_bytes(path)
    policy = policy_from_bytes(data, baseline=baseline, source=str(path))
    record = _record(path.with_suffix(".json"))
    steps = record.get("env_steps")
    return Candidate(
        policy,
        data,
        run_dir.resolve().name,
        config=config.model_dump(mode="json"),
        origin={"selection": record},
        suite=config.suite,
        metrics=run_dir / "metrics.jsonl" if (run_dir / "metrics.jsonl").is_file() else None,
        last_step=steps if isinstance(steps, int) else None,
    )


def _distilled(folder: Path, baseline: Baseline | None) -> Candidate:
    data = read_policy_bytes(folder / DISTILLED_POLICY)
    policy = policy_from_bytes(data, baseline=baseline, source=str(folder / DISTILLED_POLICY))
    return Candidate(policy, data, folder.resolve().name, origin={"distilled": _record(folder / DISTILLED_RECORD)})


def _record(path: Path) -> dict[str, Any]:
    data = read_json(path) if path.is_file() else {}
    return data if isinstance(data, dict) else {}
