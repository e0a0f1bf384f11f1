"""Estimates from a log have no bias, and their intervals hold the truth as often as they say."""

import numpy as np
import pytest

from langroute.tuning.offpolicy import doubly_robust, inverse_propensity, measured

EXPLORE = 0.05


def drawn(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A log that starts small but for 5 %, judged for a policy that starts large where it is hard."""
    hard = rng.random(rows)
    explored = rng.random(rows) < EXPLORE
    wants_large = hard > 0.7
    agrees = wants_large == explored
    right = rng.random(rows) < np.where(explored, 0.9, 1 - 0.9 * hard)
    expected = np.where(wants_large, 0.85, 1 - 0.8 * hard)  # a model that is wrong
    propensity = np.where(explored, EXPLORE, 1 - EXPLORE)
    return {
        "values": right.astype(float),
        "propensity": propensity,
        "agrees": agrees.astype(float),
        "expected": expected,
    }


TRUTH = 0.3 * 0.9 + 0.7 - 0.9 * 0.7**2 / 2


def test_inverse_propensity_has_no_bias_and_its_interval_holds() -> None:
    found = []
    for seed in range(80):
        log = drawn(1500, np.random.default_rng(seed))
        found.append(inverse_propensity(log["values"], log["propensity"], log["agrees"], highest=1.0))
    error = np.std([each.value for each in found]) / np.sqrt(len(found))
    assert np.mean([each.value for each in found]) == pytest.approx(TRUTH, abs=3 * error)
    assert np.mean([each.low <= TRUTH <= each.high for each in found]) >= 0.9 - 0.03


def test_doubly_robust_has_no_bias_with_a_wrong_model_and_is_narrower() -> None:
    robust, plain = [], []
    for seed in range(80):
        log = drawn(1500, np.random.default_rng(seed))
        robust.append(doubly_robust(**log, highest=1.0))
        plain.append(inverse_propensity(log["values"], log["propensity"], log["agrees"], highest=1.0))
    error = np.std([each.value for each in robust]) / np.sqrt(len(robust))
    assert np.mean([each.value for each in robust]) == pytest.approx(TRUTH, abs=3 * error)
    assert np.mean([each.low <= TRUTH <= each.high for each in robust]) >= 0.9 - 0.03
    wide = [np.mean([each.high - each.low for each in kind]) for kind in (robust, plain)]
    assert wide[0] < 0.8 * wide[1]


def test_without_the_propensities_the_mean_would_be_biased() -> None:
    log = drawn(100_000, np.random.default_rng(1))
    naive = log["values"][log["agrees"] > 0].mean()
    assert abs(naive - TRUTH) > 0.02
    robust = doubly_robust(**log, highest=1.0)
    assert abs(robust.value - TRUTH) < 0.02
    assert robust.effective_rows < 50_000


def test_what_is_known_of_every_request_is_measured() -> None:
    found = measured(np.array([0.0, 1.0] * 500), confidence=0.95)
    assert (found.value, found.method) == (0.5, "measured")
    assert found.low == pytest.approx(0.5 - 0.031, abs=0.002)
    assert found.high == pytest.approx(0.5 + 0.031, abs=0.002)


def test_a_log_that_never_agrees_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"explore: 0\.02"):
        inverse_propensity(np.ones(3), np.ones(3), np.zeros(3))


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.5, float("nan")])
def test_a_chance_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="propensity"):
        inverse_propensity(np.ones(2), np.array([0.5, wrong]), np.ones(2))
