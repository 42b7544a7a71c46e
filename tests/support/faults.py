"""Faults put into a run on purpose, and a process that tells how the policy fares under them.

`python faults.py CONFIG FOLDER KEY=VALUE...` writes FOLDER/course.json: when the fault came, the score of the
deterministic policy over the run, every look of the guard and what it did, all by environment steps (the learner's
count of updates goes back with it). Keys: fault, seed, at_share (of the run's steps), lasts (true: until the end;
false: until the guard has acted), steps (of the run), until_share (end there, to be gone on with), score_every (env
steps), and learner.* of the configuration. In a copy of a folder that ended early the run goes on, and so does its
course: the faults of one run share all that came before them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from carla_online.cli.configs import load_experiment
from carla_online.envs.seeding import Split, seed_set
from carla_online.envs.transitions import Step
from carla_online.evaluation import evaluate_returns, evaluate_routes
from carla_online.learners.grpo import GRPOLearner
from carla_online.learners.sac import SACLearner
from carla_online.online import Callback, CARLAOnlineRunner, open_run

FAULTS = ("none", "reward_x100", "reward_flipped", "lr_x100", "targets_shuffled", "targets_noisy", "nan")


class Fault(Callback):
    """Puts one fault into a run.

    Args:
        name: One of `FAULTS`.
        at_env_steps: When.
        lasts: Until the end of the run; else until the guard has gone back once.
    """

    def __init__(self, name: str, *, at_env_steps: int, lasts: bool) -> None:
        if name not in FAULTS:
            raise ValueError(f"fault {name} is none of {FAULTS}")
        self.name, self.at_env_steps, self.lasts = name, at_env_steps, lasts
        self.began: int | None = None
        self._rollbacks_before = 0
        self._take_back: Callable[[], None] = lambda: None

    def on_step(self, runner: CARLAOnlineRunner, step: Step) -> None:
        """Begins the fault when its time has come, and ends it."""
        trainer: Any = runner.trainer
        if self.began is None and runner.env_steps >= self.at_env_steps and self.name != "none":
            self.began, self._rollbacks_before = runner.env_steps, trainer.guard.rollbacks
            self._take_back = self._put_in(runner)
        has_acted = trainer.guard.rollbacks > self._rollbacks_before
        if self.began is not None and has_acted and not self.lasts:
            self._take_back()
            self._take_back = lambda: None

    def _put_in(self, runner: CARLAOnlineRunner) -> Callable[[], None]:
        trainer: Any = runner.trainer
        if self.name.startswith("reward"):
            factor = np.float32(100.0 if self.name == "reward_x100" else -1.0)
            return _replace(
                runner._intake.source, "step", lambda step: dataclasses.replace(step, reward=step.reward * factor)
            )
        if self.name == "lr_x100":
            trainer.learner.scale_learning_rates(100.0)
            return lambda: None  # the guard puts the step sizes back
        if self.name == "nan":
            network = trainer.learner.critic if isinstance(trainer.learner, SACLearner) else trainer.learner.value
            with torch.no_grad():
                next(network.parameters()).view(-1)[0] = torch.nan
            return lambda: None
        corrupt = _shuffled if self.name == "targets_shuffled" else _noisy
        if isinstance(trainer.learner, GRPOLearner):
            return _replace_targets(trainer.learner, corrupt)
        return _replace(trainer.learner, "_target", corrupt)


def _shuffled(targets: torch.Tensor) -> torch.Tensor:
    return targets[torch.randperm(len(targets))]


def _noisy(targets: torch.Tensor) -> torch.Tensor:
    return targets + 10.0 * targets.std() * torch.randn(targets.shape)


def _replace(owner: Any, name: str, change: Callable[[Any], Any]) -> Callable[[], None]:
    """Lets a method's results pass through `change`; returns what undoes it."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **named: change(original(*args, **named)))
    return lambda: delattr(owner, name)


def _replace_targets(learner: GRPOLearner, corrupt: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
    original = learner.learn

    def learn(batch: Any, values: Any, critics: Any = None) -> dict[str, float]:
        corrupted = dataclasses.replace(values, targets=corrupt(values.targets))
        policy = dataclasses.replace(batch, advantage=corrupt(batch.advantage))
        return original(policy, corrupted, critics)

    learner.learn = learn  # type: ignore[method-assign]
    return lambda: delattr(learner, "learn")


class Course(Callback):
    """Writes down every look, and the deterministic policy's score now and then.

    Args:
        score: Drives the policy.
        every_env_steps: Environment steps between two scores.
        before: What was told of the run up to here.
    """

    def __init__(self, score: Callable[[Any], float], *, every_env_steps: int, before: Mapping[str, Any]) -> None:
        self._score, self._every = score, every_env_steps
        self.looks: list[dict[str, float]] = list(before.get("looks", []))
        self.scores: list[tuple[int, float]] = [(step, told) for step, told in before.get("scores", [])]
        self._next = self.scores[-1][0] + every_env_steps if self.scores else 0

    def on_update(self, runner: CARLAOnlineRunner, metrics: Mapping[str, float]) -> None:
        """Keeps the signals, and scores the policy where it is due."""
        trainer: Any = runner.trainer
        shortfall = trainer.guard.returns.shortfall
        self.looks.append({"env_steps": runner.env_steps, "return_shortfall": shortfall, **metrics})
        if runner.env_steps >= self._next:
            self._next = runner.env_steps + self._every
            self.scores.append((runner.env_steps, self._score(trainer.policy)))


def scorer(config: Any, *, episodes: int) -> Callable[[Any], float]:
    """Returns what drives a policy and says how well: mean return, or timed driving score."""
    if config.env.kind == "gymnasium":
        seeds = seed_set(Split.SELECTION, 0, episodes) % np.uint64(2**31)
        return lambda policy: float(evaluate_returns(policy, config.env.id, seeds).mean)
    suite = config.suite.for_selection(routes=episodes)
    return lambda policy: evaluate_routes(policy, suite).summary().timed_driving_score


def random_policy(action_dim: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what draws every action uniformly from its whole range."""
    generator = np.random.default_rng(0)
    return lambda obs: generator.uniform(-1.0, 1.0, (len(obs), action_dim)).astype(np.float32)


def main(words: list[str]) -> None:
    """Runs one course."""
    torch.set_num_threads(1)
    options = dict(word.split("=", 1) for word in words[2:])
    folder = Path(words[1])
    extra = [f"--{key}={value}" for key, value in options.items() if "." in key]
    steps = [f"--runner.total-env-steps={options['steps']}"] if "steps" in options else []
    never = ["--runner.evaluate-every-env-steps=1000000000", "--runner.no-tensorboard"]
    config = load_experiment(words[0], [f"--seed={options.get('seed', '0')}", *steps, *never, *extra])
    total = config.runner.total_env_steps
    course_file = folder / "course.json"
    before = json.loads(course_file.read_text()) if course_file.exists() else {}
    fault = Fault(
        options.get("fault", "none"),
        at_env_steps=int(float(options.get("at_share", "0.6")) * total),
        lasts=options.get("lasts", "false") == "true",
    )
    score = scorer(config, episodes=int(options.get("episodes", "20")))
    course = Course(score, every_env_steps=int(options.get("score_every", "500")), before=before)
    texts: list[tuple[int, str]] = [(step, text) for step, text in before.get("texts", [])]
    with open_run(config, run_dir=folder, callbacks=[fault, course], show_progress=False) as runner:
        runner.evaluator = None
        runner._metrics.text = lambda tag, text, step: texts.append((step, text))  # type: ignore
        trainer: Any = runner.trainer
        random_score = before.get("random_score") or score(random_policy(trainer.policy.action_dim))
        runner.run(int(float(options.get("until_share", "1")) * total))
        told = {
            "fault": fault.name,
            "env_steps": runner.env_steps,
            "began": fault.began,
            "rollbacks": trainer.guard.rollbacks,
            "is_frozen": trainer.guard.is_frozen,
            "updates": trainer.updates,
            "random_score": random_score,
            "last_score": score(trainer.policy),
            "scores": course.scores,
            "texts": texts,
            "looks": course.looks,
        }
    course_file.write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
