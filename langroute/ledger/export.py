"""Decisions as files that DuckDB, pandas, Spark or Ray read: JSON Lines or Parquet, in bounded memory."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from langroute.errors import LedgerError
from langroute.ledger.records import AttemptRecord, DecisionRecord, FeedbackRecord, ShadowRecord
from langroute.ledger.rows import TABLES, json_text, kind_of
from langroute.whole import replacing

__all__ = ["FORMATS", "SUMMED", "Format", "export", "plain"]

Format = Literal["jsonl", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "parquet")

_ROWS = 5_000
"""Decisions of one row group."""

_NESTED = {"attempts": AttemptRecord, "feedback": FeedbackRecord, "shadows": ShadowRecord}

SUMMED: Mapping[str, str] = {"cost_usd": "float", "cost_basis": "str"}
"""Properties of a decision that its row has beside the columns: what all of it cost, so that nobody adds up
`spend_usd`, which is a part."""

_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in TABLES}


def plain(record: Any) -> dict[str, Any]:
    """Return a decision as plain Python values, its attempts, feedback and shadows in it."""
    own = {name: getattr(record, name) for name in (*_NAMES[type(record)], *_summed(type(record)))}
    for name in _NESTED:
        if name in own:
            own[name] = [plain(each) for each in own[name]]
    return own


def _summed(kind: type[Any]) -> Mapping[str, str]:
    """Return what a record's row has beside its columns: property to what it holds."""
    return SUMMED if kind is DecisionRecord else {}


def export(
    decisions: Iterable[DecisionRecord],
    path: Path,
    format: Format,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write decisions to a file, which appears when it is whole; return how many there were.

    Args:
        decisions: What `Ledger.decisions` yields.
        path: The file; one that is there is replaced.
        format: `jsonl`: an object a line, as TABLES.md describes it, `attempts`, `feedback` and `shadows`
            nested. `parquet`: the same columns; those that are JSON hold its text, what is nested is lists of
            structs.
        progress: Called with the count so far, now and then.

    Raises:
        LedgerError: Parquet was asked for, and pyarrow is not installed.
        LangrouteError: The file cannot be written.
    """
    with replacing(path) as part:
        writing = _write_lines if format == "jsonl" else _write_parquet
        return writing(_pages(decisions), part, progress)


def _pages(decisions: Iterable[DecisionRecord]) -> Iterator[Sequence[DecisionRecord]]:
    each = iter(decisions)
    while page := list(islice(each, _ROWS)):
        yield page


def _write_lines(
    pages: Iterable[Sequence[DecisionRecord]], path: Path, progress: Callable[[int], None]
) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for page in pages:
            file.writelines(json.dumps(plain(record), separators=(",", ":")) + "\n" for record in page)
            progress(count := count + len(page))
    return count


def _write_parquet(
    pages: Iterable[Sequence[DecisionRecord]], path: Path, progress: Callable[[int], None]
) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise LedgerError(
            "Parquet needs pyarrow, which is not installed: pip install 'langroute[parquet]'"
        ) from None
    schema, count = _schema(pa, DecisionRecord), 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        for page in pages:
            rows = [_textual(record) for record in page]
            file.write_table(pa.Table.from_pylist(rows, schema=schema))
            progress(count := count + len(page))
    return count


def _schema(pa: Any, kind: type[Any]) -> Any:
    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "Json": pa.string()}
    own = [
        (
            field.name,
            pa.list_(pa.struct(list(_schema(pa, _NESTED[field.name]))))
            if field.name in _NESTED
            else types[kind_of(field)],
        )
        for field in fields(kind)
    ]
    return pa.schema([*own, *((name, types[holds]) for name, holds in _summed(kind).items())])


def _textual(record: Any) -> dict[str, Any]:
    """Return a record as Parquet takes it: JSON columns as text."""
    found: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name in _NESTED:
            found[field.name] = [_textual(each) for each in value]
        else:
            found[field.name] = json_text(value) if kind_of(field) == "Json" else value
    return found | {name: getattr(record, name) for name in _summed(type(record))}
