"""How long an attempt is waited for: the whole of it, and from one piece of progress to the next.

A sync call under a limit is made in a thread of its own with the caller's context, an async one in a
task, so that the caller goes on in time whatever the call does. Where langroute built the client the
socket is shut and the call ends; one on a given model may go on unheard, so how many do is bounded and
counted.
"""

import asyncio
import contextvars
import queue
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from langroute.errors import AbandonedCalls
from langroute.leaving import ends_with_the_process

__all__ = [
    "ABANDONED",
    "IDLE_S",
    "NO_LIMITS",
    "Limits",
    "Watch",
    "Worker",
    "aitems",
    "awhole",
    "cancellations",
    "items",
    "nothing",
    "whole",
]

T = TypeVar("T")

IDLE_S = 60.0
"""Seconds of a stream without content, after its first, after which it counts as dead."""

MOST_ABANDONED = 20
"""Late calls on one endpoint that may still be running, unheard; beyond them it is not called."""

_GRACE_S = 0.02
"""Seconds in which a task that was cancelled may end by itself, before it is left behind."""


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
    tasks: "set[asyncio.Task[Any]]" = field(default_factory=set)
    """Those of them that are awaited nowhere: an event loop itself does not hold on to its tasks."""
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


class Worker:
    """One call in a thread of its own; what it gives, and how it ends, is put where somebody waits for it."""

    def __init__(
        self, endpoint: str, work: Callable[["Worker"], None], put: Callable[[tuple[str, Any]], None]
    ) -> None:
        ABANDONED.check(endpoint)
        self.left = False
        """Whether nobody waits any more."""
        self._endpoint = endpoint
        self._work = work
        self._put = put
        self._lock = threading.Lock()
        self._done = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="langroute-call", daemon=True
        )
        self._thread.start()

    def give(self, kind: str, value: Any) -> None:
        """Hand something to whoever waits."""
        self._put((kind, value))

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
        ends_with_the_process(self._thread)
        hang_up()


def whole(call: Callable[[], T], total_s: float, endpoint: str, hang_up: Callable[[], None]) -> T:
    """Make a call and wait for it at most `total_s` seconds.

    Raises:
        TimeoutError: It is late.
        AbandonedCalls: Too many late calls are still running on the endpoint.
    """
    given: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    worker = Worker(endpoint, lambda worker: worker.give("item", call()), given.put)
    try:
        kind, value = given.get(timeout=total_s)
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

    def work(worker: Worker) -> None:
        iterator = source()
        try:
            for item in iterator:
                worker.give("item", item)
                if worker.left:
                    break
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    given: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    worker, watch = Worker(endpoint, work, given.put), Watch(limits, clock)
    kind = ""
    try:
        while True:
            kind, value = given.get(timeout=watch.start())
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


async def awhole(
    call: Callable[[], Awaitable[T]],
    total_s: float | None,
    endpoint: str,
    context: contextvars.Context | None = None,
) -> T:
    """Await a call in a task of its own at most `total_s` seconds; one that nobody awaits is cancelled.

    Args:
        call: Makes the call.
        total_s: Seconds; None for as long as it takes, or until the caller is cancelled.
        endpoint: Under which name the call counts where it goes on all the same.
        context: Context of the task; a copy of the caller's when not given.

    Raises:
        TimeoutError: It is late.
        AbandonedCalls: Too many calls that go on so are still running on the endpoint.
    """

    async def told() -> tuple[str, Any]:
        try:
            return "item", await call()
        except BaseException as error:
            return "error", error

    ABANDONED.check(endpoint)
    task = asyncio.get_running_loop().create_task(told(), context=context)
    try:
        done, _ = await asyncio.wait({task}, timeout=total_s)
    except asyncio.CancelledError:
        await _leave(task, endpoint)
        raise
    if not done:
        await _leave(task, endpoint)
        raise TimeoutError(f"no reply within {total_s:.3g} s")
    kind, value = task.result()
    if kind == "error":
        raise value
    return value  # type: ignore[no-any-return]  # what `call` gave


class _Reader:
    """A stream that is read in a task of its own, each item when it is asked for; they come by a queue."""

    def __init__(self, source: Callable[[], AsyncGenerator[Any, None]], endpoint: str) -> None:
        ABANDONED.check(endpoint)
        self.given: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._endpoint = endpoint
        self._wanted = asyncio.Semaphore(0)
        self._left = False
        self._task = asyncio.get_running_loop().create_task(self._read(source))

    async def _read(self, source: Callable[[], AsyncGenerator[Any, None]]) -> None:
        try:
            async with aclosing(source()) as opened:
                async for item in opened:
                    self.given.put_nowait(("item", item))
                    await self._wanted.acquire()
                    if self._left:  # and the source swallowed that
                        break
        except BaseException as error:
            self.given.put_nowait(("error", error))
        else:
            self.given.put_nowait(("end", None))

    def go_on(self) -> None:
        """Read the next item."""
        self._wanted.release()

    async def leave(self) -> None:
        """Wait no more."""
        self._left = True
        self.go_on()
        await _leave(self._task, self._endpoint)


async def aitems(
    source: Callable[[], AsyncGenerator[T, None]],
    progress: Callable[[T], bool],
    limits: Limits,
    endpoint: str,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[T, None]:
    """Yield what `source` gives, in a task of its own in the running event loop; otherwise as `items`."""
    reader, watch, kind = _Reader(source, endpoint), Watch(limits, clock), ""
    try:
        while True:
            try:
                async with asyncio.timeout(watch.start()):
                    kind, value = await reader.given.get()
            except TimeoutError:
                raise TimeoutError("the reply came to a standstill") from None
            if kind == "error":
                raise value
            if kind == "end":
                return
            watch.stop(progress=progress(value))
            yield value
            reader.go_on()
    finally:
        if kind in ("", "item"):
            await reader.leave()


async def _leave(task: "asyncio.Task[Any]", endpoint: str) -> None:
    """Cancel a task that nobody waits for any more; one that goes on all the same is counted."""
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=_GRACE_S)
    finally:
        if not task.done():
            ABANDONED.left(endpoint)
            ABANDONED.tasks.add(task)
            task.add_done_callback(ABANDONED.tasks.discard)
            task.add_done_callback(partial(_ended, endpoint))


def _ended(endpoint: str, task: "asyncio.Task[Any]") -> None:  # noqa: ARG001 - the host gives it
    ABANDONED.ended(endpoint)


def nothing() -> None:
    """Hang up nothing: the call ends by itself."""


def cancellations() -> int:
    """Return how often the running task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
