"""A toy in which a rare severe event must outweigh a common harmless one, as vectorised one-step episodes."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from carla_online.envs.contract import Capabilities, Snapshot
from carla_online.learners import GRPOConfig
from carla_online.online import CARLAOnlineRunner, OnlineGRPOTrainer, RunnerConfig
from carla_online.policies import FullPolicy

SAFETY_SHARE = 0.05
OPTIMUM = SAFETY_SHARE * 10.0 / (SAFETY_SHARE * 10.0 + (1.0 - SAFETY_SHARE) * 0.05)
"""0.913: where the mean of both rewards is largest"""


class SafetyToy(VectorEnv[Any, Any, Any]):
    """One step an episode. In 95 % of the states the reward is -0.05 a^2, in 5 % it is -10 (a - 1)^2.

    The observation is always 1: the policy must find one action for all states.
    """

    capabilities = Capabilities(exact_restore=True)

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = Box(-1.0, 1.0, (1,), np.float32)
        self.single_action_space = Box(np.float32(-2.0), np.float32(2.0), (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seed, self._episode = 0, 0
        self._draw()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self._seed, self._episode = seed, 0
        self._draw()
        return self._obs(), {}

    def step(self, actions: Any) -> Any:
        a = np.asarray(actions, np.float64)[:, 0]
        reward = np.where(self._is_safety, -10.0 * (a - 1.0) ** 2, -0.05 * a**2)
        self._episode += 1
        self._draw()
        over = np.ones(self.num_envs, np.bool_)
        final = np.empty(self.num_envs, dtype=object)
        final[:] = list(self._obs())
        info = {"final_obs": final, "_final_obs": over, "final_info": {}, "_final_info": over}
        return self._obs(), reward, over, np.zeros_like(over), info

    def snapshot(self) -> Snapshot:
        return {"place": np.array([self._seed, self._episode], np.int64)}

    def restore(self, snapshot: Snapshot) -> Any:
        self._seed, self._episode = (int(value) for value in snapshot["place"])
        self._draw()
        return self._obs()

    def _draw(self) -> None:
        random = np.random.default_rng((self._seed, self._episode))
        self._is_safety = random.random(self.num_envs) < SAFETY_SHARE

    def _obs(self) -> Any:
        return np.ones((self.num_envs, 1), np.float32)


def learned_action(*, seed: int, **learner: Any) -> float:
    """Trains on the toy and returns the action found."""
    action, _, _ = trained(seed=seed, **learner).policy.act(np.ones((1, 1), np.float32), deterministic=True)
    return 2.0 * float(action[0, 0])


def trained(*, seed: int, windows: int = 3_000, **learner: Any) -> OnlineGRPOTrainer:
    """Trains on the toy in groups of 8 by branching; everything else is the default."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        policy = FullPolicy(obs_dim=1, action_dim=1, hidden_sizes=(8,), log_std_bias=-1.0)
        config = GRPOConfig(
            group_mode="branch", group_size=8, window_steps=1, branch_horizon=1, hidden_sizes=(8,), **learner
        )
        trainer = OnlineGRPOTrainer(policy, config=config, seed=seed)
        settings = RunnerConfig(tensorboard=False, log_every_env_steps=10**9, checkpoint_every_env_steps=10**9)
        env = SafetyToy(32)
        with CARLAOnlineRunner(
            env, trainer, run_dir=folder, settings=settings, seed=seed, show_progress=False
        ) as runner:
            runner.run(windows * 32 * (1 + 8))
        return trainer
