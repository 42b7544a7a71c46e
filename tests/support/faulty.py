"""An environment whose every observation says who and when it is, and that hangs, dies or raises as told.

Faults happen only in worker processes: evaluations in the parent drive it unharmed.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import register, registry
from gymnasium.spaces import Box

from carla_online.envs.workers.process import WORKER_VARIABLE

ID = "faulty:Numbered-v0"


class NumberedFaultyEnv(gym.Env):
    """Observation: [process, episode, step, worker], float32. Reward: episode % 97 + step / 100.

    The episode's number is drawn from its seed, so it is the same wherever the episode is driven. Every odd episode
    terminates, every even one is truncated.

    Args:
        length: Steps of an episode.
        kind: `hang`, `crash`, `raise`, `freeze` (hangs in native code without letting go of the interpreter), `any`.
        rate: Share of the steps at which the fault happens, drawn from a random stream of its own.
        every: Steps of a process after which it happens for certain.
        at_step: Step of every episode at which it happens, for workers in `only`.
        only: Indices of the workers in which faults happen; all if None.
        killer: Episode (its `episode % 7`) in which it always happens.
        reset_s, step_s: How long reset and step take.
        once: File that is made at the first fault; once it exists no fault happens.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        length: int = 10,
        kind: str = "crash",
        rate: float = 0.0,
        every: int | None = None,
        at_step: int | None = None,
        only: list[int] | None = None,
        killer: int | None = None,
        reset_s: float = 0.0,
        step_s: float = 0.0,
        once: str | None = None,
    ) -> None:
        self.observation_space = Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.length, self.kind, self.rate, self.at_step, self.killer = length, kind, rate, at_step, killer
        self.reset_s, self.step_s, self.once = reset_s, step_s, once
        self.every, self.driven = every, 0
        worker = os.environ.get(WORKER_VARIABLE)
        self.worker = -1 if worker is None else int(worker)
        self.is_target = worker is not None and (only is None or self.worker in only)
        self.faults = np.random.default_rng(os.getpid())
        self.episode = self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        time.sleep(self.reset_s if self.is_target else 0.0)
        self.episode = int(self.np_random.integers(2**20))
        self.steps = 0
        return self._observation(), {"episode": self.episode}

    def step(self, action):
        time.sleep(self.step_s)
        self.steps += 1
        self.driven += 1
        if self._is_due():
            self._fail()
        ended = self.steps >= self.length
        is_odd = self.episode % 2 == 1
        reward = self.episode % 97 + self.steps / 100
        return self._observation(), reward, ended and is_odd, ended and not is_odd, {"episode": self.episode}

    def _observation(self) -> np.ndarray:
        return np.array([os.getpid() % 2**20, self.episode, self.steps, self.worker], np.float32)

    def _is_due(self) -> bool:
        if not self.is_target or (self.once is not None and Path(self.once).exists()):
            return False
        if self.killer is not None and self.episode % 7 == self.killer and self.steps == 2:
            return True
        return self.steps == self.at_step or self.driven == self.every or self.faults.random() < self.rate

    def _fail(self) -> None:
        if self.once is not None:
            Path(self.once).touch()
        kind = self.kind if self.kind != "any" else str(self.faults.choice(["hang", "crash", "raise"]))
        if kind == "hang":
            time.sleep(10_000)
        if kind == "freeze":
            import ctypes

            ctypes.PyDLL(None).sleep(10_000)
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("the simulator said no")


if "Numbered-v0" not in registry:
    register(id="Numbered-v0", entry_point=NumberedFaultyEnv, disable_env_checker=True, order_enforce=False)
