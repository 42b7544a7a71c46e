"""Reward hacking from a run's curves: found where return and driving score part, and only there."""

import json

import numpy as np
import pytest

from carla_online.errors import EvaluationError
from carla_online.promotion.config import GateConfig
from carla_online.promotion.watches import reward_hacking


def write_curves(path, *, scores, returns, with_eval=True):
    """Twenty evaluations, five logged returns between each two."""
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        for number in range(20):
            for part in range(1, 6):
                row = {
                    "step": number * 1_000 + part * 200,
                    "rollout/episode_return": returns(number) + rng.normal(0, 0.3),
                }
                if part == 5 and with_eval:
                    row["eval/timed_driving_score"] = scores(number) + rng.normal(0, 0.3)
                file.write(json.dumps(row) + "\n")
    return path


CONFIG = GateConfig()


def rises_late(number):
    return float(max(0, number - 9))


@pytest.mark.parametrize(
    ("scores", "returns", "is_found"),
    [
        (lambda number: 70.0 - rises_late(number), rises_late, True),
        (lambda number: 70.0 + rises_late(number), rises_late, False),
        (lambda number: 70.0 - rises_late(number), lambda number: -rises_late(number), False),
        (lambda number: 70.0, rises_late, False),
        # Fell long ago, while the reward was found out; both rise since.
        (lambda number: 70.0 - min(number, 9) + 2 * rises_late(number), float, False),
    ],
)
def test_it_is_found_where_the_return_rises_and_the_score_falls(tmp_path, scores, returns, is_found):
    metrics = write_curves(tmp_path / "metrics.jsonl", scores=scores, returns=returns)
    finding = reward_hacking(metrics, CONFIG)
    assert finding.is_found is is_found, finding.text


def test_what_came_after_the_candidate_isnt_held_against_it(tmp_path):
    metrics = write_curves(
        tmp_path / "metrics.jsonl", scores=lambda number: 70.0 - rises_late(number), returns=rises_late
    )
    assert reward_hacking(metrics, CONFIG).is_found
    assert not reward_hacking(metrics, CONFIG, last_step=10_000).is_found


def test_without_enough_scores_it_says_so(tmp_path):
    nothing = reward_hacking(None, CONFIG)
    metrics = write_curves(tmp_path / "metrics.jsonl", scores=float, returns=float, with_eval=False)
    for finding in (nothing, reward_hacking(metrics, CONFIG)):
        assert not finding.is_found
        assert "not looked for" in finding.text
    with pytest.raises(EvaluationError, match="Check the path"):
        reward_hacking(tmp_path / "nowhere.jsonl", CONFIG)
