"""Faults to inject into a run: in the environment's rewards, in the learner's step sizes, targets and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv, VectorWrapper

from carla_online.envs.transitions import TransitionSource
from carla_online.online import Callback, CARLAOnlineRunner, ExperimentConfig
from carla_online.online.experiment import build_env, build_policy, build_trainer


@dataclass(frozen=True, slots=True)
class Span:
    """Environment steps, counted over all environments, in which a fault is there."""

    first: int
    last: int

    def holds(self, env_steps: int) -> bool:
        return self.first <= env_steps < self.last


class FaultyRewards(VectorWrapper):
    """Multiplies every reward in a span of steps."""

    def __init__(self, env: VectorEnv[Any, Any, Any], *, factor: float, span: Span) -> None:
        super().__init__(env)
        self._factor, self._span, self._env_steps = factor, span, 0

    def step(self, actions: Any) -> Any:
        obs, rewards, terminated, truncated, info = self.env.step(actions)
        if self._span.holds(self._env_steps):
            rewards = rewards * self._factor
        self._env_steps += self.env.num_envs
        return obs, rewards, terminated, truncated, info


class LearningRate(Callback):
    """Multiplies the step sizes once."""

    def __init__(self, factor: float, *, span: Span) -> None:
        self._factor, self._span = factor, span
        self._is_done = False

    def on_step(self, runner, step) -> None:
        if not self._is_done and self._span.holds(runner.env_steps):
            runner.trainer.learner.scale_learning_rates(self._factor)
            self._is_done = True


class ShuffledTargets(Callback):
    """Gives each transition of a batch another one's target, as rows that got out of step would."""

    def __init__(self, *, span: Span) -> None:
        self._span = span
        self._true: Callable[..., torch.Tensor] | None = None

    def on_step(self, runner, step) -> None:
        learner = runner.trainer.learner
        is_due = self._span.holds(runner.env_steps)
        if is_due and self._true is None:
            true = self._true = learner.target
            learner.target = lambda batch, generator: true(batch, generator=generator).roll(1)
        elif not is_due and self._true is not None:
            del learner.target
            self._true = None


class NotANumber(Callback):
    """Puts a NaN into one weight of a part of the learner, at every step of the span."""

    def __init__(self, part: str, *, span: Span) -> None:
        self._part, self._span = part, span

    def on_step(self, runner, step) -> None:
        if self._span.holds(runner.env_steps):
            learner = runner.trainer.learner
            owner = learner.policy.head if self._part == "head" else getattr(learner, self._part)
            with torch.no_grad():
                next(iter(owner.parameters())).view(-1)[0] = torch.nan


def make_fault(kind: str, span: Span) -> tuple[Callable[[Any], Any], list[Callback]]:
    """Returns what to do to the environment, and the callbacks, for a fault by its name."""
    rewards = {"reward x 100": 100.0, "reward sign": -1.0}
    if kind in rewards:
        return lambda env: FaultyRewards(env, factor=rewards[kind], span=span), []
    callbacks: dict[str, Callback] = {
        "learning rate x 100": LearningRate(100.0, span=span),
        "corrupted targets": ShuffledTargets(span=span),
        "NaN in critic": NotANumber("critic", span=Span(span.first, span.first + 1)),
        "NaN in target": NotANumber("target_critic", span=Span(span.first, span.first + 1)),
        "NaN in head": NotANumber("head", span=Span(span.first, span.first + 1)),
    }
    return (lambda env: env), [] if kind == "none" else [callbacks[kind]]


FAULTS = ("reward x 100", "reward sign", "learning rate x 100", "corrupted targets", "NaN in critic")


def open_faulty_run(
    config: ExperimentConfig, *, run_dir: Path, fault: str, span: Span, callbacks: Sequence[Callback] = ()
) -> CARLAOnlineRunner:
    """Returns a runner without evaluations whose environment or learner is faulty in a span of steps."""
    wrap, injected = make_fault(fault, span)
    env = wrap(build_env(config))
    source = TransitionSource(env)
    policy = build_policy(config, obs_dim=source.obs_dim, action_dim=source.action_dim)
    return CARLAOnlineRunner(
        env,
        build_trainer(config, policy),
        run_dir=run_dir,
        settings=config.runner,
        seed=config.seed,
        callbacks=[*injected, *callbacks],
        show_progress=False,
    )
