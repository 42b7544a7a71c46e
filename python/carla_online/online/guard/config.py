"""Settings of the stability guard."""

from __future__ import annotations

from pydantic import Field

from carla_online.config import Config

Levels = tuple[float | None, float | None]
"""Where a signal earns a warning, and where it is a fault; null for never."""


class GuardLevels(Config):
    """From which value on a signal is worth a warning, and from which it is a fault.

    A signal is judged only where the trainer reports it. Those that are ratios compare a value with its running median
    over the last healthy looks, so they need no knowledge of the task.
    """

    q_share: Levels = (0.8, 1.2)
    """Largest |Q| as a share of the return that can be reached; see `GuardConfig.q_limit`."""
    q_gap: Levels = (1.0, 2.0)
    """How far the Q of finished episodes' first states lies above the return that followed, in standard deviations of
    those returns."""
    gradient_ratio: Levels = (5.0, 20.0)
    """Gradient norm of the critics."""
    loss_ratio: Levels = (5.0, 20.0)
    """Loss of the critics."""
    fresh_td_ratio: Levels = (2.0, 4.0)
    """Root mean square of the TD error on the newest transitions, most of which no update has seen yet."""
    fresh_td_shift: Levels = (1.5, 3.0)
    """How far the median of that error has moved, in its usual interquartile ranges: says that the environment pays
    otherwise than the critics have learned."""
    reward_ratio: Levels = (2.0, 5.0)
    """90 % quantile of |reward|, against the largest so far."""
    explained_variance: Levels = (0.2, 0.0)
    """Share of the targets' variance that the value function explains; the lower, the worse."""
    disagreement_ratio: Levels = (2.0, 5.0)
    """Spread between the critics, relative to |Q|."""
    policy_step_ratio: Levels = (10.0, 100.0)
    """KL divergence of the policy from the one of the look before."""
    saturation: Levels = (0.2, None)
    """Share of the head's outputs within 1 % of their bounds."""
    saturation_rise: Levels = (0.2, 0.5)
    """How far that share has risen above its running median."""
    action_std: Levels = (0.05, 0.02)
    """Standard deviation of the widest action before squashing; the lower, the worse."""
    kl_to_initial: Levels = (None, None)
    """KL divergence from the initial policy in nat; (0.05, 0.2) suits a learner that is held near its start by a
    penalty, none a learner that is meant to move."""
    log_mean_ratio: Levels = (-0.02, -0.1)
    """Logarithm of the mean probability ratio after an update of an on-policy learner; the lower, the worse."""
    degenerate_groups: Levels = (0.5, 0.9)
    """Share of groups whose returns don't differ, so that there is nothing to learn from them."""
    intervention_ratio: Levels = (1.25, 2.0)
    """Share of steps in which the safety layer stepped in; below one step in twenty it isn't judged."""
    score_wealth: Levels = (5.0, 20.0)
    """Evidence that episodes score worse than they used to, as the wealth of one who bets on it."""


class GuardConfig(Config):
    """When the guard steps in, and what it does."""

    check_every_updates: int = Field(50, ge=1)
    """Updates of an off-policy learner between two looks; an on-policy one is looked at after each window. Only weights
    that passed a look drive."""
    burn_in_looks: int = Field(40, ge=2)
    """Healthy looks from which the usual value of a signal is known."""
    memory_looks: int = Field(100, ge=2)
    """Newest healthy looks that the usual value is taken from."""
    good_every_looks: int = Field(10, ge=1)
    """Looks between two states that are kept to return to."""
    good_states: int = Field(6, ge=2)
    """How many of them are kept: a fault is noticed late, so the newest may be spoilt already. No more is ever taken
    back than what they span."""
    onset_margin_looks: int = Field(4, ge=0)
    """Looks before the first sign of a fault that count as spoilt too."""
    q_limit: float | None = Field(None, gt=0)
    """Largest |Q| that can be reached; the larger of the learner's value bounds if null, none without bounds."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """Factor on every step size after a rollback."""
    rest_looks: int = Field(4, ge=0)
    """Healthy looks at incoming data that must follow a rollback before learning goes on."""
    longest_rest_looks: int = Field(40, ge=1)
    """Looks in one rest after which the fault counts as come back."""
    rollbacks_before_freeze: int = Field(2, ge=1)
    """Rollbacks in a row, with no good state kept between, after which learning freezes."""
    levels: GuardLevels = GuardLevels()
    """Thresholds of the detectors."""
