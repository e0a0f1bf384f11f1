"""What a reply says as data: the parsed object, or the JSON that its text is."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, RootModel
from pydantic_core import to_jsonable_python

from langroute.verifiers.base import Case

__all__ = [
    "NotJsonError",
    "field_values",
    "json_in",
    "leaves",
    "plain",
    "reply_data",
    "reply_json",
    "stated_data",
    "too_deep",
]

_MAX_DEPTH = 100
"""Levels of nesting that are read; no honest answer comes near, and a checker that recurses stays safe."""

_TOO_DEEP = f"the reply's JSON is nested deeper than {_MAX_DEPTH} levels"


class NotJsonError(ValueError):
    """A reply that is no JSON; the message is a sentence for the verdict."""


def reply_data(case: Case) -> Any:
    """Return the reply as plain JSON types: the parsed object where there is one, else its text read as JSON.

    Raises:
        NotJsonError: There is neither.
    """
    return plain(case.parsed) if case.parsed is not None else json_in(case.text)


def stated_data(case: Case) -> Any:
    """Return what `reply_data` does, but of pydantic models only the fields that the model itself set.

    Raises:
        NotJsonError: There is neither.
    """
    try:
        return plain(_set_fields(case.parsed)) if case.parsed is not None else json_in(case.text)
    except RecursionError:
        raise NotJsonError(_TOO_DEEP) from None


def json_in(text: str) -> Any:
    """Return the JSON that `text` is, or that its first fenced block holds.

    Raises:
        NotJsonError: It is no valid JSON, or nested deeper than 100 levels.
    """
    body = _unfenced(text).strip()
    if not body:
        raise NotJsonError("the reply is empty where JSON was expected")
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise NotJsonError(f"the reply is not valid JSON: {error.msg} at {where}") from None
    except (RecursionError, ValueError) as error:
        raise NotJsonError(f"the reply is not usable JSON: {error}") from None
    if too_deep(data):
        raise NotJsonError(_TOO_DEEP)
    return data


def plain(value: Any) -> Any:
    """Return a parsed object (pydantic model, dataclass, mapping) as plain JSON types, by field name.

    Raises:
        NotJsonError: It is nested too deeply, or holds itself.
    """
    try:
        data = to_jsonable_python(value, by_alias=False, fallback=str)
    except (RecursionError, ValueError) as error:
        raise NotJsonError(f"the reply's object cannot be read: {error}") from None
    if too_deep(data):
        raise NotJsonError(_TOO_DEEP)
    return data


def too_deep(data: Any) -> bool:
    """Return whether JSON data is nested deeper than 100 levels."""
    level = [data]
    for _ in range(_MAX_DEPTH):
        level = [item for value in level if isinstance(value, dict | list) for item in _children(value)]
        if not level:
            return False
    return True


def leaves(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is neither list nor mapping, with its dotted path; list items share one."""
    stack = [("", data)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, Mapping):
            stack += [
                (f"{path}.{key}" if path else str(key), item) for key, item in reversed(list(value.items()))
            ]
        elif isinstance(value, list | tuple):
            stack += [(path, item) for item in reversed(value)]
        else:
            yield path, value


def field_values(data: Any, path: str) -> list[Any]:
    """Return the values at a dotted path, one for each item of a list on the way; None where missing."""
    values = [data]
    for key in path.split("."):
        values = [
            item.get(key) if isinstance(item, Mapping) else None for value in values for item in _items(value)
        ]
    return values


def reply_json(case: Case) -> str:
    """Return what the reply says as one text for a second model: its text, parsed object and tool calls."""
    parts = [case.text]
    if case.parsed is not None and not case.text.strip():
        parts.append(json.dumps(plain(case.parsed), ensure_ascii=False))
    calls = [{"tool": call["name"], "args": call["args"]} for call in case.reply.tool_calls]
    if calls and case.parsed is None:
        parts.append(json.dumps(calls, ensure_ascii=False, default=str))
    return "\n".join(part for part in parts if part)


def _set_fields(value: Any) -> Any:
    if isinstance(value, RootModel):
        return _set_fields(value.root)
    if isinstance(value, BaseModel):
        names = [name for name in type(value).model_fields if name in value.model_fields_set]
        return {name: _set_fields(getattr(value, name)) for name in names} | (value.model_extra or {})
    if isinstance(value, Mapping):
        return {key: _set_fields(item) for key, item in value.items()}
    return [_set_fields(item) for item in value] if isinstance(value, list | tuple) else value


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _unfenced(text: str) -> str:
    start = text.find("```")
    if start < 0 or text.lstrip()[:1] in {"{", "["}:
        return text
    start = text.find("\n", start) + 1
    end = text.find("```", start)
    return text[start : end if end >= 0 else len(text)] if start else text


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
