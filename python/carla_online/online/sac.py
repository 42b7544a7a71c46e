"""Off-policy online learning: every transition goes to replay, updates follow continuously."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carla_online.envs.transitions import Step
from carla_online.errors import CheckpointError, PolicyError
from carla_online.learners.config import SACConfig
from carla_online.learners.sac import SACLearner, TransitionBatch
from carla_online.online.collector import Collector
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.rule import OwnRule
from carla_online.online.supervision import Supervision, below
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer, Recovery, TrainerState, split_prefix
from carla_online.online.warmup import Warmup
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import FloatArray, Policy
from carla_online.replay import ReplayBuffer, ReplaySampler, ReplaySchema, ReplayWriter


class OnlineSACTrainer(OnlineTrainer):
    """Collects a step, stores it, and updates continuously from replay once warm.

    Args:
        policy: A `DeltaPolicy` or `FullPolicy`; or any policy with `update(batch) -> metrics`, which is then called
            in place of SAC with the batch's arrays by name.
        config: Settings of learner, schedule and warm-up.
        seed: Seeds network weights, exploration, sampling and warm-up.
        capacity_rows: Transitions the replay keeps.
        guard: Settings of the stability guard.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        config: SACConfig | None = None,
        seed: int = 0,
        capacity_rows: int = 1_000_000,
        guard: GuardConfig | None = None,
    ) -> None:
        self.policy = policy
        self.config = config or SACConfig()
        self.seed = seed
        self.capacity_rows = capacity_rows
        self.learner: SACLearner | OwnRule
        if isinstance(policy, ActorPolicy):
            # It trains a copy: `policy` itself, which drives, only ever gets weights that the guard has passed.
            learning = copy.deepcopy(policy)
            self.learner = SACLearner(learning, config=self.config, generator=torch.Generator().manual_seed(2 * seed))
        elif callable(getattr(policy, "update", None)):
            self.learner = OwnRule(policy)
        else:
            raise PolicyError(
                f"{type(policy).__name__} can't learn: pass a DeltaPolicy or FullPolicy, or a policy with "
                "update(batch) -> metrics. To learn beside a frozen callable: DeltaPolicy(wrap_baseline(callable))."
            )
        self._generator = torch.Generator().manual_seed(2 * seed + 1)
        guard_config = guard or GuardConfig()
        q_limit = _q_limit(guard_config, self.config)
        self._supervision = Supervision(policy, self.learner, config=guard_config, q_limit=q_limit)
        self.transitions = 0
        self.updates = 0
        self._due = 0.0
        self._metrics: dict[str, Tensor] = {}

    def prepare(self, facts: EnvironmentFacts, *, directory: Path) -> None:
        """Opens or creates the replay below `directory`; see `OnlineTrainer.prepare`."""
        schema = ReplaySchema.transitions(facts.obs_dim, facts.action_dim, facts.reward_term_names)
        self.replay: ReplayBuffer = ReplayBuffer.open_or_create(
            directory / "replay", schema, capacity_rows=self.capacity_rows
        )
        self._num_envs = facts.num_envs
        discount = self.config.gamma**self.config.hold_steps
        self._supervision.prepare(num_envs=facts.num_envs, discount=discount, replay=self.replay)
        self._collector = Collector(
            self.policy,
            num_envs=facts.num_envs,
            action_dim=facts.action_dim,
            reward_terms=len(facts.reward_term_names),
            hold_steps=self.config.hold_steps,
            gamma=self.config.gamma,
        )
        self._warmup = Warmup(self.config.warmup, num_envs=facts.num_envs, action_dim=facts.action_dim, seed=self.seed)
        self._sampler: ReplaySampler = self.replay.sampler(seed=self.seed, n_step=self.config.n_step, gamma=discount)
        self._batch = self._sampler.allocate(self.config.batch_size)
        baseline = self.policy.baseline if isinstance(self.policy, ActorPolicy) else None
        self._baseline_id = self.replay.baseline_id(baseline.fingerprint if baseline is not None else "none")
        self._slice_id = self.replay.slice_id(facts.slice_name)
        self._episode_id = np.zeros(facts.num_envs, dtype=np.uint64)
        self._episode_open = np.zeros(facts.num_envs, dtype=np.bool_)
        self._writer: ReplayWriter | None = None

    @property
    def guard(self) -> StabilityGuard:
        """The stability guard."""
        return self._supervision.guard

    @property
    def env_steps_per_transition(self) -> int:
        """Environment steps under one held draw."""
        return self.config.hold_steps

    def act(self, obs: FloatArray) -> FloatArray:
        """Returns the proposed actions; see `OnlineTrainer.act`."""
        draw = self._collector.propose(obs, generator=self._generator)
        if not np.isfinite(draw.squashed).all():
            # A policy with a rule of its own broke since the last look; nothing of it may reach the simulator.
            broken = {"proposed_action": float("nan")}
            self._supervision.intervene(broken, updates=self.updates, transitions=self.transitions)
            self._metrics.clear()
            draw = self._collector.propose(obs, generator=self._generator)
        if self._warmup.is_active(self.transitions):
            draw = self._warmup.replace(draw, self._collector.needs_draw, self._collector.baseline_action(obs))
        return self._collector.act(obs, draw)

    def observe(self, step: Step) -> int:
        """Stores the transitions that this step completed; see `OnlineTrainer.observe`."""
        closed, rows, next_values = self._collector.observe(step)
        self._supervision.observe(step, closed, rows, next_values)
        count = int(closed.sum())
        if count == 0:
            return 0
        if self._writer is None:
            self._writer = self.replay.writer(streams=self._num_envs)
        step_ids = np.zeros(self._num_envs, dtype=np.uint64)
        step_ids[closed] = self.transitions + np.arange(count, dtype=np.uint64)
        # An episode is named after its first transition, so names never repeat, not even after a crash.
        starts = closed & ~self._episode_open
        self._episode_id[starts] = step_ids[starts]
        self._writer.append(rows | self._tags(step_ids), next_values, mask=closed)
        self._episode_open[closed] = True
        self._episode_open[step.terminated | step.truncated] = False
        self.transitions += count
        if self._learning_started():
            self._due += count * self.config.updates_per_env_step
        return count

    def update(self) -> dict[str, float]:
        """Does the updates that are due; see `OnlineTrainer.update`."""
        if not self._learning_started():
            return {}
        metrics: dict[str, float] = {}
        while self._due >= 1.0 and not self.guard.is_frozen:
            self._due -= 1.0
            metrics = self._update_once() or metrics
        return metrics

    def report(self) -> list[str]:
        """Returns and forgets what the guard did."""
        return self._supervision.take_messages()

    def warnings(self) -> list[str]:
        """Returns and forgets what the guard found suspicious."""
        return self.guard.take_warnings()

    def state(self) -> TrainerState:
        """Returns learner, exploration, open transitions and counters; see `OnlineTrainer.state`."""
        if self._supervision.ensure_finite(updates=self.updates, transitions=self.transitions):
            self._metrics.clear()
        arrays = {f"collector.{name}": value for name, value in self._collector.state_dict().items()}
        arrays |= {f"warmup.{name}": value for name, value in self._warmup.state_dict().items()}
        arrays |= {"episode_id": self._episode_id.copy(), "episode_open": self._episode_open.copy()}
        tensors = {f"learner.{name}": value for name, value in self.learner.state_dict().items()}
        tensors["generator"] = self._generator.get_state()
        arrays |= {f"supervision.{name}": value for name, value in self._supervision.arrays().items()}
        tensors |= {f"supervision.{name}": value for name, value in self._supervision.tensors().items()}
        counters: dict[str, object] = {
            "transitions": self.transitions,
            "updates": self.updates,
            "due": self._due,
            "sampler": dict(self._sampler.state),
            "guard": self.guard.state_dict(),
            "writer": None if self._writer is None else self._writer.state,
            "replay_total_appended": self.replay.total_appended,
        }
        return TrainerState(tensors, arrays, counters)

    def load_state(self, state: TrainerState, *, same_worlds: bool) -> Recovery:
        """Restores a state; transitions newer than it are kept; see `OnlineTrainer.load_state`."""
        counters = state.counters
        try:
            self.learner.load_state_dict(below(state.tensors, "learner."))
            self._generator.set_state(state.tensors["generator"])
            self._supervision.load(counters["guard"], below(state.tensors, "supervision."))  # type: ignore[arg-type]
            self.transitions, self.updates = int(str(counters["transitions"])), int(str(counters["updates"]))
            self._due = float(str(counters["due"]))
            self._sampler.restore(counters["sampler"])  # type: ignore[arg-type]
            self._warmup.load_state_dict(split_prefix(state.arrays, "warmup."))
            newer = self.replay.total_appended - int(str(counters["replay_total_appended"]))
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint doesn't fit this configuration: {error}") from error
        if newer == 0 and same_worlds and self._continue_writing(counters["writer"]):
            self._collector.load_state_dict(split_prefix(state.arrays, "collector."))
            self._supervision.load_arrays(split_prefix(state.arrays, "supervision."))
            self._episode_id[...] = state.arrays["episode_id"]
            self._episode_open[...] = state.arrays["episode_open"]
            return Recovery(is_exact=True, kept_transitions=0, closed_episodes=0)
        return self._recover()

    def _continue_writing(self, writer: object) -> bool:
        """Goes on in the very blocks that were being filled, or says that this can't be done."""
        if writer is None:
            return True
        self._writer = self.replay.writer(streams=self._num_envs, resume=writer)
        return self._writer.resumed

    def recover(self) -> Recovery:
        """Keeps what a process killed before its first checkpoint had stored; see `OnlineTrainer.recover`."""
        return self._recover()

    def close(self) -> None:
        """Closes the replay."""
        if self._writer is not None:
            self._writer.close()
        self.replay.close()

    def _recover(self) -> Recovery:
        closed = self.replay.close_open_episodes()
        last = self.replay.last_step_id()
        kept = 0 if last is None else max(0, last + 1 - self.transitions)
        # No updates are owed for the kept rows: paid in one go they would hold the environments up for minutes.
        self.transitions += kept
        return Recovery(is_exact=False, kept_transitions=kept, closed_episodes=closed)

    def _learning_started(self) -> bool:
        warmup = self.config.warmup
        return self.transitions >= max(1, min(warmup.critic_from_transitions, warmup.transitions))

    def _actor_started(self) -> bool:
        warmup = self.config.warmup
        return self.transitions >= warmup.transitions and self.updates >= warmup.critic_burn_in_updates

    def _tags(self, step_ids: NDArray[np.uint64]) -> dict[str, NDArray[np.generic]]:
        count = self._num_envs
        return {
            "episode_id": self._episode_id,
            "step_id": step_ids,
            "policy_version": np.full(count, self.updates, dtype=np.uint32),
            "slice_id": np.full(count, self._slice_id, dtype=np.uint16),
            "baseline_id": np.full(count, self._baseline_id, dtype=np.uint16),
            "weight": np.ones(count, dtype=np.float32),
            # Nobody looks any more at what comes in once learning is frozen.
            "quarantined": np.full(count, self.guard.is_frozen),
        }

    def _update_once(self) -> dict[str, float]:
        """Does one update, unless learning rests, and lets the guard look when it is time."""
        is_look = (self.updates + 1) % self.guard.config.check_every_updates == 0
        if self.guard.may_learn or is_look:
            self._sampler.sample_into(self._batch, watermark=self.transitions - 1)
        batch = TransitionBatch.from_arrays(self._batch)
        if self.guard.may_learn and isinstance(self.learner, SACLearner):
            self._metrics |= self.learner.update(batch, train_actor=self._actor_started())
        elif self.guard.may_learn:
            self._metrics |= self.learner.update(self._batch)  # type: ignore[arg-type]
        self.updates += 1
        if not is_look:
            return {}
        rollbacks = self.guard.rollbacks
        metrics = self._supervision.look(
            batch,
            self._metrics,
            updates=self.updates,
            transitions=self.transitions,
            with_actor=self._actor_started(),
        )
        if self.guard.rollbacks > rollbacks:
            self._metrics.clear()
        return metrics


def _q_limit(guard: GuardConfig, config: SACConfig) -> float | None:
    if guard.q_limit is not None or config.value_bounds is None:
        return guard.q_limit
    return max(abs(bound) for bound in config.value_bounds)
