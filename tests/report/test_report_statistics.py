"""Intervals, quantiles, agreement and drift, against published values and exact computation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langroute.report.drift import holm
from langroute.report.statistics import LEAST_SLICES, Quantiles, coarsened, psi, shift, wilson

# Intervals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # Brown, Cai and DasGupta 2001: z^2 / (n + z^2)
        (10, 10, 0.7225, 1.0),
        (8, 10, 0.4902, 0.9433),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_that_are_published(count, of, low, high):
    found = wilson(count, of)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.rate == count / of


def test_nothing_counted_has_no_rate():
    assert wilson(0, 0).rate is None


@given(st.integers(1, 10**6).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_a_rate_lies_in_its_interval_and_that_in_0_to_1(case):
    found = wilson(*case)
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low < found.high


def test_intervals_cover_what_they_should():
    dice, inside = random.Random(1), 0  # noqa: S311 - no secret
    for _ in range(2_000):
        found = wilson(sum(dice.random() < 0.07 for _ in range(60)), 60)
        inside += found.low <= 0.07 <= found.high
    assert 0.93 <= inside / 2_000 <= 0.98


# Quantiles -----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_quantiles_are_within_one_percent_of_the_exact_ones(values, share):
    counted = Quantiles()
    for value in values:
        counted.add(value)
    exact = sorted(values)[math.floor(share * (len(values) - 1))]
    assert counted.quantile(share) == pytest.approx(exact, rel=0.0101)
    assert counted.mean == pytest.approx(sum(values) / len(values))


def test_quantiles_take_what_is_no_duration():
    counted = Quantiles()
    for value in (0.0, -1.0, math.nan, math.inf, 1e300, 5e-324):
        counted.add(value)
    assert counted.count == 4
    assert counted.quantile(0.5) == 0
    assert counted.quantile(1.0) == pytest.approx(1e9, rel=0.01)
    assert Quantiles().quantile(0.5) is None


def test_quantiles_need_no_more_room_for_more_values():
    counted, dice = Quantiles(), random.Random(2)  # noqa: S311 - no secret
    for _ in range(20_000):
        counted.add(10 ** dice.uniform(-8, 11))
    assert len(counted.bins) <= 1_728


# Drift ---------------------------------------------------------------------------------------------------


def test_psi_is_the_sum_it_is_said_to_be():
    # Shares 0.5, 0.3, 0.2 against 0.4, 0.3, 0.3, with so many cases that half a case is nothing.
    exact = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.3 - 0.2) * math.log(0.3 / 0.2)
    assert psi([5e9, 3e9, 2e9], [4e9, 3e9, 3e9]) == pytest.approx(exact, rel=1e-6)
    assert psi([7, 3], [70, 30]) < 0.01


def test_psi_of_a_bin_that_one_side_lacks_is_large_and_finite():
    assert 1 < psi([100, 0], [50, 50]) < 10


def slices(dice, count, each, shares):
    """Histograms of `each` draws; `shares` says for a slice how likely each bin is."""
    made = []
    for number in range(count):
        weights = shares(number)
        drawn = dice.choices(range(len(weights)), weights, k=each)
        made.append([drawn.count(i) for i in range(len(weights))])
    return made


def test_a_clear_shift_is_no_chance():
    dice = random.Random(3)  # noqa: S311 - no secret
    moved = shift(slices(dice, 40, 50, lambda i: (5, 3, 2) if i < 30 else (2, 3, 5)), 30)
    assert moved.psi > 0.25
    assert moved.p_value == 0.001
    assert (moved.reference, moved.recent) == (1_500, 500)


@pytest.mark.parametrize("clustered", [False, True])
def test_where_nothing_moves_the_test_is_right_as_often_as_it_says(clustered):
    """Clustered: every slice has shares of its own, which a test of single decisions would call drift."""
    dice, called = random.Random(4), 0  # noqa: S311 - no secret
    for _ in range(40):
        shares = (
            (lambda _: [dice.gammavariate(2, 1) for _ in range(3)]) if clustered else (lambda _: (1, 1, 1))
        )
        called += shift(slices(dice, 32, 30, shares), 24).p_value <= 0.05
    assert called <= 6  # of 40, 2 are expected; more than 6 would be one chance in 300


def test_few_slices_say_nothing():
    few = [[3, 4]] * (LEAST_SLICES - 1)
    assert shift([[3, 4]] * 30 + few, 30).p_value is None
    assert shift([[3, 4]] * 30 + few + [[0, 0]] * 20, 30).p_value is None
    assert shift([[0, 0]] * 30 + [[1, 1]] * 10, 30).psi is None


def test_a_test_says_the_same_every_time():
    data = slices(random.Random(5), 30, 20, lambda i: (5, 5) if i < 20 else (4, 6))  # noqa: S311 - no secret
    assert shift(data, 20) == shift(data, 20)


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=12, max_size=12), min_size=1, max_size=5),
    st.integers(2, 6),
)
def test_merging_bins_loses_no_case(histograms, bins):
    merged, starts = coarsened(histograms, bins)
    assert [sum(h) for h in merged] == [sum(h) for h in histograms]
    assert starts[0] == 0
    assert len(starts) == len(merged[0]) <= bins
    assert starts == sorted(set(starts))


def test_merged_bins_hold_about_as_much_each():
    merged, _ = coarsened([[10] * 50], 10)
    assert merged == [[50] * 10]


def test_several_tests_are_allowed_for():
    # The example of Holm's procedure as step-down: 0.01 x 4, 0.013 x 3, 0.014 x 2, 0.19.
    assert holm([0.01, 0.19, None, 0.014, 0.013]) == pytest.approx([0.04, 0.19, None, 0.04, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
