"""From terms to rewards."""

from __future__ import annotations

import numpy as np
import pytest

from carla_online.config import validate
from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.envs.reward import DEFAULT_WEIGHTS, Reward, RewardConfig
from carla_online.errors import ConfigError

TERMS = np.random.default_rng(0).normal(size=(37, len(REWARD_TERM_NAMES))).astype(np.float32)


def test_weights_follow_the_order_of_the_terms() -> None:
    assert set(DEFAULT_WEIGHTS) <= set(REWARD_TERM_NAMES)
    config = RewardConfig(weights={"collision": -3.0, "comfort": 0.25})
    terms = np.zeros((2, len(REWARD_TERM_NAMES)), np.float32)
    terms[0, REWARD_TERM_NAMES.index("collision")] = 1.0
    terms[1, REWARD_TERM_NAMES.index("comfort")] = 2.0
    terms[1, REWARD_TERM_NAMES.index("progress")] = 1.0
    np.testing.assert_allclose(Reward(config)(terms), [-3.0, 0.5 + DEFAULT_WEIGHTS["progress"]], rtol=1e-6)


def test_a_row_doesnt_depend_on_its_neighbours() -> None:
    together = Reward()(TERMS)
    alone = np.concatenate([Reward()(TERMS[row : row + 1]) for row in range(len(TERMS))])
    assert together.dtype == np.float32
    assert together.tobytes() == alone.tobytes()


def test_an_unknown_term_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"colision.*progress, collision"):
        validate(RewardConfig, {"weights": {"colision": -1.0}}, source="reward")
    with pytest.raises(ValueError, match="finite"):
        RewardConfig(weights={"progress": float("nan")})


def terms_of(**values: float) -> np.ndarray:
    """One row of terms: everything fine, nothing driven, but for `values`."""
    row = {name: 1.0 if name.endswith("_factor") else 0.0 for name in REWARD_TERM_NAMES} | values
    return np.array([[row[name] for name in REWARD_TERM_NAMES]], np.float32)


class TestPresets:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"completion": 0.2}, 0.2),
            ({"completion": 0.2, "ttc_factor": 0.5, "comfort_factor": 0.75}, 0.075),
            ({"completion": 0.2, "route_factor": 0.0}, 0.0),
            ({"completion": 0.2, "collision": 1.0}, -0.8),
            ({"completion": 0.0, "red_light": 1.0}, -1.0),
            ({"completion": 0.2, "lane_invasion": 3.0, "overspeed": 1.0}, 0.2),
        ],
    )
    def test_carl_is_progress_times_factors_less_penalties(self, values: dict, expected: float) -> None:
        assert Reward("carl")(terms_of(**values))[0] == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({}, 1.0),
            ({"speed_error": 0.5}, 0.5),
            ({"lateral_offset": 0.4, "heading_error": 0.1}, 0.7),
            ({"steer_change": 0.009}, 1.0),
            ({"steer_change": 0.02}, 0.9),
            ({"speed_error": 1.0, "collision": 1.0}, -1.0),
        ],
    )
    def test_roach_is_speed_position_and_rotation(self, values: dict, expected: float) -> None:
        assert Reward("roach")(terms_of(**values))[0] == pytest.approx(expected, abs=1e-6)

    def test_weights_lie_over_a_preset(self) -> None:
        config = RewardConfig(preset="carl", weights={"collision": -5.0, "comfort": -0.5})
        assert Reward(config)(terms_of(completion=0.5, collision=1.0, comfort=1.0))[0] == pytest.approx(-5.0)

    def test_an_unknown_preset_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="preset"):
            Reward("fast")


class TestOwnFunction:
    def test_replaces_the_weights(self) -> None:
        np.testing.assert_array_equal(Reward(lambda terms: terms[:, 0] * 2)(TERMS), TERMS[:, 0] * 2)

    def test_cant_spoil_the_terms(self) -> None:
        def spoil(terms: np.ndarray) -> np.ndarray:
            terms[:] = 0.0
            return terms[:, 0]

        before = TERMS.copy()
        Reward(spoil)(TERMS)
        np.testing.assert_array_equal(TERMS, before)

    def test_wrong_results_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"shape \(37, 1\).*shape \(37,\)"):
            Reward(lambda terms: terms[:, :1])(TERMS)
        with pytest.raises(ConfigError, match=r"nan for row 4 .*'progress'"):
            Reward(lambda terms: np.where(np.arange(37) < 4, 0.0, np.nan))(TERMS)
        with pytest.raises(ConfigError, match="not int"):
            Reward(3)  # type: ignore[arg-type]
