"""Turns what pydantic refused into problems, each at the place where the person wrote it.

The JSON Schema of the policy tells which keys are known where, so that a remedy names what an editor
would offer there.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from langroute.errors import PolicyProblem
from langroute.problems import MAX_PROBLEMS, NOTHING, Loc, closest, limited, problem

__all__ = ["from_validation", "sound_part"]

_EXPECTED = {
    "string": "text; put it in quotes",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "tuple": "a list, in square brackets",
    "list": "a list, in square brackets",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "date": "a date as 2025-12-31",
}
_LIMITS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


def from_validation(error: ValidationError, written: Any, schema: Mapping[str, Any]) -> list[PolicyProblem]:
    """Return what pydantic refused, each at the place where the person wrote it.

    Args:
        error: The refusal. Its own text quotes values as they are, so it must not be shown or chained.
        written: What was validated, as it was written.
        schema: JSON Schema of the policy, for the keys known at each place.
    """
    errors = (item for item in error.errors(include_url=False) if not _follows(item))
    return limited(
        dict.fromkeys(_refusal(item, written, schema) for item in islice(errors, MAX_PROBLEMS + 1))
    )


def _follows(item: Mapping[str, Any]) -> bool:
    """Whether an error is only a consequence of another one, as when every item of a list was refused."""
    if item["type"] == "too_short":
        return bool(item["ctx"]["actual_length"] != len(item["input"]))
    return str(item["type"]) == "default_factory_not_called"


def _refusal(item: Mapping[str, Any], written: Any, schema: Mapping[str, Any]) -> PolicyProblem:
    kind, value, context = str(item["type"]), item["input"], item.get("ctx", {})
    loc = _written_loc(item["loc"], written, keeps_last=kind == "missing")
    if kind == "missing":
        return problem(
            loc, NOTHING, "the key is missing", _how_to_add(str(item["loc"][-1]), _nodes(schema, loc))
        )
    if kind == "extra_forbidden":
        known = {key for node in _nodes(schema, loc[:-1]) for key in node.get("properties", ())}
        return problem(loc, value, "unknown key", closest(str(item["loc"][-1]), sorted(known), "Remove it."))
    if "remedy" in context:
        return problem(loc, value, item["msg"], context["remedy"])
    message, remedy = _explained(kind, str(item["msg"]), context)
    return problem(loc, value, message, remedy)


def _explained(kind: str, message: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return message and remedy of one of pydantic's own refusals."""
    limit = next((f"{words} {context[key]}" for key, words in _LIMITS.items() if key in context), None)
    if limit is not None:
        return f"must be {limit}", f"Write a number {limit}."
    subject = kind.partition("_")[0]
    if kind == "value_error":
        found, _, remedy = message.removeprefix("Value error, ").partition(": ")
        message, remedy = found, f"{remedy[:1].upper()}{remedy[1:].rstrip('.')}." if remedy else "Correct it."
    elif kind == "literal_error":
        message, remedy = "not one of the allowed values", f"Write {context['expected']}."
    elif kind.endswith("too_short"):
        message, remedy = "must not be empty", "Write at least one, or remove the key."
    elif kind.endswith("too_long"):
        message, remedy = f"longer than {context['max_length']}", "Shorten it."
    elif subject in _EXPECTED:
        expected = _EXPECTED[subject]
        message, remedy = f"not {re.split('[,;]', expected)[0]}", f"Write {expected}."
    else:
        message, remedy = message[:1].lower() + message[1:].rstrip("."), "Change it, or remove the key."
    return message, remedy


def _written_loc(loc: Loc, written: Any, *, keeps_last: bool) -> Loc:
    """Drop from pydantic's path what nobody wrote: union branches, and the index of a bare value."""
    kept: list[str | int] = []
    for index, key in enumerate(loc):
        try:
            written = getattr(written, str(key)) if isinstance(written, BaseModel) else written[key]
        except (LookupError, TypeError, AttributeError):
            if keeps_last and index == len(loc) - 1:
                kept.append(key)
        else:
            kept.append(key)
            if isinstance(written, str):
                break
    return tuple(kept)


def _nodes(schema: Mapping[str, Any], loc: Loc) -> list[Mapping[str, Any]]:
    """Return the schema's nodes that describe the place `loc`, every branch of a union."""
    nodes = list(_branches(schema, schema))
    for key in loc:
        below = (_below(node, key) for node in nodes)
        nodes = [branch for node in below if isinstance(node, Mapping) for branch in _branches(node, schema)]
    return nodes


def _below(node: Mapping[str, Any], key: str | int) -> Any:
    if isinstance(key, int):
        return node.get("items")
    return node.get("properties", {}).get(key, node.get("additionalProperties"))


def _branches(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in node:
        yield from _branches(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    yield node
    for word in ("anyOf", "oneOf", "allOf"):
        for branch in node.get(word, ()):
            yield from _branches(branch, schema)


def _how_to_add(key: str, nodes: list[Mapping[str, Any]]) -> str:
    described = next((node["description"] for node in nodes if "description" in node), "")
    sentence = re.split(r"(?<=[.;:])\s", described, maxsplit=1)[0].rstrip(".;:")
    return f"Add `{key}`: {sentence[:1].lower()}{sentence[1:]}." if sentence else f"Add `{key}`."


def sound_part(written: Mapping[str, Any], error: ValidationError) -> Any:
    """Return what was written without what was refused, so that the rest can be checked in the same go.

    Only what nothing else refers to is taken out; where more was refused, or what was refused cannot be
    left out, the rest is refused again.
    """
    sound: Any = written
    for cut in dict.fromkeys(_cut(item["loc"]) for item in error.errors(include_url=False)):
        if cut:
            sound = _without(sound, cut)
    return sound


def _cut(loc: Loc) -> Loc:
    """Return the smallest part around `loc` that can be left out; empty where others may refer to it."""
    match loc:
        case ("steps", _, str(), *_):
            return loc[:3]
        case ("default", str(), *_):
            return loc[:2]
        case ("tiers", _, "models", int(), str(), *_):
            return loc[:5]
        case ("steps" | "default" | "tiers" | "stakes" | "intents", *_):
            return ()
    return loc[:1]


def _without(data: Any, loc: Loc) -> Any:
    """Return a copy of `data` without the part at `loc`; `data` itself where there is none."""
    try:
        inner = data[loc[0]]
    except (LookupError, TypeError):
        return data
    if isinstance(data, str):
        return data
    copied: Any = list(data) if isinstance(data, list | tuple) else dict(data)
    if len(loc) > 1:
        copied[loc[0]] = _without(inner, loc[1:])
    else:
        del copied[loc[0]]
    return copied
