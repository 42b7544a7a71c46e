"""Health figures of an off-policy learner, for the guard: how critics, policy and newest experience fit together."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carla_online.learners.diagnosis import diagnose, td_errors
from carla_online.learners.sac import SACLearner, TransitionBatch
from carla_online.online.fresh import Arrays, RowRing, WholeEpisodes
from carla_online.online.trainer import split_prefix

_FRESH_ROWS: Final = 256
_FEWEST_ROWS: Final = 64
_EPISODES: Final = 32
_FEWEST_EPISODES: Final = 8


class LearnerHealth:
    """Compares a SAC learner's critics with the newest transitions and the newest whole episodes.

    Args:
        learner: Isn't changed.
        num_envs: N.
        discount: Factor on the value of a transition's next state.
    """

    def __init__(self, learner: SACLearner, *, num_envs: int, discount: float) -> None:
        sizes = {"obs_dim": learner.policy.obs_dim, "action_dim": learner.policy.action_dim}
        self._learner = learner
        self._discount = discount
        self._rows = RowRing(_FRESH_ROWS, **sizes)
        self._episodes = RowRing(_EPISODES, **sizes)
        self._open = WholeEpisodes(num_envs, **sizes)

    def observe(self, closed: NDArray[np.bool_], rows: Arrays, next_values: Arrays, ended: NDArray[np.bool_]) -> None:
        """Takes in the transitions that a step completed.

        Args:
            closed: Environments that completed one, bool [N].
            rows: Replay fields, [N, ...].
            next_values: The linked fields after it, [N, ...].
            ended: Environments whose episode ended, bool [N].
        """
        fields = {name: rows[name] for name in ("obs", "baseline_action", "executed_action", "reward")}
        fields |= {f"next_{name}": next_values[name] for name in ("obs", "baseline_action")}
        fields["discount"] = np.where(rows["terminated"], 0.0, self._discount).astype(np.float32)
        self._rows.add({name: values[closed] for name, values in fields.items()})
        whole = self._open.add(fields, closed, ended)
        if len(whole["reward"]):
            self._episodes.add(whole)

    def forget(self) -> None:
        """Forgets the experience: it belongs to weights that were taken back."""
        self._rows.clear()
        self._episodes.clear()

    def metrics(self, batch: TransitionBatch, *, seed: int) -> dict[str, float]:
        """Returns the figures by name; those that need more experience than there is are left out.

        Args:
            batch: Transitions from the replay.
            seed: Seeds the actions drawn for the targets.

        Returns:
            Those of `diagnose`, and of the newest transitions `fresh_td_rms`, `fresh_td_median` and `fresh_td_spread`
            (interquartile range), and `q_gap`: how far Q of whole episodes' first states lies above the return that
            followed, in standard deviations of those returns.
        """
        generator = torch.Generator().manual_seed(seed)
        metrics = diagnose(self._learner, batch, generator=generator)
        if len(self._rows) >= _FEWEST_ROWS:
            errors = td_errors(self._learner, self._rows.batch(), generator=generator)
            metrics |= _figures(errors)
        if len(self._episodes) >= _FEWEST_EPISODES:
            episodes = self._episodes.batch()
            gap = -td_errors(self._learner, episodes, generator=generator).mean()
            metrics["q_gap"] = float(gap / episodes.reward.std(correction=0).clamp_min(1e-6))
        return metrics

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Returns the remembered experience, as arrays by name."""
        parts = {"rows": self._rows, "episodes": self._episodes, "open": self._open}
        return {f"{part}.{name}": value for part, owner in parts.items() for name, value in owner.state_dict().items()}

    def load_state_dict(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Restores `state_dict()`."""
        self._rows.load_state_dict(split_prefix(state, "rows."))
        self._episodes.load_state_dict(split_prefix(state, "episodes."))
        self._open.load_state_dict(split_prefix(state, "open."))


def _figures(errors: Tensor) -> dict[str, float]:
    low, median, high = torch.quantile(errors, torch.tensor([0.25, 0.5, 0.75])).tolist()
    rms = float(errors.square().mean().sqrt())
    return {"fresh_td_rms": rms, "fresh_td_median": median, "fresh_td_spread": high - low}
