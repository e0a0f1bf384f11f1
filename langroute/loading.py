"""From a policy file to plain data: text, numbers, lists and mappings, and nothing that could surprise.

A policy may come from anyone, so everything is bounded, and what cannot be read is a `PolicyError`.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from langroute.bounds import MAX_BYTES, MAX_DEPTH, UNPRINTABLE, duplicate_key, inside
from langroute.errors import PolicyError, PolicyProblem
from langroute.problems import MAX_PROBLEMS, NOTHING, Loc, limited, problem
from langroute.yaml12 import parse_yaml

__all__ = ["read"]

# tomllib copies a dotted key once for each of its parts: thirty thousand parts would take minutes.
_LONG_TOML_KEY = re.compile(
    r"(?<![\w\-])(?:(?:\"[^\"\n]*\"|'[^'\n]*'|[\w\-]++)[ \t]*+\.[ \t]*+){%d}" % MAX_DEPTH  # noqa: UP031 - braces
)


def read(path: Path) -> dict[str, Any]:
    """Return the mapping that the file holds, read by its suffix: `.yaml`, `.yml`, `.toml` or `.json`.

    Raises:
        PolicyError: The file is missing, unreadable, too large, not UTF-8, not what its suffix says, holds
            a key twice, or holds no mapping.
    """
    problems: list[PolicyProblem] = []
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        known = ", ".join(f"`{suffix}`" for suffix in _PARSERS)
        message = f"the suffix {path.suffix!r} does not say in which syntax it is written"
        raise PolicyError([problem((), NOTHING, message, f"Name the file {known}.")], str(path))
    data: Any = None
    try:
        data = parse(_decoded(_content(path)), problems)
    except PolicyError as error:
        problems += error.problems
    if not problems and not isinstance(data, dict):
        remedy = "Write a mapping with `tiers` at the top level; see `langroute schema`."
        empty = data is None
        problems.append(
            problem((), NOTHING if empty else data, "holds nothing" if empty else "not a mapping", remedy)
        )
    if problems:
        raise PolicyError(limited(problems), str(path))
    return dict(data)


def _content(path: Path) -> bytes:
    """Return the file's bytes; a pipe or a device is not read, because it might never end."""
    try:
        if path.is_dir():
            raise _unreadable("is a directory", "Name the policy file in it.")
        if not path.exists():
            raise _unreadable("there is no such file", "Check the name and the working directory.")
        if not path.is_file():
            raise _unreadable("is not a regular file", "Write the policy to a file first.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(
            f"cannot be read: {error.strerror}", "Check the name and the permissions."
        ) from None
    if len(content) > MAX_BYTES:
        raise _unreadable(
            f"larger than {MAX_BYTES:,} bytes", "A policy is a few kilobytes: is it the right file?"
        )
    return content


def _decoded(content: bytes) -> str:
    """Return UTF-8 text without byte-order mark and without characters that cannot be printed."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise _unreadable(f"not UTF-8 at {_position(before, len(before))}", "Save it as UTF-8.") from None
    strange = UNPRINTABLE.search(text)
    if strange:
        message = (
            f"the character U+{ord(strange[0]):04X} at {_position(text, strange.start())} cannot be printed"
        )
        raise _unreadable(message, "Remove it; in a string, write its escape.")
    return text


def _parse_json(text: str, problems: list[PolicyProblem]) -> Any:
    repeated: dict[int, Counter[str]] = {}
    kept: list[dict[str, Any]] = []  # so that no other mapping comes to have the identity of one of them

    def mapping(items: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(items)
        if len(data) < len(items):
            repeated[id(data)] = Counter(key for key, _ in items)
            kept.append(data)
        return data

    try:
        data = json.loads(text, object_pairs_hook=mapping) if text.strip() else None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _unreadable(f"not JSON at {where}: {error.msg}", "Correct the syntax there.") from None
    except RecursionError:
        raise _unreadable("nested too deeply", "Write it flatter.") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise _unreadable("holds a number of thousands of digits", "Write a number below 2^63.") from None
    if repeated:
        problems += islice(_repeated(data, repeated), MAX_PROBLEMS + 1)
    return data


def _repeated(data: Any, repeated: Mapping[int, Counter[str]]) -> Iterator[PolicyProblem]:
    """Yield the keys written twice in a mapping that is still to be found in `data`, outermost first."""
    pending: list[tuple[Loc, Any]] = [((), data)]
    while pending:
        loc, value = pending.pop()
        for key, count in repeated.get(id(value), {}).items():
            if count > 1:
                yield duplicate_key((*loc, key), f"{count} times")
        if len(loc) <= MAX_DEPTH:  # what is deeper is refused for that
            pending += reversed(list(inside(loc, value)))


def _parse_toml(text: str, _problems: list[PolicyProblem]) -> Any:
    long_key = _LONG_TOML_KEY.search(text)
    if long_key:
        where = _position(text, long_key.start())
        raise _unreadable(f"a key of more than {MAX_DEPTH} dotted parts at {where}", "Write it flatter.")
    try:
        return _dates_as_text(tomllib.loads(text)) or None
    except tomllib.TOMLDecodeError as error:
        raise _toml_fault(text, str(error)) from None
    except RecursionError:
        raise _unreadable("nested too deeply", "Write it flatter.") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise _unreadable("holds a number of thousands of digits", "Write a number below 2^63.") from None


def _toml_fault(text: str, told: str) -> PolicyError:
    """Return what tomllib found, with the key where it is one that was written before."""
    place = re.search(r"at line (\d+), column \d+", told)
    line = text.splitlines()[int(place[1]) - 1] if place else ""
    keys = re.search(r"(?:Cannot declare \(|Duplicate inline table key |Cannot mutate .*\()('.*')", told)
    key = ".".join(re.findall(r"'([^']*)'", keys[1])) if keys else ""
    if "Cannot overwrite" in told and "=" in line:
        last = line.partition("=")[0].strip()
        key = last if len(re.findall(rf"(?m)^\s*{re.escape(last)}\s*=", text)) > 1 else ""
    if key and place:
        message = f"not TOML: the key `{key[:60]}` is written more than once ({place[0]})"
        return _unreadable(message, "Keep one of them.")
    reason = told.replace("at end of document", f"at {_position(text, len(text))}, the end")
    return _unreadable(f"not TOML: {reason}", "Correct the syntax there.")


def _dates_as_text(value: Any) -> Any:
    """Return TOML data as JSON and YAML would have it: a date is text."""
    if isinstance(value, dict):
        return {key: _dates_as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_dates_as_text(inner) for inner in value]
    return value.isoformat() if type(value) is date else value


_PARSERS: dict[str, Callable[[str, list[PolicyProblem]], Any]] = {
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".toml": _parse_toml,
    ".json": _parse_json,
}


def _position(text: str, index: int) -> str:
    before = text[:index]
    return f"line {before.count(chr(10)) + 1}, column {index - before.rfind(chr(10))}"


def _unreadable(message: str, remedy: str) -> PolicyError:
    return PolicyError([problem((), NOTHING, message, remedy)])
