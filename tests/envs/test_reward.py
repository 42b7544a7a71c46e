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
    assert set(DEFAULT_WEIGHTS) == set(REWARD_TERM_NAMES)
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
