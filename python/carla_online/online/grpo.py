"""On-policy online learning: a window of fresh draws, groups where the mode makes them, an update, and away with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carla_online.advantage import EmaScale
from carla_online.envs.transitions import Step
from carla_online.errors import CapabilityError, CheckpointError, ConfigError, PolicyError
from carla_online.learners.grpo import GRPOLearner, ValueBatch
from carla_online.learners.grpo_config import GRPOConfig
from carla_online.learners.optimisers import all_finite, tensors_below
from carla_online.online.branches import drive_branches
from carla_online.online.groups import Part, assemble, branch_part, critic_part, episode_part, window_part
from carla_online.online.guard import GuardConfig, StabilityGuard
from carla_online.online.recording import ReplayRecorder
from carla_online.online.rollouts import RolloutRecorder, Rollouts
from carla_online.online.trainer import EnvironmentFacts, OnlineTrainer, Recovery, TrainerState, split_prefix
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import FloatArray


class OnlineGRPOTrainer(OnlineTrainer):
    """Collects a window, makes groups as the mode says, updates, and discards the window.

    Args:
        policy: A `DeltaPolicy` or `FullPolicy`.
        config: Settings of mode, window and learner.
        seed: Seeds exploration, the times of branching, network weights and the order of batches.
        capacity_rows: Transitions the replay keeps, where `config.write_replay` asks for one.
        guard: Settings of the stability guard.

    Raises:
        PolicyError: The policy has no Gaussian head.
    """

    policy: ActorPolicy
    _branch_steps: frozenset[int]

    def __init__(
        self,
        policy: ActorPolicy,
        *,
        config: GRPOConfig | None = None,
        seed: int = 0,
        capacity_rows: int = 1_000_000,
        guard: GuardConfig | None = None,
    ) -> None:
        if not isinstance(policy, ActorPolicy):
            raise PolicyError(
                f"{type(policy).__name__} gives no probability ratio: pass a DeltaPolicy or FullPolicy. To learn "
                "beside a frozen callable: DeltaPolicy(wrap_baseline(callable))."
            )
        self.policy = policy
        self.config = config or GRPOConfig()
        self.learner = GRPOLearner(policy, config=self.config, generator=torch.Generator().manual_seed(2 * seed))
        self._generator = torch.Generator().manual_seed(2 * seed + 1)
        self._scale = EmaScale(self.config.scale_decay)
        self.guard = StabilityGuard(guard or GuardConfig(), q_limit=None, by_window=True)
        self.guard.begin(self._good_state(), step_id=0, updates=0)
        self.transitions = 0
        self._capacity_rows = capacity_rows
        self._replay: ReplayRecorder | None = None
        self._window_step = 0
        self._windows = 0
        self._extra_env_steps = 0
        self._messages: list[str] = []

    @property
    def updates(self) -> int:
        """Gradient steps of the policy so far."""
        return self.learner.updates

    @property
    def env_steps_per_transition(self) -> int:
        """Environment steps under one held draw."""
        return self.config.hold_steps

    @property
    def rows_per_sequence(self) -> int:
        """In mode `episode` the members of a group drive the same sequence of episodes."""
        return self.config.group_size if self.config.group_mode == "episode" else 1

    def prepare(self, facts: EnvironmentFacts, *, directory: Path) -> None:
        """Refuses environments that can't make the mode's groups; see `OnlineTrainer.prepare`."""
        mode, group_size = self.config.group_mode, self.config.group_size
        if mode == "branch" and facts.environments is None:
            raise CapabilityError(
                "group_mode branch puts the environment back to a state and drives on from there several times; this "
                "one has no exact_restore. Use group_mode episode (same route and seed), critic (scored draws) or ppo "
                "(no groups); or give the environment snapshot() and restore(), see the training guide."
            )
        if mode == "episode" and facts.num_envs % group_size:
            raise ConfigError(
                f"group_mode episode drives each route in group_size {group_size} environments at once; num_envs "
                f"{facts.num_envs} isn't a multiple of it."
            )
        self._facts = facts
        self.guard.num_envs = facts.num_envs
        self._recorder = self._make_recorder()
        if self.config.write_replay:
            self._replay = ReplayRecorder(directory, facts, self.policy, capacity_rows=self._capacity_rows)
        self._window = self._make_rollouts(facts.num_envs)
        self._branches: list[Rollouts] = []
        self._begin_window()

    def act(self, obs: FloatArray) -> FloatArray:
        """Returns the proposed actions; see `OnlineTrainer.act`."""
        draw = self._recorder.propose(obs, generator=self._generator)
        if not np.isfinite(draw.squashed).all():
            # The weights broke since the guard's last look; nothing of it may reach the simulator.
            self._guard_against({"proposed_action": float("nan")})
            draw = self._recorder.propose(obs, generator=self._generator)
        return self._recorder.act(obs, draw)

    def observe(self, step: Step) -> int:
        """Adds a step to the window; see `OnlineTrainer.observe`."""
        closed, taken, rows, next_values = self._recorder.observe(step)
        count = int(closed.sum())
        if count:
            self._window.append(closed, taken)
            if self._replay is not None:
                self._replay.append(
                    step, closed, rows, next_values, first_id=self.transitions, version=self.learner.updates
                )
        self.transitions += count
        self._window_step += 1
        return count

    def update(self) -> dict[str, float]:
        """Branches where it is time to, and learns where the window is complete; see `OnlineTrainer.update`."""
        if self.guard.is_frozen:
            self._window.clear()
            self._begin_window()
            return {}
        if self._window_step in self._branch_steps:
            self._branch()
        if self.config.group_mode == "episode":
            return self._learn_from_episodes()
        if self._window_step < self.config.window_steps:
            return {}
        if self._take_back_broken_weights():  # credit by a broken value network would be refused
            return {"guard_rollbacks": float(self.guard.rollbacks)}
        critics: ValueBatch | None = None
        if self.config.group_mode == "critic":
            part, critics = critic_part(self._window, self.learner)
            parts = [part]
        else:
            parts = [window_part(self._window, self.learner)]
            parts += [branch_part(branches, self.learner) for branches in self._branches]
        self._begin_window()
        return self._learn(parts, critics)

    def take_extra_env_steps(self) -> int:
        """Returns the steps taken in branches since the last call."""
        steps, self._extra_env_steps = self._extra_env_steps, 0
        return steps

    def note_episodes(self, episodes: Sequence[Mapping[str, float]]) -> None:
        """Lets the guard see what episodes return."""
        for episode in episodes:
            self.guard.returns.add(episode)

    def report(self) -> list[str]:
        """Returns and forgets the guard's messages."""
        messages, self._messages = self._messages + self.guard.take_warnings(), []
        return messages

    def state(self) -> TrainerState:
        """Returns learner, scale, open window and counters; see `OnlineTrainer.state`."""
        self._take_back_broken_weights()  # a checkpoint must not keep them
        arrays = {f"recorder.{name}": value for name, value in self._recorder.state_dict().items()}
        arrays |= {f"window.{name}": value for name, value in self._window.state_dict().items()}
        for index, branches in enumerate(self._branches):
            arrays |= {f"branches.{index}.{name}": value for name, value in branches.state_dict().items()}
        if self._replay is not None:
            arrays |= {f"replay.{name}": value for name, value in self._replay.arrays().items()}
        arrays["branch_steps"] = np.array(sorted(self._branch_steps), dtype=np.int64)
        tensors = {f"learner.{name}": value for name, value in self.learner.state_dict().items()}
        tensors |= {f"scale.{name}": value for name, value in self._scale.state_dict().items()}
        tensors |= {f"guard.{name}": value for name, value in self.guard.tensors().items()}
        tensors["generator"] = self._generator.get_state()
        counters: dict[str, object] = {
            "transitions": self.transitions,
            "window_step": self._window_step,
            "windows": self._windows,
            "branches": len(self._branches),
            "guard": self.guard.state_dict(),
            "replay": None if self._replay is None else self._replay.counters(),
        }
        return TrainerState(tensors, arrays, counters)

    def load_state(self, state: TrainerState, *, same_worlds: bool) -> Recovery:
        """Restores a state; without the same worlds a new window begins; see `OnlineTrainer.load_state`."""
        try:
            self.learner.load_state_dict(tensors_below(state.tensors, "learner."))
            self._scale.load_state_dict(tensors_below(state.tensors, "scale."))
            self._generator.set_state(state.tensors["generator"])
            self.transitions = int(str(state.counters["transitions"]))
            self._windows = int(str(state.counters["windows"]))
            kept = tensors_below(state.tensors, "guard.")
            self.guard.load_state_dict(state.counters["guard"], kept)  # type: ignore[arg-type]
            is_exact = same_worlds and self._writing_goes_on(state)
            if is_exact:
                self._load_window(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint doesn't fit this configuration: {error}") from error
        return Recovery(is_exact=True, kept_transitions=0, closed_episodes=0) if is_exact else self.recover()

    def recover(self) -> Recovery:
        """Begins a new window; what the replay holds, if there is one, stays; see `OnlineTrainer.recover`."""
        if self._replay is None:
            return Recovery(is_exact=False, kept_transitions=0, closed_episodes=0)
        recovery = self._replay.recover(self.transitions)
        self.transitions += recovery.kept_transitions
        return recovery

    def close(self) -> None:
        """Closes the replay, if there is one."""
        if self._replay is not None:
            self._replay.close()

    def _writing_goes_on(self, state: TrainerState) -> bool:
        counters = state.counters["replay"]
        if self._replay is None or not isinstance(counters, dict):
            return self._replay is None
        return self._replay.goes_on(counters, split_prefix(state.arrays, "replay."))

    def _load_window(self, state: TrainerState) -> None:
        self._recorder.load_state_dict(split_prefix(state.arrays, "recorder."))
        self._window.load_state_dict(split_prefix(state.arrays, "window."))
        self._window_step = int(str(state.counters["window_step"]))
        self._branch_steps = frozenset(state.arrays["branch_steps"].tolist())
        self._branches = []
        for index in range(int(str(state.counters["branches"]))):
            branches = self._make_rollouts(self._facts.num_envs * self.config.group_size)
            branches.load_state_dict(split_prefix(state.arrays, f"branches.{index}."))
            self._branches.append(branches)

    def _make_recorder(self) -> RolloutRecorder:
        return RolloutRecorder(
            self.policy,
            num_envs=self._facts.num_envs,
            reward_terms=len(self._facts.reward_term_names),
            hold_steps=self.config.hold_steps,
            gamma=self.config.gamma,
        )

    def _make_rollouts(self, columns: int) -> Rollouts:
        baseline = self.policy.action_dim if self.policy.baseline is not None else 0
        return Rollouts(columns, state_dim=self.policy.obs_dim + baseline, action_dim=self.policy.action_dim)

    def _begin_window(self) -> None:
        if self.config.group_mode != "episode":
            self._window.clear()
        self._branches.clear()
        self._window_step = 0
        self._branch_steps = frozenset()
        if self.config.group_mode == "branch":
            order = torch.randperm(self.config.window_steps, generator=self._generator)
            self._branch_steps = frozenset((1 + order[: self.config.branch_points]).tolist())

    def _branch(self) -> None:
        assert self._facts.environments is not None  # prepare has refused otherwise
        branches = self._make_rollouts(self._facts.num_envs * self.config.group_size)
        self._extra_env_steps += drive_branches(
            self._facts.environments,
            self._make_recorder(),
            branches,
            group_size=self.config.group_size,
            horizon_steps=self.config.branch_horizon * self.config.hold_steps,
            generator=self._generator,
        )
        self._branches.append(branches)

    def _learn_from_episodes(self) -> dict[str, float]:
        lengths = self._window.first_episodes()
        if lengths is None:
            return {}
        part = episode_part(self._window, lengths, self.learner)
        self._window.drop(lengths)
        self._window_step = 0
        return self._learn([part])

    def _learn(self, parts: list[Part], critics: ValueBatch | None = None) -> dict[str, float]:
        batch, values, metrics = assemble(parts, self._scale, self.config)
        metrics |= self.learner.learn(batch, values, critics)
        self._windows += 1
        return metrics if not self._guard_against(metrics) else {"guard_rollbacks": float(self.guard.rollbacks)}

    def _good_state(self) -> dict[str, Tensor]:
        """What a rollback goes back to: the learner, and the scale of the advantages."""
        scale = {f"scale.{name}": value.clone() for name, value in self._scale.state_dict().items()}
        return self.learner.state_dict() | scale

    def _go_back(self, state: dict[str, Tensor]) -> None:
        self.learner.load_state_dict(state)
        self._scale.load_state_dict(tensors_below(state, "scale."))

    def _take_back_broken_weights(self) -> bool:
        """Goes back if a weight isn't finite; returns whether it did."""
        return not all_finite(self.learner.state_dict()) and self._guard_against({"weights": float("nan")})

    def _guard_against(self, metrics: dict[str, float]) -> bool:
        """Lets the guard judge metrics; returns whether it went back to the last good state."""
        rollback = self.guard.look(
            metrics,
            updates=self._windows,
            step_id=self.transitions,
            save=self._good_state,
            restore=self._go_back,
            rescale=self.learner.scale_learning_rates,
        )
        if rollback is None:
            return False
        if self._replay is not None:
            self._replay.replay.quarantine(rollback.first_bad_step_id, self.transitions)
        self._window.clear()
        self._begin_window()
        self._messages.append(
            f"guard: {rollback.reason}; went back to the last good state, step sizes times {rollback.step_share:g}, "
            "the open window dropped"
            + ("; learning is frozen, the policy drives on as it is" if rollback.frozen else "")
        )
        return True
