"""`next_move`, branch by branch, and what must hold of it for every plan and every run of luck."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langroute.cascade import (
    MAX_CALLS,
    Accept,
    Ask,
    Attempt,
    Call,
    Choice,
    Failure,
    Plan,
    Rung,
    Stop,
    Verdict,
    next_move,
)
from langroute.cost import Spend, Usage
from langroute.decision import Decision, StepAnswer

PLAN = Plan(
    "synthesis",
    (
        Rung("small", (Choice("a", 0.001, 1.0, 8_000), Choice("b", 0.002, 1.0, 32_000))),
        Rung("large", (Choice("c", 0.05, 4.0, 16_000), Choice("d", 0.04, 4.0))),
    ),
)
GOOD = Verdict("citations", accepted=True, reason="all resolve")
BAD = Verdict("citations", accepted=False, reason="[9] is no document")
UNSURE = Verdict("judge", accepted=False, reason="could not be checked", unsure=True)
FORBIDDEN = Verdict("stakes", accepted=False, reason="not by this tier", usable=False)


def rejected(endpoint, tier="small", why="start", verdict=BAD, **kwargs):
    return Attempt(tier, endpoint, why, "rejected", verdicts=(verdict,), **kwargs)


def failed(endpoint, tier="small", why="start", kind="timeout", remedy="next_endpoint", **kwargs):
    return Attempt(tier, endpoint, why, "failed", failure=Failure(kind, remedy, "broken"), **kwargs)


def test_the_first_call_is_the_first_choice_of_the_first_rung():
    assert next_move(PLAN, ()) == Call("small", "a", "start")


def test_an_accepted_reply_ends_the_step():
    accepted = Attempt("small", "b", "fallback", "accepted", verdicts=(GOOD,))

    assert next_move(PLAN, (failed("a"), accepted)) == Accept(1)


def test_a_rejected_reply_escalates_to_the_next_tier_past_the_rest_of_its_own():
    assert next_move(PLAN, (rejected("a"),)) == Call("large", "c", "escalation")


def test_a_failed_call_falls_back_to_the_next_endpoint_of_its_tier():
    assert next_move(PLAN, (failed("a"),)) == Call("small", "b", "fallback")


def test_a_tier_whose_calls_all_failed_falls_back_to_the_next_tier():
    assert next_move(PLAN, (failed("a"), failed("b"))) == Call("large", "c", "fallback")


def test_a_rejected_reply_is_repaired_while_repairs_are_left():
    plan = replace(PLAN, repairs=1)
    once = (rejected("a"),)

    assert next_move(plan, once) == Call("small", "a", "repair")
    assert next_move(plan, (*once, rejected("a", why="repair"))) == Call("large", "c", "escalation")


def test_repairs_are_counted_for_each_tier():
    plan = replace(PLAN, repairs=1)
    attempts = (rejected("a"), rejected("a", why="repair"), rejected("c", "large", "escalation"))

    assert next_move(plan, attempts) == Call("large", "c", "repair")


def test_a_reply_that_could_not_be_checked_is_not_repaired():
    plan = replace(PLAN, repairs=1)

    assert next_move(plan, (rejected("a", verdict=UNSURE),)) == Call("large", "c", "escalation")


def test_a_repair_that_fails_falls_back():
    plan = replace(PLAN, repairs=1)

    assert next_move(plan, (rejected("a"), failed("a", why="repair"))) == Call("small", "b", "fallback")


def test_a_cancelled_call_stops_at_once():
    assert next_move(PLAN, (Attempt("small", "a", "start", "cancelled"),)) == Stop("cancelled")


def test_a_fault_of_the_request_stops_after_one_call():
    assert next_move(PLAN, (failed("a", kind="invalid_request", remedy="stop"),)) == Stop("stopped")


def test_a_request_that_one_endpoint_answered_is_not_at_fault():
    attempts = (rejected("a"), failed("c", "large", "escalation", "invalid_request", "stop"))

    assert next_move(PLAN, attempts) == Call("large", "d", "fallback")


def test_a_reply_that_was_half_shown_is_never_replaced():
    attempts = (rejected("a"), failed("c", "large", "escalation", "cut_stream", "raise"))

    assert next_move(PLAN, attempts) == Stop("stopped")


def test_an_overflow_skips_every_window_known_to_be_no_larger():
    attempts = (failed("a"), failed("b", why="fallback", kind="context_overflow", remedy="larger_context"))

    assert next_move(PLAN, attempts) == Call("large", "d", "fallback")


def test_an_overflow_is_remembered_after_another_failure():
    plan = replace(PLAN, rungs=(*PLAN.rungs, Rung("huge", (Choice("e", context_tokens=32_000),))))
    overflow = failed("b", kind="context_overflow", remedy="larger_context")

    assert next_move(plan, (overflow, failed("d", "large", "fallback"))) == Stop("failed")


def test_an_overflow_of_an_unknown_window_rules_out_nothing():
    plan = replace(PLAN, rungs=(Rung("small", (Choice("x"), Choice("y", context_tokens=4_000))),))
    overflow = failed("x", kind="context_overflow", remedy="larger_context")

    assert next_move(plan, (overflow,)) == Call("small", "y", "fallback")


def test_no_escalation_starts_that_cannot_end_within_the_latency_budget():
    plan = replace(PLAN, latency_budget_s=5.0)

    assert next_move(plan, (rejected("a", latency_s=1.0),)) == Call("large", "c", "escalation")
    assert next_move(plan, (rejected("a", latency_s=1.1),)) == Accept(0, best=True)


def test_time_spent_judging_counts_against_the_latency_budget():
    plan = replace(PLAN, latency_budget_s=5.0)

    assert next_move(plan, (rejected("a", latency_s=1.0, judged_s=0.1),)) == Accept(0, best=True)


def test_the_latency_budget_never_leaves_a_step_without_a_reply():
    plan = replace(PLAN, latency_budget_s=5.0)

    assert next_move(plan, (failed("a", latency_s=60.0),)) == Call("small", "b", "fallback")


def test_a_fallback_of_a_late_escalation_does_not_start():
    plan = replace(PLAN, latency_budget_s=6.0)
    attempts = (rejected("a", latency_s=1.0), failed("c", "large", "escalation", latency_s=5.0))

    assert next_move(plan, attempts) == Accept(0, best=True)


def test_an_expensive_escalation_asks_first():
    plan = replace(PLAN, approve_above_usd=0.03)

    move = next_move(plan, (rejected("a"),))

    assert move == Ask(Call("large", "c", "escalation"), "escalation to c", 0.05)


def test_an_escalation_of_unknown_cost_asks_first():
    plan = Plan("s", (Rung("small", (Choice("a"),)), Rung("large", (Choice("c"),))), approve_above_usd=1.0)

    assert isinstance(next_move(plan, (rejected("a"),)), Ask)


def test_an_endpoint_below_the_limit_is_called_rather_than_a_dear_one_asked_for():
    plan = replace(PLAN, approve_above_usd=0.04)

    assert next_move(plan, (rejected("a"),)) == Call("large", "d", "escalation")


def test_a_fallback_into_a_dearer_tier_asks_first():
    plan = replace(PLAN, approve_above_usd=0.03)

    move = next_move(plan, (failed("a"), failed("b", why="fallback")))

    assert move == Ask(Call("large", "c", "fallback"), "fallback to c", 0.05)


def test_a_fallback_inside_an_approved_tier_does_not_ask_again():
    plan = replace(PLAN, approve_above_usd=0.03)

    move = next_move(plan, (rejected("a"), failed("c", "large", "escalation")))

    assert move == Call("large", "d", "fallback")


@pytest.mark.parametrize(
    ("on_exhausted", "move"),
    [
        ("best", Accept(1, best=True)),
        ("raise", Stop("exhausted")),
        ("ask", Ask(None, "every tier was tried and no reply was accepted")),
    ],
)
def test_an_exhausted_step_ends_as_the_plan_says(on_exhausted, move):
    plan = replace(PLAN, on_exhausted=on_exhausted)

    assert next_move(plan, (rejected("a"), rejected("c", "large", "escalation"))) == move


def test_the_best_reply_passed_most_checks():
    better = Attempt("small", "a", "start", "rejected", verdicts=(GOOD, BAD))

    assert next_move(PLAN, (better, rejected("c", "large", "escalation"))) == Accept(0, best=True)


def test_a_forbidden_reply_is_never_returned_as_the_best():
    attempts = (rejected("a", verdict=FORBIDDEN), failed("c", "large"), failed("d", "large"))

    assert next_move(PLAN, attempts) == Stop("exhausted")


def test_a_last_reply_that_nobody_found_wrong_is_returned():
    plan = replace(PLAN, on_exhausted="raise")
    attempts = (rejected("a"), rejected("c", "large", "escalation", UNSURE))

    assert next_move(plan, attempts) == Accept(1, best=True)


def test_a_step_whose_calls_all_failed_stops_as_failed():
    attempts = tuple(
        failed(name, tier) for name, tier in zip("abcd", ("small",) * 2 + ("large",) * 2, strict=True)
    )

    assert next_move(PLAN, attempts) == Stop("failed")


def test_no_plan_makes_more_calls_than_the_limit():
    names = [f"e{number}" for number in range(MAX_CALLS + 5)]
    plan = Plan("s", (Rung("small", tuple(map(Choice, names))),))

    assert next_move(plan, [failed(name) for name in names[: MAX_CALLS - 1]]) == Call(
        "small", "e24", "fallback"
    )
    assert next_move(plan, [failed(name) for name in names[:MAX_CALLS]]) == Stop("failed")


def test_only_a_plan_of_one_endpoint_without_repairs_cannot_repeat():
    single = Plan("s", (Rung("small", (Choice("a"),)),))

    assert not single.may_repeat
    assert PLAN.may_repeat
    assert replace(single, repairs=1).may_repeat


def test_the_cascade_is_imported_without_langchain():
    code = "import sys, langroute.cascade; print(sorted(m for m in sys.modules if m.startswith('lang')))"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert "langchain" not in run.stdout
    assert "langgraph" not in run.stdout


# Drawn from pools: one draw a choice and one a call, so that hundreds of stories take a second.
CHOICES = tuple(itertools.product((None, 0.0, 0.01, 0.5), (None, 0.5, 2.0), (None, 4_000, 8_000, 32_000)))
SPENT = Spend("judge", "j", Usage(10, 5, 2, 1, 1), None)
VERDICTS = (
    BAD,
    UNSURE,
    FORBIDDEN,
    replace(BAD, score=0.4),
    replace(BAD, spend=(SPENT, replace(SPENT, cost_usd=0.1))),
)
FAILURES = tuple(
    Failure(kind, remedy, "broken")
    for kind, remedy in (
        ("timeout", "next_endpoint"),
        ("server", "next_endpoint"),
        ("context_overflow", "larger_context"),
        ("invalid_request", "stop"),
        ("cut_stream", "raise"),
    )
)
ENDINGS = (
    *itertools.product(
        ["rejected"], [(v,) for v in VERDICTS] + [(GOOD, BAD)], [None], (0.0, 1.5), (None, 0.01)
    ),
    *itertools.product(["failed"], [()], FAILURES, (0.0, 1.5), (None, 0.0)),
    ("accepted", (GOOD,), None, 0.5, 0.02),
    ("cancelled", (), None, 0.5, None),
)


@st.composite
def plans(draw):
    limits = st.sampled_from([None, 0.0, 0.1, 3.0])
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    facts = iter(draw(st.lists(st.sampled_from(CHOICES), min_size=sum(sizes), max_size=sum(sizes))))
    rungs = tuple(
        Rung(f"tier{i}", tuple(Choice(f"e{i}.{j}", *next(facts)) for j in range(size)))
        for i, size in enumerate(sizes)
    )
    ending = draw(st.sampled_from(["best", "raise", "ask"]))
    return Plan("step", rungs, draw(st.integers(0, 3)), ending, draw(limits), draw(limits))


def attempt_of(call, ending):
    outcome, verdicts, failure, seconds, usd = ending
    usage = Usage(10, 5) if outcome == "rejected" else None
    facts = {
        "failure": failure,
        "usage": usage,
        "cost_usd": usd,
        "latency_s": seconds,
        "judged_s": seconds / 2,
    }
    return Attempt(call.tier, call.endpoint, call.why, outcome, verdicts, **facts)


@st.composite
def stories(draw):
    """Give a plan, the calls made under it, what became of each, and the move that ended it."""
    plan, calls, attempts = draw(plans()), [], []
    while True:
        move = next_move(plan, attempts)
        if isinstance(move, Ask) and move.call is not None and draw(st.booleans()):
            move = move.call
        if not isinstance(move, Call):
            return plan, calls, attempts, move
        calls.append(move)
        assert len(calls) <= MAX_CALLS
        attempts.append(attempt_of(move, draw(st.sampled_from(ENDINGS))))


SOME = settings(max_examples=50, deadline=None)


def choice_of(plan, call):
    return next(
        c
        for rung in plan.rungs
        if rung.tier == call.tier
        for c in rung.choices
        if c.endpoint == call.endpoint
    )


@SOME
@given(stories())
def test_every_story_ends_inside_its_plan(story):
    plan, calls, _, move = story

    assert isinstance(move, Accept | Ask | Stop)
    assert all(choice_of(plan, call) for call in calls)


@SOME
@given(stories())
def test_no_endpoint_is_called_again_but_as_a_repair_of_its_own_rejected_reply(story):
    plan, calls, attempts, _ = story
    for index, call in enumerate(calls):
        if call.why == "repair":
            assert attempts[index - 1].outcome == "rejected"
            assert (attempts[index - 1].tier, attempts[index - 1].endpoint) == (call.tier, call.endpoint)
        else:
            assert call.endpoint not in {earlier.endpoint for earlier in calls[:index]}
    for rung in plan.rungs:
        assert sum(call.why == "repair" and call.tier == rung.tier for call in calls) <= plan.repairs


@SOME
@given(stories())
def test_no_tier_is_gone_back_to(story):
    plan, calls, *_ = story
    tiers = [rung.tier for rung in plan.rungs]
    ranks = [tiers.index(call.tier) for call in calls]

    assert ranks == sorted(ranks)


@SOME
@given(stories())
def test_rejection_and_failure_are_never_mixed_up(story):
    _, calls, attempts, _ = story
    for index, call in enumerate(calls[1:], start=1):
        seen = {attempt.outcome for attempt in attempts[:index]}
        if call.why in ("escalation", "repair"):
            assert "rejected" in seen
        if call.why == "fallback":
            assert attempts[index - 1].outcome == "failed"


@SOME
@given(stories())
def test_the_same_inputs_give_the_same_move(story):
    plan, _, attempts, _ = story
    for length in range(len(attempts) + 1):
        assert next_move(plan, attempts[:length]) == next_move(replace(plan), tuple(attempts[:length]))


@SOME
@given(stories())
def test_once_there_is_a_reply_no_call_is_planned_past_the_latency_budget(story):
    plan, calls, attempts, _ = story
    for index, call in enumerate(calls):
        earlier = attempts[:index]
        if plan.latency_budget_s is not None and any(a.outcome == "rejected" for a in earlier):
            spent_s = sum(a.latency_s + a.judged_s for a in earlier)
            assert spent_s + (choice_of(plan, call).expected_s or 0) <= plan.latency_budget_s


@SOME
@given(stories())
def test_after_an_overflow_no_window_known_to_be_as_small_is_tried(story):
    plan, calls, attempts, _ = story
    too_small = 0
    for call, attempt in zip(calls, attempts, strict=True):
        window = choice_of(plan, call).context_tokens
        assert window is None or window > too_small
        if attempt.failure is not None and attempt.failure.remedy == "larger_context":
            too_small = max(too_small, window or 0)


@SOME
@given(stories())
def test_a_returned_reply_is_accepted_or_the_best_usable_one(story):
    _, _, attempts, move = story
    if isinstance(move, Accept) and move.best:
        assert attempts[move.attempt].usable
        assert attempts[-1].outcome in ("rejected", "failed")
    elif isinstance(move, Accept):
        assert move.attempt == len(attempts) - 1
        assert attempts[-1].outcome == "accepted"


@SOME
@given(stories())
def test_a_decision_survives_json_and_knows_its_whole_cost(story):
    plan, _, attempts, move = story
    chosen = move.attempt if isinstance(move, Accept) else None
    answer = StepAnswer("step", "said", "by for_step")
    decision = Decision("id", answer, plan, tuple(attempts), "accepted", chosen)

    record = decision.as_dict()

    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert len(record["attempts"]) == len(attempts)
    costs = [a.cost_usd for a in attempts] + [
        s.cost_usd for a in attempts for v in a.verdicts for s in v.spend
    ]
    assert (record["cost_usd"] is None) == (None in costs)
