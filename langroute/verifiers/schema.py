"""Structured replies: does the reply fit its schema, and does it fill the fields that matter?"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from langroute.cascade import Verdict
from langroute.verifiers.base import Case, Verifier, shown
from langroute.verifiers.json_schema import check_json_schema, first_problem
from langroute.verifiers.structured import NotJsonError, field_values, plain, reply_data

__all__ = ["RequiredFields", "Schema", "validation_sentence"]

_PROBLEMS = 3
"""Problems that a reason names; a model repairs a few at a time."""


def _json_schema(value: dict[str, Any]) -> dict[str, Any]:
    check_json_schema(value)
    return value


class Schema(Verifier):
    """The reply is parsed and valid under the request's schema; without one, its text is valid JSON.

    A reply that gives nothing for a schema that was asked for is unusable: the caller was promised
    an object, so `on_exhausted: best` cannot return it. JSON may stand in one fenced block.
    """

    name: ClassVar[str] = "schema"

    json_schema: Annotated[dict[str, Any], AfterValidator(_json_schema)] | None = None
    """A JSON Schema that the reply must fit too. Its references may only point inside it."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply that fits; reject with the path and the problem."""
        wanted = case.request.schema
        if wanted is not None and case.parsed is None:
            return self.rejects(_parse_problem(case.parsing_error), usable=False)
        try:
            data = reply_data(case)
        except NotJsonError as error:
            return self.rejects(str(error))
        problem = None if wanted is None else _misfit(wanted, case.parsed)
        if problem is not None:
            return self.rejects(f"the reply does not fit the schema: {problem}", usable=False)
        if self.json_schema is not None:
            problem = first_problem(self.json_schema, data)
        if problem is not None:
            return self.rejects(f"the reply does not fit the schema: {problem}")
        bare = wanted is None and self.json_schema is None
        return self.accepts("the reply is valid JSON" if bare else "the reply fits the schema")


class RequiredFields(Verifier):
    """The named fields of a structured reply are there and not empty.

    Empty are null, blank text, and lists and objects without content; 0 and false are values.
    """

    name: ClassVar[str] = "required_fields"
    shorthand: ClassVar[str | None] = "fields"

    fields: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    """Field names, dotted for nested ones; a path through a list asks every item."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply that fills every field; the score is the share that is filled."""
        try:
            data = reply_data(case)
        except NotJsonError as error:
            return self.rejects(str(error), 0.0)
        missing = [path for path in self.fields if any(map(_is_empty, field_values(data, path) or [None]))]
        score = 1 - len(missing) / len(self.fields)
        if missing:
            return self.rejects(f"the reply leaves required fields empty: {', '.join(missing)}", score)
        return self.accepts("every required field is filled", score)


def validation_sentence(error: ValidationError) -> str:
    """Return the first problems of a pydantic error in one line: `age: Input should be a valid integer`."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [": ".join(filter(None, (".".join(map(str, p["loc"])), p["msg"]))) for p in problems[:_PROBLEMS]]
    more = f" (and {len(problems) - _PROBLEMS} more)" if len(problems) > _PROBLEMS else ""
    return "; ".join(parts) + more


def _parse_problem(error: BaseException | None) -> str:
    """Return why parsing failed; pydantic's own words where they are somewhere in the chain."""
    cause: BaseException | None = error
    for _ in range(5):
        if isinstance(cause, ValidationError):
            return f"the reply does not fit the schema: {validation_sentence(cause)}"
        cause = cause and (cause.__cause__ or cause.__context__)
    if error is None:
        return "the reply gives no object for the schema that was asked for"
    return f"the reply could not be parsed: {shown(str(error), 200)}"


def _misfit(schema: Any, parsed: Any) -> str | None:
    """Return how the parsed object misses a schema given as pydantic class, TypedDict or JSON Schema."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        if isinstance(parsed, schema):
            return None
        try:
            schema.model_validate(parsed)
        except ValidationError as error:
            return validation_sentence(error)
        return None
    if not isinstance(schema, Mapping) or "properties" not in schema:
        from langchain_core.utils.function_calling import convert_to_json_schema

        schema = convert_to_json_schema(schema)  # type: ignore[arg-type]  # its signature leaves TypedDict out
    return first_problem(schema, plain(parsed))


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | Mapping) and not value)
