"""One flow, two drivers: the same result, the same errors, in a thread and in an event loop."""

import asyncio
import contextvars
import threading

import pytest

from langroute.effects import Io, arun, run

SAID = contextvars.ContextVar("said", default="nothing")


def io(result=None, error=None, timeout_s=None):
    def call():
        if error is not None:
            raise error
        return result

    async def acall():
        return call()

    return Io(call, acall, timeout_s)


def drive(flow_function, mode):
    return run(flow_function()) if mode == "sync" else asyncio.run(arun(flow_function()))


both = pytest.mark.parametrize("mode", ["sync", "async"])


@both
def test_a_flow_is_sent_what_it_waited_for(mode):
    def flow():
        first = yield io(1)
        second = yield io(first + 1)
        return [first, second]

    assert drive(flow, mode) == [1, 2]


@both
def test_a_flow_that_waits_for_nothing_returns(mode):
    def flow():
        return "done"
        yield

    assert drive(flow, mode) == "done"


@both
def test_an_error_is_thrown_into_the_flow_which_may_go_on(mode):
    def flow():
        try:
            yield io(error=ConnectionError("down"))
        except ConnectionError as error:
            return f"{error}, then {(yield io('up'))}"

    assert drive(flow, mode) == "down, then up"


@both
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), StopIteration()])
def test_an_error_that_the_flow_lets_through_is_raised(mode, error):
    def flow():
        yield io(error=error)

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)  # as in any generator
    with pytest.raises(expected):
        drive(flow, mode)


def test_a_late_call_ends_with_a_timeout_in_a_thread():
    never = threading.Event()

    def flow():
        try:
            yield Io(lambda: never.wait(5), asyncio.Event().wait, timeout_s=0.01)
        except TimeoutError:
            return "late"

    assert run(flow()) == "late"
    never.set()


def test_a_late_call_is_cancelled_in_an_event_loop():
    cancelled = []

    async def never():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    def flow():
        try:
            yield Io(lambda: None, never, timeout_s=0.01)
        except TimeoutError:
            return "late"

    assert asyncio.run(arun(flow())) == "late"
    assert cancelled == [True]


@both
def test_a_call_under_a_limit_sees_the_callers_context(mode):
    async def aread():
        return SAID.get()

    def flow():
        return (yield Io(SAID.get, aread, timeout_s=5.0))

    SAID.set("hello")

    assert drive(flow, mode) == "hello"


@both
def test_a_call_under_a_limit_raises_its_own_error(mode):
    def flow():
        yield io(error=KeyError("x"), timeout_s=5.0)

    with pytest.raises(KeyError):
        drive(flow, mode)


def test_cancelling_reaches_the_flow_and_ends_it():
    seen = []

    def flow():
        try:
            yield Io(lambda: None, asyncio.Event().wait)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main():
        task = asyncio.ensure_future(arun(flow()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert seen == ["cancelled"]
