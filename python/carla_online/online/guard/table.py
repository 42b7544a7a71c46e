"""The table of detectors: which signal, compared how, for how long."""

from __future__ import annotations

from carla_online.online.guard.config import GuardConfig, Levels
from carla_online.online.guard.detectors import Detector, Finite, Jump, LevelDetector, Peak, Rise, Settled, Shift
from carla_online.online.guard.score import Score


def make_detectors(config: GuardConfig, *, q_limit: float | None) -> tuple[Detector, ...]:
    """Returns fresh detectors.

    A signal that an update can spoil at a stroke is judged at once; one that is noisy must last for some looks.

    Args:
        config: Thresholds.
        q_limit: Largest |Q| that can be reached, or None.
    """
    levels = config.levels
    known = {"burn_in": config.burn_in_looks, "memory": config.memory_looks}
    return (
        Finite(),
        LevelDetector(
            "q_max",
            _times_limit(levels.q_share, q_limit),
            text="|Q| reached {value}; the reachable return allows {level}",
        ),
        # A critic that has just begun lags behind the returns; only one that once agreed with them can lose them.
        Settled(
            "q_gap",
            levels.q_gap,
            settled=1.0,
            patience=3,
            text="Q is {value} deviations above the realised return ({level})",
            **known,
        ),
        Jump("q_grad_norm", levels.gradient_ratio, patience=3, text=_times("the critics' gradient"), **known),
        Jump("q_loss", levels.loss_ratio, patience=3, text=_times("the critics' loss"), **known),
        Jump("value_loss", levels.loss_ratio, patience=3, text=_times("the value function's loss"), **known),
        Jump("fresh_td_rms", levels.fresh_td_ratio, patience=2, text=_times("TD error on new transitions"), **known),
        Shift(
            "fresh_td_median",
            levels.fresh_td_shift,
            unit="fresh_td_spread",
            patience=2,
            text="the median TD error on new transitions moved by {value} of its spreads ({level})",
            **known,
        ),
        Peak("reward_scale", levels.reward_ratio, text="rewards are {value} times the largest ({level})", **known),
        Settled(
            "explained_variance",
            levels.explained_variance,
            settled=0.5,
            patience=2,
            text="the value function explains {value} of its targets' variance ({level})",
            **known,
        ),
        Jump("disagreement", levels.disagreement_ratio, patience=3, text=_times("the critics' disagreement"), **known),
        Jump("kl_to_previous", levels.policy_step_ratio, text=_times("the policy's step (KL)"), **known),
        LevelDetector("saturation", levels.saturation, text="{value} of the head's outputs are at a bound ({level})"),
        Rise(
            "saturation",
            levels.saturation_rise,
            patience=2,
            text="{value} more of the head's outputs than usual are at a bound ({level})",
            **known,
        ),
        LevelDetector(
            "action_std",
            levels.action_std,
            patience=3,
            text="the widest action's deviation is {value} ({level})",
        ),
        LevelDetector("kl_to_initial", levels.kl_to_initial, text="KL to the initial policy is {value} ({level})"),
        LevelDetector(
            "log_mean_ratio", levels.log_mean_ratio, text="the log of the mean probability ratio is {value} ({level})"
        ),
        LevelDetector(
            "degenerate_groups",
            levels.degenerate_groups,
            patience=3,
            text="{value} of groups are degenerate ({level})",
        ),
        Jump(
            "safety_interventions",
            levels.intervention_ratio,
            patience=5,
            floor=0.05,
            text=_times("the safety layer's share of steps"),
            **known,
        ),
        Score(levels.score_wealth),
    )


def _times_limit(levels: Levels, limit: float | None) -> Levels:
    warn, stop = levels
    return (
        None if warn is None or limit is None else warn * limit,
        None if stop is None or limit is None else stop * limit,
    )


def _times(what: str) -> str:
    return f"{what} is {{value}} times its running median ({{level}})"
