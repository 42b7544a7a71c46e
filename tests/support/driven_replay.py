"""Replay buffers: driven in the embedded world through the recorder of a run, or written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.envs.transitions import TransitionSource, make_vector_env
from carla_online.online.collector import Collector
from carla_online.online.intake import facts_of
from carla_online.online.recording import ReplayRecorder
from carla_online.policies import ActorPolicy
from carla_online.replay import ReplayBuffer, ReplaySchema

SHORT = {"kind": "world", "map": {"preset": "straight", "length_m": [60.0, 80.0], "map_variants": 4}, "traffic": "none"}


def drive(
    folder: Path, policy: ActorPolicy, *, steps: int, env: Mapping = SHORT, num_envs: int = 8, seed: int = 0
) -> Path:
    """Drives a policy with its own noise and returns the replay's folder."""
    source = TransitionSource(make_vector_env(env, num_envs))
    facts = facts_of(source)
    recorder = ReplayRecorder(folder, facts, policy, capacity_rows=64 * 1024)
    terms = len(facts.reward_term_names)
    collector = Collector(
        policy, num_envs=num_envs, action_dim=facts.action_dim, reward_terms=terms, hold_steps=1, gamma=0.99
    )
    obs, _ = source.reset(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    written = 0
    for _ in range(steps):
        step = source.step(collector.act(obs, collector.propose(obs, generator=generator)))
        closed, rows, next_values = collector.observe(step)
        recorder.append(step, closed, rows, next_values, first_id=written, version=written // 1_000)
        written += int(closed.sum())
        obs = step.obs
    recorder.close()
    source.close()
    return folder / "replay"


def write_episodes(path: Path, episodes: Sequence[Mapping], *, baseline: str = "none", obs_dim: int = 3) -> Path:
    """Writes one episode of three rows for each mapping: `slice`, `reward`, `terms` (name to value in the middle row),
    `finished`, `intervened`, `weight`, `ends`."""
    schema = ReplaySchema.transitions(obs_dim, 2, REWARD_TERM_NAMES)
    step = 0
    with ReplayBuffer.create(path, schema, capacity_rows=4_096) as buffer, buffer.writer(streams=1) as writer:
        baseline_id = buffer.baseline_id(baseline)
        for number, told in enumerate(episodes):
            first = step
            for place in range(3):
                terms = np.zeros((1, len(REWARD_TERM_NAMES)), np.float32)
                if place == 1:
                    for name, value in told.get("terms", {}).items():
                        terms[0, REWARD_TERM_NAMES.index(name)] = value
                is_last = place == 2
                if is_last and told.get("finished", True):
                    terms[0, REWARD_TERM_NAMES.index("route_finished")] = 1.0
                row = {
                    "obs": np.full((1, obs_dim), number, np.float32),
                    "baseline_action": np.zeros((1, 2), np.float32),
                    "proposed_action": np.zeros((1, 2), np.float32),
                    "executed_action": np.full((1, 2), told.get("action", 0.1), np.float32),
                    "reward": np.array([told.get("reward", 1.0)], np.float32),
                    "reward_terms": terms,
                    "terminated": np.array([is_last and told.get("ends", True)]),
                    "truncated": np.array([False]),
                    "safety_intervened": np.array([place == 0 and told.get("intervened", False)]),
                    "logp": np.zeros(1, np.float32),
                    "episode_id": np.array([first], np.uint64),
                    "step_id": np.array([step], np.uint64),
                    "policy_version": np.array([number], np.uint32),
                    "slice_id": np.array([buffer.slice_id(told.get("slice", "a"))], np.uint16),
                    "baseline_id": np.array([baseline_id], np.uint16),
                    "weight": np.array([told.get("weight", 1.0)], np.float32),
                    "quarantined": np.array([False]),
                }
                following = {name: row[name] for name in ("obs", "baseline_action")}
                writer.append(row, following)
                step += 1
            if told.get("quarantined", False):
                buffer.quarantine(first + 1, first + 1)
    return path
