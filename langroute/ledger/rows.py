"""Records as rows and rows as records: what a database takes, and how several are written at once."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from math import isfinite
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, text

from langroute.ledger.records import AttemptRecord, DecisionRecord, FeedbackRecord

__all__ = ["COLUMNS", "TABLES", "clean", "identifier", "json_text", "record_of", "write"]

TABLES: dict[type[Any], str] = {
    DecisionRecord: "langroute_decisions",
    AttemptRecord: "langroute_attempts",
    FeedbackRecord: "langroute_feedback",
}

COLUMNS: dict[type[Any], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind) if field.metadata.get("column", True)) for kind in TABLES
}
"""The columns of each table, in the order of the record's fields."""

_KEYS: dict[type[Any], tuple[str, ...]] = {
    DecisionRecord: ("id",),
    AttemptRecord: ("decision", "number", "mark"),
    FeedbackRecord: ("id",),
}

_LONGEST_ID = 512
_DIGESTED = "sha256:"
_MOST = 2**53
"""The largest whole number that is kept as it is; a provider may report any."""

_REFUSED = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL, or UTF-8, does not take."""


def clean(value: str) -> str:
    """Return a text as any database takes it: what is refused becomes U+FFFD."""
    return _REFUSED.sub("\ufffd", value)


def identifier(name: str) -> str:
    """Return an id as it stands in the database: no two ids become one, and nearly all stay as they are.

    One that a database would refuse is written as JSON, one that is too long for an index as its SHA-256.
    """
    if len(name) <= _LONGEST_ID and not name.startswith(('"', _DIGESTED)) and not _REFUSED.search(name):
        return name
    written = json.dumps(name)
    if len(written) <= _LONGEST_ID and not name.startswith(_DIGESTED):
        return written
    return _DIGESTED + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def json_text(value: Any) -> str | None:
    """Return a value as JSON in plain ASCII; None for None. NaN and infinity become null."""
    if value is None:
        return None
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _id_in(value: Any) -> Any:
    return None if value is None else identifier(value)


def _text_in(value: Any) -> Any:
    return None if value is None else clean(value)


def _whole_in(value: Any) -> Any:
    return None if value is None else max(-_MOST, min(value, _MOST))


def _number_in(value: Any) -> Any:
    return None if value is None or not isfinite(value) else value


def _id_out(value: Any) -> Any:
    return json.loads(value) if value is not None and value.startswith('"') else value


def _json_out(value: Any) -> Any:
    return None if value is None else json.loads(value)


_IDS = {"id", "decision", "thread", "run", "node"}
_WAYS_IN: dict[str, Callable[[Any], Any]] = {"Json": json_text, "str": _text_in, "int": _whole_in}


def _ways(
    kind: type[Any],
) -> tuple[tuple[Callable[[Any], Any], ...], tuple[Callable[[Any], Any] | None, ...]]:
    """Return how each column of a record goes into the database, and how it comes out."""
    types = {field.name: _kind_of(field) for field in fields(kind)}
    into = [_id_in if name in _IDS else _WAYS_IN.get(types[name], _number_in) for name in COLUMNS[kind]]
    out = [_id_out if way is _id_in else _json_out if way is json_text else None for way in into]
    return tuple(into), tuple(out)


def _kind_of(field: Any) -> str:
    if field.type is Any:
        return "Json"
    return str(getattr(field.type, "__name__", field.type)).partition(" ")[0]


_WAYS = {kind: _ways(kind) for kind in TABLES}
_GETTERS = {kind: attrgetter(*columns) for kind, columns in COLUMNS.items()}


def row_of(record: Any) -> tuple[Any, ...]:
    """Return a record as its table takes it."""
    kind = type(record)
    return tuple([way(value) for way, value in zip(_WAYS[kind][0], _GETTERS[kind](record), strict=True)])


def record_of(kind: type[Any], row: Sequence[Any], **more: Any) -> Any:
    """Return a row, its columns in the order of `COLUMNS`, as a record."""
    ways = zip(COLUMNS[kind], _WAYS[kind][1], row, strict=True)
    return kind(**{name: value if way is None else way(value) for name, way, value in ways}, **more)


# Writing -------------------------------------------------------------------------------------------------


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
    postgres = connection.dialect.name == "postgresql"
    writing = _write_to_postgresql if postgres else _write_to_sqlite
    writing(connection, {kind: list(found.values()) for kind, found in rows.items() if found})
    return sum(map(len, rows.values()))


def _write_to_sqlite(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    for kind, found in rows.items():
        marks = ", ".join("?" * len(COLUMNS[kind]))
        connection.exec_driver_sql(f"{_insert(kind)} VALUES ({marks}) {_conflict(kind)}", found)


def _write_to_postgresql(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    """Write all rows in one statement: the rows travel as JSON, one parameter a table."""
    parts, given = [], {}
    for kind, found in rows.items():
        table, columns = TABLES[kind], ", ".join(COLUMNS[kind])
        source = f"SELECT {columns} FROM json_populate_recordset(NULL::{table}, CAST(:{table} AS json))"  # noqa: S608 - our own words
        parts.append(f"{_insert(kind)} {source} {_conflict(kind)}")
        given[table] = json.dumps([dict(zip(COLUMNS[kind], row, strict=True)) for row in found])
    first = ", ".join(f"w{number} AS ({part})" for number, part in enumerate(parts[:-1]))
    connection.execute(text(f"WITH {first} {parts[-1]}" if first else parts[-1]), given)


def _insert(kind: type[Any]) -> str:
    return f"INSERT INTO {TABLES[kind]} ({', '.join(COLUMNS[kind])})"


def _conflict(kind: type[Any]) -> str:
    keys = _KEYS[kind]
    if kind is not DecisionRecord:
        return f"ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[kind] if name not in keys)
    return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
