"""Off-policy online learning: every transition goes to replay, updates follow continuously."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carla_online.envs.observations import ObservationArray
from carla_online.envs.transitions import Step
from carla_online.errors import CheckpointError, PolicyError
from carla_online.learners.config import SACConfig
from carla_online.learners.sac import SACLearner, TransitionBatch
from carla_online.online.collector import Collector
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.rule import OwnRule
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer, Recovery, TrainerState, split_prefix
from carla_online.online.warmup import Warmup
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import FloatArray, Policy
from carla_online.policies.networks import gaussian_kl
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
            self.learner = SACLearner(policy, config=self.config, generator=torch.Generator().manual_seed(2 * seed))
            self._initial_head = copy.deepcopy(policy.head).requires_grad_(False)
        elif callable(getattr(policy, "update", None)):
            self.learner = OwnRule(policy)
        else:
            raise PolicyError(
                f"{type(policy).__name__} can't learn: pass a DeltaPolicy or FullPolicy, or a policy with "
                "update(batch) -> metrics. To learn beside a frozen callable: DeltaPolicy(wrap_baseline(callable))."
            )
        self._generator = torch.Generator().manual_seed(2 * seed + 1)
        guard_config = guard or GuardConfig()
        self.guard = StabilityGuard(guard_config, q_limit=_q_limit(guard_config, self.config))
        self.guard.keep(self.learner.state_dict(), step_id=0, updates=0)
        self.transitions = 0
        self.updates = 0
        self._due = 0.0
        self._metrics: dict[str, Tensor] = {}
        self._messages: list[str] = []

    def prepare(self, facts: EnvironmentFacts, *, directory: Path) -> None:
        """Opens or creates the replay below `directory`; see `OnlineTrainer.prepare`."""
        schema = ReplaySchema.transitions(
            facts.obs_dim, facts.action_dim, facts.reward_term_names, birdseye_px=facts.birdseye_px
        )
        self.replay: ReplayBuffer = ReplayBuffer.open_or_create(
            directory / "replay", schema, capacity_rows=self.capacity_rows
        )
        self._num_envs = facts.num_envs
        self._collector = Collector(
            self.policy,
            num_envs=facts.num_envs,
            action_dim=facts.action_dim,
            reward_terms=len(facts.reward_term_names),
            hold_steps=self.config.hold_steps,
            gamma=self.config.gamma,
        )
        self._warmup = Warmup(self.config.warmup, num_envs=facts.num_envs, action_dim=facts.action_dim, seed=self.seed)
        self._sampler: ReplaySampler = self.replay.sampler(
            seed=self.seed, n_step=self.config.n_step, gamma=self.config.gamma**self.config.hold_steps
        )
        self._batch = self._sampler.allocate(self.config.batch_size)
        baseline = self.policy.baseline if isinstance(self.policy, ActorPolicy) else None
        self._baseline_id = self.replay.baseline_id(baseline.fingerprint if baseline is not None else "none")
        self._slice_names = facts.slice_names or (facts.slice_name,)
        self._slice_id_of = {0: self.replay.slice_id(self._slice_names[0])}
        self._episode_id = np.zeros(facts.num_envs, dtype=np.uint64)
        self._episode_open = np.zeros(facts.num_envs, dtype=np.bool_)
        self._writer: ReplayWriter | None = None

    @property
    def env_steps_per_transition(self) -> int:
        """Environment steps under one held draw."""
        return self.config.hold_steps

    def act(self, obs: ObservationArray) -> FloatArray:
        """Returns the proposed actions; see `OnlineTrainer.act`."""
        draw = self._collector.propose(obs, generator=self._generator)
        if not np.isfinite(draw.squashed).all():
            # The weights broke since the guard's last look; nothing of it may reach the simulator.
            self._guard_against({"proposed_action": float("nan")})
            draw = self._collector.propose(obs, generator=self._generator)
        if self._warmup.is_active(self.transitions):
            draw = self._warmup.replace(draw, self._collector.needs_draw, self._collector.baseline_action(obs))
        return self._collector.act(obs, draw)

    def observe(self, step: Step) -> int:
        """Stores the transitions that this step completed; see `OnlineTrainer.observe`."""
        closed, rows, next_values = self._collector.observe(step)
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
        self._writer.append(rows | self._tags(step_ids, step), next_values, mask=closed)
        self._episode_open[closed] = True
        self._episode_open[step.terminated | step.truncated] = False
        self.transitions += count
        if self._learning_started():
            self._due += count * self.config.updates_per_env_step
        return count

    def update(self) -> dict[str, float]:
        """Does the updates that are due; see `OnlineTrainer.update`."""
        if self.guard.is_frozen or not self._learning_started():
            return {}
        metrics: dict[str, float] = {}
        while self._due >= 1.0 and not self.guard.is_frozen:
            self._due -= 1.0
            self._sampler.sample_into(self._batch, watermark=self.transitions - 1)
            batch = TransitionBatch.from_arrays(self._batch)
            if isinstance(self.learner, SACLearner):
                self._metrics |= self.learner.update(batch, train_actor=self._actor_started())
            else:
                self._metrics |= self.learner.update(self._batch)
            self.updates += 1
            if self.updates % self.guard.config.check_every_updates == 0:
                metrics = self._look(batch)
        return metrics

    def report(self) -> list[str]:
        """Returns and forgets the guard's messages."""
        messages, self._messages = self._messages, []
        return messages

    def state(self) -> TrainerState:
        """Returns learner, exploration, open transitions and counters; see `OnlineTrainer.state`."""
        arrays = {f"collector.{name}": value for name, value in self._collector.state_dict().items()}
        arrays |= {f"warmup.{name}": value for name, value in self._warmup.state_dict().items()}
        arrays |= {"episode_id": self._episode_id.copy(), "episode_open": self._episode_open.copy()}
        tensors = {f"learner.{name}": value for name, value in self.learner.state_dict().items()}
        tensors["generator"] = self._generator.get_state()
        if isinstance(self.policy, ActorPolicy):
            tensors |= {f"initial_head.{name}": value for name, value in self._initial_head.state_dict().items()}
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
            self.learner.load_state_dict(_below(state.tensors, "learner."))
            self._generator.set_state(state.tensors["generator"])
            if isinstance(self.policy, ActorPolicy):
                self._initial_head.load_state_dict(_below(state.tensors, "initial_head."))
            self.transitions, self.updates = int(str(counters["transitions"])), int(str(counters["updates"]))
            self._due = float(str(counters["due"]))
            self._sampler.restore(counters["sampler"])  # type: ignore[arg-type]
            self.guard.load_state_dict(counters["guard"])  # type: ignore[arg-type]
            self.guard.keep(self.learner.state_dict(), step_id=self.transitions, updates=self.updates)
            self._warmup.load_state_dict(split_prefix(state.arrays, "warmup."))
            newer = self.replay.total_appended - int(str(counters["replay_total_appended"]))
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint doesn't fit this configuration: {error}") from error
        if newer == 0 and same_worlds and self._continue_writing(counters["writer"]):
            self._collector.load_state_dict(split_prefix(state.arrays, "collector."))
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

    def _slice_ids(self, step: Step) -> NDArray[np.uint16]:
        indices = np.asarray(step.info.get("slice_index", np.zeros(self._num_envs, np.int64)))
        for index in np.unique(indices).tolist():
            if index not in self._slice_id_of:
                self._slice_id_of[index] = self.replay.slice_id(self._slice_names[index])
        return np.array([self._slice_id_of[index] for index in indices.tolist()], dtype=np.uint16)

    def _tags(self, step_ids: NDArray[np.uint64], step: Step) -> dict[str, NDArray[np.generic]]:
        count = self._num_envs
        return {
            "episode_id": self._episode_id,
            "step_id": step_ids,
            "policy_version": np.full(count, self.updates, dtype=np.uint32),
            "slice_id": self._slice_ids(step),
            "baseline_id": np.full(count, self._baseline_id, dtype=np.uint16),
            "weight": np.ones(count, dtype=np.float32),
            "quarantined": np.zeros(count, dtype=np.bool_),
        }

    def _look(self, batch: TransitionBatch) -> dict[str, float]:
        """Reads the newest metrics, adds the drift, and lets the guard judge them."""
        metrics = {name: float(value) for name, value in self._metrics.items()}
        if isinstance(self.policy, ActorPolicy) and self._actor_started():
            with torch.no_grad():
                inputs = self.policy.inputs(batch.obs, batch.baseline_action, batch.birdseye)
                drift = gaussian_kl(*self.policy.head(inputs), *self._initial_head(inputs))
            metrics["kl_to_initial"] = float(drift.mean())
        return metrics if not self._guard_against(metrics) else {"guard_rollbacks": float(self.guard.rollbacks)}

    def _guard_against(self, metrics: dict[str, float]) -> bool:
        """Lets the guard judge metrics; returns whether it went back to the last good state."""
        rollback = self.guard.look(
            metrics,
            updates=self.updates,
            step_id=self.transitions,
            save=self.learner.state_dict,
            restore=self.learner.load_state_dict,
        )
        if rollback is None:
            return False
        self._metrics.clear()
        self.learner.scale_learning_rates(self.guard.config.lr_factor**self.guard.in_a_row)
        quarantined = self.replay.quarantine(rollback.first_bad_step_id, self.transitions)
        self._messages.append(
            f"guard: {rollback.reason}; went back to the last good state, step sizes times "
            f"{self.guard.config.lr_factor**self.guard.in_a_row:g}, {quarantined} transitions quarantined"
            + ("; learning is frozen, the policy drives on as it is" if rollback.frozen else "")
        )
        return True


def _q_limit(guard: GuardConfig, config: SACConfig) -> float | None:
    if guard.q_limit is not None or config.value_bounds is None:
        return guard.q_limit
    return 1.2 * max(abs(bound) for bound in config.value_bounds)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
