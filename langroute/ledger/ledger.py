"""`Ledger`: the decisions of every router that writes to one store, and what was said of them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from langroute.effects import Io, beside
from langroute.ledger import reading
from langroute.ledger.costs import Bill, bills
from langroute.ledger.export import FORMATS, Format, export
from langroute.ledger.feedback import feedback_of, give, langsmith_record
from langroute.ledger.pruning import prune
from langroute.ledger.reading import Filter
from langroute.ledger.records import DecisionRecord, FeedbackRecord
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

    def keep_days(self, days: float) -> None:
        """Delete decisions older than so many days, now and then; the fewest days asked for count."""
        self._writer.keep_s = min(days * 86_400.0, self._writer.keep_s or float("inf"))

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

    def feedback(
        self,
        decision: Any = None,
        *,
        run: Any = None,
        thread: Any = None,
        score: float,
        source: str = "user",
        comment: str | None = None,
        id: str | None = None,
    ) -> FeedbackRecord:
        """Keep how good somebody found a decision, a run or a thread; return the record, committed.

        What is said of a run or a thread reaches every decision in it: `DecisionRecord.feedback` has it.

        Args:
            decision: A call id, or the reply that carries it.
            run: A run's id, as `DecisionRecord.run` has it.
            thread: A thread's id.
            score: In [0, 1]: 0 is wrong, 1 is right.
            source: Who says so: `user`, `judge`, `test`, or a name of your own.
            comment: What else was said; it is kept as it is.
            id: Its own id, so that giving it twice counts once; made up when not given.

        Raises:
            ValueError: It is about nothing or about several things, or the score is not in [0, 1].
            LedgerError: The store did not take it.
        """
        record = feedback_of(score, source, comment, id, decision=decision, run=run, thread=thread)
        give(self.store, [record])
        return record

    def langsmith_feedback(self, given: Iterable[Any]) -> int:
        """Keep what `langsmith.Client().list_feedback(...)` yields, each once; return how many had a score.

        It is about runs: give your graph a `run_id` in its config, and LangSmith's trace has the same id.

        Raises:
            LedgerError: The store did not take it.
        """
        records = (langsmith_record(feedback) for feedback in given)
        return give(self.store, [record for record in records if record is not None])

    def costs(self, by: str | None = None, wanted: Filter | None = None, **named: Any) -> list[Bill]:
        """Return what decisions cost and what other tiers would have, dearest first.

        Args:
            by: `step`, `node`, `run`, `thread`, `policy`, `outcome`, `tier`, `key:NAME` for a metadata key,
                or `endpoint` for what each endpoint was paid; each group is in memory. One line for
                everything when not given.
            wanted: Which decisions; all when neither it nor a name is given.
            **named: The fields of `Filter`, in its place.

        Raises:
            ValueError: `by` is none of these.
        """
        return bills(self.store, by, wanted or Filter(**named))

    def export(
        self,
        path: "str | Path",
        format: Format | None = None,
        wanted: Filter | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Write decisions to a file, as `langroute.ledger.export.export` does; return how many there were.

        Args:
            path: The file; its ending says the format when that is not given.
            format: `jsonl` or `parquet` (`pip install 'langroute[parquet]'`).
            wanted: Which decisions; all when not given.
            progress: Called with the count so far, now and then.

        Raises:
            ValueError: Neither says a format.
            LedgerError: Parquet was asked for, and pyarrow is not installed.
            LangrouteError: The file cannot be written.
        """
        target = Path(path)
        chosen: Any = format or target.suffix.removeprefix(".")
        if chosen not in FORMATS:
            raise ValueError(f"no format is known by {target.name!r}: end it with .jsonl or .parquet")
        return export(self.decisions(wanted), target, chosen, progress)

    def prune(self, before_s: float) -> int:
        """Delete decisions finished before a moment, in Unix seconds, with all that belongs to them.

        Returns:
            How many decisions that were.
        """
        return prune(self.store, before_s)

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
