"""The stability guard: notices that learning has gone wrong and takes it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import Field
from torch import Tensor

from carla_online.config import Config
from carla_online.learners.optimisers import tensors_below
from carla_online.online.detectors import Detector, LimitConfig, Watch
from carla_online.online.return_watch import ReturnWatch

_LEAST_STEP: Final = 1e-5
_LEAST_KL: Final = 3e-3
"""Steps and divergences (nat) below these are no yardstick: a policy that begins to learn moves ever faster."""

_EXPECTED_RATIO: Final = 4.0
"""Critics whose expectation is usually smaller than the rewards by more than this know nothing to compare with."""
_LUMPS: Final = 2.0
"""Rare severe events come in lumps: what they make of a signal seldom exceeds the largest one seen by this factor."""


class GuardConfig(Config):
    """When the guard steps in, and what it does.

    The limits were set between what clean runs show and what injected faults show; see the training guide.
    """

    check_every_updates: int = Field(50, ge=1)
    """Updates between two looks at the metrics (SAC; GRPO looks at every window)."""
    good_every_updates: int = Field(500, ge=1)
    """Healthy updates after which the learner's state is kept. It is gone back to only after as many more without a
    fault: what is going wrong unseen must not be kept as good."""
    good_every_windows: int = Field(5, ge=1)
    """The same for GRPO, in windows."""
    settle_looks: int = Field(10, ge=1, le=50)
    """Healthy values of a signal before limits that are multiples of its median count."""
    q_limit: float | None = Field(None, gt=0)
    """Largest |Q| allowed; 1.2 times the larger of the learner's value bounds if null, none without bounds."""
    reward_agreement: LimitConfig = LimitConfig(stop=0.2, looks=3)
    """Cosine between the rewards that came and those that the critics expected, as a share of its median: near 0 if
    either means nothing any more, negative if a sign was flipped."""
    window_agreement: LimitConfig = LimitConfig(stop=-0.3)
    """The same for GRPO, whose value network believes in a flipped sign after one window. Windows in which hardly
    anything happens come near 0 in good health."""
    reward_ratio: LimitConfig = LimitConfig(stop=6.0, looks=2)
    """Size of the rewards that came over that of the expected ones, in multiples of its median; and twice the largest
    healthy one, because rare severe events come in lumps."""
    q_fit: LimitConfig = LimitConfig(stop=-0.3, looks=3)
    """Share of the targets' variance that the critics explain, while its median is above 0.5: near -1 for targets that
    have nothing to do with the states any more; looked at each time."""
    value_fit: LimitConfig = LimitConfig(stop=0.2)
    """The same for GRPO's value network before it learns from a window, as a share of its median while that is above
    0.5: near 0 if the targets are noise. A network that knows less has windows near 0 in good health."""
    loss: LimitConfig = LimitConfig(stop=100.0, looks=3)
    """Loss of the critics or of the value network, in multiples of its median."""
    gradient: LimitConfig = LimitConfig(stop=100.0, looks=3)
    """Norm of that loss's gradient, in multiples of its median."""
    step: LimitConfig = LimitConfig(stop=10.0)
    """How far the weights moved in one update (with GRPO: in one window), in multiples of its median, and twice the
    largest healthy one; looked at each time."""
    kl_step: LimitConfig = LimitConfig(stop=100.0)
    """KL divergence of the policy from what it was a look before, in multiples of its median."""
    kl_to_initial: LimitConfig = LimitConfig()
    """KL divergence from the initial policy in nat; what is much depends on the task, so none by default."""
    action_std: LimitConfig = LimitConfig(warn=0.02)
    """Standard deviation of the draws before squashing."""
    saturation: LimitConfig = LimitConfig(warn=0.9)
    """Share of draws at the ends of their range."""
    explained_variance: LimitConfig = LimitConfig(stop=0.0, looks=5)
    """Of the returns by the value network, while its median is above 0.3."""
    log_mean_ratio: LimitConfig = LimitConfig(stop=-0.1)
    """Logarithm of the mean probability ratio after an update: below zero clipping has lost its hold.
    Source: https://arxiv.org/abs/2510.22319 (GRPO-Guard)."""
    degenerate_groups: LimitConfig = LimitConfig(warn=0.9)
    """Share of groups whose members can't be told apart."""
    return_shortfall: LimitConfig = LimitConfig(warn=15.0, stop=30.0)
    """Sum of what episodes return less than is usual, in standard deviations."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """Factor on every step size after a rollback."""
    recover_after_good: int = Field(4, ge=1)
    """Good states kept since a rollback after which the step sizes are again what they were: a run of days would halve
    itself to a standstill otherwise."""
    rollbacks_before_freeze: int = Field(2, ge=1)
    """Rollbacks in a row, with no good state kept between, after which learning freezes."""

    def detectors(self, *, q_limit: float | None, by_window: bool = False) -> list[Detector]:
        """Returns what to look at; a signal that a learner doesn't have is never found.

        Args:
            q_limit: Largest |Q| allowed, or None.
            by_window: A look is at a whole window, from which the learner has learned for epochs: by the next look the
                value network believes what it saw. So one look is enough for limits above a median.
        """
        settle = self.settle_looks

        def times_median(
            signal: str, limit: LimitConfig, *, least: float = 0.0, lumps: float = 0.0, healthy: float | None = None
        ) -> Detector:
            limit = limit.model_copy(update={"looks": 1 if by_window else limit.looks})
            return Detector(
                signal,
                limit,
                of_median=True,
                least_median=least,
                of_largest=lumps,
                settle_looks=settle,
                healthy=healthy,
            )

        agreement = self.window_agreement if by_window else self.reward_agreement
        return [
            Detector("q_max", LimitConfig(stop=q_limit)),
            Detector(
                "reward_agreement", agreement, side="below", of_median=True, least_median=0.2, settle_looks=settle
            ),
            times_median("reward_ratio", self.reward_ratio, healthy=_EXPECTED_RATIO, lumps=_LUMPS),
            Detector("q_fit", self.q_fit, side="below", settle_looks=settle, healthy=0.5),
            Detector("value_fit", self.value_fit, side="below", of_median=True, least_median=0.5, settle_looks=settle),
            times_median("q_loss", self.loss),
            times_median("value_loss", self.loss),
            times_median("q_grad_norm", self.gradient),
            times_median("value_grad_norm", self.gradient),
            times_median("critic_step", self.step, least=_LEAST_STEP, lumps=_LUMPS),
            times_median("actor_step", self.step, least=_LEAST_STEP, lumps=_LUMPS),
            times_median("value_step", self.step, least=_LEAST_STEP, lumps=_LUMPS),
            times_median("kl_to_previous", self.kl_step, least=_LEAST_KL),
            Detector("kl_to_initial", self.kl_to_initial),
            Detector("action_std", self.action_std, side="below"),
            Detector("saturation", self.saturation),
            Detector("explained_variance", self.explained_variance, side="below", settle_looks=settle, healthy=0.3),
            Detector("log_mean_ratio", self.log_mean_ratio, side="below"),
            Detector("degenerate_groups", self.degenerate_groups),
            Detector("return_shortfall", self.return_shortfall),
        ]


@dataclass(frozen=True, slots=True)
class Rollback:
    """One intervention of the guard."""

    reason: str
    """What was seen, with the value and the limit"""
    first_bad_step_id: int
    """Transitions from here on were stored after the last good state"""
    step_share: float
    """Step sizes from now on, as a share of the configured ones"""
    frozen: bool
    """True if this was one rollback too many and learning stops"""


@dataclass(slots=True)
class _Kept:
    """A learner's state, and when it was."""

    state: dict[str, Tensor]
    step_id: int
    updates: int
    step_share: float = 1.0


class StabilityGuard:
    """Keeps the last good state of a learner and decides when to return to it; give it the first one with `begin`.

    Two states are kept: the newest healthy one, and the one before, which has proved itself for as long as the newest
    still must. It is the latter that a rollback goes to.

    Args:
        config: Settings.
        q_limit: Largest |Q| allowed, or None.
        by_window: As for `GuardConfig.detectors`.

    Attributes:
        num_envs: Environments that drive, each in the middle of an episode when a rollback comes.
        step_share: Step sizes now, as a share of the configured ones.
    """

    def __init__(self, config: GuardConfig, *, q_limit: float | None, by_window: bool = False) -> None:
        self.config = config
        self._good_every = config.good_every_windows if by_window else config.good_every_updates
        self.rollbacks = 0
        self.in_a_row = 0
        self.is_frozen = False
        self.step_share = 1.0
        self._kept_since_rollback = 0
        self.watch = Watch(config.detectors(q_limit=q_limit, by_window=by_window))
        self.returns = ReturnWatch()
        self.num_envs = 1
        self._warnings: list[str] = []
        self._good = _Kept({}, 0, 0)
        self._newest = self._good

    def begin(self, state: dict[str, Tensor], *, step_id: int, updates: int) -> None:
        """Makes `state` the one to go back to; transitions from `step_id` on come after it."""
        self._good = self._newest = _Kept(state, step_id, updates)

    def look(
        self,
        metrics: Mapping[str, float],
        *,
        updates: int,
        step_id: int,
        save: Callable[[], dict[str, Tensor]],
        restore: Callable[[dict[str, Tensor]], None],
        rescale: Callable[[float], None],
    ) -> Rollback | None:
        """Looks at the newest metrics; keeps the state, or rolls back.

        Args:
            metrics: Newest values by name.
            updates: Updates done, or windows learned from.
            step_id: Number of the next transition.
            save: Returns the learner's state.
            restore: Puts a state back.
            rescale: Multiplies the step sizes by a factor.

        Returns:
            The rollback that was done, or None.
        """
        finding = self.watch.look({**metrics, "return_shortfall": self.returns.shortfall})
        self._warnings += [f"{text}; nothing was done" for text in finding.warnings]
        if finding.fault is None:
            if finding.is_healthy and updates - self._newest.updates >= self._good_every:
                self._recover(rescale)
                self._good, self._newest = self._newest, _Kept(save(), step_id, updates, self.step_share)
                self.in_a_row = 0
            return None
        self.rollbacks += 1
        self.in_a_row += 1
        self._kept_since_rollback = 0
        self.is_frozen = self.is_frozen or self.in_a_row >= self.config.rollbacks_before_freeze
        restore(self._good.state)
        factor = self.config.lr_factor**self.in_a_row
        rescale(factor)
        self.step_share = self._good.step_share * factor
        self._newest = self._good = replace(self._good, updates=updates)
        self.watch.forget_alarms()
        self.returns.forgive(open_episodes=self.num_envs)
        return Rollback(finding.fault, self._good.step_id, self.step_share, self.is_frozen)

    def _recover(self, rescale: Callable[[float], None]) -> None:
        """Counts another good state, and ends a rollback's small steps after enough of them."""
        self._kept_since_rollback += 1
        if self.step_share < 1.0 and self._kept_since_rollback >= self.config.recover_after_good:
            rescale(1.0 / self.step_share)
            self.step_share = 1.0
            self._warnings.append("healthy since the rollback; the step sizes are the configured ones again")

    def take_warnings(self) -> list[str]:
        """Returns and forgets what is to be told beside rollbacks, a line each: what was bad, but not bad enough."""
        warnings, self._warnings = [f"guard: {text}" for text in self._warnings], []
        return warnings

    def state_dict(self) -> dict[str, Any]:
        """Returns counters and what was seen, JSON-able; `tensors` holds the rest."""
        return {
            "rollbacks": self.rollbacks,
            "in_a_row": self.in_a_row,
            "is_frozen": self.is_frozen,
            "step_share": self.step_share,
            "kept_since_rollback": self._kept_since_rollback,
            "watch": self.watch.state_dict(),
            "returns": self.returns.state_dict(),
            "good": [self._good.step_id, self._good.updates, self._good.step_share],
            "newest": [self._newest.step_id, self._newest.updates, self._newest.step_share],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Returns the kept states, as tensors by dotted name."""
        good = {f"good.{name}": value for name, value in self._good.state.items()}
        return good | {f"newest.{name}": value for name, value in self._newest.state.items()}

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Restores `state_dict()` and `tensors()`."""
        self.rollbacks = int(state["rollbacks"])
        self.in_a_row = int(state["in_a_row"])
        self.is_frozen = bool(state["is_frozen"])
        self.step_share = float(state["step_share"])
        self._kept_since_rollback = int(state["kept_since_rollback"])
        self.watch.load_state_dict(state["watch"])
        self.returns.load_state_dict(state["returns"])
        self._good, self._newest = (self._read(name, state, tensors) for name in ("good", "newest"))

    @staticmethod
    def _read(name: str, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> _Kept:
        step_id, updates, step_share = state[name]
        return _Kept(tensors_below(tensors, f"{name}."), int(step_id), int(updates), float(step_share))
