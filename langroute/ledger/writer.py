"""The background writer: decisions wait in a bounded queue, and a thread writes them in batches.

A caller only appends to the queue. What is lost: when the process is killed, what was decided in the last
moments (`PAUSE_S` and one write); when the store stays away so long that the queue is full, what comes
then; at a program's end, what the store does not take within `LAST_WORDS_S`. All but the first is counted.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import exc

from langroute.ledger.pruning import prune
from langroute.ledger.records import DecisionRecord
from langroute.ledger.rows import write
from langroute.ledger.store import OnePerStore, Store
from langroute.redaction import redact

__all__ = ["LAST_WORDS_S", "MOST_CHARS", "MOST_ENTRIES", "PAUSE_S", "Counts", "Entry", "Writer", "writer"]

_log = logging.getLogger(__name__)

MOST_ENTRIES = 20_000
"""Decisions that may wait: at 1,000 a second, a store may be away for 20 s before one is dropped."""

MOST_CHARS = 100_000_000
"""Characters of the prompts that may wait with them, for they are kept alive as long."""

PAUSE_S = 0.05
"""Seconds for which decisions are gathered before they are written."""

LAST_WORDS_S = 10.0
"""Seconds that a program's end waits for what is not written yet."""

_PRUNED_EVERY_S = 3_600.0

_BATCH = 1_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
"""Seconds between two tries of a store that is away; each wait is twice the one before."""

_AWAY = exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError
"""The store cannot be asked, or not now: locked, full, gone. Any other error is the row's own."""


class Entry(Protocol):
    """A finished decision whose record is made when it is written."""

    @property
    def rows(self) -> int:
        """How many rows it will be."""

    @property
    def chars(self) -> int:
        """Characters of the prompt that it keeps alive."""

    def record(self) -> DecisionRecord:
        """Return the record."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What has become of the decisions handed over in this process; a shadow's row counts as one."""

    written: int = 0
    """Decisions that were written."""
    waiting: int = 0
    """Decisions that are neither written nor dropped yet."""
    dropped: int = 0
    """Decisions that were not written, and never will be."""
    rows_dropped: int = 0
    """Rows of those: each decision and its attempts."""
    failures: int = 0
    """Writes that failed; most are tried again."""


class Writer:
    """Writes to one store; one a store and process, made by `writer`.

    Args:
        store: The store.
        most_entries: How many decisions may wait.
        most_chars: Characters of the prompts that may wait with them.
    """

    def __init__(self, store: Store, most_entries: int = MOST_ENTRIES, most_chars: int = MOST_CHARS) -> None:
        self.store = store
        self._most_entries, self._most_chars = most_entries, most_chars
        self.be_born()

    def be_born(self) -> None:
        """Begin with nothing to write: also in the child of a fork, whose parent writes what waited."""
        self._written = self._dropped = self._rows_dropped = self._failures = 0
        self._in_work = 0
        self.keep_s: float | None = None
        """Seconds for which decisions are kept; None keeps them."""
        self.pruner: threading.Thread | None = None
        """The thread that deletes what is too old, from the first time on."""
        self._pruned_at_s = -_PRUNED_EVERY_S
        self.thread: threading.Thread | None = None
        """The writing thread, from the first decision on."""
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._queue: deque[tuple[Entry, int]] = deque()
        self._chars = 0
        self._asleep = False
        self._hurried = 0
        self._ending = False
        self._warned = False

    # The callers' side --------------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """Hand a decision over; never waits for the store, and drops what finds no room.

        It takes no lock: the writer looks at the queue once more after it has said that it sleeps or ends.
        """
        chars = entry.chars
        if len(self._queue) >= self._most_entries or self._chars + chars > self._most_chars:
            self._refuse(entry)
            return
        self._chars += chars  # the writer counts anew: what two threads add at once may be lost until then
        self._queue.append((entry, chars))
        if self._asleep or self.thread is None:
            self._wake()

    def _refuse(self, entry: Entry) -> None:
        with self._lock:
            self._drop(entry)
            warn = self._first_warning()
        if warn:
            self._warn("its queue is full")

    def _wake(self) -> None:
        with self._news:
            self._asleep = False
            self._news.notify_all()
            if self.thread is None:
                self.thread = threading.Thread(target=self._writing, name="langroute-ledger", daemon=True)
                self.thread.start()

    @property
    def counts(self) -> Counts:
        """What has become of what was handed over."""
        with self._lock:
            waiting = len(self._queue) + self._in_work
            return Counts(self._written, waiting, self._dropped, self._rows_dropped, self._failures)

    def write_now(self, entry: Entry) -> None:
        """Write a decision in the calling thread; what the store does not take is left to the writer."""
        try:
            record = entry.record()
            with self.store.transaction() as connection:
                write(connection, [record])
        except Exception as error:
            self._failed(error)
            self.put(entry)
            return
        with self._lock:
            self._written += 1
        self._prune_soon()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what was handed over before is written or dropped; return whether it is.

        Args:
            timeout_s: Seconds to wait at most; None waits as long as the store needs.
        """
        with self._news:
            target = self._settled + len(self._queue) + self._in_work
            self._hurried += 1
            self._asleep = False
            self._news.notify_all()
            try:
                return self._news.wait_for(lambda: self._settled >= target, timeout_s)
            finally:
                self._hurried -= 1

    def close(self, timeout_s: float | None = LAST_WORDS_S) -> bool:
        """Write what waits, drop what the store does not take in time, and end the thread."""
        done = self.flush(timeout_s)
        with self._news:
            self._ending = True
            self._asleep = False
            self._news.notify_all()
            thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        with self._lock:
            self._ending = False
        return done

    # The writing thread -------------------------------------------------------------------------------

    @property
    def _settled(self) -> int:
        return self._written + self._dropped

    def _writing(self) -> None:
        """Write batch after batch, until the writer is closed."""
        while (batch := self._next()) is not None:
            if batch:
                self._write_out(batch)

    def _next(self) -> list[Entry] | None:
        """Return the next batch once it has gathered; None when the writer is closed."""
        with self._news:
            self._gather()
            while not self._queue and not self._ending:
                # While this thread is awake nobody wakes it: callers pay for that after a quiet while alone.
                self._asleep = True
                self._news.wait_for(lambda: not self._asleep or self._queue)
                self._asleep = False
                self._gather()
            if not self._queue:
                thread, self.thread = self.thread, None
                if not self._queue:
                    return None
                self.thread = thread
            batch = [self._queue.popleft()[0] for _ in range(min(len(self._queue), _BATCH))]
            self._chars = sum([chars for _, chars in list(self._queue)])
            self._in_work = len(batch)
            return batch

    def _gather(self) -> None:
        """Wait a moment for more; with the lock held, which others get meanwhile."""
        if len(self._queue) < _BATCH:
            self._news.wait_for(lambda: self._hurried or self._ending, PAUSE_S)

    def _write_out(self, batch: list[Entry]) -> None:
        """Write a batch, as often as it takes; what can never be written is dropped."""
        left: list[tuple[Entry, DecisionRecord]] = []
        for entry in batch:
            try:
                left.append((entry, entry.record()))
            except Exception as error:
                self._give_up([entry], error)
        wait_s, at_once = _FIRST_WAIT_S, len(left)
        while left:
            some = left[:at_once]
            try:
                with self.store.transaction() as connection:
                    write(connection, [record for _, record in some])
            except _AWAY as error:
                self._failed(error)
                with self._news:
                    self._news.wait_for(lambda: self._ending, wait_s)
                    given_up = self._ending
                if given_up:
                    self._give_up([entry for entry, _ in left], error)
                    return
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            except Exception as error:
                if at_once > 1:  # one of them is at fault: the others are written alone
                    at_once = 1
                    continue
                self._give_up([some[0][0]], error)
                del left[0]
            else:
                del left[:at_once]
                self._done(len(some))
        self._prune_soon()

    def _prune_soon(self) -> None:
        """Delete what is too old, once an hour, in a thread of its own."""
        with self._lock:
            now_s = time.monotonic()
            if self.keep_s is None or now_s < self._pruned_at_s + _PRUNED_EVERY_S:
                return
            self._pruned_at_s = now_s
            self.pruner = threading.Thread(target=self._prune, name="langroute-prune", daemon=True)
        self.pruner.start()

    def _prune(self) -> None:
        try:
            prune(self.store, time.time() - (self.keep_s or 0.0))
        except Exception as error:
            self._failed(error)

    def _done(self, count: int) -> None:
        with self._news:
            self._written += count
            self._in_work -= count
            self._news.notify_all()

    def _give_up(self, entries: list[Entry], error: Exception) -> None:
        with self._news:
            self._failures += 1
            self._in_work -= len(entries)
            for entry in entries:
                self._drop(entry)
            self._news.notify_all()
            warn = self._first_warning()
        if warn:
            self._warn(f"it did not take them: {_name(error)}")

    def _failed(self, error: Exception) -> None:
        """Count a write that failed, and warn of the first."""
        with self._lock:
            self._failures += 1
            warn = self._first_warning()
        if warn:
            self._warn(f"it cannot be written: {_name(error)}")

    def _drop(self, entry: Entry) -> None:
        self._dropped += 1
        self._rows_dropped += entry.rows

    def _first_warning(self) -> bool:
        first, self._warned = not self._warned, True
        return first

    def _warn(self, why: str) -> None:
        _log.warning(
            "The ledger %s is behind, %s. Calls go on; decisions wait in memory, and those that find no room"
            " are dropped and counted (`Ledger.counts`).",
            self.store.name,
            why,
        )


def _name(error: Exception) -> str:
    """Return what may be said of an error: its text could hold a row's."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    return (
        f"{type(cause).__name__}: {redact(str(cause)).strip()}"
        if isinstance(error, _AWAY)
        else type(cause).__name__
    )


def _made(store: Store) -> Writer:
    made = Writer(store)
    store.before_close.append(made.close)
    return made


_WRITERS = OnePerStore(_made, born=Writer.be_born, end=lambda found: found.store.close())


def writer(store: Store) -> Writer:
    """Return the writer of a store; the same object for the same store."""
    return _WRITERS.of(store)
