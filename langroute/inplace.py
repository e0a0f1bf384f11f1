"""A call awaited in its caller's own task, which goes on soon after a cancellation, whatever the call does.

A task for each call costs a good part of what a call to the quickest model does, and only one that is
cancelled and does not end needs it. So what the call waits for is shown to the caller's task as a `_Wait`,
which can wake it without the call; what is left of such a call is handed to a task of its own.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar, cast

from langroute.timing import ABANDONED, GRACE_S, forget

__all__ = ["inplace"]

T = TypeVar("T")


class _Wait:
    """Stands, for the running task, in the place of each future that its call waits for."""

    __slots__ = (
        "_asked",
        "_asyncio_future_blocking",  # how asyncio knows a future, and that it is awaited
        "_context",
        "_future",
        "_task",
        "_timer",
        "_wake",
        "over",
    )

    def __init__(self) -> None:
        self.over = False
        """Whether the call had its time to end after the task was cancelled."""
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._asked = self._task.cancelling()
        self._asyncio_future_blocking = False
        self._future: Any = None
        self._wake: Any = None
        self._context: Context | None = None
        self._timer: asyncio.TimerHandle | None = None

    def on(self, future: Any) -> "_Wait":
        """Wait for this future now."""
        self._future, self._wake = future, None
        future._asyncio_future_blocking, self._asyncio_future_blocking = False, True  # noqa: SLF001 - asyncio's sign
        return self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop, as a future does."""
        return self._task.get_loop()

    def done(self) -> bool:
        """Whether the future is."""
        return bool(self._future.done())

    def add_done_callback(self, wake: Callable[[Any], Any], *, context: Context | None = None) -> None:
        """Have the future wake whoever waits."""
        self._wake, self._context = wake, context
        self._future.add_done_callback(wake, context=context)

    def remove_done_callback(self, wake: Callable[[Any], Any]) -> int:
        """Take that back."""
        return int(self._future.remove_done_callback(wake))

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future; the task is woken soon, whether or not it ends by that."""
        cancelled = bool(self._future.cancel(msg=msg))
        if cancelled:
            self.hurry()
        return cancelled

    def hurry(self) -> None:
        """Give the call a moment to end."""
        if self._timer is None:
            self._timer = self.get_loop().call_later(GRACE_S, self._end)

    def _end(self) -> None:
        self._timer = None
        self.over = self.cancelled  # unless it was a limit of the call's own, which is past
        if self.over and self._wake is not None and self._future.remove_done_callback(self._wake):
            self.get_loop().call_soon(self._wake, self, context=self._context)

    @property
    def cancelled(self) -> bool:
        """Whether the task was asked to end since the call began."""
        return self._task.cancelling() > self._asked

    def result(self) -> None:
        """Tell the task that is woken by this, and not by the future, why."""
        raise asyncio.CancelledError

    def close(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()


@types.coroutine
def inplace(work: Coroutine[Any, Any, T], endpoint: str) -> Generator[Any, Any, T]:
    """Await a call in the running task; cancelled, it has a moment to end before it is left behind.

    What asyncio knows of the running task (`current_task`, its timeouts) must not be used in the call itself
    but only in tasks that it starts: the rest of a call that is left behind runs in another.

    Raises:
        AbandonedCalls: Too many calls that were left behind are still running on the endpoint.
    """
    ABANDONED.check(endpoint)
    wait, step, given = _Wait(), work.send, None
    try:
        while True:
            future = step(given)
            if wait.over:
                break
            try:
                yield None if future is None else wait.on(future)
                step, given = work.send, None
            except BaseException as error:
                if wait.over:
                    break
                if wait.cancelled:
                    wait.hurry()
                step, given = work.throw, error
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what the call gave
    finally:
        wait.close()
    forget(asyncio.get_running_loop().create_task(_unheard(work, future)), endpoint)
    raise asyncio.CancelledError


async def _unheard(work: Coroutine[Any, Any, Any], future: Any) -> None:
    """Go on with a call from what it waits for to its end, which nobody hears."""
    with suppress(BaseException):
        while True:
            if future is None:
                await asyncio.sleep(0)
            else:
                await asyncio.wait({future})
            future = work.send(None)
