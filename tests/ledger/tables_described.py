"""The description of the ledger's tables, made from the records; run as a program, it prints it."""

import ast
import inspect
import sys
from itertools import pairwise
from textwrap import dedent
from typing import Any

from langroute.ledger.export import SUMMED
from langroute.ledger.records import DecisionRecord
from langroute.ledger.rows import COLUMNS, TABLES

__all__ = ["described", "documentation"]

_TYPES = {"str": "text", "int": "integer", "float": "number", "Json": "JSON"}

_HEAD = """\
# What the ledger keeps

Generated from `records.py` by `python tests/ledger/tables_described.py`; a test compares the two.

SQLite and PostgreSQL hold the same tables. Money is in USD: a cost that nobody knows is NULL, never 0.
Moments are in Unix seconds, durations in seconds, scores in [0, 1]. JSON stands in text columns.
"""


_EXPORTED = """\
## Exported decisions

`langroute export` writes a decision a row: its columns, its attempts, feedback and shadows as lists, and

| beside them | what it says |
|---|---|"""


def described(kind: type[Any]) -> dict[str, tuple[str, str]]:
    """Return column to type and description of a record, from the strings under its fields."""
    [written] = ast.iter_child_nodes(ast.parse(dedent(inspect.getsource(kind))))
    found = {}
    for statement, after in pairwise(ast.iter_child_nodes(written)):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            said = " ".join(ast.literal_eval(after.value).split())
            found[ast.unparse(statement.target)] = ast.unparse(statement.annotation), said
    return {name: (_type(found[name][0]), found[name][1]) for name in COLUMNS[kind]}


def _type(written: str) -> str:
    name, _, optional = written.partition(" | ")
    return _TYPES[name] + (" or NULL" if optional else "")


def documentation() -> str:
    """Return the description of every table in Markdown."""
    parts = [_HEAD]
    for kind in TABLES:
        said = (inspect.getdoc(kind) or "").partition(":")[0]
        rows = [f"| `{name}` | {type_} | {text} |" for name, (type_, text) in described(kind).items()]
        parts += [
            f"## `{TABLES[kind]}`",
            f"{said}.\n",
            "| column | type | what it says |",
            "|---|---|---|",
            *rows,
            "",
        ]
    summed = (f"| `{name}` | {_summed(name)} |" for name in SUMMED)
    return "\n".join([*parts, _EXPORTED, *summed, ""])


def _summed(name: str) -> str:
    return " ".join((inspect.getdoc(getattr(DecisionRecord, name)) or "").split())


if __name__ == "__main__":
    sys.stdout.write(documentation())
