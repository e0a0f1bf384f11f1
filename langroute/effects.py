"""What a flow asks its driver to wait for, so that a decision is written once for sync and async.

A flow is a generator that yields `Io` and is sent the result, or has the error thrown in. It never
blocks itself. `run` and `arun` drive a flow whose effects are all `Io`; the drivers of
`langroute.drive` add the model calls of a cascade.
"""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Flow", "Io", "arun", "run", "within"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Io:
    """One piece of waiting, in its sync and its async form; both give the same result."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]
    timeout_s: float | None = None
    """Seconds after which the waiting ends with `TimeoutError`; None waits as long as the call does."""

    def perform(self) -> Any:
        """Wait in the calling thread; under a limit in a worker thread, left behind if it is late."""
        if self.timeout_s is None:
            return self.call()
        return _in_thread(self.call, self.timeout_s)

    async def aperform(self) -> Any:
        """Wait in the running event loop; a late call is cancelled."""
        async with asyncio.timeout(self.timeout_s):
            return await self.acall()


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


def within(context: contextvars.Context, flow: Flow[T]) -> Flow[T]:
    """Run a flow and the effects it yields in `context`; what it sets there is seen by nobody else."""
    try:
        effect = context.run(next, flow)
        while True:
            try:
                result = yield _moved(effect, context)
            except BaseException as error:
                effect = context.run(flow.throw, error)
            else:
                effect = context.run(flow.send, result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a generator's value is typed Any


def _moved(effect: Io, context: contextvars.Context) -> Io:
    """Return the effect performed in a copy of `context`: a late call may still be inside the last one."""

    async def acall() -> Any:
        async def awaited() -> Any:
            return await effect.acall()

        return await asyncio.get_running_loop().create_task(awaited(), context=context.copy())

    return Io(lambda: context.copy().run(effect.call), acall, effect.timeout_s)


def _in_thread(call: Callable[[], T], timeout_s: float) -> T:
    """Run `call` in a daemon thread with the caller's context; `TimeoutError` when it is late."""
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="langroute-io", daemon=True).start()
    return future.result(timeout_s)
