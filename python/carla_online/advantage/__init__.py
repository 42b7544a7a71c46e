"""Advantages: groups compared within themselves, and estimates along time.

```python
advantages, degenerate, statistics = group(rewards)              # [groups, G]: each reward minus its group's mean
advantages, returns = gae(rewards, values, next_values, terminated, truncated, gamma=0.99, gae_lambda=0.95)
```

NumPy arrays and torch CPU tensors, float32 or float64, any stride; the same kind comes out as went in. Sums are float64
in a fixed order, so results don't depend on the number of threads.
"""

from carla_online.advantage.branches import branch_gae, branch_reward_to_go
from carla_online.advantage.groups import DEGENERATE_RANGE, Estimator, GroupAdvantages, GroupStatistics, group
from carla_online.advantage.presets import PRESETS, Preset, preset
from carla_online.advantage.scale import EmaScale
from carla_online.advantage.temporal import gae, n_step, reward_to_go, v_trace
from carla_online.advantage.whitening import whiten

__all__ = [
    # groups
    "group",
    "GroupAdvantages",
    "GroupStatistics",
    "Estimator",
    "DEGENERATE_RANGE",
    "EmaScale",
    "preset",
    "Preset",
    "PRESETS",
    # time
    "gae",
    "reward_to_go",
    "n_step",
    "v_trace",
    "branch_reward_to_go",
    "branch_gae",
    "whiten",
]
