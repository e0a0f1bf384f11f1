"""Records as rows and rows as records: what a database takes, and how several are written at once."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from math import inf
from operator import attrgetter
from typing import Any

from pydantic_core import to_json, to_jsonable_python
from sqlalchemy import Connection, text

from langroute.ledger.records import AttemptRecord, DecisionRecord, FeedbackRecord, ShadowRecord

__all__ = ["COLUMNS", "TABLES", "clean", "identifier", "json_text", "kind_of", "record_of", "told", "write"]

TABLES: dict[type[Any], str] = {
    DecisionRecord: "langroute_decisions",
    AttemptRecord: "langroute_attempts",
    FeedbackRecord: "langroute_feedback",
    ShadowRecord: "langroute_shadows",
}

COLUMNS: dict[type[Any], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind) if field.metadata.get("column", True)) for kind in TABLES
}
"""The columns of each table, in the order of the record's fields."""

_KEYS: dict[type[Any], tuple[str, ...]] = {
    DecisionRecord: ("id",),
    AttemptRecord: ("decision", "number", "mark"),
    FeedbackRecord: ("id",),
    ShadowRecord: ("id",),
}

_LONGEST_ID = 512
_DIGESTED = "="
_MARKS = ('"', _DIGESTED)
"""What an id in the database begins with that is not as it was given: JSON, or the SHA-256 of a long one."""

_MOST = 2**53
"""The largest whole number that is kept as it is; a provider may report any."""

_HALVES = re.compile("[\ud800-\udfff]")
_REFUSED = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL, or UTF-8, does not take."""


def clean(value: str) -> str:
    """Return a text as any database takes it: what is refused becomes U+FFFD."""
    if value.isascii() and "\x00" not in value:
        return value
    return _REFUSED.sub("\ufffd", value)


def identifier(name: str) -> str:
    """Return an id as it stands in the database: no two ids become one, and nearly all stay as they are.

    One with a NUL is written as JSON; one that is too long for an index, or no UTF-8, as its SHA-256.
    """
    if len(name) <= _LONGEST_ID and name[:1] not in _MARKS and clean(name) == name:
        return name
    written = json.dumps(name)
    if len(written) <= _LONGEST_ID and name[:1] != _DIGESTED and not _HALVES.search(name):
        return written
    return _DIGESTED + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def json_text(value: Any) -> str | None:
    """Return a value, dataclasses included, as JSON; None for None. NaN and infinity become null."""
    if value is None:
        return None
    try:
        written = to_json(value, fallback=str, inf_nan_mode="null")
    except ValueError:  # half of a surrogate pair
        written = b"\\u0000"
    if b"\\u0000" in written:
        written = to_json(_cleaned(to_jsonable_python(value, fallback=str)), inf_nan_mode="null")
    return written.decode()


def _cleaned(value: Any) -> Any:
    """Return plain values with what a database refuses taken out of every text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(inner) for key, inner in value.items()}
    return [_cleaned(inner) for inner in value] if isinstance(value, list) else value


def told(value: Any) -> Any:
    """Return an id as it was given; one that was too long stays its digest."""
    return json.loads(value) if isinstance(value, str) and value.startswith('"') else value


def _json_out(value: Any) -> Any:
    return None if value is None else json.loads(value)


_IDS = {"id", "decision", "thread", "run", "node"}
_OWN = {
    "step_source",
    "outcome",
    "why",
    "policy",
    "cost_basis",
    "failure_kind",
    "request",
    "text_kept",
    "template",
    "checks",
    "compared_by",
    "verdict",
}
"""Columns with words of our own, which any database takes as they are."""


def _places(kind: type[Any]) -> dict[str, tuple[int, ...]]:
    """Return where in a row of this record ids, texts, whole numbers, other numbers and JSON stand."""
    found: dict[str, list[int]] = {"id": [], "str": [], "int": [], "float": [], "Json": []}
    types = {field.name: kind_of(field) for field in fields(kind)}
    for at, name in enumerate(COLUMNS[kind]):
        if name not in _OWN:
            found["id" if name in _IDS else types[name]].append(at)
    return {name: tuple(places) for name, places in found.items()}


def kind_of(field: Any) -> str:
    """Return what a record's field holds: `str`, `int`, `float` or `Json`."""
    if field.type is Any:
        return "Json"
    return str(getattr(field.type, "__name__", field.type)).partition(" ")[0]


_PLACES = {kind: _places(kind) for kind in TABLES}
_WAYS_IN = {
    kind: [*((at, identifier) for at in places["id"]), *((at, json_text) for at in places["Json"])]
    for kind, places in _PLACES.items()
}
_WAYS_OUT = {
    kind: [*((at, told) for at in places["id"]), *((at, _json_out) for at in places["Json"])]
    for kind, places in _PLACES.items()
}
_GETTERS = {kind: attrgetter(*columns) for kind, columns in COLUMNS.items()}


def _bounded(value: Any) -> int | None:
    return max(-_MOST, min(value, _MOST)) if value == value else None  # noqa: PLR0124 - NaN


def row_of(record: Any) -> tuple[Any, ...]:
    """Return a record as its table takes it."""
    kind = type(record)
    row, places = list(_GETTERS[kind](record)), _PLACES[kind]
    # Written out: a call for each of some 25 columns takes half of the writer's time.
    for at in places["str"]:
        if (value := row[at]) is not None and not (value.isascii() and "\x00" not in value):
            row[at] = clean(value)
    for at in places["int"]:
        if (value := row[at]) is not None and not -_MOST < value < _MOST:
            row[at] = _bounded(value)
    for at in places["float"]:
        if (value := row[at]) is not None and not -inf < value < inf:
            row[at] = None
    for at, way in _WAYS_IN[kind]:
        if (value := row[at]) is not None:
            row[at] = way(value)
    return tuple(row)


def record_of(kind: type[Any], row: Sequence[Any], **more: Any) -> Any:
    """Return a row, its columns in the order of `COLUMNS`, as a record."""
    values = list(row)
    for at, way in _WAYS_OUT[kind]:
        values[at] = way(values[at])
    return kind(**dict(zip(COLUMNS[kind], values, strict=True)), **more)


# Writing -------------------------------------------------------------------------------------------------

_COPIED_FROM = 100
"""Rows from which on COPY pays for its savepoint."""


def write(connection: Connection, records: Iterable[Any]) -> int:
    """Write decisions with their attempts, and feedback; return how many rows that were.

    A decision that is there already, because a run was resumed, is replaced; its attempts stay, and those
    that are new come to them.
    """
    rows: dict[type[Any], dict[Any, tuple[Any, ...]]] = {kind: {} for kind in TABLES}
    for record in records:
        for each in (record, *getattr(record, "attempts", ())):
            row, kind = row_of(each), type(each)
            rows[kind][row[: len(_KEYS[kind])]] = row
    if not any(rows.values()):
        return 0
    postgres = connection.dialect.name == "postgresql"
    writing = _write_to_postgresql if postgres else _write_to_sqlite
    writing(connection, {kind: list(found.values()) for kind, found in rows.items() if found})
    return sum(map(len, rows.values()))


def _write_to_sqlite(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    for kind, found in rows.items():
        marks = ", ".join("?" * len(COLUMNS[kind]))
        connection.exec_driver_sql(f"{_insert(kind)} VALUES ({marks}) {_conflict(kind)}", found)


def _write_to_postgresql(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    """Write many rows by COPY, which costs the server a third less; few, or where that fails, without."""
    if sum(map(len, rows.values())) >= _COPIED_FROM:
        with suppress(connection.dialect.loaded_dbapi.Error), connection.begin_nested():
            _copy(connection, rows)
            return
    _write_in_one_statement(connection, rows)


def _copy(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    driver: Any = connection.connection.driver_connection
    for kind, found in rows.items():
        asked = f"COPY {TABLES[kind]} ({', '.join(COLUMNS[kind])}) FROM STDIN"
        with driver.cursor() as cursor, cursor.copy(asked) as copied:
            for row in found:
                copied.write_row(row)


def _write_in_one_statement(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    """Write all rows in one statement: the rows travel as JSON, one parameter a table."""
    parts, given = [], {}
    for kind, found in rows.items():
        table, columns = TABLES[kind], ", ".join(COLUMNS[kind])
        source = f"SELECT {columns} FROM json_populate_recordset(NULL::{table}, CAST(:{table} AS json))"  # noqa: S608 - our own words
        parts.append(f"{_insert(kind)} {source} {_conflict(kind)}")
        given[table] = to_json([dict(zip(COLUMNS[kind], row, strict=True)) for row in found]).decode()
    first = ", ".join(f"w{number} AS ({part})" for number, part in enumerate(parts[:-1]))
    connection.execute(text(f"WITH {first} {parts[-1]}" if first else parts[-1]), given)


def _insert(kind: type[Any]) -> str:
    return f"INSERT INTO {TABLES[kind]} ({', '.join(COLUMNS[kind])})"


def _conflict(kind: type[Any]) -> str:
    keys = _KEYS[kind]
    if kind in (FeedbackRecord, ShadowRecord):
        return f"ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    names = COLUMNS[kind] if kind is DecisionRecord else ("returned",)
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
