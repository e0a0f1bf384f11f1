"""Says what is wrong with a policy as path, value, message and remedy, and never shows a secret."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from pydantic import SecretStr

from langroute.errors import PolicyProblem
from langroute.redaction import names_headers, names_secret, redact

__all__ = [
    "MAX_PROBLEMS",
    "NOTHING",
    "Loc",
    "closest",
    "key_path",
    "limited",
    "problem",
    "quoted",
    "shown",
]

NOTHING = object()
"""Stands where a problem has no value to show."""

Loc = tuple[str | int, ...]
"""Where something stands: keys and list indexes from the top of the policy."""

MAX_PROBLEMS = 100
"""A file with more problems than this is no policy; the rest are not described."""

_SHOWN_CHARS = 60
_SHOWN_INSIDE_CHARS = 120
"""Longest text of a list or a mapping."""

_SHOWN_ITEMS = 5
_SHOWN_DEPTH = 3
_SCANNED_CHARS = 2_000
"""Characters of a value in which secrets are looked for before it is cut to what is shown."""

_NAME_CHARS = 64
_NAMES_LISTED = 20
_NAMES_COMPARED = 200
"""difflib takes some 10 µs a pair of short names; these limits keep a hostile file under 1 s."""

_PLAIN_KEY = re.compile(r"[\w*?\-]+")


def limited(problems: Iterable[PolicyProblem]) -> list[PolicyProblem]:
    """Return the first problems; where there are more than anybody would read, the last one says so."""
    found = list(islice(problems, MAX_PROBLEMS + 1))
    if len(found) > MAX_PROBLEMS:
        message = f"more than {MAX_PROBLEMS} problems were found"
        found[-1] = problem((), NOTHING, message, "Correct the ones above first.")
    return found


def problem(loc: Loc, value: Any, message: str, remedy: str) -> PolicyProblem:
    """Return one problem at `loc`, its value shortened and free of secrets."""
    return PolicyProblem(key_path(loc), shown(value, loc), redact(message), redact(remedy))


def key_path(loc: Loc) -> str:
    """Return the dotted key path of `loc`: `tiers.small.models[0].price`; odd keys are quoted."""
    path = ""
    for key in loc:
        if isinstance(key, int):
            path += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key) and len(key) <= _SHOWN_CHARS:
            path += f".{redact(key)}" if path else redact(key)
        else:
            path += f"[{_text(key)}]"
    return path


def shown(value: Any, loc: Loc = ()) -> str:
    """Return `value` short enough for a message; `***` for a secret, the class alone of an object."""
    if isinstance(value, SecretStr) or any(map(_hides, loc)):
        return "***"
    if value is NOTHING:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return _cut(_inside(value, depth=0), _SHOWN_INSIDE_CHARS)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value.bit_length() > _SHOWN_CHARS:
        return f"a number of {value.bit_length()} bits"
    return json.dumps(value) if value is None or isinstance(value, int | float) else type(value).__name__


def _inside(value: Any, depth: int) -> str:
    """Return a list or a mapping as YAML writes it on one line; what is deep or late in it as `…`."""
    if not isinstance(value, Mapping | list | tuple):
        return shown(value)
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    if value and depth == _SHOWN_DEPTH:
        return f"{opening}…{closing}"
    if isinstance(value, list | tuple) and any(
        isinstance(item, str) and names_secret(item) for item in value
    ):
        return "[***]"  # a header as a pair
    first = islice(value.items() if isinstance(value, Mapping) else value, _SHOWN_ITEMS)
    parts = (
        [f"{_key(key)}: {_held(key, inner, depth + 1)}" for key, inner in first]
        if isinstance(value, Mapping)
        else [_inside(inner, depth + 1) for inner in first]
    )
    parts += ["…"] * (len(value) > _SHOWN_ITEMS)
    return f"{opening}{', '.join(parts)}{closing}"


def _held(key: Any, value: Any, depth: int) -> str:
    return "***" if _hides(key) else _inside(value, depth)


def _hides(key: Any) -> bool:
    """Whether the value under `key` is a secret, or headers, which may be one."""
    return isinstance(key, str) and (names_secret(key) or names_headers(key))


def _key(key: Any) -> str:
    if not isinstance(key, str):
        return shown(key)
    return redact(key) if _PLAIN_KEY.fullmatch(key) and len(key) <= _SHOWN_CHARS else _text(key)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 2]}…{text[-1]}"


def closest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return what leads from a wrong name to a known one; `otherwise` opens it where none is near."""
    names = [candidate for candidate in known if len(candidate) <= _NAME_CHARS][:_NAMES_COMPARED]
    if not names:
        return otherwise
    near = difflib.get_close_matches(name, names, n=1) if len(name) <= _NAME_CHARS else []
    listed = ", ".join(f"`{candidate}`" for candidate in names[:_NAMES_LISTED])
    listed += ", …" if len(names) > _NAMES_LISTED else ""
    opening = f"Did you mean `{near[0]}`?" if near else otherwise
    return f"{opening} Known: {listed}."


def quoted(labels: Iterable[str]) -> str:
    """Return labels as a message names them, in order."""
    return ", ".join(f"`{label}`" for label in sorted(labels))


def _text(text: str) -> str:
    masked = redact(text[:_SCANNED_CHARS])
    quoted = repr(masked[:_SHOWN_CHARS])
    return quoted if len(masked) <= _SHOWN_CHARS else f"{quoted[:-1]}…{quoted[-1]}"
