"""How a policy writes a verifier: `schema`, `{grounded: {in: documents}}`, `{confidence: 0.7}`."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema

from langroute.verifiers.base import Verifier, shown
from langroute.verifiers.custom import Custom

__all__ = ["VerifierSpec", "VerifierSpecs", "read_verifier", "spec_json_schema", "write_verifier"]


def read_verifier(value: Any) -> Verifier:
    """Return the verifier that a policy's `verify` entry means.

    Args:
        value: A name, a mapping of one name to its settings (or to the value of its chief setting), a
            `Verifier` or a class of one, or any callable that takes a `Case`.

    Raises:
        ValueError: It names no known verifier, or settings that the verifier does not have.
    """
    if isinstance(value, Verifier):
        return value
    if isinstance(value, str):
        return _bare(value)
    if isinstance(value, Mapping):
        if len(value) != 1:
            names = ", ".join(map(str, value)) or "none"
            raise ValueError(
                f"a verifier is one name with its settings, this mapping has {len(value)} ({names}): "
                "write each as an entry of its own, and indent settings under their name"
            )
        ((name, settings),) = value.items()
        return _built(name, settings)
    if isinstance(value, type) and issubclass(value, Verifier):
        return value()
    if callable(value):
        return Custom(function=value)
    raise ValueError(
        f"a verifier is a name or a mapping of one name to its settings, not {type(value).__name__}: "
        "write, for example, `schema` or `{confidence: {min: 0.7}}`"
    )


def write_verifier(verifier: Verifier) -> Any:
    """Return a verifier as a policy writes it; a function of the person's own as its qualified name."""
    if isinstance(verifier, Custom):
        return verifier.qualified_name
    settings = verifier.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if not settings:
        return verifier.name
    chief = settings.get(verifier.shorthand or "")
    return {verifier.name: chief if len(settings) == 1 and isinstance(chief, list) else settings}


def spec_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a `verify` entry: a bare name, or one name with its settings.

    Inside a combinator the names are checked and the settings are not, since pydantic has no way to
    refer to a schema of one's own.
    """
    settings = {name: _settings_schema(verifier) for name, verifier in _known().items()}
    return _entry_schema({"properties": settings, "additionalProperties": False})


class _Entry:
    """Describes what may be written for a verifier, not the object that it becomes."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return spec_json_schema()


class _OneOrMore:
    """The same inside a combinator."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        entry = _entry_schema({"propertyNames": {"enum": list(_known())}})
        return {"anyOf": [entry, {"type": "array", "items": entry, "minItems": 1}]}


_Written = Annotated[Verifier, BeforeValidator(read_verifier), PlainSerializer(write_verifier)]

VerifierSpec = Annotated[_Written, _Entry()]
"""A verifier in a policy: read from any form that a person may write, and written back in that form."""

VerifierSpecs = Annotated[
    tuple[_Written, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
    _OneOrMore(),
]
"""The verifiers inside a combinator; one alone needs no list."""


def _known() -> Mapping[str, type[Verifier]]:
    # Imported late: the combinators in the registry are made of specs.
    from langroute.verifiers import VERIFIERS

    return VERIFIERS


def _bare(name: str) -> Verifier:
    verifier = _named(name)
    if not _stands_alone(verifier):
        raise ValueError(f"`{name}` needs a mapping with its settings: settings: {_settings(verifier)}")
    return verifier()


def _built(name: Any, settings: Any) -> Verifier:
    verifier = _named(name)
    if not isinstance(settings, Mapping):
        if verifier.shorthand is None:
            raise ValueError(
                f"`{name}` takes a mapping, not {shown(repr(settings))}: settings: {_settings(verifier)}"
                if verifier.model_fields
                else f"`{name}` has no settings, so it takes no {shown(repr(settings))}: write it alone"
            )
        settings = {verifier.shorthand: settings}
    built: Verifier = _adapter(verifier).validate_python({name: settings})[name]
    return built


@cache
def _adapter(verifier: type[Verifier]) -> TypeAdapter[dict[str, Any]]:
    """Return what reads `{name: settings}`, so that an error's path holds the name."""
    return TypeAdapter(dict[str, verifier])  # type: ignore[valid-type]  # the class is known at run time only


def _named(name: Any) -> type[Verifier]:
    verifier = _known().get(name) if isinstance(name, str) else None
    if verifier is None:
        raise ValueError(_unknown(str(name)))
    return verifier


def _unknown(name: str) -> str:
    known = sorted(_known())
    near = get_close_matches(name[:100].casefold().replace("-", "_"), known, n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"there is no verifier {shown(name)!r}: {meant}The verifiers are: {', '.join(known)}"


def _settings(verifier: type[Verifier]) -> str:
    return ", ".join(f"`{field.alias or name}`" for name, field in verifier.model_fields.items())


def _stands_alone(verifier: type[Verifier]) -> bool:
    """Return whether a verifier can be named without settings."""
    try:
        verifier()
    except ValidationError:
        return False
    return True


def _entry_schema(with_settings: dict[str, Any]) -> dict[str, Any]:
    bare = [name for name, verifier in _known().items() if _stands_alone(verifier)]
    one = {"type": "object", "minProperties": 1, "maxProperties": 1, **with_settings}
    return {"oneOf": [{"enum": bare}, one]}


def _settings_schema(verifier: type[Verifier]) -> dict[str, Any]:
    """Return the schema of one verifier's settings, or of its chief setting alone where it has one."""
    schema = verifier.model_json_schema(by_alias=True)
    if verifier.shorthand is None:
        return schema
    return {"anyOf": [schema, schema["properties"][verifier.shorthand]]}
