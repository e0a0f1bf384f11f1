"""The table of circuit breakers: what processes say of a breaker, and what comes of it for all of them.

A row says until when a breaker is open and which process has its probe. What is said of it is weighed
against what stands there by `weighed`, a function without clock or database; the times in a row are the
database's own, and nothing but seconds from now ever leaves a process.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, column, delete, literal_column, select, table, text, update

from langroute.breaker import OPEN_AT_MOST_S, Circuit
from langroute.ledger.store import Store

__all__ = ["HOT_S", "LEASE_S", "Breakers", "Row", "Say", "weighed"]

LEASE_S = 5.0
"""Seconds for which a process has the probe, if it is not heard of again: ten times as long as it needs to
renew it, since a busy machine lets a thread wait; not more, since until then nobody probes."""

IDLE_LEASE_S = 60.0
"""The same for a process that has had no use for it in `IDLE_LEASE_S` / 2: it need not write so often."""

HOT_S = 2.0
"""Seconds after a call that found it open in which a process is taken to have more such calls."""

_RENEWED_AT = 0.75
"""Share of a lease below which it is renewed."""

_DAY_MS = 86_400_000
"""How long rows are kept that nothing happens to."""


@dataclass(frozen=True, slots=True)
class Row:
    """One breaker as it stands for all processes; times in Unix milliseconds of the database's clock."""

    id: str
    """A digest of the endpoint's `identity`."""
    endpoint: str
    """The endpoint's name, for a person who looks into the table."""
    changed_ms: int = 0
    """When it opened or closed last; no two changes have the same."""
    is_open: int = 0
    """1 where it is open or half open."""
    open_until_ms: int = 0
    held_until_ms: int = 0
    times_opened: int = 0
    cause: str = ""
    probe_by: str = ""
    """The process that has the probe; "" where none has."""
    probe_until_ms: int = 0
    wanted_ms: int = 0
    """When a process last wanted the probe that another one has."""

    def stale(self, now_ms: int) -> bool:
        """Whether it has been half open for so long that its processes are taken to be gone."""
        last_ms = max(self.open_until_ms, self.probe_until_ms, self.wanted_ms)
        return now_ms - last_ms > OPEN_AT_MOST_S * 1000


@dataclass(frozen=True, slots=True)
class Say:
    """What one process says of one breaker."""

    by: str
    circuit: Circuit
    news: bool
    """Whether it opened, closed or was held here since that was last said."""
    seen_ms: int | None
    """The `changed_ms` that is known here."""
    hot: bool
    """Whether there are calls that want the probe."""
    idle_s: float = 0.0
    """For how long the probe has not been used here that this process has."""
    patience_s: float = HOT_S
    """For how long it may not be used before another process gets it that wants it."""


def weighed(row: Row, say: Say, now_ms: int) -> Row:
    """Return what stands in the row after a process has said this: an equal one where nothing changes."""
    if say.news:
        row = _changed(row, say, now_ms)
    return _probed(row, say, now_ms)


def _changed(row: Row, say: Say, now_ms: int) -> Row:
    """Return the row after news: open until the later of two, closed where nothing else has happened."""
    circuit = say.circuit
    if circuit.held_s > 0:
        row = replace(row, held_until_ms=max(row.held_until_ms, now_ms + _ms(circuit.held_s)))
    changed = replace(row, changed_ms=max(now_ms, row.changed_ms + 1), probe_by="", probe_until_ms=0)
    if not circuit.is_open:
        known = row.is_open and row.changed_ms == say.seen_ms
        return replace(changed, is_open=0) if known else row
    until_ms = now_ms + _ms(circuit.open_s) if circuit.open_s > 0 else 0
    if until_ms <= (row.open_until_ms if row.is_open else 0):
        return row
    before = row.times_opened if row.is_open and not row.stale(now_ms) else 0
    times = max(circuit.times_opened, before)
    return replace(changed, is_open=1, open_until_ms=until_ms, times_opened=times, cause=circuit.cause)


def _probed(row: Row, say: Say, now_ms: int) -> Row:
    """Return the row after the probe was taken, kept, given back or wanted, as the process needs it."""
    if not row.is_open or row.open_until_ms > now_ms:
        return row
    circuit, mine = say.circuit, row.probe_by == say.by
    wanted = now_ms - row.wanted_ms < HOT_S * 1000
    if not circuit.is_open or max(circuit.open_s, circuit.held_s) > 0:
        return replace(row, probe_by="", probe_until_ms=0) if mine else row
    if mine:
        if wanted and say.idle_s > say.patience_s:
            return replace(row, probe_by="", probe_until_ms=0)
        lease_ms = _ms(IDLE_LEASE_S if say.idle_s > IDLE_LEASE_S / 2 and not wanted else LEASE_S)
        due = row.probe_until_ms - now_ms < lease_ms * _RENEWED_AT
        return replace(row, probe_until_ms=now_ms + lease_ms) if due else row
    if row.probe_until_ms <= now_ms:
        asked = say.hot or (circuit.asked_s < math.inf and not wanted)
        return replace(row, probe_by=say.by, probe_until_ms=now_ms + _ms(LEASE_S)) if asked else row
    if say.hot and now_ms - row.wanted_ms > HOT_S * 500:
        # Whoever has it and lives hears that it is wanted; one that died idle does not keep it for a minute.
        soon_ms = min(row.probe_until_ms, now_ms + _ms(LEASE_S))
        row = replace(row, wanted_ms=now_ms, probe_until_ms=soon_ms)
    return row


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


_COLUMNS = [field.name for field in fields(Row)]
_TABLE = table("langroute_breakers", *map(column, _COLUMNS))
_INSERT = text(
    f"INSERT INTO langroute_breakers ({', '.join(_COLUMNS)})"  # noqa: S608 - our own words
    f" VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) ON CONFLICT (id) DO NOTHING"
)


class Breakers:
    """The rows of one store.

    Args:
        store: The database.
        clock: Unix seconds, injected by tests; the database's own without it.
    """

    def __init__(self, store: Store, clock: Callable[[], float] | None = None) -> None:
        self._store = store
        self._clock = clock

    def read(self, ids: Iterable[str]) -> tuple[dict[str, Row], int]:
        """Return the rows that there are, and the database's time; 0 where there is none."""
        with self._store.statements() as connection:
            found = connection.execute(self._asked(ids)).all()
        return {row.id: Row(*row[:-1]) for row in found}, found[0].now_ms if found else 0

    def tell(self, said: Sequence[tuple[Row, Say]]) -> list[int | None]:
        """Write down what is said of breakers, all of it or nothing.

        Args:
            said: What is said, each with the row that it is said of as it was read last, or an empty one.

        Returns:
            For each the `changed_ms` that it made; None where it opened and closed nothing.
        """
        blank = {row.id: Row(row.id, row.endpoint) for row, _ in said}
        made: list[int | None] = []
        with self._store.transaction() as connection:
            # In the order of the ids, so that nobody waits in a circle.
            connection.execute(_INSERT, [asdict(blank[key]) for key in sorted(blank)])
            found = connection.execute(self._asked(blank).with_for_update()).all()
            before = {row.id: Row(*row[:-1]) for row in found}
            after = dict(before)
            for row, say in said:
                old = after[row.id]
                new = after[row.id] = weighed(old, say, found[0].now_ms)
                made.append(new.changed_ms if new.changed_ms != old.changed_ms else None)
            for key in sorted(after):
                if after[key] != before[key]:
                    connection.execute(update(_TABLE).where(_TABLE.c.id == key).values(**asdict(after[key])))
        return made

    def sweep(self) -> None:
        """Delete rows to which nothing happened for a day."""
        times = ("changed_ms", "open_until_ms", "held_until_ms", "probe_until_ms", "wanted_ms")
        old = [text(f"{name} < {self._now_ms} - {_DAY_MS}") for name in times]
        with self._store.statements() as connection:
            connection.execute(delete(_TABLE).where(*old))

    def _asked(self, ids: Iterable[str]) -> Select[Any]:
        now_ms: ColumnElement[int] = literal_column(self._now_ms).label("now_ms")
        return select(*_TABLE.c, now_ms).where(_TABLE.c.id.in_(sorted(ids))).order_by(_TABLE.c.id)

    @property
    def _now_ms(self) -> str:
        return self._store.now_ms if self._clock is None else str(int(self._clock() * 1000))
