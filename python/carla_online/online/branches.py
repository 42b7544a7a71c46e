"""Branching: from where the environments stand, G different futures, and back as if nothing had happened."""

from __future__ import annotations

from typing import Protocol

import torch

from carla_online.envs.contract import Snapshot
from carla_online.envs.transitions import Step
from carla_online.online.rollouts import RolloutRecorder, Rollouts
from carla_online.policies.contract import FloatArray


class BranchingEnvironments(Protocol):
    """Environments that can be put back to where they were, bit for bit; `TransitionSource` is one."""

    num_envs: int

    def snapshot(self) -> Snapshot:
        """Returns the complete state of all environments."""
        ...

    def restore(self, snapshot: Snapshot) -> FloatArray:
        """Returns to a snapshot, and returns the observations to act on."""
        ...

    def step(self, actions: FloatArray) -> Step:
        """Takes one step in every environment."""
        ...


def drive_branches(
    envs: BranchingEnvironments,
    recorder: RolloutRecorder,
    rollouts: Rollouts,
    *,
    group_size: int,
    horizon_steps: int,
    generator: torch.Generator,
) -> int:
    """Drives every environment `group_size` times through its next steps, each time from the same state.

    The members differ in the policy's noise alone: what is random in the environments repeats. An environment whose
    episode ends goes on with its next one, which is recorded too. The environments end where they began.

    Args:
        envs: The environments.
        recorder: A fresh one for N environments; it draws, holds and records.
        rollouts: Takes the transitions, in column g * N + n for member g of environment n.
        group_size: G.
        horizon_steps: Environment steps of a branch.
        generator: Source of the policy's noise.

    Returns:
        Environment steps taken.
    """
    home = envs.snapshot()
    fresh = recorder.state_dict()
    steps = 0
    try:
        for member in range(group_size):
            recorder.load_state_dict(fresh)
            obs = envs.restore(home)
            for _ in range(horizon_steps):
                step = envs.step(recorder.act(obs, recorder.propose(obs, generator=generator)))
                closed, rows, _, _ = recorder.observe(step)
                rollouts.append(closed, rows, first_column=member * envs.num_envs)
                obs = step.obs
                steps += int(step.valid.sum())
    finally:
        envs.restore(home)
    return steps
