"""Reads YAML as YAML 1.2 does: `no` is a word, a date is text, `1_000` is no number.

Anchors and aliases may be used; tags and merge keys may not, and no key may be written twice.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from langroute.bounds import MAX_DEPTH, duplicate_key
from langroute.errors import PolicyError, PolicyProblem
from langroute.problems import MAX_PROBLEMS, NOTHING, Loc, problem

__all__ = ["parse_yaml"]

_MAX_DIGITS = 4_000
"""Python refuses to read an integer of more than 4,300 digits."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "-.inf", "-.Inf", "-.INF"), math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


def parse_yaml(text: str, problems: list[PolicyProblem]) -> Any:
    """Return the value of the one document in `text`, None without one; add what is wrong to `problems`.

    Raises:
        PolicyError: It is no YAML, more than one document, or nested too deeply to go on.
    """
    # libyaml parses some twenty times faster; both give the same events.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return _YamlReader(loader.get_event, problems).document()
    except PolicyError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = error.problem or error.context or "it cannot be parsed"
        raise _unreadable(f"not YAML{where}: {reason}", "Correct the syntax there.") from None
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
    ) as error:  # the parser in Python lets `\U99999999` through
        raise _unreadable(f"not YAML: {str(error).splitlines()[0]}", "Correct the syntax.") from None
    finally:
        loader.dispose()


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
            raise _unreadable(message, "Write one document a file: remove the `---`.")
        return value

    def _value(self, event: Any, loc: Loc) -> Any:
        if len(loc) > MAX_DEPTH:
            raise _unreadable(f"nested too deeply on line {_line(event)}", "Write it flatter.")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, loc)
        if event.tag is not None:
            message = f"the tag {event.tag[:60]!r} on line {_line(event)} is not read"
            self._note(problem(loc, NOTHING, message, "Remove it; text goes in quotes."))
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, loc)
        else:
            value = self._mapping(loc) if isinstance(event, yaml.MappingStartEvent) else self._sequence(loc)
        if event.anchor is not None:
            self._anchored[event.anchor] = value
        return value

    def _note(self, found: PolicyProblem) -> None:
        self._problems.append(found)
        if len(self._problems) >= MAX_PROBLEMS:
            raise _unreadable("holds many more such faults", "Correct the ones above first.")

    def _alias(self, event: Any, loc: Loc) -> Any:
        if event.anchor not in self._anchored:
            name = event.anchor[:60]
            message = f"the alias `*{name}` on line {_line(event)} stands for nothing written before it"
            self._note(problem(loc, NOTHING, message, f"Put `&{name}` before a finished value."))
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
                self._note(duplicate_key((*loc, key), again))
            lines[key] = _line(event)
            data[key] = self._value(self._get_event(), (*loc, key))
        return data

    def _key(self, event: Any, loc: Loc) -> str:
        key = self._value(event, (*loc, "?"))  # one level down, so that keys inside keys end too
        if not isinstance(key, str):
            message = f"the key on line {_line(event)} is not text"
            self._note(problem(loc, key, message, "Put it in quotes."))
            return str(getattr(event, "value", ""))
        if key == "<<" and event.implicit[0]:
            message = f"merge keys are not read, line {_line(event)}"
            self._note(problem((*loc, key), NOTHING, message, "Write the merged keys out."))
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
            self._note(problem(loc, NOTHING, message, "Write a number below 2^63, or put it in quotes."))
            return 0
        return float(text) if _FLOAT.fullmatch(text) else text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _unreadable(message: str, remedy: str) -> PolicyError:
    return PolicyError([problem((), NOTHING, message, remedy)])
