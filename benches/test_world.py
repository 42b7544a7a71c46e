"""Speed of the embedded world: decisions a second on one thread, 64 worlds, the default scenario.

Run: `python -m pytest benches/test_world.py --benchmark-enable`. One round is 50 decisions of 64 worlds, each two
simulation steps with twelve vehicles, the observation, the infos and the reward terms.
"""

import json

import numpy as np
import pytest

from carla_online._native import WorldBatch

WORLDS, DECISIONS = 64, 50
CONFIG = json.dumps({"blocked_after_s": 1e4, "time_limit_factor": 100.0})


def worlds():
    batch = WorldBatch(num_envs=WORLDS, config=CONFIG)
    outputs = (
        np.zeros((WORLDS, WorldBatch.obs_dim), np.float32),
        np.zeros((WORLDS, len(WorldBatch.reward_term_names())), np.float32),
        np.zeros(WORLDS, np.bool_),
        np.zeros(WORLDS, np.bool_),
        np.zeros((WORLDS, len(WorldBatch.info_names()))),
        np.zeros((WORLDS, len(WorldBatch.infraction_names())), np.int32),
    )
    return batch, outputs


def begin(batch, outputs):
    batch.reset(np.arange(WORLDS, dtype=np.uint64), None, outputs[0], outputs[4])


@pytest.mark.benchmark(group="world")
def test_decisions(benchmark):
    batch, outputs = worlds()
    actions = np.zeros((WORLDS, 2), np.float32)

    def drive():
        for _ in range(DECISIONS):
            batch.step(actions, *outputs)

    benchmark.pedantic(drive, setup=lambda: begin(batch, outputs), rounds=20)
    if benchmark.stats:
        benchmark.extra_info["decisions_per_s"] = round(WORLDS * DECISIONS / benchmark.stats.stats.median)


@pytest.mark.benchmark(group="world")
def test_resets_on_known_roads(benchmark):
    batch, outputs = worlds()
    begin(batch, outputs)
    benchmark(begin, batch, outputs)
