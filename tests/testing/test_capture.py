"""`capture_decisions`: what it hears, and that listening never breaks a call."""

import asyncio
import logging

from langchain_core.runnables.config import ContextThreadPoolExecutor

from langroute.cascade import Choice, Plan, Rung
from langroute.decision import Decision, StepAnswer
from langroute.observe import BROKEN, OBSERVERS, notify
from langroute.testing import capture_decisions


def decision(call_id):
    plan = Plan(step="synthesis", rungs=(Rung("small", (Choice("small/0"),)),))
    return Decision(call_id, StepAnswer("synthesis", "said", "for_step"), plan, (), "failed")


def test_decisions_of_the_block_are_captured_in_order_and_no_others():
    notify(decision("before"))
    with capture_decisions() as decisions:
        notify(decision("1"))
        notify(decision("2"))
    notify(decision("after"))
    assert [each.call_id for each in decisions] == ["1", "2"]


def test_outer_block_hears_the_inner_one_too():
    with capture_decisions() as outer:
        with capture_decisions() as inner:
            notify(decision("1"))
        notify(decision("2"))
    assert ([each.call_id for each in outer], [each.call_id for each in inner]) == (["1", "2"], ["1"])


async def test_tasks_and_context_threads_belong_to_the_block():
    async def decide(call_id):
        notify(decision(call_id))

    with capture_decisions() as decisions:
        await asyncio.gather(decide("1"), decide("2"), asyncio.to_thread(notify, decision("3")))
        with ContextThreadPoolExecutor() as pool:
            pool.submit(notify, decision("4")).result()
    assert {each.call_id for each in decisions} == {"1", "2", "3", "4"}


async def test_blocks_of_other_tasks_are_not_heard():
    async def capture(call_id):
        with capture_decisions() as decisions:
            await asyncio.sleep(0)
            notify(decision(call_id))
        return [each.call_id for each in decisions]

    assert await asyncio.gather(capture("1"), capture("2")) == [["1"], ["2"]]


def test_broken_observer_is_counted_and_warned_of_once_and_the_others_still_hear(caplog):
    def fail(_decision):
        raise RuntimeError("observer is broken")

    before, token = BROKEN.count, OBSERVERS.set((fail,))
    with caplog.at_level(logging.WARNING), capture_decisions() as decisions:
        notify(decision("1"))
        notify(decision("2"))
    OBSERVERS.reset(token)
    assert len(decisions) == 2
    assert BROKEN.count == before + 2
    assert len(caplog.records) == (before == 0)
