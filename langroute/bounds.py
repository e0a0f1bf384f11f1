"""What no policy may hold, wherever it comes from: anything endless, too deep, or that is no plain value."""

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from langroute.errors import PolicyProblem
from langroute.problems import NOTHING, Loc, limited, problem

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "UNPRINTABLE", "duplicate_key", "inside", "out_of_bounds"]

MAX_BYTES = 128 * 1024
"""Size of a policy file: some fifty times a usual one, and the worst of it is read in 0.5 s."""

MAX_DEPTH = 32
"""Levels of nesting; a policy needs eight, `settings` may need a few more."""

MAX_VALUES = 5_000
"""Values in all, aliases written out: ten lines of aliases could otherwise stand for billions."""

UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML calls not printable: control characters, NUL among them, and halves of surrogate pairs."""

_MAX_INTEGER = 2**63


def out_of_bounds(data: Any) -> list[PolicyProblem]:
    """Return what no policy may hold: too deep, too many, endless numbers, keys that are no text."""
    problems: list[PolicyProblem] = []
    pending: list[tuple[Loc, Any]] = [((), data)]
    for _ in range(MAX_VALUES):
        if not pending:
            return limited(problems)
        loc, value = pending.pop()
        if len(loc) > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            return [problem(loc[:4], NOTHING, message, "Write it flatter, and nothing inside itself.")]
        problems += _wrong_keys(loc, value) if isinstance(value, Mapping) else _wrong_value(loc, value)
        pending += reversed(list(inside(loc, value)))
    message = f"holds more than {MAX_VALUES:,} values, aliases written out"
    return [problem((), NOTHING, message, "Shorten it, or use fewer aliases.")]


def inside(loc: Loc, value: Any) -> Iterator[tuple[Loc, Any]]:
    """Yield place and value of everything directly in `value`, which stands at `loc`."""
    if isinstance(value, Mapping):
        yield from (((*loc, key), inner) for key, inner in value.items() if isinstance(key, str))
    elif isinstance(value, list | tuple):
        yield from (((*loc, index), inner) for index, inner in enumerate(value))


def _wrong_keys(loc: Loc, value: Mapping[Any, Any]) -> Iterator[PolicyProblem]:
    for key in value:
        if not isinstance(key, str):
            yield problem(loc, key, "a key must be text", "Put the key in quotes.")
        elif UNPRINTABLE.search(key):
            yield problem(loc, key, "a key holds characters that cannot be printed", "Remove them.")


def _wrong_value(loc: Loc, value: Any) -> Iterator[PolicyProblem]:
    match value:
        case bool():
            return
        case int() if abs(value) > _MAX_INTEGER:
            yield problem(loc, value, "too large a number", "Write a number below 2^63.")
        case float() if not math.isfinite(value):
            yield problem(loc, value, "not a finite number", "Write a finite number, or remove the key.")
        case str() if UNPRINTABLE.search(value):
            yield problem(loc, value, "holds characters that cannot be printed", "Remove them.")
        case bytes() | bytearray():
            yield problem(loc, NOTHING, "binary data has no place in a policy", "Write text.")
        case dt.datetime() | dt.time():
            yield problem(loc, str(value), "a time has no place in a policy", "Write it in quotes, as text.")


def duplicate_key(loc: Loc, again: str) -> PolicyProblem:
    """Return the problem of a key that is written again at `again`."""
    message = f"the key is written more than once, {again}"
    return problem(loc, NOTHING, message, "Keep one of them; a second would silently replace the first.")
