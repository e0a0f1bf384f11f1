"""The explorer: its figures are those of replays, near the truth where chance sent requests everywhere."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from ledgers import kept
from runs import LARGE_USD, SMALL_USD, Question, logged, plan_from, questions, truth

from langroute.cascade import Attempt, Verdict
from langroute.errors import LangrouteError
from langroute.tuning.exploring import ThresholdExplorer
from langroute.tuning.recorded import logged_of
from langroute.tuning.replay import Logged, rejudged
from langroute.tuning.sampling import Sample
from langroute.tuning.whatif import what_if

ROWS = 900
MINIMUM = 0.6


def runs(seed=3, rows=ROWS, *, start="small", minimum=MINIMUM, explore=0.0):
    rng = np.random.default_rng(seed)
    asked = questions(rows, rng)
    return asked, logged(asked, lambda _: start, minimum, explore, rng)


def explored(log, asked=None, **more):
    explorer = ThresholdExplorer(asked)
    for number, each in enumerate(log):
        explorer.add(*kept(each, number, **more))
    return explorer.data()


def outlooks(step):
    return {way.name: way.at(step.start_at, step.accept_at) for way in step.ways}


def test_the_policy_that_ran_is_measured_and_nothing_of_it_is_estimated():
    _, log = runs()
    (step,) = explored(log, {"work": {"confidence": MINIMUM}}).steps
    cascade = outlooks(step)["cascade"]
    assert (step.first, step.top, step.score, step.requests) == ("small", "large", "confidence", ROWS)
    assert (cascade.estimated, cascade.estimated_quality) == (0.0, 0.0)
    for figure in ("cost_usd", "quality", "latency_s", "escalated"):
        assert getattr(cascade, figure) == pytest.approx(getattr(step.ran, figure)), figure


@pytest.mark.parametrize("minimum", [0.2, 0.5, 0.7, 0.9])
def test_a_cascade_comes_to_what_what_if_says(minimum):
    _, log = runs(explore=0.1)
    (step,) = explored(log, {"work": {"confidence": minimum}}).steps
    same = [logged_of(kept(each)[0]) for each in log]
    found = what_if(same, lambda _: plan_from("small"), rejudged({"confidence": minimum}, ()))
    cascade = outlooks(step)["cascade"]
    assert cascade.cost_usd == pytest.approx(found.cost_usd.value, rel=1e-5)
    assert cascade.quality == pytest.approx(found.quality.value, rel=1e-5)


@pytest.mark.parametrize(("difficulty", "minimum"), [(0.3, 0.5), (0.5, 0.75), (0.8, 0.6), (0.1, 0.9)])
def test_where_chance_sent_requests_everywhere_the_truth_is_near(difficulty, minimum):
    asked, log = runs(seed=8, explore=0.3, minimum=0.0)
    (step,) = explored(log, {"work": {"difficulty": difficulty, "confidence": minimum}}).steps

    def start(question: Question) -> str:
        return "large" if question.difficulty >= difficulty else "small"

    quality, cost_usd = truth(asked, start, minimum)
    hybrid = outlooks(step)["hybrid"]
    assert hybrid.cost_usd == pytest.approx(cost_usd, rel=0.1)
    assert hybrid.quality_low <= quality <= hybrid.quality_high
    routed, routed_usd = truth(asked, start, 0.0)
    assert outlooks(step)["routing"].cost_usd == pytest.approx(routed_usd, rel=0.1)
    assert outlooks(step)["routing"].quality_low <= routed <= outlooks(step)["routing"].quality_high


def test_intervals_of_what_was_explored_hold_about_as_often_as_they_say():
    """Over redraws and thresholds: all start at the large tier, and a tenth by chance at the small one."""
    many = questions(20_000, np.random.default_rng(99))
    hard, score, small, large = (
        np.array([getattr(question, name) for question in many])
        for name in ("difficulty", "score", "small", "large")
    )
    held: dict[str, list[bool]] = {}
    for seed in range(16):
        _, log = runs(seed, 600, start="large", minimum=0.0, explore=0.1)
        (step,) = explored(log).steps
        for way in step.ways:
            for start, accept in product(range(1, len(step.starts), 5), range(1, len(step.accepts), 5)):
                top = (hard >= step.starts[start]) & (way.name != "cascade")
                goes_on = top | ((score < step.accepts[accept]) & (way.name != "routing"))
                truth = np.where(goes_on, large, small).mean()
                found = way.at(start, accept)
                held.setdefault(way.name, []).append(found.quality_low <= truth <= found.quality_high)
    often = {name: np.mean(each) for name, each in held.items()}
    assert min(often.values()) > 0.87, often


def test_a_threshold_has_the_same_figures_whether_it_was_asked_for_or_lies_on_the_grid():
    _, log = runs()
    (step,) = explored(log).steps
    for start, accept in ((0, 0), (5, 3), (len(step.starts) - 1, len(step.accepts) - 1)):
        place = {"difficulty": step.starts[start], "confidence": step.accepts[accept]}
        (again,) = explored(log, {"work": place}).steps
        assert outlooks(again) == {way.name: way.at(start, accept) for way in step.ways}


def test_the_ends_of_the_sliders_are_one_tier_everywhere():
    _, log = runs()
    (step,) = explored(log).steps
    routing, _, hybrid = step.ways
    assert routing.at(0, 0) == step.everywhere
    assert (routing.at(0, 0).top_first, routing.at(0, 0).cost_usd) == (1.0, pytest.approx(LARGE_USD))
    assert (routing.at(99, 0).top_first, routing.at(99, 0).cost_usd) == (0.0, pytest.approx(SMALL_USD))
    assert hybrid.at(0, 0).escalated == 0.0
    assert list(step.starts) == sorted(step.starts)
    assert list(step.accepts) == sorted(step.accepts)


def test_a_tier_that_was_not_tried_costs_what_its_price_says_and_has_no_quality():
    accepted = Attempt(
        "small", "small", "start", "accepted", (Verdict("confidence", accepted=True, reason="", score=0.9),)
    )
    log = [
        Logged(plan_from("small"), (dataclasses.replace(accepted, cost_usd=0.002),), (1.0,), at / 100)
        for at in range(100)
    ]
    (step,) = explored(log, baselines={"small": 0.001, "large": 0.03}).steps
    assert step.everywhere.cost_usd == pytest.approx(0.03)
    assert (step.everywhere.quality, step.everywhere.latency_s) == (None, None)
    assert step.everywhere.estimated == step.everywhere.estimated_quality == 1.0
    (unpriced,) = explored(log, baselines=None).steps
    assert unpriced.everywhere.cost_usd is None
    assert unpriced.ran.cost_usd == pytest.approx(0.002)


def test_an_interval_is_as_wide_as_the_ratings_are_few():
    _, log = runs(rows=600)
    rated = {"few": log[:40], "many": log}
    widths = {}
    for name, part in rated.items():
        (step,) = explored(part, {"work": {"confidence": MINIMUM}}).steps
        widths[name] = step.ran.quality_high - step.ran.quality_low
        found = outlooks(step)["cascade"]
        assert found.quality_high - found.quality_low == pytest.approx(widths[name], abs=0.03)
    assert widths["few"] > 2 * widths["many"]


def test_drafts_that_nobody_rated_may_be_worth_nothing():
    asked, log = runs(rows=400)
    (step,) = explored(log, {"work": {"difficulty": 2.0, "confidence": 0.0}}).steps
    unrated = np.mean([question.score < MINIMUM for question in asked])
    for name in ("routing", "cascade"):
        found = outlooks(step)[name]
        assert found.estimated_quality == pytest.approx(unrated, abs=1e-5)
        assert found.quality > truth(asked, lambda _: "small", 0.0)[0] + 0.05
        assert found.quality_low <= truth(asked, lambda _: "small", 0.0)[0] <= found.quality_high


def test_without_feedback_there_are_costs_and_no_quality():
    _, log = runs(rows=60)
    explorer = ThresholdExplorer()
    for number, each in enumerate(log):
        record, label = kept(each, number)
        explorer.add(record, label if number < 19 else None)
    (step,) = explorer.data().steps
    assert step.rated == 19
    assert all(of.quality is of.quality_low is None for of in (*outlooks(step).values(), step.ran))
    assert all(of.cost_usd > 0 for of in outlooks(step).values())


def test_a_step_of_one_tier_is_left_out_and_a_wrong_threshold_is_said():
    _, log = runs(rows=30)
    single = [dataclasses.replace(each, plan=plan_from("large")) for each in log]
    found = explored(single)
    assert found.steps == ()
    assert found.left_out == ("work: it is bound to large alone, so that no threshold moves anything.",)
    for asked, said in (
        ({"work": {"colour": 0.5}}, "work has no score 'colour': thresholds can be set on difficulty and"),
        ({"play": {"difficulty": 0.5}}, "no threshold of 'play' can be tried: there is no such step"),
    ):
        with pytest.raises(LangrouteError, match=said):
            explored(log, asked)
    with pytest.raises(LangrouteError, match="bound to large alone"):
        explored(single, {"work": {"difficulty": 0.5}})


def test_memory_does_not_grow_with_the_ledger():
    sample = Sample(100)
    made = [sample.offer(lambda number=number: number) for number in range(20_000)]
    assert len(made) == 20_000
    assert len(sample.kept) == 100
    assert 7_000 < np.mean(sample.kept) < 13_000
    again = Sample(100)
    for number in range(20_000):
        again.offer(lambda number=number: number)
    assert again.kept == sample.kept


def test_a_record_that_holds_no_plan_is_passed_over():
    _, log = runs(rows=40)
    explorer = ThresholdExplorer()
    for number, each in enumerate(log):
        record, label = kept(each, number)
        for plan in (
            None,
            {},
            {"rungs": []},
            {"rungs": [{"tier": "x"}]},
            {**record.plan, "propensity": "no"},
        ):
            explorer.add(dataclasses.replace(record, plan=plan), label)
        explorer.add(dataclasses.replace(record, attempts=()), None)
        explorer.add(record, label)
    (step,) = explorer.data().steps
    assert step.requests == 40
    with pytest.raises(ValueError, match="Plan"):
        logged_of(dataclasses.replace(kept(log[0])[0], plan=None))
