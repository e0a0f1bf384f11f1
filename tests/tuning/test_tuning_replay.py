"""A logged run is routed again by `next_move`; what the log cannot tell is estimated, and called so."""

from dataclasses import replace

import numpy as np
import pytest
from runs import LARGE_USD, SMALL_USD, Question, logged, plan_from, questions, run, truth

from langroute import Policy
from langroute.cascade import Accept, Attempt, Plan, Verdict
from langroute.cost import Spend
from langroute.tuning.replay import Logged, plan_under, rejudged, replay
from langroute.tuning.whatif import what_if

EASY = Question(0.1, 0.9, 1.0, 1.0)
HARD = Question(0.9, 0.2, 0.0, 1.0)
POLICY = {
    "tiers": {"small": {"models": ["openai:small"]}, "large": {"models": ["openai:large"]}},
    "steps": {"work": {"cascade": ["small", "large"], "verify": ["not_empty"]}},
}


def one(question: Question, start: str = "small", minimum: float = 0.5) -> Logged:
    attempts, quality = run(question, plan_from(start), minimum)
    return Logged(plan_from(start), attempts, quality, question.difficulty)


@pytest.mark.parametrize("question", [EASY, HARD])
@pytest.mark.parametrize("start", ["small", "large"])
def test_under_its_own_plan_a_run_is_what_it_was(question: Question, start: str) -> None:
    record = one(question, start)
    found = replay(record, record.plan)
    assert found.attempts == record.attempts
    assert found.missing is None
    assert found.quality == record.quality[-1]
    assert found.cost_usd == pytest.approx(sum(attempt.cost_usd or 0 for attempt in record.attempts))


def test_a_reply_that_the_log_has_is_used_wherever_the_other_plan_calls_for_it() -> None:
    found = replay(one(HARD), plan_from("large"))
    assert [(attempt.tier, attempt.why) for attempt in found.attempts] == [("large", "start")]
    assert (found.cost_usd, found.quality, found.missing) == (LARGE_USD, 1.0, None)


def test_a_tier_that_was_never_tried_is_named_with_what_came_before() -> None:
    found = replay(one(EASY), plan_from("small"), rejudged({"confidence": 0.95}, ["confidence"]))
    assert found.missing == "large"
    assert found.cost_usd == SMALL_USD
    assert found.quality is None


def test_a_lower_minimum_accepts_what_was_rejected() -> None:
    found = replay(one(HARD), plan_from("small"), rejudged({"confidence": 0.1}, ["confidence"]))
    assert found.move == Accept(0)
    assert (found.cost_usd, found.quality) == (SMALL_USD, 0.0)


def test_a_check_that_was_never_asked_leaves_it_open_whether_the_reply_passes() -> None:
    judge = rejudged({"confidence": 0.1}, ["confidence", "citations"])
    assert replay(one(HARD), plan_from("small"), judge).missing == "small"


def test_checks_are_paid_for_and_failed_calls_stay_failed() -> None:
    verdict = Verdict("judge", accepted=True, reason="good", spend=(Spend("judge", "large", None, 0.5),))
    down = Attempt("small", "small", "start", "failed", cost_usd=0.0)
    up = Attempt("large", "large", "fallback", "accepted", (verdict,), cost_usd=LARGE_USD)
    record = Logged(plan_from("small"), (down, up), (None, 1.0))
    found = replay(record, record.plan, rejudged({"confidence": 0.9}, ["judge"]))
    assert found.cost_usd == pytest.approx(0.51)
    assert found.quality == 1.0


def test_a_policy_plans_logged_steps_by_its_cascade_difficulty_and_demands() -> None:
    routed = {**POLICY["steps"]["work"], "route": {"difficulty": {"threshold": 0.5}}}
    replan = plan_under(Policy(**{**POLICY, "steps": {"work": routed}}))
    assert [rung.tier for rung in replan(one(EASY)).rungs] == ["small", "large"]
    assert [rung.tier for rung in replan(one(HARD)).rungs] == ["large"]
    assert [rung.tier for rung in replan(replace(one(EASY), least="large")).rungs] == ["large"]
    assert replan(one(EASY)).rungs[0] == plan_from("small").rungs[0]


def replan_from(start: float) -> object:
    return lambda record: plan_from("large" if record.difficulty >= start else "small")


def test_where_the_log_has_every_reply_the_outcome_is_measured() -> None:
    rng = np.random.default_rng(1)
    asked = questions(500, rng)
    log = logged(asked, lambda _: "small", 1.0, 0.0001, rng)
    log = [record for record in log if record.start == "small"]
    found = what_if(log, lambda _: plan_from("small"), rejudged({"confidence": 0.6}, ["confidence"]))
    assert found.basis == "measured"
    assert found.replayed == found.requests == len(log)
    quality, usd = truth(asked, lambda _: "small", 0.6)
    assert found.quality.value == pytest.approx(quality, abs=0.01)
    assert found.cost_usd.value == pytest.approx(usd, rel=0.01)
    assert found.summary.startswith("measured: quality")


def test_estimates_hold_the_truth_as_often_as_they_say() -> None:
    everyone = questions(20_000, np.random.default_rng(99))
    quality, usd = truth(everyone, lambda q: "large" if q.difficulty >= 0.6 else "small", 0.55)
    held, paid, values = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        log = logged(questions(600, rng), lambda _: "small", 0.55, 0.1, rng)
        found = what_if(log, replan_from(0.6))
        assert found.basis == "estimate"
        held.append(found.quality.low <= quality <= found.quality.high)
        paid.append(found.cost_usd.low <= usd <= found.cost_usd.high)
        values.append(found.quality.value)
    assert np.mean(held) >= 0.8  # 0.9 less two standard errors of 40
    assert np.mean(paid) >= 0.8
    assert np.mean(values) == pytest.approx(quality, abs=3 * np.std(values) / np.sqrt(40) + 0.005)


def test_escalations_that_were_never_made_are_filled_in_and_said_to_be() -> None:
    rng = np.random.default_rng(3)
    asked = questions(4000, rng)
    log = logged(asked, lambda _: "small", 0.5, 0.1, rng)
    found = what_if(log, lambda _: plan_from("small"), rejudged({"confidence": 0.8}, ["confidence"]))
    quality, usd = truth(asked, lambda _: "small", 0.8)
    assert found.modelled > 0.1
    assert "from a model" in found.summary
    assert found.quality.value == pytest.approx(quality, abs=0.03)
    assert found.cost_usd.value == pytest.approx(usd, rel=0.1)


def test_what_was_never_tried_is_unknown_and_the_remedy_named() -> None:
    log = [one(EASY) for _ in range(20)]
    found = what_if(log, lambda _: plan_from("large"))
    assert found.quality is None
    assert found.cost_usd is None
    assert found.untried == ("large",)
    assert "explore: 0.02" in found.summary


def repaired() -> Logged:
    """A run whose first reply was rejected, and good once repaired."""
    record, good = one(HARD), one(EASY).attempts[0]
    attempts = (record.attempts[0], replace(good, why="repair"))
    return replace(record, plan=replace(record.plan, repairs=1), attempts=attempts, quality=(0.0, 1.0))


def test_repairs_are_unknown_until_some_were_logged_and_then_are_what_those_came_to() -> None:
    log = [one(question) for question in [EASY, EASY, HARD] * 20]

    def repairing(record: Logged) -> Plan:
        return replace(record.plan, repairs=1)

    found = what_if(log, repairing)
    assert (found.untried, found.cost_usd, found.escalated) == (("small (repair)",), None, None)
    assert "small (repair). Try it on a share of your threads: `canary`" in found.summary
    found = what_if([*log, *(repaired() for _ in range(20))], repairing)
    assert found.untried == ()
    assert found.cost_usd.value == pytest.approx(1.5 * SMALL_USD)  # half of them are repaired


def test_a_check_that_no_reply_is_known_to_pass_makes_the_outcome_unknown() -> None:
    log = [one(question) for question in [EASY, EASY, HARD] * 20]
    judge = rejudged({"confidence": 0.5}, ["confidence", "length"])
    found = what_if(log, lambda record: record.plan, judge)
    assert found.untried == ("large (checks)", "small (checks)")
    assert found.quality is None
    assert found.cost_usd is None


def test_without_a_word_on_quality_the_cost_is_told_all_the_same() -> None:
    log = [replace(one(question), quality=()) for question in [EASY, HARD] * 50]
    found = what_if(log, lambda _: plan_from("small"))
    assert found.quality is None
    assert found.logged_quality is None
    assert found.cost_usd.value == pytest.approx(SMALL_USD + LARGE_USD / 2)


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        what_if([], lambda record: record.plan)


def test_a_plan_that_explored_and_one_that_did_not_replay_alike() -> None:
    record = one(HARD)
    assert replay(record, replace(record.plan, propensity=0.02)).quality == 1.0
    assert isinstance(record.plan, Plan)
