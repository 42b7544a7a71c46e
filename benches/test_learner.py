"""Speed of one SAC update, and where the time of a small SAC run goes.

Pendulum's sizes: observation 3, action 1, two hidden layers of 256, two critics, batch 256, one thread. Our critics
have layer normalisation, which costs time that the others don't spend; the limit is the matrix products of an update.

Run: `make bench`, or `python -m pytest benches/test_learner.py --benchmark-enable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from arena import Arena
from carla_online.learners import SACConfig, SACLearner, TransitionBatch
from carla_online.policies import FullPolicy
from carla_online.replay import ReplayBuffer, ReplaySchema
from rounds import Contender, repeated

OBS_DIM, ACTION_DIM, HIDDEN, BATCH = 3, 1, (256, 256), 256


def our_learner() -> SACLearner:
    torch.manual_seed(0)
    policy = FullPolicy(obs_dim=OBS_DIM, action_dim=ACTION_DIM, hidden_sizes=HIDDEN)
    config = SACConfig(hidden_sizes=HIDDEN)
    return SACLearner(policy, config=config, generator=torch.Generator().manual_seed(0))


def batch_arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32)

    return {
        "obs": normal(BATCH, OBS_DIM),
        "baseline_action": np.zeros((BATCH, ACTION_DIM), np.float32),
        "executed_action": normal(BATCH, ACTION_DIM).clip(-1, 1),
        "n_step_reward": normal(BATCH),
        "discount": np.full(BATCH, 0.99, np.float32),
        "next_obs": normal(BATCH, OBS_DIM),
        "next_baseline_action": np.zeros((BATCH, ACTION_DIM), np.float32),
    }


def sb3_update() -> Callable[[], None]:
    """stable-baselines3's SAC with the same sizes: one gradient step on a full buffer."""
    from stable_baselines3 import SAC
    from stable_baselines3.common.logger import Logger

    model = SAC("MlpPolicy", "Pendulum-v1", batch_size=BATCH, buffer_size=10_000, device="cpu", seed=0)
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.replay_buffer.full = True
    return lambda: model.train(gradient_steps=1, batch_size=BATCH)


def matrix_products() -> Callable[[], None]:
    """The 256 x 256 x 256 products of one update; the narrow first and last layers are left out.

    Forward 8: two actors, two targets, two critics, two critics for the actor. Backward 8: two critics with both
    factors (4), the same two for the actor's loss with one (2), one actor with both (2).
    """
    left, right, out = torch.randn(BATCH, 256), torch.randn(256, 256), torch.empty(BATCH, 256)

    def once() -> None:
        for _ in range(16):
            torch.mm(left, right, out=out)

    return once


def test_update(benchmark: Any, arena: Arena) -> None:
    learner, batch = our_learner(), TransitionBatch.from_arrays(batch_arrays())
    contenders = [
        Contender("SACLearner.update", "ours", repeated(lambda: learner.update(batch))),
        Contender("matrix products alone", "limit", repeated(matrix_products())),
        Contender("stable-baselines3, with its sampling", "library", repeated(sb3_update())),
    ]
    arena.contest(benchmark, "learner/SAC update of 256", contenders)


def test_where_the_time_goes(benchmark: Any, arena: Arena) -> None:
    """What a faster buffer could gain at most: shares of update, sampling, appending, acting and the environment."""
    import gymnasium as gym

    schema = ReplaySchema.transitions(OBS_DIM, ACTION_DIM, 0)
    with ReplayBuffer.create(arena.directory / "learner", schema, capacity_rows=8_192) as buffer:
        writer = buffer.writer(streams=1)
        rows = {field.name: np.zeros((1, *field.shape), field.numpy_dtype) for field in schema.fields}
        if "weight" in rows:
            rows["weight"][:] = 1.0
        following = {field.name: rows[field.name] for field in schema.linked}
        for _ in range(2_000):
            writer.append(rows, following)
        sampler = buffer.sampler(seed=0)
        out = sampler.allocate(BATCH)
        learner, batch = our_learner(), TransitionBatch.from_arrays(batch_arrays())
        env = gym.make("Pendulum-v1")
        env.reset(seed=0)
        action, obs = np.zeros(ACTION_DIM, np.float32), np.zeros((1, OBS_DIM), np.float32)

        def step() -> None:
            if env.step(action)[3]:
                env.reset()

        contenders = [
            Contender("sample 256", "ours", repeated(lambda: sampler.sample_into(out))),
            Contender("update", "reference", repeated(lambda: learner.update(batch))),
            Contender("append one", "reference", repeated(lambda: writer.append(rows, following))),
            Contender("act", "reference", repeated(lambda: learner.policy.act(obs))),
            Contender("environment step", "reference", repeated(step)),
        ]
        contest = arena.contest(benchmark, "learner/parts of a SAC step", contenders, gated=False)
        if arena.is_measuring:
            taken = [float(np.median(contest.seconds(index))) for index in range(len(contenders))]
            shares = ", ".join(
                f"{contender.name} {share / sum(taken):.1%}" for contender, share in zip(contenders, taken, strict=True)
            )
            arena.note(f"a small SAC run on Pendulum-v1, one update a step: {shares}")
