"""What a policy writes for the rungs of a step: its tiers, and before them one plain function."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, TypeAdapter

from langroute.attempts import FUNCTION
from langroute.shapes import Name, Text, listed
from langroute.verifiers import VerifierSpec
from langroute.written import Written

__all__ = ["Checks", "FunctionRung", "SomeRungs", "Tiers"]

Checks = Annotated[
    tuple[VerifierSpec, ...],
    BeforeValidator(listed, json_schema_input_type=VerifierSpec | tuple[VerifierSpec, ...]),
]
"""The checks of a reply, in order; one alone needs no list."""


class FunctionRung(Written):
    """A plain function before a step's models: a rule, a calculator, a lookup, a cache. It costs nothing."""

    function: Name
    """Name under which it is registered from Python: `functions={"answer_by_rule": answer_by_rule}`."""
    verify: Checks | None = None
    """Checks of its replies in place of the step's; without the key the step's hold, `[]` takes its word."""

    @property
    def endpoint(self) -> str:
        """What the record calls it; as a tier it has its own name."""
        return f"{FUNCTION}{self.function}"


class Tiers(tuple[str, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """Names of a step's tiers, cheapest first, and the function that is asked before them."""

    function: FunctionRung | None
    """None where the step begins with a model."""

    def __new__(cls, names: Iterable[str] = (), function: FunctionRung | None = None) -> Self:
        """Return the names, with the function before them."""
        tiers = super().__new__(cls, names)
        tiers.function = function
        return tiers

    def written_at(self, index: int) -> int:
        """Return where the tier of this index stands in what was written."""
        return index + (self.function is not None)


_TEXT: TypeAdapter[str] = TypeAdapter(Text)


def _rung(value: Any) -> "str | FunctionRung":
    if isinstance(value, Mapping | FunctionRung):
        return FunctionRung.model_validate(value)
    return _TEXT.validate_python(value)


def _tiers(value: Any) -> Tiers:
    if isinstance(value, Tiers):
        return value
    rungs = _RUNGS.validate_python(value)
    misplaced = next((rung for rung in rungs[1:] if isinstance(rung, FunctionRung)), None)
    if misplaced is not None:
        raise ValueError(f"`{misplaced.function}` is not the first rung: a function stands before all tiers")
    first = rungs[0] if isinstance(rungs[0], FunctionRung) else None
    if first is not None and len(rungs) == 1:
        raise ValueError("no tier follows the function, which may have no answer: add one after it")
    return Tiers(rungs if first is None else rungs[1:], first)


def _written(tiers: Tiers) -> tuple[Any, ...]:
    """Return the cascade as a policy writes it."""
    if tiers.function is None:
        return tuple(tiers)
    return tiers.function.model_dump(mode="json", exclude_unset=True), *tiers


_Rung = Annotated[Any, PlainValidator(_rung, json_schema_input_type=Text | FunctionRung)]
_Rungs = Annotated[tuple[_Rung, ...], Field(min_length=1)]
_RUNGS: TypeAdapter[tuple[Any, ...]] = TypeAdapter(Annotated[_Rungs, BeforeValidator(listed)])

SomeRungs = Annotated[
    Tiers, PlainValidator(_tiers, json_schema_input_type=Text | _Rungs), PlainSerializer(_written)
]
"""A step's cascade: one tier, or a list of them that may begin with `{function: name}`."""
