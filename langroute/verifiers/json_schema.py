"""JSON Schema checks that end soon whatever the value: no back-tracking, no quadratic search, no network."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from langroute.verifiers.patterns import found

__all__ = ["check_json_schema", "first_problem"]

_ERRORS = 50
"""Errors among which the most telling is looked for; a hostile value can have a million."""

_MESSAGE_CHARS = 200
"""A message begins with the value, which can be long, and ends with what is wrong."""

_SLOW_PATTERN_CHARS = 200
"""Longest text for a pattern that only a back-tracking engine understands."""


def check_json_schema(schema: Mapping[str, Any]) -> None:
    """Check that `schema` is a JSON Schema.

    Raises:
        ValueError: It is none; the message says where.
    """
    from jsonschema import SchemaError

    try:
        _checker(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"this is no JSON Schema: {error.json_path}: {error.message}") from None


def first_problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """Return what is wrong with `value` under `schema`, as `path: problem`; None where it is valid."""
    from jsonschema.exceptions import best_match
    from referencing import Registry

    # An empty registry: a schema that refers to the network is an error, not a download.
    validator = _checker(schema)(schema, registry=Registry())
    error = best_match(islice(validator.iter_errors(value), _ERRORS))
    if error is None:
        return None
    path = error.json_path.removeprefix("$").removeprefix(".")
    message = error.message if len(error.message) <= _MESSAGE_CHARS else f"…{error.message[-_MESSAGE_CHARS:]}"
    return f"{path}: {message}" if path else message


def _checker(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return _bounded(validator_for(schema, default=Draft202012Validator))


@lru_cache(maxsize=16)
def _bounded(checker: Any) -> Any:
    from jsonschema.validators import extend

    keywords = {"pattern": _pattern, "uniqueItems": _unique_items}
    return extend(checker, keywords)  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Exception]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"the value does not match {pattern!r}")


def _matches(pattern: str, value: str) -> bool:
    try:
        return found(pattern, value)
    except ValueError:
        return len(value) <= _SLOW_PATTERN_CHARS and re.search(pattern, value) is not None


def _unique_items(_validator: Any, wanted: bool, value: Any, _schema: Any) -> Iterator[Exception]:  # noqa: FBT001  # jsonschema calls it by position
    from jsonschema import ValidationError

    if wanted and isinstance(value, list):
        items = [json.dumps(item, sort_keys=True) for item in value]
        if len(set(items)) < len(items):
            yield ValidationError("the items are not unique")
