"""Says what is wrong with a policy as path, value, message and remedy, and never shows a secret.

Three sources speak here in one voice: what a file may not hold, what pydantic refused, and what
`langroute.checking` found. The JSON Schema of the policy tells which keys are known where.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from langroute.errors import PolicyProblem

__all__ = [
    "NOTHING",
    "Loc",
    "closest",
    "from_validation",
    "holds_secret",
    "key_path",
    "names_secret",
    "problem",
    "shown",
]

NOTHING = object()
"""Stands where a problem has no value to show."""

Loc = tuple[str | int, ...]
"""Where something stands: keys and list indexes from the top of the policy."""

_MAX_PROBLEMS = 100
"""A file with more problems than this is not a policy; the rest are counted, not described."""

_SHOWN_CHARS = 60
_SCANNED_CHARS = 2_000
"""Characters of a value in which secrets are looked for before it is cut to what is shown."""

_NAME_CHARS = 64
_NAMES_LISTED = 20
_NAMES_COMPARED = 200
"""difflib takes some 10 µs a pair of short names; these limits keep a hostile file under 1 s."""

_SECRET_KEY = re.compile(
    r"(^|_)((api|access|private|secret|subscription|license)_?key|secret|password|passwd|passphrase|token"
    r"|credentials?|authorization|cookie)$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"\b(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|github_pat|xox[abprs]|lsv2|tvly|AKIA|AIza)[-_]?[A-Za-z0-9_\-]{12,}"
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9_\-.=+/]{6,}"
    r"|(?<=://)[^/\s@]+(?=@)"
    r"|(?<=[?&])(?:api[_-]?key|key|token|secret|password|sig)=[^&\s]+"
)
_PLAIN_KEY = re.compile(r"[\w*?\-]+")

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


def problem(loc: Loc, value: Any, message: str, remedy: str) -> PolicyProblem:
    """Return one problem at `loc`, its value shortened and free of secrets."""
    return PolicyProblem(key_path(loc), shown(value, loc), _masked(message), _masked(remedy))


def key_path(loc: Loc) -> str:
    """Return the dotted key path of `loc`: `tiers.small.models[0].price`; odd keys are quoted."""
    path = ""
    for key in loc:
        if isinstance(key, int):
            path += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key) and len(key) <= _SHOWN_CHARS:
            path += f".{_masked(key)}" if path else _masked(key)
        else:
            path += f"[{_text(key)}]"
    return path


def shown(value: Any, loc: Loc = ()) -> str:
    """Return `value` short enough for a message; `***` for a secret, the class alone of an object."""
    if any(isinstance(key, str) and names_secret(key) for key in loc):
        return "***"
    if isinstance(value, str):
        return _text(value)
    if value is NOTHING:
        return ""
    if isinstance(value, Mapping):
        return f"{{{len(value)} key{'s' * (len(value) != 1)}}}"
    if isinstance(value, list | tuple):
        return f"[{len(value)} item{'s' * (len(value) != 1)}]"
    if isinstance(value, int) and value.bit_length() > _SHOWN_CHARS:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, int | float):
        return json.dumps(value)
    return type(value).__name__


def names_secret(key: str) -> bool:
    """Whether the value under `key` is a secret: `api_key`, `Authorization`; not `max_tokens`."""
    return len(key) <= _NAME_CHARS and bool(_SECRET_KEY.search(key.replace("-", "_")))


def holds_secret(text: str) -> bool:
    """Whether `text` looks like a secret itself: a provider's key, a bearer header, a URL with a password."""
    return bool(_SECRET_TEXT.search(text[:_SCANNED_CHARS]))


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


def from_validation(error: ValidationError, written: Any, schema: Mapping[str, Any]) -> list[PolicyProblem]:
    """Return what pydantic refused, each at the place where the person wrote it.

    Args:
        error: The refusal. Its own text quotes values as they are, so it must not be shown or chained.
        written: What was validated, as it was written.
        schema: JSON Schema of the policy, for the keys known at each place.
    """
    errors = [item for item in error.errors(include_url=False) if not _follows(item)]
    found = {_refusal(item, written, schema): None for item in errors[:_MAX_PROBLEMS]}
    problems = list(found)
    if len(errors) > _MAX_PROBLEMS:
        more = f"{len(errors) - _MAX_PROBLEMS} more problems were found"
        problems.append(problem((), NOTHING, more, "Correct the ones above first."))
    return problems


def _follows(item: Mapping[str, Any]) -> bool:
    """Whether an error is only a consequence of another one, as when every item of a list was refused."""
    if item["type"] == "too_short":
        return bool(item["ctx"]["actual_length"] != len(item["input"]))
    return str(item["type"]) == "default_factory_not_called"


def _refusal(item: Mapping[str, Any], written: Any, schema: Mapping[str, Any]) -> PolicyProblem:
    kind, value, context = str(item["type"]), item["input"], item.get("ctx", {})
    loc = _written_loc(item["loc"], written, keeps_last=kind == "missing")
    if kind == "missing":
        return problem(loc, NOTHING, "the key is missing", _how_to_add(str(loc[-1]), _nodes(schema, loc)))
    if kind == "extra_forbidden":
        known = {key for node in _nodes(schema, loc[:-1]) for key in node.get("properties", ())}
        return problem(loc, value, "unknown key", closest(str(loc[-1]), sorted(known), "Remove it."))
    if "remedy" in context:
        return problem(
            (*loc, *context.get("at", ())), context.get("value", value), item["msg"], context["remedy"]
        )
    message, remedy = _explained(kind, str(item["msg"]), context)
    return problem(loc, value, message, remedy)


def _explained(kind: str, message: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return message and remedy of one of pydantic's own refusals."""
    for limit, words in _LIMITS.items():
        if limit in context:
            return f"must be {words} {context[limit]}", f"Write a number {words} {context[limit]}."
    if kind == "literal_error":
        return "not one of the allowed values", f"Write {context['expected']}."
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty", "Write at least one, or remove the key."
    if kind in {"too_long", "string_too_long"}:
        return f"longer than {context['max_length']}", "Shorten it."
    expected = _EXPECTED.get(kind.partition("_")[0])
    if expected:
        return f"not {expected.partition(',')[0].partition(';')[0]}", f"Write {expected}."
    return message[:1].lower() + message[1:].rstrip("."), "Change it, or remove the key."


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


def _text(text: str) -> str:
    masked = _masked(text[:_SCANNED_CHARS])
    quoted = repr(masked[:_SHOWN_CHARS])
    return quoted if len(masked) <= _SHOWN_CHARS else f"{quoted[:-1]}…{quoted[-1]}"


def _masked(text: str) -> str:
    return _SECRET_TEXT.sub("***", text)
