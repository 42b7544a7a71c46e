"""A small experiment that learns within a second, and a process that runs it and tells what was acknowledged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from carla_online.config import validate
from carla_online.envs.transitions import Step
from carla_online.online import Callback, CARLAOnlineRunner, ExperimentConfig, open_run


def tiny_config(*, total_env_steps: int = 4_000, env: dict | None = None, **learner: object) -> ExperimentConfig:
    """An experiment with every moving part: held deltas, warm-up, checkpoints, evaluations."""
    env = env or {"kind": "world", "num_envs": 4}
    is_world = env["kind"] == "world"
    data = {
        "name": "tiny",
        "env": env,
        "policy": {"hidden_sizes": [16, 16]} | ({} if is_world else {"kind": "full", "baseline": {"kind": "none"}}),
        "learner": {
            "batch_size": 16,
            "hidden_sizes": [16, 16],
            "hold_steps": 3,
            "updates_per_env_step": 0.25,
            "value_bounds": [-12, 12],
            "warmup": {"transitions": 200, "critic_from_transitions": 100, "critic_burn_in_updates": 5},
        }
        | learner,
        "replay": {"capacity_rows": 65_536},
        "runner": {
            "total_env_steps": total_env_steps,
            "log_every_env_steps": 500,
            "checkpoint_every_env_steps": 1_000,
            "evaluate_every_env_steps": 100_000_000,
            "tensorboard": False,
        },
        "selection": {"routes": 2, "confirm_routes": 2, "scales": [1.0]},
        "suite": {
            "routes": 2,
            "env": {"kind": "world", "map": {"length_m": [150.0, 200.0]}}
            | {key: env[key] for key in ("observation",) if key in env},
        },
    }
    return validate(ExperimentConfig, data, source="tiny")


def tiny_grpo_config(*, total_env_steps: int = 4_000, env: dict | None = None, **learner: object) -> ExperimentConfig:
    """The same experiment with the on-policy learner: windows of a few dozen steps."""
    data = tiny_config(total_env_steps=total_env_steps, env=env).model_dump(mode="json")
    data["learner"] = {
        "kind": "grpo",
        "batch_size": 32,
        "hidden_sizes": [16, 16],
        "hold_steps": 3,
        "window_steps": 24,
        "group_size": 2,
        "branch_horizon": 4,
        "epochs": 2,
    } | learner
    return validate(ExperimentConfig, data, source="tiny")


class Tell(Callback):
    """Writes the number of acknowledged transitions after every step, past all buffers."""

    def on_step(self, runner: CARLAOnlineRunner, step: Step) -> None:
        os.write(1, f"{runner.trainer.transitions}\n".encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    config = tiny_config(total_env_steps=int(sys.argv[2]))
    with open_run(config, run_dir=Path(sys.argv[1]), callbacks=[Tell()], show_progress=False) as opened:
        opened.run()
