"""Experience that survives: a memory-mapped replay buffer that many processes append to and sample from.

```python
buffer = ReplayBuffer.create("runs/first/replay", ReplaySchema.transitions(obs_dim=144, action_dim=2, reward_terms=15))
writer = buffer.writer(streams=8)
writer.append(rows, next_values)           # acknowledged when it returns

sampler = buffer.sampler(seed=0, n_step=3)
out = sampler.allocate(256)
sampler.sample_into(out)                   # no allocation
```
"""

from carla_online._native import BoundWriter
from carla_online.replay.batch import ReplayBatch
from carla_online.replay.buffer import ReplayBuffer, VerifyReport
from carla_online.replay.mixture import MixtureSampler, MixtureState, ReplayMixture
from carla_online.replay.modes import Mode, Prioritized, Recency, Stratified, Uniform
from carla_online.replay.prefetch import PrefetchingSampler
from carla_online.replay.sampling import ReplaySampler, SamplerState
from carla_online.replay.schema import Field, ReplaySchema
from carla_online.replay.windows import WindowSampler
from carla_online.replay.writing import ReplayWriter, WriterState

__all__ = [
    "ReplayBuffer",
    "ReplaySchema",
    "Field",
    "ReplayWriter",
    "BoundWriter",
    "ReplaySampler",
    "WindowSampler",
    "PrefetchingSampler",
    "ReplayMixture",
    "MixtureSampler",
    "ReplayBatch",
    "Mode",
    "Uniform",
    "Prioritized",
    "Stratified",
    "Recency",
    "SamplerState",
    "MixtureState",
    "WriterState",
    "VerifyReport",
]
