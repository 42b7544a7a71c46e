"""One configuration for a whole experiment, and the objects it describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from gymnasium.vector import VectorEnv
from pydantic import Field, model_validator

from carla_online.config import Config
from carla_online.envs.carla import CarlaEnvConfig
from carla_online.envs.transitions import EnvConfig, make_vector_env
from carla_online.envs.world import WorldEnvConfig
from carla_online.evaluation.suite import SuiteConfig
from carla_online.learners.config import LearnerConfig, SACConfig
from carla_online.online.grpo import OnlineGRPOTrainer
from carla_online.online.guard import GuardConfig
from carla_online.online.runner import RunnerConfig
from carla_online.online.sac import OnlineSACTrainer
from carla_online.online.selection import SelectionConfig
from carla_online.online.trainer import OnlineTrainer
from carla_online.policies.actor import ActorPolicy, DeltaPolicy, FullPolicy
from carla_online.policies.baseline import Baseline, load_baseline
from carla_online.policies.config import PolicyConfig
from carla_online.policies.scripted import scripted_baseline


class ReplayConfig(Config):
    """The experience that a run keeps."""

    capacity_rows: int = Field(1_000_000, ge=1_000, le=1_000_000_000)
    """Transitions kept; disk for all of them is reserved at the start."""
    earlier: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """Folders of earlier runs' buffers (`RUN/replay`), opened read-only, and each one's share of every batch; the rest
    comes from this run's own buffer."""
    offline: bool = False
    """Learn from the earlier buffers alone, without an environment; the shares are divided by their sum."""

    @model_validator(mode="after")
    def _check(self) -> ReplayConfig:
        total = sum(self.earlier.values())
        if self.offline and not self.earlier:
            raise ValueError("offline learns from earlier buffers alone, but `earlier` names none; add a folder")
        if not self.offline and total >= 1.0:
            raise ValueError(
                f"the shares of `earlier` sum up to {total:g}, which leaves nothing to this run; make it less than 1, "
                "or set offline"
            )
        return self


class ExperimentConfig(Config):
    """Everything a run depends on. Written beside the run; a run's folder refuses another configuration."""

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    """Names the run's folder."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seeds networks, exploration, sampling, warm-up and training episodes."""
    env: EnvConfig = WorldEnvConfig()
    """Where the policy drives while it learns."""
    policy: PolicyConfig = PolicyConfig()
    """What learns."""
    learner: LearnerConfig = SACConfig()
    """How it learns: `kind: sac` from replay, or `kind: grpo` from fresh windows."""
    replay: ReplayConfig = ReplayConfig()
    """What is kept of the experience."""
    guard: GuardConfig = GuardConfig()
    """When learning is taken back."""
    runner: RunnerConfig = RunnerConfig()
    """How long, how often logged, checkpointed, evaluated."""
    selection: SelectionConfig = SelectionConfig()
    """How the best checkpoint is chosen."""
    suite: SuiteConfig = SuiteConfig()
    """The routes on which before and after are compared, and the rule of better."""

    @model_validator(mode="before")
    @classmethod
    def _name_the_learner(cls, data: Any) -> Any:
        """Takes `learner` without a kind as SAC's, the default."""
        learner = data.get("learner") if isinstance(data, dict) else None
        return {**data, "learner": {"kind": "sac", **learner}} if isinstance(learner, dict) else data

    @model_validator(mode="after")
    def _check(self) -> ExperimentConfig:
        if self.policy.kind == "delta" and self.policy.baseline.kind == "none":
            raise ValueError("policy.kind delta needs a baseline; choose one, or policy.kind full")
        if self.env.kind == "gymnasium" and self.policy.baseline.kind == "scripted":
            raise ValueError("the scripted baseline drives only the driving world; set policy.baseline.kind to none")
        if self.learner.kind == "sac" and self.learner.batch_size > self.replay.capacity_rows:
            raise ValueError(
                f"learner.batch_size {self.learner.batch_size} is larger than replay.capacity_rows "
                f"{self.replay.capacity_rows}"
            )
        self._check_workers()
        if self.env.kind != "gymnasium":
            self._check_observation(self.env.observation)
        if isinstance(self.env, CarlaEnvConfig) and self.env.sensors:
            self._check_sensors(self.env)
        return self

    def _check_workers(self) -> None:
        """Refuses workers that the learner can't use, or that can't share the environments."""
        workers = self.runner.workers
        if self.replay.earlier and self.learner.kind != "sac":
            raise ValueError(
                f"replay.earlier is of no use to learner.kind {self.learner.kind}, which learns from fresh windows "
                "alone; leave it out, or set learner.kind to sac"
            )
        if self.replay.offline and workers:
            raise ValueError(f"replay.offline drives nothing, but runner.workers is {workers}; set it to 0")
        if workers and self.learner.kind != "sac":
            raise ValueError(
                f"runner.workers is {workers}, but learner.kind {self.learner.kind} learns from windows that it drives "
                "itself; set runner.workers to 0, or learner.kind to sac"
            )
        if workers and self.env.num_envs % workers:
            raise ValueError(
                f"{workers} runner.workers can't share {self.env.num_envs} env.num_envs evenly; make it a multiple"
            )

    def _check_observation(self, learned: str) -> None:
        """Refuses a suite that shows the policy something else than it learns from."""
        judged = self.suite.env.get("observation", "vector") if isinstance(self.suite.env, dict) else learned
        if judged != learned:
            raise ValueError(
                f"env.observation is {learned}, but suite.env.observation is {judged}: the policy couldn't be judged; "
                f"set suite.env.observation to {learned}"
            )
        if learned != "vector" and self.learner.kind == "grpo":
            raise ValueError(
                f"learner.kind grpo learns from vectors alone, but env.observation is {learned}; set it to vector, or "
                "learner.kind to sac"
            )

    def _check_sensors(self, env: CarlaEnvConfig) -> None:
        """Refuses sensors that nothing makes features of, and a suite without these features."""
        if env.backbone is None:
            raise ValueError(
                f"env.sensors has {sorted(env.sensors)}, but a learner learns from numbers and the view from above; "
                "name a frozen network over them in env.backbone, or leave them out"
            )
        judged = self.suite.env if isinstance(self.suite.env, dict) else {}
        wanted = env.model_dump(mode="json")
        given = CarlaEnvConfig.model_validate(judged).model_dump(mode="json") if judged.get("kind") == "carla" else {}
        if any(given.get(part) != wanted[part] for part in ("sensors", "backbone")):
            raise ValueError(
                "env.backbone gives the policy features that the suite doesn't have: the policy couldn't be judged; "
                "give suite.env kind carla and the same sensors and backbone"
            )


def build_baseline(config: ExperimentConfig) -> Baseline | None:
    """Returns the frozen baseline that the configuration names, or None."""
    settings = config.policy.baseline
    if settings.kind == "scripted":
        return scripted_baseline(settings)
    if settings.kind == "file":
        return load_baseline(settings.path, factory=settings.factory)
    return None


def build_env(config: ExperimentConfig) -> VectorEnv[Any, Any, Any]:
    """Returns the training environments."""
    return make_vector_env(config.env)


def build_policy(
    config: ExperimentConfig, *, obs_dim: int, action_dim: int, birdseye_px: int | None = None
) -> ActorPolicy:
    """Returns a fresh policy; the configuration's seed fixes its weights."""
    settings = config.policy
    baseline = build_baseline(config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if settings.kind == "delta" and baseline is not None:
            return DeltaPolicy(
                baseline,
                obs_dim=obs_dim,
                delta_scale=settings.delta_scale,
                hidden_sizes=settings.hidden_sizes,
                log_std_bias=settings.log_std_bias,
                birdseye_px=birdseye_px,
            )
        return FullPolicy(
            obs_dim=obs_dim,
            action_dim=action_dim,
            baseline=baseline,
            hidden_sizes=settings.hidden_sizes,
            log_std_bias=settings.log_std_bias,
            birdseye_px=birdseye_px,
        )


def build_trainer(config: ExperimentConfig, policy: ActorPolicy) -> OnlineTrainer:
    """Returns the trainer of the configured learner."""
    if config.learner.kind == "grpo":
        return OnlineGRPOTrainer(
            policy,
            config=config.learner,
            seed=config.seed,
            capacity_rows=config.replay.capacity_rows,
            guard=config.guard,
        )
    return OnlineSACTrainer(
        policy,
        config=config.learner,
        seed=config.seed,
        capacity_rows=config.replay.capacity_rows,
        guard=config.guard,
        earlier=config.replay.earlier,
        is_offline=config.replay.offline,
    )


def run_directory(config: ExperimentConfig) -> Path:
    """Returns where the run is kept."""
    return Path(config.runner.run_dir or f"runs/{config.name}")
