"""Retention: decisions that are too old are deleted with all that belongs to them, a few at a time."""

from sqlalchemy import delete, select

from langroute.ledger.reading import ATTEMPTS, DECISIONS, FEEDBACK, SHADOWS
from langroute.ledger.store import Store

__all__ = ["prune"]

_AT_ONCE = 500
"""Decisions deleted in one transaction: no writer waits long."""


def prune(store: Store, before_s: float) -> int:
    """Delete the decisions finished before a moment, in Unix seconds; return how many there were.

    Feedback goes with its decision; what was said of a run or a thread goes when it was given before.
    """
    old = select(DECISIONS.c.id).where(DECISIONS.c.decided_at_s < before_s)
    # Rows that another process deletes are skipped (SQLite has no such clause, and no need).
    some = old.order_by(DECISIONS.c.decided_at_s).limit(_AT_ONCE).with_for_update(skip_locked=True)
    count = 0
    while True:
        with store.transaction() as connection:
            ids = list(connection.scalars(some))
            connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.decision.in_(ids)))
            connection.execute(delete(FEEDBACK).where(FEEDBACK.c.decision.in_(ids)))
            connection.execute(delete(SHADOWS).where(SHADOWS.c.decision.in_(ids)))
            connection.execute(delete(DECISIONS).where(DECISIONS.c.id.in_(ids)))
        count += len(ids)
        if len(ids) < _AT_ONCE:
            break
    said_of_more = FEEDBACK.c.decision.is_(None), FEEDBACK.c.given_at_s < before_s
    with store.transaction() as connection:
        connection.execute(delete(FEEDBACK).where(*said_of_more))
    return count
