"""Writing a trainer's transitions to the run's replay, for others to read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carla_online.envs.transitions import Step
from carla_online.online.trainer import EnvironmentFacts, Recovery
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.contract import Policy
from carla_online.replay import ReplayBuffer, ReplaySchema, ReplayWriter

Arrays = dict[str, NDArray[np.generic]]


class ReplayRecorder:
    """Appends every transition, tagged with its episode, policy version, slice and baseline.

    Args:
        directory: The run's folder; the replay lies below it.
        facts: The environments.
        policy: Names the baseline.
        capacity_rows: Transitions the replay keeps.
        first_stream: Number of the first environment's stream; processes that write at the same time have their own.
    """

    def __init__(
        self,
        directory: Path,
        facts: EnvironmentFacts,
        policy: Policy,
        *,
        capacity_rows: int,
        first_stream: int = 0,
    ) -> None:
        schema = ReplaySchema.transitions(
            facts.obs_dim, facts.action_dim, facts.reward_term_names, birdseye_px=facts.birdseye_px
        )
        self.replay = ReplayBuffer.open_or_create(directory / "replay", schema, capacity_rows=capacity_rows)
        self.replay.bind_backbone(facts.backbone)
        self._num_envs = facts.num_envs
        baseline = policy.baseline if isinstance(policy, ActorPolicy) else None
        self._baseline_id = self.replay.baseline_id(baseline.fingerprint if baseline is not None else "none")
        self._slice_names = facts.slice_names or (facts.slice_name,)
        self._slice_id_of = {0: self.replay.slice_id(self._slice_names[0])}
        self._first_stream = first_stream
        self._episode_id = np.zeros(facts.num_envs, dtype=np.uint64)
        self._episode_open = np.zeros(facts.num_envs, dtype=np.bool_)
        self._writer: ReplayWriter | None = None

    def append(
        self, step: Step, closed: NDArray[np.bool_], rows: Arrays, next_values: Arrays, *, first_id: int, version: int
    ) -> None:
        """Stores the transitions that a step completed, if any; when it returns they survive a kill.

        Args:
            step: The step.
            closed: bool [N], environments that completed a transition.
            rows: Fields of the transitions, [N, ...].
            next_values: Linked fields after the step, [N, ...].
            first_id: Number of the first transition.
            version: Gradient steps that the policy had taken.
        """
        ended = step.terminated | step.truncated
        self._end_without_transition(ended & ~closed)
        if not closed.any():
            return
        if self._writer is None:
            self._writer = self.replay.writer(streams=self._num_envs, first_stream=self._first_stream)
        step_ids = np.zeros(self._num_envs, dtype=np.uint64)
        step_ids[closed] = first_id + np.arange(int(closed.sum()), dtype=np.uint64)
        # An episode is named after its first transition, so names never repeat, not even after a crash.
        starts = closed & ~self._episode_open
        self._episode_id[starts] = step_ids[starts]
        count = self._num_envs
        tags: Arrays = {
            "episode_id": self._episode_id,
            "step_id": step_ids,
            "policy_version": np.full(count, version, dtype=np.uint32),
            "slice_id": self._slice_ids(step),
            "baseline_id": np.full(count, self._baseline_id, dtype=np.uint16),
            "weight": np.ones(count, dtype=np.float32),
            "quarantined": np.zeros(count, dtype=np.bool_),
        }
        self._writer.append(rows | tags, next_values, mask=closed)
        self._episode_open[closed] = True
        self._episode_open[ended] = False

    def _end_without_transition(self, ended: NDArray[np.bool_]) -> None:
        """A simulator may fail before the first step of a transition: then the one before it was the episode's last."""
        left = ended & self._episode_open
        if left.any() and self._writer is not None:
            self._writer.end_episodes(mask=left)
            self._episode_open[left] = False

    def _slice_ids(self, step: Step) -> NDArray[np.uint16]:
        indices = np.asarray(step.info.get("slice_index", np.zeros(self._num_envs, np.int64)))
        for index in np.unique(indices).tolist():
            if index not in self._slice_id_of:
                self._slice_id_of[index] = self.replay.slice_id(self._slice_names[index])
        return np.array([self._slice_id_of[index] for index in indices.tolist()], dtype=np.uint16)

    def counters(self) -> dict[str, object]:
        """Returns where writing stands, JSON-able."""
        return {
            "writer": None if self._writer is None else self._writer.state,
            "total_appended": self.replay.total_appended,
        }

    def arrays(self) -> Arrays:
        """Returns the open episodes."""
        return {"episode_id": self._episode_id.copy(), "episode_open": self._episode_open.copy()}

    def goes_on(self, counters: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> bool:
        """Goes on exactly where `counters` and `arrays` say, or says that this can't be done: newer rows are there."""
        if self.replay.total_appended != int(str(counters["total_appended"])):
            return False
        if counters["writer"] is not None:
            self._writer = self.replay.writer(streams=self._num_envs, resume=counters["writer"])
            if not self._writer.resumed:
                return False
        self._episode_id[...] = arrays["episode_id"]
        self._episode_open[...] = arrays["episode_open"]
        return True

    def recover(self, transitions: int) -> Recovery:
        """Ends the open episodes as truncated and counts the rows that are newer than `transitions`."""
        closed = self.replay.close_open_episodes()
        last = self.replay.last_step_id()
        kept = 0 if last is None else max(0, last + 1 - transitions)
        return Recovery(is_exact=False, kept_transitions=kept, closed_episodes=closed)

    def close(self) -> None:
        """Closes the replay."""
        if self._writer is not None:
            self._writer.close()
        self.replay.close()
