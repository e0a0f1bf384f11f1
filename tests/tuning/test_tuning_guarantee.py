"""The p-values are what they say: exact where that is known, and wrong no more often than stated."""

import numpy as np
import pytest
from scipy import stats

from langroute.tuning.guarantee import METHODS, conformal, dirichlet, fixed_sequence, mean_bound

NULLS = {  # values, and chances with which their mean is exactly 0
    "rare losses": ([-0.98, 0.02], [0.02, 0.98]),
    "paired at 98 %": ([-0.98, 0.0, 0.02, 1.0], [0.0264 / 0.98, 0.17 - 0.0264 / 0.98, 0.82, 0.01]),
    "paired at 80 %": ([-0.8, 0.0, 0.2, 1.0], [0.18, 0.22, 0.57, 0.03]),
    "rare gains": ([-0.05, 0.95], [0.95, 0.05]),
    "even": ([-1.0, 1.0], [0.5, 0.5]),
}


def one(*groups: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    values, counts = zip(*groups, strict=True)
    return np.array([values]), np.array([counts], dtype=float)


@pytest.mark.parametrize(
    ("rows", "right", "floor"),
    [(1000, 985, 0.98), (50, 50, 0.9), (200, 190, 0.9), (20, 20, 0.95), (30, 27, 0.8), (5000, 4790, 0.95)],
)
def test_for_right_and_wrong_the_p_value_is_that_of_clopper_and_pearson(
    rows: int, right: int, floor: float
) -> None:
    p = dirichlet(*one((1 - floor, right), (-floor, rows - right)), -floor)[0]
    assert p == pytest.approx(stats.binom.sf(right - 1, rows, floor), rel=0.02)


def test_the_saddlepoint_is_the_probability_it_stands_for() -> None:
    values, counts = one((-0.98, 20), (0.0, 150), (0.02, 820), (1.0, 10))
    rng = np.random.default_rng(5)
    gammas = rng.gamma(np.append(counts, 1.0), size=(400_000, 5))
    drawn = (gammas @ np.append(values, -0.98) <= 0).mean()
    assert dirichlet(values, counts, -0.98)[0] == pytest.approx(drawn, abs=0.003)


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("rows", [30, 300, 2000])
@pytest.mark.parametrize("method", METHODS)
def test_a_floor_that_is_just_broken_is_passed_no_more_often_than_stated(
    method: str, rows: int, null: str
) -> None:
    values, chances = NULLS[null]
    assert np.dot(values, chances) == pytest.approx(0, abs=1e-9)
    rng = np.random.default_rng(7)
    redraws = 4000
    counts = rng.multinomial(rows, chances, size=redraws).astype(float)
    p = METHODS[method](np.tile(values, (redraws, 1)), counts, min(values))
    for level in (0.2, 0.1, 0.05):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / redraws)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_far_above_the_floor_is_shown(method: str) -> None:
    assert METHODS[method](*one((0.2, 970), (-0.8, 30)), -0.8)[0] < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_add_nothing_show_nothing(method: str) -> None:
    assert METHODS[method](*one((0.0, 1000)), -0.9)[0] >= 0.5


def test_the_first_that_fails_ends_the_sequence() -> None:
    assert fixed_sequence(np.array([0.01, 0.1, 0.2, 0.01]), 0.1) == 2
    assert fixed_sequence(np.array([0.01, 0.02]), 0.1) == 2
    assert fixed_sequence(np.array([0.3]), 0.1) == 0


def test_conformal_risk_control_keeps_the_mean_risk() -> None:
    limit, rows, risks = 0.1, 100, np.linspace(0, 0.5, 51)
    rng = np.random.default_rng(3)
    reached = []
    for _ in range(2000):  # the risk of the threshold chosen is the next loss to be expected
        losses = (rng.random((rows, 1)) < risks).mean(axis=0)
        reached.append(risks[conformal(losses, rows, 1.0, limit) - 1])
    assert np.mean(reached) <= limit
    assert np.mean(reached) >= limit / 2


def test_losses_that_fall_again_are_no_way_past_a_high_one() -> None:
    assert conformal(np.array([0.0, 0.5, 0.0]), 1000, 1.0, 0.1) == 1


@pytest.mark.parametrize("rows", [20, 200])
def test_the_bound_of_a_mean_holds_as_often_as_stated(rows: int) -> None:
    rng = np.random.default_rng(11)
    weights = np.where(rng.random((100, rows)) < 0.1, 10.0, 0.0) * (rng.random((100, rows)) < 0.8)
    below = [mean_bound(drawn, 0.0, 0.1) <= 0.8 for drawn in weights]
    assert np.mean(below) >= 0.9 - 2 * np.sqrt(0.09 / 100)


def test_the_bound_of_many_rows_is_rounded_outwards_and_close() -> None:
    values = np.random.default_rng(1).random(20_000)
    exact = values.mean() - 1.2816 * values.std() / np.sqrt(len(values))
    assert mean_bound(values, 0.0, 0.1) == pytest.approx(exact, abs=0.001)
    assert mean_bound(values, 0.0, 0.1) < values.mean()
