"""How far two batches agree on where the policy should go, for each way of giving credit: a part of `SUITE=grpo`.

One policy, many batches of equally many environment steps: what a gradient owes to the luck of its own batch points
elsewhere in the next one. So the mean cosine between the gradients of two batches is the signal's share of their
squared length, and how many batches an equally good direction takes is inversely proportional to it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from figures import Figures
from numpy.typing import NDArray

from carla_online.cli.configs import load_experiment
from carla_online.learners.credit import BranchCredit
from carla_online.learners.grpo import GRPOLearner
from carla_online.online import open_run
from carla_online.online.branches import drive_branches
from carla_online.online.groups import Part, branch_part, window_part
from carla_online.online.rollouts import RolloutRecorder, Rollouts
from carla_online.policies.networks import gaussian_logp

BATCHES = 48
TRAINED_ENV_STEPS = 1_500_000
"""Where the policy and its value network have learned something, and have most of it still ahead."""


def credit(figures: Figures) -> None:
    """Shows the agreement of batches from windows, and from branches with each kind of credit; there is no target."""
    torch.set_num_threads(1)
    config = load_experiment("grpo_straight", ["--runner.no-tensorboard"])
    with tempfile.TemporaryDirectory() as name, open_run(config, run_dir=Path(name), show_progress=False) as runner:
        runner.evaluator = None  # nothing is chosen or judged
        runner.run(TRAINED_ENV_STEPS)
        started_s = time.monotonic()
        intake: Any = runner._intake
        batches = _Batches(runner.trainer, intake.source)
        gradients = [batches.gradients() for _ in range(BATCHES)]
    for name in gradients[0]:
        agreement, error = _agreement(np.stack([of_batch[name] for of_batch in gradients]))
        figures.note(f"{name}: two batches agree to {agreement:.3f} +- {error:.3f}")
    figures.note(f"{BATCHES} batches in {time.monotonic() - started_s:.0f} s")


class _Batches:
    """Drives a trained policy on, and returns gradients without ever taking a step along them."""

    def __init__(self, trainer: Any, envs: Any) -> None:
        self._envs = envs
        self._learner: GRPOLearner = trainer.learner
        self._policy = trainer.policy
        self._config = trainer.config
        self._generator = torch.Generator().manual_seed(1)
        self._obs = envs.restore(envs.snapshot())

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """Returns the policy gradients [P] of a window, and of branches from where it ended, by name."""
        window = self._rollouts(1)
        recorder = self._recorder()
        for _ in range(self._config.window_steps):
            step = self._envs.step(recorder.act(self._obs, recorder.propose(self._obs, generator=self._generator)))
            closed, rows, _, _ = recorder.observe(step)
            window.append(closed, rows)
            self._obs = step.obs
        branches = self._rollouts(self._config.group_size)
        drive_branches(
            self._envs,
            self._recorder(),
            branches,
            group_size=self._config.group_size,
            horizon_steps=self._config.branch_horizon * self._config.hold_steps,
            generator=self._generator,
        )
        told = {"windows": self._gradient(window_part(window, self._learner))}
        for kind in get_args(BranchCredit):
            self._learner.config = self._config.model_copy(update={"branch_credit": kind})
            told[f"branches, {kind}"] = self._gradient(branch_part(branches, self._learner))
        return told

    def _rollouts(self, group_size: int) -> Rollouts:
        width = self._policy.state_dim
        return Rollouts(self._envs.num_envs * group_size, state_dim=width, action_dim=self._policy.action_dim)

    def _recorder(self) -> RolloutRecorder:
        return RolloutRecorder(
            self._policy,
            num_envs=self._envs.num_envs,
            reward_terms=0,
            hold_steps=self._config.hold_steps,
            gamma=self._config.gamma,
        )

    def _gradient(self, part: Part) -> NDArray[np.float32]:
        head = self._policy.head
        mean, log_std = head(torch.from_numpy(part.inputs))
        logp = gaussian_logp(torch.from_numpy(part.pre_squash), mean, log_std)
        gained = (logp * torch.from_numpy(part.advantage)).mean()
        gradient = torch.autograd.grad(gained, list(head.parameters()))
        return torch.cat([each.flatten() for each in gradient]).numpy()


def _agreement(gradients: NDArray[np.float32]) -> tuple[float, float]:
    """Returns the mean cosine between two of the gradients [B, P], and its standard error by bootstrap."""
    directions = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    cosines = directions @ directions.T
    generator = np.random.default_rng(0)

    def mean_of(chosen: NDArray[np.int64]) -> float:
        differ = chosen[:, None] != chosen[None, :]
        return float(cosines[np.ix_(chosen, chosen)][differ].mean())

    every = np.arange(len(gradients))
    drawn = [mean_of(generator.integers(len(every), size=len(every))) for _ in range(500)]
    return mean_of(every), float(np.std(drawn))
