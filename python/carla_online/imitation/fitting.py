"""Distillation: a policy's deterministic action is fitted to what was executed in good episodes.

Behaviour cloning on data of the project's own making. What was executed is the target, noise included: the mean of the
squared error is least at the mean action, so exploration's noise averages out, and only episodes that ended well count.

Loss. With e the composed action minus the executed one and s_a the spread of what is to be learnt in action a (of
executed - baseline for a delta head, of executed for a full policy), the loss is mean_a (e_a / s_a)^2: 1 is a head that
knows the mean alone, and steering, whose numbers are small, counts as much as the pedals.

Clipping. Beyond [-1, 1] the clipped action has no gradient, and a head that overshoots there would never come back. So
the value is the composed action's and the gradient that of the unclipped one (straight-through).

Source: Pomerleau, "ALVINN", NIPS 1988 (behaviour cloning); filtered by outcome as in Chen et al.,
    https://arxiv.org/abs/1910.12179 (BAIL), with returns compared within a slice in place of a learnt envelope.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carla_online._native import __version__
from carla_online.envs.observations import BIRDSEYE, VECTOR, ObservationLayout
from carla_online.errors import ConfigError, PolicyError, SchemaMismatch
from carla_online.evaluation.files import write_json
from carla_online.files import write_bytes_atomically
from carla_online.imitation.config import DistilConfig
from carla_online.imitation.episodes import GoodEpisodes
from carla_online.learners.optimisers import all_finite, gradient_step
from carla_online.policies.actor import ActorPolicy, DeltaPolicy
from carla_online.policies.storage import policy_to_bytes

POLICY_FILE: Final = "policy.safetensors"
RECORD_FILE: Final = "distilled.json"
_SMALLEST_SPREAD: Final = 1e-2
_CHECKED_ROWS: Final = 256
_SAME_ACTION: Final = 1e-3
_VALIDATION_CHUNK: Final = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """A distilled policy and how it came about."""

    policy: ActorPolicy
    """The policy with the best validation loss."""
    record: Mapping[str, Any]
    """Data, losses, seed, baseline: what `distilled.json` holds."""

    @property
    def loss_before(self) -> float:
        """Validation loss of the policy that it started from."""
        return float(self.record["validation_losses"][0])

    @property
    def loss_after(self) -> float:
        """Validation loss of what is kept."""
        return float(self.record["best_validation_loss"])

    def save(self, folder: Path) -> Path:
        """Writes `policy.safetensors` and `distilled.json`, each whole or not at all, and returns the folder.

        Raises:
            ConfigError: The folder holds a distilled policy already; nothing is overwritten.
        """
        taken = [name for name in (POLICY_FILE, RECORD_FILE) if (folder / name).exists()]
        if taken:
            raise ConfigError(f"{folder} holds {taken[0]} already, and nothing is overwritten; choose another folder.")
        write_bytes_atomically(folder / POLICY_FILE, policy_to_bytes(self.policy))
        write_json(folder / RECORD_FILE, self.record)
        return folder


def distil(policy: ActorPolicy, episodes: GoodEpisodes, config: DistilConfig | None = None) -> Distilled:
    """Fits a copy of a policy to the executed actions of good episodes.

    Only the head learns: a frozen baseline stays what it is, and so does an encoder of views. With one torch thread the
    result repeats bit for bit.

    Args:
        policy: A `DeltaPolicy` or `FullPolicy` to start from, trained or fresh; it isn't changed.
        episodes: What `good_episodes` returned.
        config: Settings.

    Returns:
        The policy, with the weights of the best validation loss, and the record.

    Raises:
        SchemaMismatch: The rows are of another observation, action, or baseline than the policy's.
        ConfigError: A learning rate so large that the weights became infinite.
    """
    config = config or DistilConfig()
    _check_origin(policy, episodes)
    student = copy.deepcopy(policy)
    fit = _Fit(student, episodes, config)
    losses = fit.run()
    _fix_log_std(student, policy.log_std_bias if config.log_std is None else config.log_std)
    record = {
        "format": 1,
        "data": episodes.to_dict(),
        "config": config.model_dump(mode="json"),
        "kind": student.kind,
        "baseline_fingerprint": None if student.baseline is None else student.baseline.fingerprint,
        "training_episodes": int(fit.training_episodes.size),
        "validation_episodes": int(fit.validation_episodes.size),
        "spread": fit.spread.tolist(),
        "training_losses": losses.training,
        "validation_losses": losses.validation,
        "best_epoch": losses.best_epoch,
        "best_validation_loss": losses.validation[losses.best_epoch],
        "versions": {"carla_online": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }
    return Distilled(student, record)


@dataclass(frozen=True, slots=True)
class _Losses:
    """Losses by epoch; validation's first is that of the policy before the first."""

    training: list[float]
    validation: list[float]
    best_epoch: int


class _Fit:
    """Supervised learning of a policy's head.

    Args:
        policy: Its head is changed.
        episodes: The rows.
        config: Settings.
    """

    def __init__(self, policy: ActorPolicy, episodes: GoodEpisodes, config: DistilConfig) -> None:
        self._policy, self._config = policy, config
        self._generator = np.random.Generator(np.random.Philox(config.seed))
        order = self._generator.permutation(episodes.count)
        held = min(max(1, round(episodes.count * config.validation_share)), episodes.count - 1)
        self.validation_episodes, self.training_episodes = np.sort(order[:held]), np.sort(order[held:])
        is_held = np.isin(episodes.episode, self.validation_episodes)
        self._training, self._validation = np.flatnonzero(~is_held), np.flatnonzero(is_held)
        self._rows = {name: np.ascontiguousarray(values) for name, values in episodes.rows.items()}
        learnt = self._rows["executed_action"][self._training].astype(np.float64)
        if isinstance(policy, DeltaPolicy):
            learnt = learnt - self._rows["baseline_action"][self._training]
        self.spread = np.maximum(learnt.std(axis=0), _SMALLEST_SPREAD)
        self._unit = torch.from_numpy(self.spread.astype(np.float32))
        self._parameters = list(policy.head.parameters())
        self._optimiser = torch.optim.Adam(self._parameters, lr=config.lr)

    def run(self) -> _Losses:
        """Trains until the validation loss stops falling, puts the best weights back and returns all losses."""
        head = self._policy.head
        training: list[float] = []
        validation = [self._validation_loss()]
        best, best_epoch = copy.deepcopy(head.state_dict()), 0
        for epoch in range(1, self._config.epochs + 1):
            training.append(self._epoch())
            if not all_finite(head.state_dict()):
                raise ConfigError(f"the weights became infinite in epoch {epoch}; lower lr ({self._config.lr:g}).")
            validation.append(self._validation_loss())
            if validation[-1] < validation[best_epoch]:
                best, best_epoch = copy.deepcopy(head.state_dict()), epoch
            elif epoch - best_epoch >= self._config.patience:
                break
        head.load_state_dict(best)
        return _Losses(training, validation, best_epoch)

    def _epoch(self) -> float:
        """Passes once over the training rows, shuffled, and returns the mean loss."""
        order = self._generator.permutation(self._training)
        total = 0.0
        for start in range(0, len(order), self._config.batch_size):
            rows = order[start : start + self._config.batch_size]
            loss = self._loss(rows)
            gradient_step(self._optimiser, loss, self._parameters, self._config.gradient_clip)
            total += loss.item() * len(rows)
        return total / len(order)

    def _validation_loss(self) -> float:
        rows, total = self._validation, 0.0
        with torch.no_grad():
            for start in range(0, len(rows), _VALIDATION_CHUNK):
                chunk = rows[start : start + _VALIDATION_CHUNK]
                total += self._loss(chunk).item() * len(chunk)
        return total / len(rows)

    def _loss(self, rows: NDArray[np.int64]) -> Tensor:
        """Returns the mean of (error / spread)^2 over rows [B] and actions."""
        batch = {name: torch.from_numpy(values[rows]) for name, values in self._rows.items()}
        policy, baseline_action = self._policy, batch["baseline_action"]
        with torch.no_grad():  # an encoder of views stays as it is
            inputs = policy.inputs(batch["obs"], baseline_action, batch.get(BIRDSEYE))
        mean, _ = policy.head(inputs)
        error = composed_action(policy, baseline_action, torch.tanh(mean)) - batch["executed_action"]
        return (error / self._unit).square().mean()


def composed_action(policy: ActorPolicy, baseline_action: Tensor, squashed: Tensor) -> Tensor:
    """Returns the action that is executed, float32 [B, A], with the gradient that it would have without clipping."""
    composed = policy.compose(baseline_action, squashed)
    if not isinstance(policy, DeltaPolicy):
        return composed
    free = baseline_action + policy.delta_scale * squashed
    return free + (composed - free).detach()


def _check_origin(policy: ActorPolicy, episodes: GoodEpisodes) -> None:
    """Refuses rows that mean something else beside this policy."""
    rows = episodes.rows
    view = rows.get(BIRDSEYE)
    found = ObservationLayout(rows["obs"].shape[1], None if view is None else view.shape[1])
    made_for = ObservationLayout(policy.obs_dim, policy.birdseye_px)
    if found != made_for or rows["executed_action"].shape[1] != policy.action_dim:
        raise SchemaMismatch(
            f"the episodes have observations {found} and {rows['executed_action'].shape[1]} actions, the policy was "
            f"made for {made_for} and {policy.action_dim}; start from a policy of the same environment."
        )
    if policy.baseline is None:
        return  # the executed actions alone count, whoever drove
    strange = [each for each in episodes.baselines if each != policy.baseline.fingerprint]
    if strange:
        raise SchemaMismatch(
            f"the episodes were driven beside the baseline {strange[0][:12]}, the policy's is "
            f"{policy.baseline.fingerprint[:12]}: the rows' baseline actions aren't those that it would see. Start "
            "from a policy of the same baseline, leave that buffer out, or distil a full policy without a baseline."
        )
    few = slice(0, _CHECKED_ROWS)
    obs: NDArray[Any] = rows["obs"][few]
    if view is not None:
        packed = found.empty(len(obs))
        packed[VECTOR], packed[BIRDSEYE] = obs, view[few]
        obs = packed
    difference = float(np.abs(policy.baseline_action(obs) - rows["baseline_action"][few]).max())
    if difference > _SAME_ACTION:
        raise PolicyError(
            f"the baseline {policy.baseline!r} has the fingerprint of the episodes' own, but acts differently (by "
            f"{difference:.3g}): what it closes over has changed. Load the one that drove."
        )


def _fix_log_std(policy: ActorPolicy, log_std: float) -> None:
    """Sets the head's log standard deviation to a constant: the layers below it have moved."""
    last = policy.head.layers[-1]
    assert isinstance(last, torch.nn.Linear)  # GaussianHead's last layer
    with torch.no_grad():
        last.weight[policy.action_dim :].zero_()
        last.bias[policy.action_dim :].fill_(log_std)
