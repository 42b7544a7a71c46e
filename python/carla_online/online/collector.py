"""From environment steps to transitions: held draws, summed rewards, and what belongs to which row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from carla_online.envs.observations import ObservationArray, fields_of, from_fields, vector_of
from carla_online.envs.transitions import Step
from carla_online.errors import SimulatorError
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import FloatArray, Policy, check_actions

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Draw:
    """What a policy proposes for each of N environments."""

    squashed: FloatArray
    """[N, A]: the head's output, in [-1, 1]; the action itself for a policy that has no head"""
    logp: FloatArray
    """[N]"""
    pre_squash: FloatArray | None = None
    """[N, A]: u of the draw tanh(u); None for a policy that has no head"""
    pre_squash_logp: FloatArray | None = None
    """[N]: log density of u"""


class Collector:
    """Holds each environment's draw for some steps and turns the steps under one draw into one transition.

    An episode's end closes the transition early, so holds run out of phase between environments.

    Args:
        policy: Proposes actions.
        num_envs: N.
        action_dim: A.
        reward_terms: K, number of reward terms (0 for an environment without).
        hold_steps: Environment steps under one draw.
        gamma: Discount for one environment step.
    """

    def __init__(
        self, policy: Policy, *, num_envs: int, action_dim: int, reward_terms: int, hold_steps: int, gamma: float
    ) -> None:
        self.policy = policy
        self.num_envs = num_envs
        self.action_dim = action_dim
        self.hold_steps = hold_steps
        self.gamma = gamma
        self._baseline: FloatArray | None = None
        actions = (num_envs, action_dim)
        self._steps_left = np.zeros(num_envs, dtype=np.int64)
        self._steps_done = np.zeros(num_envs, dtype=np.int64)
        self._squashed = np.zeros(actions, dtype=np.float32)
        self._reward = np.zeros(num_envs, dtype=np.float64)
        self._action = np.zeros(actions, dtype=np.float32)
        self._reward_terms = np.zeros((num_envs, reward_terms), dtype=np.float32)
        self._intervened = np.zeros(num_envs, dtype=np.bool_)
        self._open: dict[str, NDArray[np.generic]] = {
            "baseline_action": np.zeros(actions, dtype=np.float32),
            "proposed_action": np.zeros(actions, dtype=np.float32),
            "executed_action": np.zeros(actions, dtype=np.float32),
            "reward_terms": self._reward_terms,
            "safety_intervened": self._intervened,
            "logp": np.zeros(num_envs, dtype=np.float32),
        }
        self._start_obs: ObservationArray | None = None

    @property
    def needs_draw(self) -> BoolArray:
        """Environments whose draw has run out, bool [N]."""
        return np.equal(self._steps_left, 0)

    def propose(self, obs: ObservationArray, *, generator: torch.Generator, deterministic: bool = False) -> Draw:
        """Asks the policy for every environment, so that the noise consumed doesn't depend on who needs a draw."""
        baseline = self.baseline_action(obs)
        if isinstance(self.policy, ActorPolicy):
            _, logp, extra = self.policy.act_beside(obs, baseline, deterministic=deterministic, generator=generator)
            return Draw(extra["squashed"], logp, extra["pre_squash"], extra["pre_squash_logp"])
        action, logp, extra = self.policy.act(obs, deterministic=deterministic, generator=generator)
        if "baseline_action" in extra:
            self._baseline = extra["baseline_action"]
        who = type(self.policy).__name__
        return Draw(check_actions(action, rows=len(obs), action_dim=self.action_dim, who=who), logp)

    def act(self, obs: ObservationArray, draw: Draw) -> FloatArray:
        """Returns the proposed actions [N, A]; environments that need a draw take theirs from `draw`."""
        fresh = self.needs_draw
        baseline = self.baseline_action(obs)
        if self._start_obs is None:
            self._start_obs = np.zeros_like(obs)
        self._squashed[fresh] = draw.squashed[fresh]
        self._action = self._compose(baseline)
        self._start_obs[fresh] = obs[fresh]
        for name, values in (("baseline_action", baseline), ("proposed_action", self._action), ("logp", draw.logp)):
            self._open[name][fresh] = values[fresh]
        self._reward_terms[fresh] = 0.0
        self._intervened[fresh] = False
        self._reward[fresh] = 0.0
        self._steps_done[fresh] = 0
        self._steps_left[fresh] = self.hold_steps
        return self._action

    def observe(self, step: Step) -> tuple[BoolArray, dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
        """Adds one environment step.

        Args:
            step: What the environment answered to the last `act`.

        Returns:
            Which environments closed a transition, bool [N]; the rows' values and the next values, by field, with
            leading dimension N.

        Raises:
            SimulatorError: An observation or reward isn't finite.
        """
        assert self._start_obs is not None  # act comes first
        _check_finite(step)
        first = step.valid & (self._steps_done == 0)
        executed = np.asarray(step.info.get("executed_action", self._action), dtype=np.float32)
        self._open["executed_action"][first] = executed[first]
        # A simulator that failed gave no step, only the last observation again: what was open ends there.
        failed = step.valid & _failed_rows(step)
        valid = step.valid & ~failed
        self._reward[valid] += (self.gamma ** self._steps_done[valid]) * step.reward[valid]
        self._add_info(step.info, valid)
        self._steps_done[valid] += 1
        self._steps_left[valid] -= 1
        ended = step.terminated | step.truncated
        closed: BoolArray = valid & ((self._steps_left == 0) | ended)
        closed |= failed & (self._steps_done > 0)
        self._steps_left[ended | ~valid] = 0
        rows: dict[str, NDArray[np.generic]] = {**fields_of(self._start_obs), **self._open}
        rows["reward"] = self._reward.astype(np.float32)
        rows |= {"terminated": step.terminated & valid}
        rows["truncated"] = (step.truncated & valid & ~step.terminated) | failed
        self._baseline = None
        next_values: dict[str, NDArray[np.generic]] = {**fields_of(step.next_obs)}
        next_values["baseline_action"] = self.baseline_action(step.next_obs)
        if ended.any() or not valid.all():
            self._baseline = None  # some go on from the first observation of another episode
        return closed, rows, next_values

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns the open transitions, as arrays by name."""
        state: dict[str, NDArray[np.generic]] = {f"open.{name}": value.copy() for name, value in self._open.items()}
        state |= {"steps_left": self._steps_left.copy(), "steps_done": self._steps_done.copy()}
        state |= {"squashed": self._squashed.copy(), "reward": self._reward.copy()}
        if self._start_obs is not None:
            state |= {f"start_{name}": values.copy() for name, values in fields_of(self._start_obs).items()}
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`."""
        for name in self._open:
            self._open[name][...] = state[f"open.{name}"]
        self._steps_left[...] = state["steps_left"]
        self._steps_done[...] = state["steps_done"]
        self._squashed[...] = state["squashed"]
        self._reward[...] = state["reward"]
        starts = {name.removeprefix("start_"): values for name, values in state.items() if name.startswith("start_")}
        self._start_obs = from_fields(starts) if starts else None
        self._baseline = None

    def baseline_action(self, obs: ObservationArray) -> FloatArray:
        """Returns the baseline's actions [N, A] for the observations to act on; zeros where there is no baseline."""
        if self._baseline is None:
            if isinstance(self.policy, ActorPolicy):
                self._baseline = self.policy.baseline_action(obs)
            else:
                self._baseline = np.zeros((len(obs), self.action_dim), dtype=np.float32)
        return self._baseline

    def _compose(self, baseline: FloatArray) -> FloatArray:
        if not isinstance(self.policy, ActorPolicy):
            return self._squashed.copy()
        with torch.no_grad():
            return self.policy.compose(torch.from_numpy(baseline), torch.from_numpy(self._squashed)).numpy().copy()

    def _add_info(self, info: Mapping[str, NDArray[np.generic]], valid: BoolArray) -> None:
        if "reward_terms" in info and self._reward_terms.shape[1]:
            self._reward_terms[valid] += np.asarray(info["reward_terms"], dtype=np.float32)[valid]
        if "safety_intervened" in info:
            self._intervened |= np.asarray(info["safety_intervened"], dtype=np.bool_) & valid


def _failed_rows(step: Step) -> BoolArray:
    failures = step.info.get("sim_failure")
    if failures is None:
        return np.zeros_like(step.valid)
    return np.array([bool(text) for text in failures], dtype=np.bool_)


def _check_finite(step: Step) -> None:
    for name, values in (("observation", vector_of(step.next_obs)), ("reward", step.reward)):
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            index = int(np.argmin(finite))
            raise SimulatorError(
                f"environment {index} returned a {name} that isn't finite ({values[index]!r:.200}); "
                "learning from it would spread through every weight. Check the environment or its reward function."
            )
