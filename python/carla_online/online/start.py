"""From a configuration to a runner that is ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carla_online.envs.workers.incidents import IncidentLog
from carla_online.online.callbacks import Callback
from carla_online.online.experiment import (
    ExperimentConfig,
    build_env,
    build_policy,
    build_trainer,
)
from carla_online.online.intake import InProcessIntake, Intake
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
    intake: Intake
    if config.replay.offline:
        from carla_online.online.offline import OfflineIntake

        intake = OfflineIntake(next(iter(config.replay.earlier)))
    elif config.runner.workers:
        from carla_online.online.workers import WorkersIntake

        intake = WorkersIntake(config, run_dir)
    else:
        intake = InProcessIntake(build_env(config), incidents=_incidents(config, run_dir))
    try:
        return _open(config, intake, run_dir=run_dir, callbacks=callbacks, show_progress=show_progress)
    except BaseException:
        intake.close()
        raise


def _incidents(config: ExperimentConfig, run_dir: Path) -> IncidentLog | None:
    """Returns a log of the simulators' failures, where simulators are other programs."""
    if config.env.kind != "carla":
        return None
    folder = run_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return IncidentLog(config.runner.supervision, path=folder / "incidents.jsonl")


def _open(
    config: ExperimentConfig, intake: Intake, *, run_dir: Path, callbacks: Sequence[Callback], show_progress: bool
) -> CARLAOnlineRunner:
    facts = intake.facts
    policy = build_policy(config, obs_dim=facts.obs_dim, action_dim=facts.action_dim, birdseye_px=facts.birdseye_px)
    evaluator: Evaluator
    if config.env.kind == "gymnasium":
        evaluator = ReturnSelector(policy, env_id=config.env.id, config=config.selection, run_dir=run_dir)
    else:
        evaluator = RouteSelector(
            policy, baseline=policy.baseline, suite=config.suite, config=config.selection, run_dir=run_dir
        )
    return CARLAOnlineRunner(
        intake,
        build_trainer(config, policy),
        run_dir=run_dir,
        config=config,
        settings=config.runner,
        seed=config.seed,
        evaluator=evaluator,
        callbacks=callbacks,
        show_progress=show_progress,
    )
