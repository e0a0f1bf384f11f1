"""Work beside the calls: a bounded queue and one daemon thread for all of a store's routers in a process.

Whoever hands a job over never waits for one. A program's end waits for the job under way, `LAST_WORDS_S` at
most, and tells those that have not begun that they never will.
"""

import threading
from collections import deque
from contextlib import suppress
from typing import Protocol

from langroute.ledger.store import OnePerStore, Store

__all__ = ["LAST_WORDS_S", "MOST_JOBS", "Aside", "Job", "aside"]

MOST_JOBS = 100
"""Jobs that may wait; each keeps its prompt alive."""

LAST_WORDS_S = 2.0
"""Seconds that a program's end waits for the job under way."""


class Job(Protocol):
    """Something to be done once; neither method may raise."""

    def do(self) -> None:
        """Do it, in the thread."""

    def drop(self, why: str) -> None:
        """Take note that it will not be done."""


class Aside:
    """Does jobs one after the other.

    Args:
        most_jobs: How many may wait.
    """

    def __init__(self, most_jobs: int = MOST_JOBS) -> None:
        self._most_jobs = most_jobs
        self.be_born()

    def be_born(self) -> None:
        """Begin with nothing to do: also in the child of a fork, whose parent does what waited."""
        self._news = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._busy = self._ending = False
        self.thread: threading.Thread | None = None
        """The thread, from the first job on."""

    def put(self, job: Job) -> None:
        """Hand a job over; one that finds no room is dropped."""
        with self._news:
            why = "the program ends" if self._ending else "too many wait already"
            taken = not self._ending and len(self._jobs) < self._most_jobs
            if taken:
                self._jobs.append(job)
                self._news.notify_all()
                if self.thread is None:
                    self.thread = threading.Thread(target=self._work, name="langroute-aside", daemon=True)
                    self.thread.start()
        if not taken:
            job.drop(why)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing waits and nothing is under way; return whether that is so."""
        with self._news:
            return self._news.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def end(self) -> None:
        """Drop what waits, and wait a moment for what is under way."""
        with self._news:
            self._ending = True
            left = list(self._jobs)
            self._jobs.clear()
        for job in left:
            job.drop("the program ends")
        self.flush(LAST_WORDS_S)

    def _work(self) -> None:
        while True:
            with self._news:
                self._busy = False
                self._news.notify_all()
                self._news.wait_for(lambda: self._jobs)
                job, self._busy = self._jobs.popleft(), True
            with suppress(Exception):
                job.do()


_ASIDES = OnePerStore(lambda _: Aside(), born=Aside.be_born, end=Aside.end)


def aside(store: Store) -> Aside:
    """Return where a store's routers have their work done; the same object for the same store."""
    return _ASIDES.of(store)
