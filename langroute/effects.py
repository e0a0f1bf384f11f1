"""What a flow asks its driver to wait for, so that a decision is written once for sync and async.

A flow is a generator that yields `Io` and is sent the result, or has the error thrown in. It never
blocks itself. `run` and `arun` drive a flow whose effects are all `Io`; the drivers of
`langroute.drive` add the model calls of a cascade.
"""

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from langroute.beside import abeside
from langroute.records import maker
from langroute.timing import awhole, nothing, whole

__all__ = [
    "ASIDE",
    "Flow",
    "Io",
    "acalled_with",
    "arun",
    "beside",
    "called_with",
    "made_io",
    "pause",
    "run",
    "threaded",
    "within",
]

T = TypeVar("T")

ASIDE = "a question put aside the attempts"
"""Under which name late checks, judges, classifiers and embeddings are counted."""

_LEAST_S = 0.001
"""Seconds that are waited at least: none at all would be no limit to some."""


@dataclass(frozen=True, slots=True)
class Io:
    """One piece of waiting, in its sync and its async form; both give the same result."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]
    timeout_s: float | None = None
    """Seconds after which the waiting ends with `TimeoutError`; None waits as long as the call does."""
    context: contextvars.Context | None = None
    """What it is performed in, a copy each time. Code of others gets one: it may not heed a cancellation."""

    def perform(self) -> Any:
        """Wait in the calling thread; under a limit in a worker thread, left behind if it is late."""
        call = self.call if self.context is None else partial(self.context.copy().run, self.call)
        return call() if self.timeout_s is None else whole(call, self.timeout_s, ASIDE, nothing)

    async def aperform(self) -> Any:
        """Wait in the running event loop; under a limit or with a context in a task, left behind likewise."""
        if self.timeout_s is None and self.context is None:
            return await self.acall()
        context = None if self.context is None else self.context.copy()
        return await awhole(self.acall, self.timeout_s, ASIDE, context)


made_io = maker(Io)

Flow = Generator[Any, Any, T]
"""A generator that yields effects, is sent their results, and returns a T."""


def run(flow: Flow[T]) -> T:
    """Drive a flow to its end in the calling thread.

    Raises:
        BaseException: What the flow lets through.
    """
    try:
        effect = next(flow)
        while True:
            try:
                result = effect.perform()
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a generator's value is typed Any


async def arun(flow: Flow[T]) -> T:
    """Drive a flow to its end in the running event loop.

    Raises:
        BaseException: What the flow lets through.
    """
    try:
        effect = next(flow)
        while True:
            try:
                result = await effect.aperform()
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a generator's value is typed Any


def within(context: contextvars.Context, flow: Flow[T], ends_s: float | None = None) -> Flow[T]:
    """Run a flow and the effects it yields in `context`; what it sets there is seen by nobody else.

    At `ends_s` of the monotonic clock, where it is given, what is still waited for ends with `TimeoutError`.
    """
    try:
        effect = context.run(next, flow)
        while True:
            try:
                result = yield _moved(effect, context, ends_s)
            except BaseException as error:
                effect = context.run(flow.throw, error)
            else:
                effect = context.run(flow.send, result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a generator's value is typed Any


def _moved(effect: Io, context: contextvars.Context, ends_s: float | None) -> Io:
    """Return the effect performed in `context`, and until `ends_s`."""
    limit_s = effect.timeout_s
    if ends_s is not None:
        left_s = max(ends_s - time.monotonic(), _LEAST_S)
        limit_s = left_s if limit_s is None else min(limit_s, left_s)
    return Io(effect.call, effect.acall, limit_s, context)


def pause(seconds: float) -> Io:
    """Return the effect of doing nothing for some seconds."""
    return Io(lambda: time.sleep(seconds), lambda: asyncio.sleep(seconds))


def beside(work: Callable[[], T], timeout_s: float | None) -> Io:
    """Return the effect of doing blocking work of our own; in an async run beside the loop, in a thread.

    Not in the loop's own workers: sync nodes of an async run may hold all of those for minutes.
    """
    return Io(work, lambda: asyncio.wrap_future(threaded(work)), timeout_s)


def threaded(call: Callable[[], T]) -> "Future[T]":
    """Start `call` in a daemon thread of its own with the caller's context, and return what it comes to."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # who gives up waiting cannot cancel it: it would fail at its end
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="langroute-io", daemon=True).start()
    return future


def called_with(function: Callable[..., Any], given: Any) -> Any:
    """Call a person's function in this thread; wait for an awaitable in a thread and loop of its own."""
    answer = function(given)
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> Any:
        return await answer

    # Not in this thread: a loop may be running in it already.
    return threaded(lambda: asyncio.run(wait())).result()


async def acalled_with(function: Callable[..., Any], given: Any, name: str = ASIDE) -> Any:
    """Await a person's coroutine function here; call any other in a thread, so that the loop goes on.

    Where it goes on although nobody waits any more, it counts as a late call under `name`.
    """
    named = function if inspect.isroutine(function) else type(function).__call__
    direct = inspect.iscoroutinefunction(named)
    answer = function(given) if direct else await abeside(lambda: function(given), name)
    return await answer if inspect.isawaitable(answer) else answer
