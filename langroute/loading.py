"""From a policy file to plain data: text, numbers, lists and mappings, and nothing that could surprise.

YAML is read as YAML 1.2 reads it: `no` is a word, a date is text, `1_000` is no number. Anchors and
aliases may be used; tags and merge keys may not. Everything is bounded, because a policy may come
from anyone: size, depth, aliases written out, numbers. What cannot be read is a `PolicyError`.
"""

import datetime as dt
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from langroute.errors import PolicyError, PolicyProblem
from langroute.problems import NOTHING, Loc, problem

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "out_of_bounds", "read"]

MAX_BYTES = 256 * 1024
"""Size of a policy file; a hundred times a usual one, and none of that size takes 1 s to read."""

MAX_DEPTH = 32
"""Levels of nesting; a policy needs eight, `settings` may need a few more."""

MAX_VALUES = 20_000
"""Values in all, aliases written out: ten lines of aliases could otherwise stand for billions."""

_MAX_INTEGER = 2**63
_MAX_DIGITS = 4_000
"""Python refuses to read an integer of more than 4,300 digits."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# tomllib copies a dotted key once for each of its parts: thirty thousand parts would take minutes.
_LONG_TOML_KEY = re.compile(
    r"(?<![\w\-])(?:(?:\"[^\"\n]*\"|'[^'\n]*'|[\w\-]++)[ \t]*+\.[ \t]*+){%d}" % MAX_DEPTH  # noqa: UP031 - braces
)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "-.inf", "-.Inf", "-.INF"), math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


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
    except _UnreadableError as error:
        problems.append(error.problem)
    if not problems and not isinstance(data, dict):
        remedy = "Write a mapping with `tiers` at the top level; see `langroute schema`."
        empty = data is None
        problems.append(
            problem((), NOTHING if empty else data, "holds nothing" if empty else "not a mapping", remedy)
        )
    if problems:
        raise PolicyError(problems, str(path))
    return dict(data)


def out_of_bounds(data: Any) -> list[PolicyProblem]:
    """Return what no policy may hold: too deep, too many, endless numbers, keys that are no text."""
    problems: list[PolicyProblem] = []
    pending: list[tuple[Loc, Any]] = [((), data)]
    for _ in range(MAX_VALUES):
        if not pending:
            return problems
        loc, value = pending.pop()
        if len(loc) > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            return [problem(loc[:4], NOTHING, message, "Write it flatter, and nothing inside itself.")]
        problems += _wrong_keys(loc, value) if isinstance(value, Mapping) else _wrong_value(loc, value)
        pending += reversed(list(_inside(loc, value)))
    message = f"holds more than {MAX_VALUES:,} values, aliases written out"
    return [problem((), NOTHING, message, "Shorten it, or use fewer aliases.")]


def _inside(loc: Loc, value: Any) -> Iterator[tuple[Loc, Any]]:
    if isinstance(value, Mapping):
        yield from (((*loc, key), inner) for key, inner in value.items() if isinstance(key, str))
    elif isinstance(value, list | tuple):
        yield from (((*loc, index), inner) for index, inner in enumerate(value))


def _wrong_keys(loc: Loc, value: Mapping[Any, Any]) -> Iterator[PolicyProblem]:
    for key in value:
        if not isinstance(key, str):
            yield problem(loc, key, "a key must be text", "Put the key in quotes.")
        elif _UNPRINTABLE.search(key):
            yield problem(loc, key, "a key holds characters that cannot be printed", "Remove them.")


def _wrong_value(loc: Loc, value: Any) -> Iterator[PolicyProblem]:
    match value:
        case bool():
            return
        case int() if abs(value) > _MAX_INTEGER:
            yield problem(loc, value, "too large a number", "Write a number below 2^63.")
        case float() if not math.isfinite(value):
            yield problem(loc, value, "not a finite number", "Write a finite number, or remove the key.")
        case str() if _UNPRINTABLE.search(value):
            yield problem(loc, value, "holds characters that cannot be printed", "Remove them.")
        case bytes() | bytearray():
            yield problem(loc, NOTHING, "binary data has no place in a policy", "Write text.")
        case dt.datetime() | dt.time():
            yield problem(loc, str(value), "a time has no place in a policy", "Write it in quotes, as text.")


def _content(path: Path) -> bytes:
    """Return the file's bytes; a pipe or a device is not read, because it might never end."""
    try:
        if path.is_dir():
            raise _UnreadableError("is a directory", "Name the policy file in it.")
        if not path.exists():
            raise _UnreadableError("there is no such file", "Check the name and the working directory.")
        if not path.is_file():
            raise _UnreadableError("is not a regular file", "Write the policy to a file first.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _UnreadableError(f"cannot be read: {reason}", "Check the name and the permissions.") from None
    if len(content) > MAX_BYTES:
        raise _UnreadableError(
            f"larger than {MAX_BYTES:,} bytes", "A policy is a few kilobytes: is it the right file?"
        )
    return content


def _decoded(content: bytes) -> str:
    """Return UTF-8 text without byte-order mark and without characters that cannot be printed."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise _UnreadableError(
            f"not UTF-8 at {_position(before, len(before))}", "Save it as UTF-8."
        ) from None
    strange = _UNPRINTABLE.search(text)
    if strange:
        message = (
            f"the character U+{ord(strange[0]):04X} at {_position(text, strange.start())} cannot be printed"
        )
        raise _UnreadableError(message, "Remove it; in a string, write its escape.")
    return text


def _parse_json(text: str, problems: list[PolicyProblem]) -> Any:
    def mapping(items: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(items)
        if len(data) < len(items):
            counts = Counter(key for key, _ in items)
            problems.extend(
                _duplicate((key,), f"{count} times") for key, count in counts.items() if count > 1
            )
        return data

    try:
        return json.loads(text, object_pairs_hook=mapping) if text.strip() else None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _UnreadableError(f"not JSON at {where}: {error.msg}", "Correct the syntax there.") from None
    except RecursionError:
        raise _UnreadableError("nested too deeply", "Write it flatter.") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise _UnreadableError(
            "holds a number of thousands of digits", "Write a number below 2^63."
        ) from None


def _parse_toml(text: str, _problems: list[PolicyProblem]) -> Any:
    long_key = _LONG_TOML_KEY.search(text)
    if long_key:
        where = _position(text, long_key.start())
        raise _UnreadableError(f"a key of more than {MAX_DEPTH} dotted parts at {where}", "Write it flatter.")
    try:
        return tomllib.loads(text) or None
    except tomllib.TOMLDecodeError as error:
        end = f"at {_position(text, len(text))}, the end"
        reason = str(error).replace("at end of document", end)
        raise _UnreadableError(f"not TOML: {reason}", "Correct the syntax there.") from None
    except RecursionError:
        raise _UnreadableError("nested too deeply", "Write it flatter.") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise _UnreadableError(
            "holds a number of thousands of digits", "Write a number below 2^63."
        ) from None


def _parse_yaml(text: str, problems: list[PolicyProblem]) -> Any:
    # libyaml parses some twenty times faster; both give the same events.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return _YamlReader(loader.get_event, problems).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = error.problem or error.context or "it cannot be parsed"
        raise _UnreadableError(f"not YAML{where}: {reason}", "Correct the syntax there.") from None
    except yaml.YAMLError as error:
        raise _UnreadableError(f"not YAML: {str(error).splitlines()[0]}", "Correct the syntax.") from None
    finally:
        loader.dispose()


_PARSERS: dict[str, Callable[[str, list[PolicyProblem]], Any]] = {
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": _parse_toml,
    ".json": _parse_json,
}


class _YamlReader:
    """Builds plain data from YAML events, and notes what a policy may not hold as it goes."""

    def __init__(self, get_event: Callable[[], Any], problems: list[PolicyProblem]) -> None:
        self._get_event = get_event
        self._problems = problems
        self._anchored: dict[str, Any] = {}

    def document(self) -> Any:
        """Return the only document's value; None where there is none."""
        self._get_event()  # the stream starts
        if isinstance(self._get_event(), yaml.StreamEndEvent):
            return None
        value = self._value(self._get_event(), ())
        self._get_event()  # the document ends
        following = self._get_event()
        if not isinstance(following, yaml.StreamEndEvent):
            message = f"a second document begins on line {_line(following)}"
            raise _UnreadableError(message, "Write one document a file: remove the `---`.")
        return value

    def _value(self, event: Any, loc: Loc) -> Any:
        if len(loc) > MAX_DEPTH:
            raise _UnreadableError(f"nested too deeply on line {_line(event)}", "Write it flatter.")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, loc)
        if event.tag is not None:
            message = f"the tag {event.tag[:60]!r} on line {_line(event)} is not read"
            self._problems.append(problem(loc, NOTHING, message, "Remove it; text goes in quotes."))
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, loc)
        else:
            value = self._mapping(loc) if isinstance(event, yaml.MappingStartEvent) else self._sequence(loc)
        if event.anchor is not None:
            self._anchored[event.anchor] = value
        return value

    def _alias(self, event: Any, loc: Loc) -> Any:
        if event.anchor not in self._anchored:
            message = f"the alias `*{event.anchor[:60]}` on line {_line(event)} stands for nothing written before it"
            self._problems.append(
                problem(loc, NOTHING, message, f"Put `&{event.anchor[:60]}` before a finished value.")
            )
        return self._anchored.get(event.anchor)

    def _sequence(self, loc: Loc) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._get_event(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*loc, len(items))))
        return items

    def _mapping(self, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := self._get_event(), yaml.MappingEndEvent):
            key = self._key(event, loc)
            if key in data:
                again = f"on line {lines[key]} and on line {_line(event)}"
                self._problems.append(_duplicate((*loc, key), again))
            lines[key] = _line(event)
            data[key] = self._value(self._get_event(), (*loc, key))
        return data

    def _key(self, event: Any, loc: Loc) -> str:
        key = self._value(event, loc)
        if not isinstance(key, str):
            message = f"the key on line {_line(event)} is not text"
            self._problems.append(problem(loc, key, message, "Put it in quotes."))
            return str(getattr(event, "value", ""))
        if key == "<<" and event.implicit[0]:
            message = f"merge keys are not read, line {_line(event)}"
            self._problems.append(problem((*loc, key), NOTHING, message, "Write the merged keys out."))
        return key

    def _scalar(self, event: Any, loc: Loc) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            if len(text) <= _MAX_DIGITS:
                return int(text)
            message = f"too large a number on line {_line(event)}"
            self._problems.append(
                problem(loc, NOTHING, message, "Write a number below 2^63, or put it in quotes.")
            )
            return 0
        return float(text) if _FLOAT.fullmatch(text) else text


class _UnreadableError(Exception):
    """The file cannot be read on: one problem of the whole file."""

    def __init__(self, message: str, remedy: str) -> None:
        self.problem = problem((), NOTHING, message, remedy)
        super().__init__(message)


def _duplicate(loc: Loc, again: str) -> PolicyProblem:
    message = f"the key is written more than once, {again}"
    return problem(loc, NOTHING, message, "Keep one of them; a second would silently replace the first.")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _position(text: str, index: int) -> str:
    before = text[:index]
    return f"line {before.count(chr(10)) + 1}, column {index - before.rfind(chr(10))}"
