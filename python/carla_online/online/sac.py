"""Off-policy online learning: every transition goes to replay, updates follow continuously."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from carla_online.envs.observations import ObservationArray
from carla_online.envs.transitions import Step
from carla_online.errors import CheckpointError, PolicyError
from carla_online.learners.config import SACConfig
from carla_online.learners.credit import reward_agreement
from carla_online.learners.optimisers import all_finite, tensors_below
from carla_online.learners.sac import SACLearner, TransitionBatch
from carla_online.online.collector import Collector
from carla_online.online.earlier import EarlierBuffers
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.guide import count_guided, guide
from carla_online.online.recording import ReplayRecorder
from carla_online.online.rule import OwnRule
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer, Recovery, TrainerState, split_prefix
from carla_online.online.warmup import Warmup
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import FloatArray, Policy
from carla_online.policies.networks import gaussian_kl
from carla_online.replay import Recency, ReplayBuffer, ReplaySampler
from carla_online.replay.mixture import MixtureSampler

_OFFLINE_ROWS: Final = 1_000
_FED_UPDATES: Final = 32
"""Updates in one call where others feed the trainer."""
_STEPS: Final = ("critic_step", "actor_step", "q_fit")
"""What one update can spoil: how far the weights moved, and what the critics say of its targets. Watched at each."""
_FRESH_ROWS: Final = 256
_FRESH_HALF_LIFE_ROWS: Final = 256
"""The newest transitions, on which the guard compares rewards with the critics' expectation."""


class OnlineSACTrainer(OnlineTrainer):
    """Collects a step, stores it, and updates continuously from replay once warm.

    Args:
        policy: A `DeltaPolicy` or `FullPolicy`; or any policy with `update(batch) -> metrics`, which is then called
            in place of SAC with the batch's arrays by name.
        config: Settings of learner, schedule and warm-up.
        seed: Seeds network weights, exploration, sampling and warm-up.
        capacity_rows: Transitions the replay keeps.
        guard: Settings of the stability guard.
        earlier: Folders of earlier runs' buffers and each one's share of every batch.
        is_offline: Learn from those alone; the run's own buffer stays empty.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        config: SACConfig | None = None,
        seed: int = 0,
        capacity_rows: int = 1_000_000,
        guard: GuardConfig | None = None,
        earlier: Mapping[str, float] | None = None,
        is_offline: bool = False,
    ) -> None:
        self.policy = policy
        self.config = config or SACConfig()
        self.seed = seed
        self.capacity_rows = _OFFLINE_ROWS if is_offline else capacity_rows
        self._earlier_shares, self._is_offline = dict(earlier or {}), is_offline
        self._earlier: EarlierBuffers | None = None
        self.learner: SACLearner | OwnRule
        if isinstance(policy, ActorPolicy):
            self.learner = SACLearner(policy, config=self.config, generator=torch.Generator().manual_seed(2 * seed))
            self._initial_head = copy.deepcopy(policy.head).requires_grad_(False)
            self._previous_head = copy.deepcopy(self._initial_head)
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
        self.guard.begin(self.learner.state_dict(), step_id=0, updates=0)
        self.transitions = 0
        self.updates = 0
        self._due = 0.0
        self._is_fed = False
        self._metrics: dict[str, Tensor] = {}
        self._messages: list[str] = []

    def prepare(self, facts: EnvironmentFacts, *, directory: Path) -> None:
        """Opens or creates the replay below `directory`; see `OnlineTrainer.prepare`."""
        self.guard.num_envs = facts.num_envs
        self._recorder = ReplayRecorder(directory, facts, self.policy, capacity_rows=self.capacity_rows)
        self.replay: ReplayBuffer = self._recorder.replay
        self._collector = Collector(
            self.policy,
            num_envs=facts.num_envs,
            action_dim=facts.action_dim,
            reward_terms=len(facts.reward_term_names),
            hold_steps=self.config.hold_steps,
            gamma=self.config.gamma,
        )
        self._warmup = Warmup(self.config.warmup, num_envs=facts.num_envs, action_dim=facts.action_dim, seed=self.seed)
        self._guided = count_guided(self.config.guide_share, self.policy, num_envs=facts.num_envs)
        self._sampler = self._make_sampler()
        self._batch = self._sampler.allocate(self.config.batch_size)
        gamma = self.config.gamma**self.config.hold_steps
        self._fresh_sampler = self.replay.sampler(seed=self.seed, gamma=gamma, mode=Recency(_FRESH_HALF_LIFE_ROWS))
        self._fresh = self._fresh_sampler.allocate(_FRESH_ROWS)

    def _make_sampler(self) -> ReplaySampler | MixtureSampler:
        seed, n_step, gamma = self.seed, self.config.n_step, self.config.gamma**self.config.hold_steps
        self._own_sources = 1
        if not self._earlier_shares:
            return self.replay.sampler(seed=seed, n_step=n_step, gamma=gamma)
        baseline = self.policy.baseline if isinstance(self.policy, ActorPolicy) else None
        fingerprint = "none" if baseline is None else baseline.fingerprint
        self._earlier = EarlierBuffers(self._earlier_shares, baseline=fingerprint, backbone=self.replay.backbone_hash)
        self._messages += self._earlier.describe()
        own = None if self._is_offline else self.replay
        sampler, self._own_sources = self._earlier.sampler(own, seed=seed, n_step=n_step, gamma=gamma)
        return sampler

    def _sample(self) -> None:
        """Fills the batch. The watermark is the run's own: step numbers of earlier runs are of another count."""
        watermark = None if self._is_fed else self.transitions - 1
        if isinstance(self._sampler, MixtureSampler):
            others: list[int | None] = [None] * (len(self._sampler.samplers) - self._own_sources)
            self._sampler.sample_into(self._batch, watermark=[watermark] * self._own_sources + others)
        else:
            self._sampler.sample_into(self._batch, watermark=watermark)

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
        if self._guided:
            draw = guide(draw, self.policy, self._collector.baseline_action(obs), count=self._guided)
        return self._collector.act(obs, draw)

    def observe(self, step: Step) -> int:
        """Stores the transitions that this step completed; see `OnlineTrainer.observe`."""
        closed, rows, next_values = self._collector.observe(step)
        count = int(closed.sum())
        self._recorder.append(step, closed, rows, next_values, first_id=self.transitions, version=self.updates)
        if count == 0:
            return 0
        self.transitions += count
        if self._learning_started():
            self._due += count * self.config.updates_per_env_step
        return count

    def absorb(self, transitions: int) -> None:
        """Takes note that other processes have stored transitions up to this number, for `update` to learn from.

        From the first call on, `update` returns after a few updates, so that who feeds the trainer isn't held up.
        """
        count = transitions - self.transitions
        self.transitions, self._is_fed = transitions, True
        if self._learning_started():
            self._due += count * self.config.updates_per_env_step

    @property
    def owed_updates(self) -> float:
        """Gradient steps that the transitions so far have earned and that weren't taken yet."""
        return self._due

    @property
    def owes_updates(self) -> bool:
        """Whether `update` has something to do."""
        return self._due >= 1.0 and not self.guard.is_frozen and self._learning_started()

    @property
    def policy_module(self) -> ActorPolicy:
        """The policy, where it is one with weights.

        Raises:
            PolicyError: It is another kind.
        """
        if not isinstance(self.policy, ActorPolicy):
            raise PolicyError(
                f"{type(self.policy).__name__} has no weights to hand out; use DeltaPolicy or FullPolicy."
            )
        return self.policy

    def update(self) -> dict[str, float]:
        """Does the updates that are due; see `OnlineTrainer.update`."""
        if self.guard.is_frozen or not self._learning_started():
            return {}
        if self.updates == 0:  # what was driven before learning began isn't suspect, whatever happens to the weights
            self.guard.begin(self.learner.state_dict(), step_id=self.transitions, updates=0)
        metrics: dict[str, float] = {}
        last = self.updates + _FED_UPDATES if self._is_fed else None
        while self._due >= 1.0 and not self.guard.is_frozen and self.updates != last:
            self._due -= 1.0
            self._sample()
            batch = TransitionBatch.from_arrays(self._batch)
            if isinstance(self.learner, SACLearner):
                fresh = self.learner.update(batch, train_actor=self._actor_started())
            else:
                fresh = self.learner.update(self._batch)
            self._metrics |= fresh
            self.updates += 1
            # A step too far spoils a policy at once: what is left of it must not drive until the next look.
            self._guard_against({name: float(fresh[name]) for name in _STEPS if name in fresh})
            if self.updates % self.guard.config.check_every_updates == 0:
                metrics = self._look(batch)
        return metrics

    def note_episodes(self, episodes: Sequence[Mapping[str, float]]) -> None:
        """Lets the guard see what episodes return, once the policy itself drives and learns."""
        if self._actor_started():
            for episode in episodes:
                self.guard.returns.add(episode)

    def report(self) -> list[str]:
        """Returns and forgets the guard's messages."""
        messages, self._messages = self._messages + self.guard.take_warnings(), []
        return messages

    def state(self) -> TrainerState:
        """Returns learner, exploration, open transitions and counters; see `OnlineTrainer.state`."""
        if not all_finite(self.learner.state_dict()):
            self._guard_against({"weights": float("nan")})  # a checkpoint must not keep what is broken
        arrays = {f"collector.{name}": value for name, value in self._collector.state_dict().items()}
        arrays |= {f"warmup.{name}": value for name, value in self._warmup.state_dict().items()}
        arrays |= self._recorder.arrays()
        tensors = {f"learner.{name}": value for name, value in self.learner.state_dict().items()}
        tensors["generator"] = self._generator.get_state()
        if isinstance(self.policy, ActorPolicy):
            tensors |= {f"initial_head.{name}": value for name, value in self._initial_head.state_dict().items()}
            tensors |= {f"previous_head.{name}": value for name, value in self._previous_head.state_dict().items()}
        tensors |= {f"guard.{name}": value for name, value in self.guard.tensors().items()}
        counters: dict[str, object] = {
            "transitions": self.transitions,
            "updates": self.updates,
            "due": self._due,
            "sampler": dict(self._sampler.state),
            "fresh_sampler": dict(self._fresh_sampler.state),
            "guard": self.guard.state_dict(),
        }
        written = self._recorder.counters()
        # Where others write there is no place at which this process could go on.
        total = -1 if self._is_fed else written["total_appended"]
        counters |= {"writer": written["writer"], "replay_total_appended": total}
        return TrainerState(tensors, arrays, counters)

    def load_state(self, state: TrainerState, *, same_worlds: bool) -> Recovery:
        """Restores a state; transitions newer than it are kept; see `OnlineTrainer.load_state`."""
        counters = state.counters
        try:
            self.learner.load_state_dict(tensors_below(state.tensors, "learner."))
            self._generator.set_state(state.tensors["generator"])
            if isinstance(self.policy, ActorPolicy):
                self._initial_head.load_state_dict(tensors_below(state.tensors, "initial_head."))
                self._previous_head.load_state_dict(tensors_below(state.tensors, "previous_head."))
            self.transitions, self.updates = int(str(counters["transitions"])), int(str(counters["updates"]))
            self._due = float(str(counters["due"]))
            self._sampler.restore(counters["sampler"])  # type: ignore[arg-type]
            self._fresh_sampler.restore(counters["fresh_sampler"])  # type: ignore[arg-type]
            self.guard.load_state_dict(counters["guard"], tensors_below(state.tensors, "guard."))  # type: ignore[arg-type]
            if state.arrays["episode_id"].shape[0] == self._collector.num_envs:  # not if the workers' number changed
                self._warmup.load_state_dict(split_prefix(state.arrays, "warmup."))
            written = {"writer": counters["writer"], "total_appended": counters["replay_total_appended"]}
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint doesn't fit this configuration: {error}") from error
        if same_worlds and self._recorder.goes_on(written, state.arrays):
            self._collector.load_state_dict(split_prefix(state.arrays, "collector."))
            return Recovery(is_exact=True, kept_transitions=0, closed_episodes=0)
        return self._recover()

    def recover(self) -> Recovery:
        """Keeps what a process killed before its first checkpoint had stored; see `OnlineTrainer.recover`."""
        return self._recover()

    def close(self) -> None:
        """Closes the replay."""
        self._recorder.close()
        if self._earlier is not None:
            self._earlier.close()

    def _recover(self) -> Recovery:
        recovery = self._recorder.recover(self.transitions)
        # No updates are owed for the kept rows: paid in one go they would hold the environments up for minutes.
        self.transitions += recovery.kept_transitions
        return recovery

    def _learning_started(self) -> bool:
        warmup = self.config.warmup
        return self.transitions >= max(1, min(warmup.critic_from_transitions, warmup.transitions))

    def _actor_started(self) -> bool:
        warmup = self.config.warmup
        return self.transitions >= warmup.transitions and self.updates >= warmup.critic_burn_in_updates

    def _look(self, batch: TransitionBatch) -> dict[str, float]:
        """Reads the newest metrics, adds what the guard wants to know, and lets it judge them."""
        metrics = {name: float(value) for name, value in self._metrics.items()}
        if isinstance(self.policy, ActorPolicy) and self._actor_started():
            metrics |= self._drift(self.policy, batch)
        metrics |= self._agreement()
        return metrics if not self._guard_against(metrics) else {"guard_rollbacks": float(self.guard.rollbacks)}

    @torch.no_grad()
    def _drift(self, policy: ActorPolicy, batch: TransitionBatch) -> dict[str, float]:
        """Returns how far the policy has moved since the beginning and since the last look, on a batch."""
        inputs = policy.inputs(batch.obs, batch.baseline_action, batch.birdseye)
        mean, log_std = policy.head(inputs)
        metrics = {
            "kl_to_initial": gaussian_kl(mean, log_std, *self._initial_head(inputs)).mean(),
            "kl_to_previous": gaussian_kl(mean, log_std, *self._previous_head(inputs)).mean(),
            "action_std": log_std.exp().mean(),
        }
        self._previous_head.load_state_dict(policy.head.state_dict())
        return {name: float(value) for name, value in metrics.items()}

    def _agreement(self) -> dict[str, float]:
        """Returns how the newest rewards compare with what the critics expected."""
        if self._is_offline or not isinstance(self.learner, SACLearner):
            return {}
        self._fresh_sampler.sample_into(self._fresh, watermark=None if self._is_fed else self.transitions - 1)
        fresh = TransitionBatch.from_arrays(self._fresh)
        return reward_agreement(fresh.reward.numpy(), self.learner.expected_reward(fresh).numpy())

    def _guard_against(self, metrics: dict[str, float]) -> bool:
        """Lets the guard judge metrics; returns whether it went back to the last good state."""
        rollback = self.guard.look(
            metrics,
            updates=self.updates,
            step_id=self.transitions,
            save=self.learner.state_dict,
            restore=self.learner.load_state_dict,
            rescale=self.learner.scale_learning_rates,
        )
        if rollback is None:
            return False
        self._metrics.clear()
        if isinstance(self.policy, ActorPolicy):
            self._previous_head.load_state_dict(self.policy.head.state_dict())
        quarantined = self.replay.quarantine(rollback.first_bad_step_id, self.transitions)
        self._messages.append(
            f"guard: {rollback.reason}; went back to the last good state, step sizes times "
            f"{rollback.step_share:g}, {quarantined} transitions quarantined"
            + ("; learning is frozen, the policy drives on as it is" if rollback.frozen else "")
        )
        return True


def _q_limit(guard: GuardConfig, config: SACConfig) -> float | None:
    if guard.q_limit is not None or config.value_bounds is None:
        return guard.q_limit
    return 1.2 * max(abs(bound) for bound in config.value_bounds)
