"""Labels: drawn ones stand for all replies; agreement with people, its kappa, and their intervals."""

import dataclasses
import random

import pytest
from made_ledger import feedback
from sklearn.metrics import cohen_kappa_score

from langroute.ledger.labels import Label, labelled
from langroute.report.details import JUDGED_LATER
from langroute.report.figures import Figures
from langroute.report.labels import LEAST_LABELS, Labels
from langroute.report.statistics import Weighed, kappa, wilson


def agreement(cells):
    """Return agreement and kappa of a table: how often both, the first alone, the second alone, neither."""
    counted = Weighed()
    for kind, count in zip([(1, 1), (1, 0), (0, 1), (0, 0)], cells, strict=True):
        for _ in range(count):
            counted.add(kind)
    agreed = counted.rate(lambda kind: kind[0] == kind[1])
    return agreed, kappa(agreed, counted.rate(lambda kind: kind[0]), counted.rate(lambda kind: kind[1]))


@pytest.mark.parametrize("cells", [(20, 5, 10, 15), (10, 0, 0, 10), (61, 2, 5, 4), (1, 9, 9, 1)])
def test_kappa_is_that_of_scikit_learn(cells):
    both, first, second, neither = cells
    said = [[1] * both + [1] * first + [0] * second + [0] * neither, [1] * both + [0] * first]
    said[1] += [1] * second + [0] * neither
    agreed, found = agreement(cells)
    assert found.value == pytest.approx(cohen_kappa_score(*said))
    assert (agreed.count, agreed.of) == (both + neither, sum(cells))
    assert found.low < found.value <= found.high <= 1


def test_no_kappa_where_either_always_says_the_same():
    assert agreement((50, 0, 10, 0))[1] is None
    assert agreement((60, 0, 0, 0))[1] is None


@pytest.mark.parametrize("shares", [(0.85, 0.05, 0.02, 0.08), (0.4, 0.1, 0.1, 0.4), (0.93, 0.01, 0.01, 0.05)])
def test_the_interval_of_kappa_holds_what_it_promises(shares):
    both, first, second, neither = shares
    yes, other = both + first, both + second
    by_chance = yes * other + (1 - yes) * (1 - other)
    true = (both + neither - by_chance) / (1 - by_chance)
    dice, inside, known = random.Random(3), 0, 0  # noqa: S311 - no secret
    for _ in range(600):
        drawn = dice.choices(range(4), shares, k=40)
        found = agreement([drawn.count(cell) for cell in range(4)])[1]
        if found is not None:
            known += 1
            inside += found.low <= true <= found.high
    assert inside / known >= 0.93


# Drawn labels --------------------------------------------------------------------------------------------

STRATA = {"hard": (400, 0.4), "easy": (9_600, 0.03)}
"""Stratum to its decisions, and how many of its replies are wrong."""


def drawn_sample(dice, each=100):
    """Return labels of a sample with as many decisions from either stratum, as `Labels`."""
    found = Labels()
    for size, wrong in STRATA.values():
        for _ in range(each):
            right = dice.random() >= wrong
            found.add(right, Label(float(right), each / size))
    return found


def test_a_drawn_sample_tells_the_rate_of_all_replies_and_its_interval_holds():
    dice, inside, total = random.Random(11), 0, 0.0  # noqa: S311 - no secret
    true = sum(size * wrong for size, wrong in STRATA.values()) / sum(size for size, _ in STRATA.values())
    for _ in range(600):
        found = drawn_sample(dice).rate(lambda right: not right)
        inside += found.low <= true <= found.high
        total += found.rate
    assert total / 600 == pytest.approx(true, rel=0.05)
    assert inside / 600 >= 0.93


def test_the_weighed_rate_is_that_of_horvitz_and_thompson():
    found = Labels()
    for right, propensity, times in ((True, 0.5, 12), (False, 0.5, 4), (True, 0.1, 6), (False, 0.1, 2)):
        for _ in range(times):
            found.add(right, Label(float(right), propensity))
    rate = found.rate(lambda right: not right)
    assert (rate.count, rate.of) == (6, 24)
    assert rate.rate == pytest.approx((4 * 2 + 2 * 10) / (16 * 2 + 8 * 10))
    effective = (16 * 2 + 8 * 10) ** 2 / (16 * 2**2 + 8 * 10**2)
    assert rate.high - rate.low == pytest.approx(_width(rate.rate, effective))


def _width(share, of):
    z = 1.959963984540054
    return 2 * z / (1 + z * z / of) * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5


def test_equal_weights_give_wilsons_interval():
    found = Weighed()
    for number in range(40):
        found.add(number % 4 == 0, 7.5)
    rate, plain = found.rate(bool), wilson(10, 40)
    assert (rate.low, rate.high) == pytest.approx((plain.low, plain.high))


def test_feedback_that_came_by_itself_counts_until_enough_are_drawn():
    found = Labels()
    for _ in range(LEAST_LABELS):
        found.add("wrong", Label(0.0))
    for _ in range(LEAST_LABELS - 1):
        found.add("right", Label(1.0, 0.5))
    assert (found.drawn, found.count) == (False, 2 * LEAST_LABELS - 1)
    found.add("right", Label(1.0, 0.5))
    assert (found.drawn, found.count, found.rate("right".__eq__).rate) == (True, LEAST_LABELS, 1.0)


# In the report -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one(made):
    """An accepted reply of the small tier that a judge accepted."""
    return next(r for r, _ in made if r.tier == "small" and r.outcome == "accepted" and r.step == "synthesis")


def said(record, *given):
    return dataclasses.replace(record, feedback=given)


def report(records):
    figures = Figures()
    for record in records:
        figures.add(record, labelled(record))
    return figures.data()


def test_people_overrule_a_judge_whose_feedback_is_measured_by_theirs(one):
    judge = feedback("j", 1.0, decision=one.id, source="judge")
    wrong = feedback("p", 0.0, decision=one.id, source="person")
    assert labelled(said(one, judge, wrong)) == Label(0.0)
    assert labelled(said(one, judge)) == Label(1.0, of_judge=True)
    rows = {row.verifier: row for row in report([said(one, judge, wrong)] * LEAST_LABELS).verifiers}
    assert rows[JUDGED_LATER].agreement.false_accept.rate == 1
    assert rows["judge"].agreement.agreed.rate == 0


def test_no_verifier_is_measured_by_a_judges_feedback(one):
    judge = feedback("j", 1.0, decision=one.id, source="judge")
    data = report([said(one, judge)] * LEAST_LABELS)
    assert data.totals.misrouted.rate == 0
    assert {row.labels for row in data.verifiers} == {0}


def test_the_cheap_models_mistakes_are_weighed_where_labels_were_drawn(one):
    def drawn(score, propensity):
        return said(one, feedback("d", score, decision=one.id, source="person", propensity=propensity))

    data = report([*[drawn(0.0, 1.0)] * 15, *[drawn(1.0, 0.1)] * 15])
    assert data.totals.misrouted.rate == pytest.approx(15 / 165)
    assert (data.labels, data.drawn_labels) == (30, 30)
    judge = next(row for row in data.verifiers if row.verifier == "judge")
    assert judge.agreement.drawn
    assert judge.agreement.false_accept.rate == pytest.approx(15 / 165)
