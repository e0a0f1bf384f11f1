"""Blocking calls beside an event loop, each in a daemon thread of its own; who waits may stop waiting.

Not in the loop's own workers: calls left behind would hold them for whoever else needs one. Here they are
bounded in number and counted, as any call left behind is.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from langroute.timing import Worker, nothing

__all__ = ["Glance", "abeside", "abeside_items"]

T = TypeVar("T")


class _Waited:
    """A worker that one task of a running event loop waits for."""

    def __init__(self, name: str, work: Callable[[Worker], None]) -> None:
        self.given: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.worker = Worker(name, work, self._put)

    def _put(self, told: tuple[str, Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.given.put_nowait, told)


async def abeside(call: Callable[[], T], name: str) -> T:
    """Await a blocking call; cancelled, it goes on unheard, and counts as a late call under `name`.

    Raises:
        AbandonedCalls: Too many late calls are still running under that name.
    """
    waited = _Waited(name, lambda worker: worker.give("item", call()))
    try:
        kind, value = await waited.given.get()
    except BaseException:
        waited.worker.leave(nothing)
        raise
    if kind == "error":
        raise value
    return value  # type: ignore[no-any-return]  # what `call` gave


async def abeside_items(source: Callable[[], Iterator[T]], name: str) -> AsyncGenerator[T, None]:
    """Yield what a blocking source gives, each item read when it is asked for; otherwise as `abeside`."""
    wanted = threading.Semaphore(0)

    def work(worker: Worker) -> None:
        for item in source():
            worker.give("item", item)
            wanted.acquire()
            if worker.left:
                break

    waited, kind = _Waited(name, work), ""
    try:
        while True:
            kind, value = await waited.given.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
            kind = ""
            wanted.release()
    finally:
        if kind in ("", "item"):
            waited.worker.leave(nothing)
            wanted.release()


class Glance(Generic[T]):
    """A blocking call that nobody waits for: whoever likes looks whether it has an answer yet.

    It counts as a late call under `name` until it ends, for nothing else would bound how many there are.

    Raises:
        AbandonedCalls: Too many are still running under that name.
    """

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._told: list[tuple[str, Any]] = []
        self._came = threading.Event()
        Worker(name, lambda worker: worker.give("item", call()), self._take).leave(nothing)

    def _take(self, told: tuple[str, Any]) -> None:
        self._told.append(told)
        self._came.set()

    def answer(self, wait_s: float) -> T | None:
        """Return what it came to, None where that is not known within `wait_s` seconds.

        Raises:
            BaseException: What the call raised.
        """
        if not self._came.wait(wait_s):
            return None
        kind, value = self._told[0]
        if kind == "error":
            raise value
        return value  # type: ignore[no-any-return]  # what the call gave
