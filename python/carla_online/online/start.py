"""From a configuration to a runner that is ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carla_online.envs.transitions import TransitionSource
from carla_online.online.callbacks import Callback
from carla_online.online.experiment import (
    ExperimentConfig,
    build_env,
    build_policy,
    build_trainer,
)
from carla_online.online.runner import CARLAOnlineRunner, Evaluator
from carla_online.online.selection import ReturnSelector, RouteSelector


def open_run(
    config: ExperimentConfig, *, run_dir: Path, callbacks: Sequence[Callback] = (), show_progress: bool = True
) -> CARLAOnlineRunner:
    """Returns a runner for `config`, resumed from `run_dir` if there is anything to resume.

    Args:
        config: The experiment.
        run_dir: The run's folder.
        callbacks: Hooks.
        show_progress: Print a progress display.

    Raises:
        ConfigError: The folder is in use or belongs to another configuration.
        CheckpointError: The newest checkpoint is damaged.
    """
    env = build_env(config)
    source = TransitionSource(env)
    policy = build_policy(
        config, obs_dim=source.obs_dim, action_dim=source.action_dim, birdseye_px=source.layout.birdseye_px
    )
    evaluator: Evaluator
    if config.env.kind == "gymnasium":
        evaluator = ReturnSelector(policy, env_id=config.env.id, config=config.selection, run_dir=run_dir)
    else:
        evaluator = RouteSelector(
            policy, baseline=policy.baseline, suite=config.suite, config=config.selection, run_dir=run_dir
        )
    return CARLAOnlineRunner(
        env,
        build_trainer(config, policy),
        run_dir=run_dir,
        config=config,
        settings=config.runner,
        seed=config.seed,
        evaluator=evaluator,
        callbacks=callbacks,
        show_progress=show_progress,
    )
