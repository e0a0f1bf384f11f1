"""Feedback: how good somebody found a decision, a run or a thread."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from langroute.errors import LedgerError
from langroute.ledger.reading import DECISIONS, FEEDBACK
from langroute.ledger.records import FeedbackRecord
from langroute.ledger.rows import identifier, record_of, write
from langroute.ledger.store import Store

__all__ = ["Kept", "correct", "feedback_of", "give", "langsmith_record", "unknown"]

_ABOUT = ("decision", "run", "thread")

_AT_ONCE = 500
"""Ids that one statement names."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of feedback that may have been given before."""

    new: int
    changed: int
    """Given before with another score, comment or propensity; what is given now stands."""
    same: int
    """There already."""


def feedback_of(
    score: float,
    source: str,
    comment: str | None = None,
    id: str | None = None,
    given_at_s: float | None = None,
    propensity: float | None = None,
    **about: Any,
) -> FeedbackRecord:
    """Return the record of one piece of feedback, checked.

    Raises:
        ValueError: It is about nothing, an empty name or several things; or the score is not in [0, 1].
    """
    said = {name: _id(value) for name, value in about.items() if value is not None}
    if len(said) != 1:
        given = " and ".join(said) or "nothing"
        raise ValueError(f"feedback is about one decision, run or thread, and this is about {given}")
    if not all(said.values()):
        raise ValueError(f"the name of the {next(iter(said))} is empty: say which one feedback is about")
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise ValueError(f"the score is {score!r}: give a number from 0 (wrong) to 1 (right)")
    if not source:
        raise ValueError("say whose feedback it is: source='user', 'judge', 'test', or a name of your own")
    return FeedbackRecord(
        id=id or uuid4().hex,
        given_at_s=time.time() if given_at_s is None else given_at_s,
        **{name: said.get(name) for name in _ABOUT},
        score=float(score),
        source=source,
        comment=comment,
        propensity=propensity,
    )


def _id(about: Any) -> str:
    """Return an id; that of a reply is in its metadata."""
    record = getattr(about, "response_metadata", {}).get("langroute")
    return str(record["call_id"] if isinstance(record, Mapping) else about)


def langsmith_record(feedback: Any) -> FeedbackRecord | None:
    """Return LangSmith's feedback as ours, None where it has no score; it is about the run of its trace.

    Args:
        feedback: What `langsmith.Client().list_feedback(...)` yields: an object with `id`, `score`, `run_id`,
            and where it has them `trace_id`, `key`, `comment`, `created_at`. A score outside [0, 1] is cut.
    """
    if feedback.score is None:
        return None
    run = getattr(feedback, "trace_id", None) or feedback.run_id
    created = getattr(feedback, "created_at", None)
    key, comment = getattr(feedback, "key", None), getattr(feedback, "comment", None)
    return feedback_of(
        min(max(float(feedback.score), 0.0), 1.0),
        "langsmith",
        ": ".join(str(part) for part in (key, comment) if part) or None,
        f"langsmith-{feedback.id}",
        None if created is None else created.timestamp(),
        run=run,
    )


def give(store: Store, given: Iterable[FeedbackRecord]) -> int:
    """Commit feedback, each id once, and return how many there were.

    Raises:
        LedgerError: The store did not take it.
    """
    records = list(given)
    try:
        with store.transaction() as connection:
            write(connection, records)
    except SQLAlchemyError as error:
        raise LedgerError(f"{store.name} did not take the feedback: {type(error).__name__}") from None
    return len(records)


def correct(store: Store, given: Iterable[FeedbackRecord]) -> Kept:
    """Commit feedback in the place of what stands under the same ids, all of it or none.

    Raises:
        LedgerError: The store did not take it.
    """
    wanted = {identifier(record.id): record for record in given}
    try:
        with store.transaction() as connection:
            there: dict[str, FeedbackRecord] = {}
            for ids in _some(wanted):
                for row in connection.execute(select(FEEDBACK).where(FEEDBACK.c.id.in_(ids))):
                    there[row.id] = record_of(FeedbackRecord, row)
            changed = {at for at, old in there.items() if _said(old) != _said(wanted[at])}
            for ids in _some(changed):
                connection.execute(delete(FEEDBACK).where(FEEDBACK.c.id.in_(ids)))
            write(connection, [record for at, record in wanted.items() if at not in there or at in changed])
    except SQLAlchemyError as error:
        raise LedgerError(f"{store.name} did not take the feedback: {type(error).__name__}") from None
    return Kept(len(wanted) - len(there), len(changed), len(there) - len(changed))


def unknown(store: Store, ids: Iterable[str]) -> set[str]:
    """Return those of the call ids that no decision in the store has."""
    asked = {identifier(each): each for each in ids}
    with store.statements() as connection:
        for some in _some(asked):
            for found in connection.scalars(select(DECISIONS.c.id).where(DECISIONS.c.id.in_(some))):
                asked.pop(found, None)
    return set(asked.values())


def _said(record: FeedbackRecord) -> tuple[float, str | None, float | None]:
    return record.score, record.comment, record.propensity


def _some(ids: Iterable[str]) -> Iterator[list[str]]:
    each = iter(list(ids))
    while some := list(islice(each, _AT_ONCE)):
        yield some
