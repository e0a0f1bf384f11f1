"""What a report asks of a store: whether it is there, how many decisions it has, and their labels."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from langroute.errors import LedgerError
from langroute.ledger.reading import DECISIONS, FEEDBACK, Filter, conditions, decisions
from langroute.ledger.records import DecisionRecord
from langroute.ledger.rows import identifier
from langroute.ledger.store import Store, open_store

__all__ = ["count", "existing_store", "labelled"]

_PAGE = 500
"""Decisions whose labels are looked up together."""


def existing_store(where: str) -> Store:
    """Return the store at a URL, or at the path of a SQLite file; one that is not there is not made.

    Raises:
        LedgerError: There is none, or it cannot be opened.
    """
    url = where if "://" in where else f"sqlite:///{where}"
    try:
        given = make_url(url)
    except (ArgumentError, ValueError):
        return open_store(url)  # which says what is wrong with it
    if given.get_backend_name() == "sqlite" and given.database and not Path(given.database).is_file():
        raise LedgerError(
            f"there is no ledger at {given.database}: name the file that a router's `ledger=` or"
            " LANGROUTE_LEDGER names"
        )
    return open_store(url)


def count(store: Store, wanted: Filter) -> int:
    """Return how many decisions are wanted."""
    with store.statements() as connection:
        asked = select(func.count()).select_from(DECISIONS).where(*conditions(wanted))
        return connection.scalar(asked) or 0


def labelled(store: Store, wanted: Filter) -> Iterator[tuple[DecisionRecord, float | None]]:
    """Yield the decisions wanted, oldest first, each with its label; a page of them is in memory at a time.

    The label is the mean score of the feedback on the decision itself; without any, of that on its run;
    without that, on its thread; None without any at all.
    """
    found = decisions(store, wanted)
    while page := list(islice(found, _PAGE)):
        scores = [
            (name, _scores(store, column, (getattr(record, name) for record in page)))
            for name, column in (
                ("id", FEEDBACK.c.decision),
                ("run", FEEDBACK.c.run),
                ("thread", FEEDBACK.c.thread),
            )
        ]
        for record in page:
            known = (of.get(getattr(record, name)) for name, of in scores)
            yield record, next((score for score in known if score is not None), None)


def _scores(store: Store, column: ColumnElement[Any], ids: Iterable[str | None]) -> dict[str, float]:
    """Return id to the mean score of what was said about it."""
    asked = {identifier(name): name for name in ids if name is not None}
    if not asked:
        return {}
    with store.statements() as connection:
        means = select(column, func.avg(FEEDBACK.c.score)).where(column.in_(list(asked))).group_by(column)
        rows: Sequence[Any] = connection.execute(means).all()
    return {asked[row[0]]: float(row[1]) for row in rows}
