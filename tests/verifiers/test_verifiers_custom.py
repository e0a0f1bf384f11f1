"""A check of one's own, sync and async."""

import threading

import pytest
from langchain_core.messages import AIMessage

from langroute.cascade import Verdict
from langroute.effects import arun, run
from langroute.verifiers import Custom

ANSWERS = [
    (True, True, "rule accepts the reply"),
    (False, False, "rule rejects the reply"),
    ("no price is named", False, "no price is named"),
    (Verdict("mine", accepted=False, reason="no"), False, "no"),
]


def sync_rule(answer):
    def rule(case):
        assert case.text == "hello"
        return answer

    return rule


def async_rule(answer):
    async def rule(case):
        assert case.text == "hello"
        return answer

    return rule


class CallableRule:
    """An async check with state."""

    async def __call__(self, case):
        return f"too short: {len(case.text)}"


@pytest.mark.parametrize("make", [sync_rule, async_rule])
@pytest.mark.parametrize(("answer", "accepted", "reason"), ANSWERS)
async def test_answer_is_read_alike_in_sync_and_async(case_of, make, answer, accepted, reason):
    verifier = Custom(function=make(answer))
    for verdict in (run(verifier.judge(case_of("hello"))), await arun(verifier.judge(case_of("hello")))):
        assert (verdict.accepted, verdict.reason) == (accepted, reason)


async def test_callable_object_may_be_async_too(case_of):
    verifier = Custom(function=CallableRule())
    assert verifier.label == "CallableRule"
    assert (await arun(verifier.judge(case_of("ab")))).reason == "too short: 2"
    assert run(verifier.judge(case_of("ab"))).reason == "too short: 2"


async def test_plain_function_does_not_hold_up_the_event_loop(case_of):
    threads = []
    await arun(
        Custom(function=lambda _: threads.append(threading.current_thread()) is None).judge(case_of("x"))
    )
    assert threads[0] is not threading.main_thread()


def test_answer_that_is_none_of_these_names_the_function(case_of):
    with pytest.raises(TypeError, match=r"sync_rule.<locals>.rule returned int"):
        run(Custom(function=sync_rule(3)).judge(case_of("hello")))


def test_check_that_forgot_to_return_is_told_so(case_of):
    with pytest.raises(TypeError, match="rule returned None: return a bool, a reason or a Verdict"):
        run(Custom(function=sync_rule(None)).judge(case_of("hello")))


def test_error_of_the_check_is_not_swallowed(case_of):
    def broken(_case):
        raise LookupError("table is gone")

    with pytest.raises(LookupError, match="table is gone"):
        run(Custom(function=broken).judge(case_of(AIMessage("x"))))
