"""How long an attempt is waited for: the whole of it, and from one piece of progress to the next.

A sync call under a limit is made in a thread of its own with the caller's context, so that the caller
goes on in time whatever the call does. Where langroute built the client the socket is shut and the
thread ends; a call on a given model may go on unheard, so how many do is bounded and counted.
"""

import asyncio
import contextvars
import queue
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langroute.errors import AbandonedCalls

__all__ = [
    "ABANDONED",
    "IDLE_S",
    "NO_LIMITS",
    "Limits",
    "Watch",
    "aitems",
    "awhole",
    "cancellations",
    "items",
    "whole",
]

T = TypeVar("T")

IDLE_S = 60.0
"""Seconds of a stream without content, after its first, after which it counts as dead."""

MOST_ABANDONED = 20
"""Late calls on one endpoint that may still be running, unheard; beyond them it is not called."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt may take."""

    total_s: float | None = None
    """Seconds of waiting for the whole attempt; time in which a caller lets a stream lie is not counted."""
    idle_s: float | None = None
    """Seconds of waiting from one piece of content to the next; what brings none is no progress.

    It begins with the first content: before that, a model may think as long as the whole may take.
    """

    def __bool__(self) -> bool:
        return self.total_s is not None or self.idle_s is not None


NO_LIMITS = Limits()


class Watch:
    """Counts how long one stream has been waited for."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._waited_s = 0.0
        self._idle_s = 0.0
        self._from_s = 0.0
        self._begun = False

    def start(self) -> float | None:
        """Begin to wait; return the seconds that this wait may last, None for any."""
        self._from_s = self._clock()
        total_s = self._limits.total_s
        idle_s = self._limits.idle_s if self._begun else None
        left = [
            limit - passed
            for limit, passed in ((total_s, self._waited_s), (idle_s, self._idle_s))
            if limit is not None
        ]
        return max(min(left), 0.0) if left else None

    def stop(self, *, progress: bool) -> None:
        """End the wait; `progress` tells whether it brought content."""
        waited_s = self._clock() - self._from_s
        self._waited_s += waited_s
        self._begun = self._begun or progress
        self._idle_s = 0.0 if progress else self._idle_s + waited_s


@dataclass
class Abandoned:
    """The late calls that still run, by endpoint."""

    running: Counter[str] = field(default_factory=Counter)
    total: int = 0
    """How many were ever left behind."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, endpoint: str) -> None:
        """Refuse a call on an endpoint that has too many of them.

        Raises:
            AbandonedCalls: It has.
        """
        if self.running[endpoint] >= MOST_ABANDONED:
            raise AbandonedCalls(f"{endpoint}: {MOST_ABANDONED} late calls are still running on it")

    def left(self, endpoint: str) -> None:
        """Count one call that was left behind."""
        with self._lock:
            self.running[endpoint] += 1
            self.total += 1

    def ended(self, endpoint: str) -> None:
        """Count one of them less: it has come to its end."""
        with self._lock:
            self.running[endpoint] -= 1
            self.running += Counter()  # drops what fell to 0


ABANDONED = Abandoned()
"""Late calls of this process that are still running."""


class _Worker:
    """One call in a thread of its own; what it gives comes through a queue."""

    def __init__(self, endpoint: str, work: Callable[["_Worker"], None]) -> None:
        ABANDONED.check(endpoint)
        self.given: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.left = False
        """Whether nobody waits any more."""
        self._endpoint = endpoint
        self._work = work
        self._lock = threading.Lock()
        self._done = False
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name="langroute-call", daemon=True).start()

    def give(self, kind: str, value: Any) -> None:
        """Hand something to whoever waits."""
        self.given.put((kind, value))

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as error:
            ending: tuple[str, Any] = ("error", error)
        else:
            ending = ("end", None)
        with self._lock:
            self._done = True
            if self.left:
                ABANDONED.ended(self._endpoint)
        self.give(*ending)

    def leave(self, hang_up: Callable[[], None]) -> None:
        """Wait no more; a call that is still running is hung up and counted."""
        with self._lock:
            if self._done:
                return
            self.left = True
            ABANDONED.left(self._endpoint)
        hang_up()


def whole(call: Callable[[], T], total_s: float, endpoint: str, hang_up: Callable[[], None]) -> T:
    """Make a call and wait for it at most `total_s` seconds.

    Raises:
        TimeoutError: It is late.
        AbandonedCalls: Too many late calls are still running on the endpoint.
    """
    worker = _Worker(endpoint, lambda worker: worker.give("item", call()))
    try:
        kind, value = worker.given.get(timeout=total_s)
    except BaseException as error:
        worker.leave(hang_up)
        if not isinstance(error, queue.Empty):
            raise
        raise TimeoutError(f"no reply within {total_s:.3g} s") from None
    if kind == "error":
        raise value
    return value  # type: ignore[no-any-return]  # what `call` gave


def items(
    source: Callable[[], Iterator[T]],
    progress: Callable[[T], bool],
    limits: Limits,
    endpoint: str,
    hang_up: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> Generator[T, None, None]:
    """Yield what `source` gives, waiting no longer than `limits` allow.

    Raises:
        TimeoutError: An item, or the progress of several, is late.
        AbandonedCalls: As in `whole`.
    """

    def work(worker: _Worker) -> None:
        iterator = source()
        try:
            for item in iterator:
                worker.give("item", item)
                if worker.left:
                    break
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    worker, watch = _Worker(endpoint, work), Watch(limits, clock)
    kind = ""
    try:
        while True:
            kind, value = worker.given.get(timeout=watch.start())
            if kind == "error":
                raise value
            if kind == "end":
                return
            watch.stop(progress=progress(value))
            yield value
    except queue.Empty:
        raise TimeoutError("the reply came to a standstill") from None
    finally:
        if kind in ("", "item"):
            worker.leave(hang_up)


async def awhole(call: Awaitable[T], total_s: float) -> T:
    """Await a call at most `total_s` seconds; a late one is cancelled.

    Raises:
        TimeoutError: It is late.
    """
    try:
        async with asyncio.timeout(total_s) as limit:
            return await call
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"no reply within {total_s:.3g} s") from error
        raise


async def aitems(
    source: AsyncIterator[T],
    progress: Callable[[T], bool],
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[T, None]:
    """Yield what `source` gives in the running event loop; otherwise as `items`."""
    watch = Watch(limits, clock)
    while True:
        async with asyncio.timeout(watch.start()) as limit:
            try:
                item = await anext(source)
            except StopAsyncIteration:
                return
        if limit.expired():
            # `wait_for` of Python 3.11 swallows the limit where it meets a chunk.
            raise TimeoutError("the reply came to a standstill")
        watch.stop(progress=progress(item))
        yield item


def cancellations() -> int:
    """Return how often the running task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
