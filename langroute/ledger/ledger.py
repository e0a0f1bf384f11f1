"""`Ledger`: the decisions of every router that writes to one store, and what was said of them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from langroute.effects import Io, beside
from langroute.ledger import reading
from langroute.ledger.reading import Filter
from langroute.ledger.records import DecisionRecord
from langroute.ledger.store import Store, open_store
from langroute.ledger.writer import LAST_WORDS_S, Counts, Entry, writer

__all__ = ["Ledger", "open_ledger"]


class Ledger:
    """The decisions in one store; routers that are given it, or its URL, write to it.

    Args:
        where: A URL as `langroute.ledger.open_store` takes it, or the path of a SQLite file.
        writing: `async` hands each decision to a writer in the background, in less than 10 us of the
            caller's time: a process that is killed loses what it decided in the last moments. `sync` writes
            before the reply is returned: what was acknowledged survives a `kill -9`; it costs a commit.

    Raises:
        LedgerError: The store cannot be opened.

    Example:
        ```python
        with Ledger("langroute.db") as ledger:
            model = RoutedChatModel("langroute.yaml", ledger=ledger)
            model.invoke("Hi")
            ledger.flush()
            print(next(ledger.decisions(step="synthesis")).cost_usd)
        ```
    """

    def __init__(self, where: "str | Path | Store", writing: Literal["async", "sync"] = "async") -> None:
        if writing not in ("async", "sync"):
            raise ValueError(f"writing is {writing!r}: write 'async' or 'sync'")
        self.store = open_store(_url(where))
        self.writing = writing
        self._writer = writer(self.store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """What became of the decisions that this process handed over to the store."""
        return self._writer.counts

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what was decided so far is written or given up; return whether it is.

        Args:
            timeout_s: Seconds to wait at most; None waits as long as the store needs.
        """
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float | None = LAST_WORDS_S) -> bool:
        """Flush, give up what the store does not take in time, and close its connections.

        Returns:
            Whether everything was written. A router that still writes opens the store again.
        """
        done = self._writer.close(timeout_s)
        self.store.close()
        return done

    # Writing ------------------------------------------------------------------------------------------

    def keep(self, entry: Entry) -> Io | None:
        """Hand a finished decision over; return what its reply must wait for, None for nothing.

        Nothing here fails or waits for the store; the effect waits, beside a running loop, and never fails.
        """
        if self.writing == "async":
            self._writer.put(entry)
            return None
        return beside(lambda: self._writer.write_now(entry), None)

    def keep_at_once(self, entry: Entry) -> None:
        """Hand over a decision without a reply that could wait; a running loop does not wait for it."""
        if self.writing == "async" or _looping():
            self._writer.put(entry)
        else:
            self._writer.write_now(entry)

    # Reading ------------------------------------------------------------------------------------------

    def decisions(self, wanted: Filter | None = None, **named: Any) -> Iterator[DecisionRecord]:
        """Yield decisions with their attempts, oldest first; a page of them is in memory at a time.

        Args:
            wanted: Which ones; all when neither it nor a name is given.
            **named: The fields of `Filter`, in its place: `ledger.decisions(step="synthesis")`.
        """
        return reading.decisions(self.store, wanted or Filter(**named))


def open_ledger(where: "Ledger | Store | str | Path") -> Ledger:
    """Return the ledger at `where`; a ledger is returned as it is.

    Raises:
        LedgerError: It cannot be opened.
    """
    return where if isinstance(where, Ledger) else Ledger(where)


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _url(where: Any) -> Any:
    if isinstance(where, Path) or (isinstance(where, str) and where and "://" not in where):
        return f"sqlite:///{where}"
    return where
