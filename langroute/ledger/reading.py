"""Reading a ledger: which decisions are wanted, how many, and all of them, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, column, func, not_, or_, select, table
from sqlalchemy.sql.expression import TableClause

from langroute.ledger.records import AttemptRecord, DecisionRecord, FeedbackRecord, ShadowRecord
from langroute.ledger.rows import COLUMNS, TABLES, clean, identifier, record_of
from langroute.ledger.store import Store

__all__ = [
    "ATTEMPTS",
    "DECISIONS",
    "FEEDBACK",
    "SHADOWS",
    "Filter",
    "conditions",
    "count",
    "decisions",
    "span",
]

_PAGE = 500


def _table(kind: type[Any]) -> TableClause:
    return table(TABLES[kind], *map(column, COLUMNS[kind]))


DECISIONS, ATTEMPTS, FEEDBACK, SHADOWS = map(_table, TABLES)

_SCORED = or_(
    *(
        DECISIONS.c[name].in_(select(FEEDBACK.c[about]).where(FEEDBACK.c[about].is_not(None)))
        for about, name in (("decision", "id"), ("run", "run"), ("thread", "thread"))
    )
)

_IDS = {"id", "thread", "run", "node"}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which decisions are wanted: those for which everything that is said holds."""

    id: str | None = None
    """Call id."""
    step: str | None = None
    outcome: str | None = None
    tier: str | None = None
    """Tier of the reply that was returned."""
    endpoint: str | None = None
    """Endpoint of the reply that was returned."""
    policy: str | None = None
    """Digest of the policy."""
    thread: str | None = None
    run: str | None = None
    node: str | None = None
    since_s: float | None = None
    """Unix seconds from which on decisions were finished."""
    until_s: float | None = None
    """Unix seconds before which they were."""
    scored: bool | None = None
    """Whether there is feedback that reaches them: their own, their run's or their thread's."""


EVERYTHING = Filter()


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    """Return what the columns of `langroute_decisions` must be; every value is a bound parameter."""
    found: list[ColumnElement[bool]] = []
    for name in (field.name for field in fields(Filter)):
        value = getattr(wanted, name)
        if value is None:
            continue
        if name == "since_s":
            found.append(DECISIONS.c.decided_at_s >= float(value))
        elif name == "until_s":
            found.append(DECISIONS.c.decided_at_s < float(value))
        elif name == "scored":
            found.append(_SCORED if value else not_(_SCORED))
        else:
            found.append(DECISIONS.c[name] == (identifier(value) if name in _IDS else clean(value)))
    return found


def decisions(store: Store, wanted: Filter = EVERYTHING) -> Iterator[DecisionRecord]:
    """Yield the decisions wanted, oldest first, with their attempts; a page of them at a time."""
    asked = select(DECISIONS).where(*conditions(wanted))
    asked = asked.order_by(DECISIONS.c.decided_at_s, DECISIONS.c.id).limit(_PAGE)
    after: tuple[float, str] | None = None
    while True:
        page = _page(store, asked if after is None else asked.where(_later(*after)))
        yield from page[1]
        if len(page[0]) < _PAGE:
            return
        after = page[0][-1]


def count(store: Store, wanted: Filter = EVERYTHING) -> int:
    """Return how many decisions are wanted."""
    asked = select(func.count()).select_from(DECISIONS).where(*conditions(wanted))
    with store.statements() as connection:
        return connection.scalar(asked) or 0


def span(store: Store, wanted: Filter = EVERYTHING) -> tuple[float, float] | None:
    """Return when the first and the last of the decisions wanted were finished; None where there are none."""
    moment = DECISIONS.c.decided_at_s
    with store.statements() as connection:
        ends = [
            connection.scalar(select(moment).where(*conditions(wanted)).order_by(way).limit(1))
            for way in (moment.asc(), moment.desc())
        ]
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _later(moment_s: float, id: str) -> ColumnElement[bool]:
    moment = DECISIONS.c.decided_at_s
    # The first part alone bounds the walk through the index.
    return and_(moment >= moment_s, or_(moment > moment_s, DECISIONS.c.id > id))


def _page(store: Store, asked: Select[Any]) -> tuple[list[tuple[float, str]], list[DecisionRecord]]:
    """Return where each decision of a page stands, and the decisions."""
    with store.snapshot() as connection:
        rows: Sequence[Any] = connection.execute(asked).all()
        ids = [row.id for row in rows]
        theirs = select(ATTEMPTS).where(ATTEMPTS.c.decision.in_(ids))
        theirs = theirs.order_by(ATTEMPTS.c.decision, ATTEMPTS.c.number, ATTEMPTS.c.mark)
        attempts: dict[str, list[AttemptRecord]] = {each: [] for each in ids}
        for row in connection.execute(theirs) if ids else ():
            attempts[row.decision].append(record_of(AttemptRecord, row))
        shadows: dict[str, list[ShadowRecord]] = {}
        shadowed = select(SHADOWS).where(SHADOWS.c.decision.in_(ids)).order_by(SHADOWS.c.made_at_s)
        for row in connection.execute(shadowed) if ids else ():
            shadows.setdefault(row.decision, []).append(record_of(ShadowRecord, row))
        feedback = _reaching(connection, rows)
    made = [
        record_of(
            DecisionRecord,
            row,
            attempts=tuple(attempts[row.id]),
            feedback=tuple(feedback[row.id]),
            shadows=tuple(shadows.get(row.id, ())),
        )
        for row in rows
    ]
    return [(row.decided_at_s, row.id) for row in rows], made


def _reaching(connection: Connection, rows: Sequence[Any]) -> dict[str, list[FeedbackRecord]]:
    """Return the feedback that reaches each decision of a page: its own, its run's, its thread's."""
    found: dict[str, list[FeedbackRecord]] = {row.id: [] for row in rows}
    for about, name in (("decision", "id"), ("run", "run"), ("thread", "thread")):
        theirs: dict[str, list[str]] = {}
        for row in rows:
            if getattr(row, name) is not None:
                theirs.setdefault(getattr(row, name), []).append(row.id)
        asked = select(FEEDBACK).where(FEEDBACK.c[about].in_(theirs)).order_by(FEEDBACK.c.given_at_s)
        for given in connection.execute(asked) if theirs else ():
            for each in theirs[getattr(given, about)]:
                found[each].append(record_of(FeedbackRecord, given))
    return found
