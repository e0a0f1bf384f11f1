"""`next_move`, branch by branch, and what must hold of it for every plan and every run of luck."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langroute.attempts import Why
from langroute.cascade import (
    MAX_CALLS,
    MAX_WAIT_S,
    Accept,
    Ask,
    Attempt,
    Blame,
    Call,
    Choice,
    Failure,
    Plan,
    Redo,
    Rung,
    Stop,
    Verdict,
    cheaper,
    exhausted,
    left_s,
    next_move,
    time_limit,
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
BLAMING = replace(BAD, blames_input=True)
EARLIER = Blame("extraction", Rung("large", (Choice("x", 0.02, 3.0), Choice("y"))))
BACK = Redo("extraction", "large", "x")
FORBIDDEN = Verdict("stakes", accepted=False, reason="not by this tier", usable=False)


def rejected(endpoint, tier="small", why="start", verdict=BAD, **kwargs):
    return Attempt(tier, endpoint, why, "rejected", verdicts=(verdict,), **kwargs)


def failed(endpoint, tier="small", why="start", kind="timeout", remedy="next_endpoint", **kwargs):
    return Attempt(tier, endpoint, why, "failed", failure=Failure(kind, remedy, "broken"), **kwargs)


def test_the_first_call_is_the_first_choice_of_the_first_rung():
    assert next_move(PLAN, ()) == Call("small", "a", "start")


def test_a_step_starts_at_the_first_tier_of_models_whatever_function_is_asked_before():
    asked = Rung("multiply", (Choice("function:multiply"),))

    assert PLAN.start == "small"
    assert replace(PLAN, rungs=(asked, *PLAN.rungs[1:])).start == "large"


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


def test_a_repair_that_fails_is_not_waited_for():
    plan = replace(PLAN, repairs=1)

    assert next_move(plan, (rejected("a"), asked_to_wait("a", 1.0, "repair"))) == Call(
        "small", "b", "fallback"
    )


def test_once_a_reply_was_rejected_every_higher_tier_is_an_escalation():
    plan = replace(PLAN, rungs=(*PLAN.rungs, Rung("huge", (Choice("e"),))))
    attempts = (rejected("a"), failed("c", "large", "escalation"), failed("d", "large", "fallback"))

    assert next_move(plan, attempts) == Call("huge", "e", "escalation")


def test_only_at_the_top_does_a_reply_that_may_not_be_returned_fall_back():
    assert next_move(PLAN, (rejected("a", verdict=FORBIDDEN),)) == Call("large", "c", "escalation")
    top = rejected("c", "large", "escalation", FORBIDDEN)
    assert next_move(PLAN, (rejected("a"), top)) == Call("large", "d", "fallback")


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


def test_a_reply_that_broke_off_is_gone_on_with_by_the_next_endpoint_and_the_next_tier():
    plan = replace(PLAN, continue_streams=True)
    cut = failed("a", kind="cut_stream", remedy="continue")
    assert next_move(plan, (cut,)) == Call("small", "b", "continuation")
    down = failed("b", why="continuation", kind="rate_limit", remedy="next_endpoint")
    assert next_move(plan, (cut, down)) == Call("large", "c", "continuation")
    refused = failed("b", why="continuation", kind="invalid_request", remedy="stop")
    assert next_move(plan, (cut, refused)) == Call("large", "c", "continuation")


def test_a_reply_that_nobody_goes_on_with_stops_whatever_came_before():
    cut = failed("c", "large", "escalation", "cut_stream", "continue")
    again = failed("d", "large", "continuation", "cut_stream", "continue")
    assert next_move(PLAN, (rejected("a"), cut, again)) == Stop("stopped")


def test_no_person_is_asked_and_nobody_waited_for_in_the_middle_of_a_reply():
    plan = replace(PLAN, approve_above_usd=0.0)
    asked_to_wait = Failure("rate_limit", "continue", "busy", retry_after_s=1.0)
    cut = replace(failed("b", kind="cut_stream", remedy="continue"), failure=asked_to_wait)
    assert next_move(plan, (failed("a"), cut)) == Stop("stopped")


def test_nothing_is_called_when_the_deadline_is_over():
    plan = replace(PLAN, deadline_s=2.0)
    late = replace(failed("a"), latency_s=2.0)

    assert next_move(plan, (replace(late, latency_s=1.9),)) == Call("small", "b", "fallback")
    assert next_move(plan, (late,)) == Stop("failed")
    assert next_move(plan, (replace(rejected("a"), latency_s=1.0, judged_s=1.0),)) == Accept(0, best=True)


def test_a_call_leaves_a_reserve_for_one_fallback():
    plan = Plan("step", (Rung("small", (Choice("a"), Choice("b"))),), deadline_s=9.0)
    first, last = Call("small", "a", "start"), Call("small", "b", "fallback")
    spent = (replace(failed("a"), latency_s=6.0),)

    assert time_limit(replace(plan, deadline_s=None), (), first, None) is None
    assert time_limit(replace(plan, deadline_s=None), (), first, 5.0) == 5.0
    assert time_limit(plan, (), first, None) == 6.0
    assert time_limit(plan, (), first, 5.0) == 5.0
    assert time_limit(plan, spent, last, None) == 3.0  # nothing can follow it


def test_the_reserve_is_what_the_fallback_is_expected_to_take_at_most_half():
    def plan(expected_s: float) -> Plan:
        rung = Rung("small", (Choice("a"), Choice("b", expected_s=expected_s)))
        return Plan("step", (rung,), deadline_s=10.0)

    assert time_limit(plan(2.0), (), Call("small", "a", "start"), None) == 8.0
    assert time_limit(plan(60.0), (), Call("small", "a", "start"), None) == 5.0


def test_a_wait_comes_off_the_time_a_call_may_take():
    alone = Plan("step", (Rung("small", (Choice("a"),)),), deadline_s=9.0)

    assert time_limit(alone, (asked_to_wait("a", 2.0),), Call("small", "a", "retry", 2.0), None) == 7.0


def asked_to_wait(endpoint: str, wait_s: float, why: Why = "start") -> Attempt:
    failure = Failure("rate_limit", "next_endpoint", "slow down", retry_after_s=wait_s)
    return replace(failed(endpoint, why=why), failure=failure)


def test_an_endpoint_that_asks_for_a_short_wait_is_called_once_more():
    once = (asked_to_wait("a", 1.5),)
    twice = (*once, asked_to_wait("a", 1.5, "retry"))

    assert next_move(PLAN, once) == Call("small", "a", "retry", 1.5)
    assert next_move(PLAN, twice) == Call("small", "b", "fallback")
    assert next_move(PLAN, (*twice, asked_to_wait("b", 0.0, "fallback"))) == Call("small", "b", "retry", 0.0)


def test_a_long_wait_is_not_waited():
    assert next_move(PLAN, (asked_to_wait("a", 2.1),)) == Call("small", "b", "fallback")


def test_the_longest_wait_that_is_waited_is_two_seconds():
    assert next_move(PLAN, (asked_to_wait("a", 2.0),)) == Call("small", "a", "retry", 2.0)


def test_a_wait_beyond_the_deadline_is_not_waited():
    assert next_move(replace(PLAN, deadline_s=1.0), (asked_to_wait("a", 1.0),)) == Call(
        "small", "b", "fallback"
    )


def test_a_reply_that_failed_and_is_usable_is_returned_when_nothing_better_comes():
    cut = replace(failed("a"), failure=Failure("bad_response", "next_endpoint", "cut", usable=True))

    assert next_move(PLAN, (cut,)) == Call("small", "b", "fallback")
    assert next_move(replace(PLAN, rungs=(Rung("small", (Choice("a"),)),)), (cut,)) == Accept(0, best=True)
    one = replace(PLAN, rungs=(Rung("small", (Choice("a"), Choice("b"))),))
    assert next_move(one, (cut, failed("b", why="fallback"))) == Accept(0, best=True)


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


def test_windows_count_only_after_an_overflow_and_only_where_they_are_known():
    plan = replace(PLAN, rungs=(Rung("small", (Choice("x"), Choice("y", context_tokens=1))),))
    overflow = failed("x", kind="context_overflow", remedy="larger_context")

    assert next_move(plan, (failed("x"),)) == Call("small", "y", "fallback")
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


def test_an_escalation_that_is_too_slow_is_passed_over_for_a_quicker_one():
    rungs = (Rung("small", (Choice("a"),)), Rung("large", (Choice("c", expected_s=9.0), Choice("d"))))
    plan = replace(PLAN, rungs=rungs, latency_budget_s=1.5)

    # Of `d` nobody said how long it takes: it starts while there is any time.
    assert next_move(plan, (rejected("a", latency_s=1.0),)) == Call("large", "d", "escalation")


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


def test_what_is_cheaper_than_the_call_asked_for_may_be_named_in_its_place():
    plan, once = replace(PLAN, approve_above_usd=0.01), (rejected("a"),)
    other = Call("large", "d", "escalation")
    unknown = replace(PLAN.rungs[1], choices=(Choice("c"), PLAN.rungs[1].choices[1], Choice("e")))

    assert cheaper(plan, once) == ((other, 0.04),)
    assert cheaper(replace(plan, rungs=(plan.rungs[0], unknown)), once) == ((other, 0.04),)
    assert cheaper(replace(plan, blame=EARLIER), (rejected("a", verdict=BLAMING),)) == ()


def test_nothing_is_cheaper_that_costs_as_much_or_cannot_end_in_time():
    dear = Rung("large", (Choice("c", 0.05), Choice("d", 0.05), Choice("e", 0.02, 9.0)))
    plan = replace(PLAN, rungs=(PLAN.rungs[0], dear), approve_above_usd=0.01, latency_budget_s=5.0)

    assert cheaper(plan, (rejected("a"),)) == ()


def test_where_no_call_is_asked_for_nothing_is_cheaper():
    assert cheaper(PLAN, (rejected("a"),)) == ()
    last = (rejected("a"), rejected("c", "large", "escalation"))
    assert cheaper(replace(PLAN, on_exhausted="ask"), last) == ()


def test_a_reply_that_blames_its_input_goes_back_before_it_escalates():
    plan = replace(PLAN, blame=EARLIER)

    assert next_move(plan, (rejected("a", verdict=BLAMING),)) == BACK
    assert next_move(plan, (rejected("a"),)) == Call("large", "c", "escalation")


def test_nobody_is_gone_back_to_where_the_plan_names_nobody():
    assert next_move(PLAN, (rejected("a", verdict=BLAMING),)) == Call("large", "c", "escalation")


def test_a_repair_comes_before_going_back():
    plan = replace(PLAN, blame=EARLIER, repairs=1)
    once = (rejected("a", verdict=BLAMING),)

    assert next_move(plan, once) == Call("small", "a", "repair")
    assert next_move(plan, (*once, rejected("a", why="repair", verdict=BLAMING))) == BACK


def test_a_step_may_go_back_from_its_last_tier():
    plan = replace(PLAN, blame=EARLIER)
    attempts = (rejected("a"), rejected("c", "large", "escalation", BLAMING))

    assert next_move(plan, attempts) == BACK


def test_an_input_that_left_nothing_to_check_against_is_gone_back_for():
    plan = replace(PLAN, blame=EARLIER, repairs=1)

    assert next_move(plan, (rejected("a", verdict=replace(UNSURE, blames_input=True)),)) == BACK


def test_a_failed_call_blames_nobody():
    plan = replace(PLAN, blame=EARLIER)

    assert next_move(plan, (rejected("a", verdict=BLAMING), failed("c", "large"))) == Call(
        "large", "d", "fallback"
    )


def test_an_accepting_verdict_blames_nobody():
    noted = replace(GOOD, blames_input=True)

    assert not Attempt("small", "a", "start", "rejected", verdicts=(noted, BAD)).blames_input


def test_an_expensive_way_back_asks_first_unless_an_escalation_is_below_the_limit():
    plan = replace(PLAN, blame=EARLIER, approve_above_usd=0.01)
    attempts = (rejected("a", verdict=BLAMING),)

    assert next_move(plan, attempts) == Ask(BACK, "going back to extraction, to be done again by x", 0.02)
    cheap = replace(plan, rungs=(PLAN.rungs[0], Rung("large", (Choice("c", 0.005),))))
    assert next_move(cheap, attempts) == Call("large", "c", "escalation")


def test_a_way_back_that_cannot_end_in_time_is_not_begun():
    plan = replace(PLAN, blame=EARLIER, latency_budget_s=5.0)

    assert next_move(plan, (rejected("a", verdict=BLAMING, latency_s=2.0),)) == BACK
    assert next_move(plan, (rejected("a", verdict=BLAMING, latency_s=2.1),)) == Accept(0, best=True)


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


def test_a_step_that_calls_nothing_more_takes_its_best_reply_whatever_the_plan_says():
    plan = replace(PLAN, on_exhausted="raise")

    assert exhausted(plan, (rejected("a"), failed("c", "large", "escalation"))) == Accept(0, best=True)
    assert exhausted(plan, (failed("a"),)) == Stop("failed")


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
    assert replace(single, blame=EARLIER).may_repeat


def test_the_cascade_is_imported_without_langchain():
    code = "import sys, langroute.cascade; print(sorted(m for m in sys.modules if m.startswith('lang')))"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=99)

    assert "langchain" not in run.stdout
    assert "langgraph" not in run.stdout


# Drawn from pools: one draw a choice and one a call, so that hundreds of stories take a second.
CHOICES = tuple(itertools.product((None, 0.0, 0.01, 0.5), (None, 0.5, 2.0), (None, 4_000, 8_000, 32_000)))
SPENT = Spend("judge", "j", Usage(10, 5, 2, 1, 1), None)
VERDICTS = (
    BAD,
    UNSURE,
    FORBIDDEN,
    BLAMING,
    replace(UNSURE, blames_input=True),
    replace(BAD, score=0.4),
    replace(BAD, spend=(SPENT, replace(SPENT, cost_usd=0.1))),
)
FAILURES = (
    *(
        Failure(kind, remedy, "broken")
        for kind, remedy in (
            ("timeout", "next_endpoint"),
            ("server", "next_endpoint"),
            ("context_overflow", "larger_context"),
            ("invalid_request", "stop"),
            ("cut_stream", "raise"),
        )
    ),
    Failure("refusal", "next_endpoint", "refused", usable=True),
    *(
        Failure("rate_limit", "next_endpoint", "slow down", retry_after_s=wait_s)
        for wait_s in (0.0, 1.0, 9.0)
    ),
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
    blame = draw(st.sampled_from([None, EARLIER]))
    deadline_s = draw(st.sampled_from([None, 0.5, 2.0, 6.0]))
    return Plan(
        "step",
        rungs,
        draw(st.integers(0, 3)),
        ending,
        draw(limits),
        draw(limits),
        deadline_s=deadline_s,
        blame=blame,
    )


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

    assert isinstance(move, Accept | Ask | Redo | Stop)
    assert all(choice_of(plan, call) for call in calls)


@SOME
@given(stories())
def test_no_endpoint_is_called_again_but_as_a_repair_or_once_after_the_wait_it_asked_for(story):
    plan, calls, attempts, _ = story
    for index, call in enumerate(calls):
        if call.why == "repair":
            assert attempts[index - 1].outcome == "rejected"
            assert (attempts[index - 1].tier, attempts[index - 1].endpoint) == (call.tier, call.endpoint)
        elif call.why == "retry":
            assert attempts[index - 1].failure.retry_after_s == call.wait_s <= MAX_WAIT_S
            assert (attempts[index - 1].tier, attempts[index - 1].endpoint) == (call.tier, call.endpoint)
            assert sum(c.why == "retry" and c.endpoint == call.endpoint for c in calls) == 1
        else:
            assert call.endpoint not in {earlier.endpoint for earlier in calls[:index]}
    for rung in plan.rungs:
        assert sum(call.why == "repair" and call.tier == rung.tier for call in calls) <= plan.repairs


@SOME
@given(stories())
def test_a_step_goes_back_only_where_its_last_reply_blamed_its_input_and_its_repairs_are_used_up(story):
    plan, calls, attempts, move = story
    if isinstance(move, Redo):
        last = attempts[-1]
        repairs = sum(call.why == "repair" and call.tier == last.tier for call in calls)
        assert (plan.blame, move) == (EARLIER, BACK)
        assert last.blames_input
        limited = plan.latency_budget_s is not None or plan.deadline_s is not None
        assert repairs == plan.repairs or last.unsure or limited
    elif plan.blame is not None and attempts[-1].blames_input:
        limited = plan.latency_budget_s is not None or plan.deadline_s is not None
        assert limited or isinstance(move, Ask) or len(calls) == MAX_CALLS


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
    plan, calls, attempts, _ = story
    for index, call in enumerate(calls[1:], start=1):
        seen = {attempt.outcome for attempt in attempts[:index]}
        if call.why in ("escalation", "repair"):
            assert "rejected" in seen
        if call.why == "fallback":
            last = attempts[index - 1]
            at_the_top = last.tier == plan.rungs[-1].tier
            assert last.outcome == "failed" or (at_the_top and not last.usable)


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


@SOME
@given(stories())
def test_nothing_starts_when_the_deadline_is_over_and_no_call_may_outlast_it(story):
    plan, calls, attempts, _ = story
    for index, call in enumerate(calls):
        left = left_s(plan, attempts[:index])
        assert left is None or (left > 0 and time_limit(plan, attempts[:index], call, None) <= left)


def test_a_function_that_has_no_answer_declines_and_a_model_that_is_rejected_does_not():
    unanswered = Verdict("answered", accepted=False, reason="it has no answer")
    refused = Verdict("no_refusal", accepted=False, reason="it refuses")
    assert Attempt("rule", "function:rule", "start", "rejected", (unanswered,)).declined
    assert not Attempt("rule", "function:rule", "start", "rejected", (refused,)).declined
    assert not Attempt("small", "small", "start", "rejected", (unanswered,)).declined
