"""JSON Schema as a stand-in reads it: references followed, alternatives settled, nullable noted."""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["allows", "default_for", "from_instructions", "label_of", "plain", "properties"]

Schema = Mapping[str, Any]


def plain(schema: Any, root: Schema) -> tuple[Schema, bool]:
    """Return a schema without references and alternatives, and whether null is allowed."""
    schema = schema if isinstance(schema, Mapping) else {}
    nullable = False
    for _ in range(10):  # a chain of references longer than this is a loop
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or ()
        if "$ref" in schema:
            schema = {
                **_pointed_at(str(schema["$ref"]), root),
                **{k: v for k, v in schema.items() if k != "$ref"},
            }
        elif options:
            nullable = nullable or any(option.get("type") == "null" for option in options)
            chosen: Schema = next((option for option in options if option.get("type") != "null"), {})
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf", "allOf")}
            schema = {**chosen, **rest}
        else:
            break
    kinds = schema.get("type")
    if isinstance(kinds, list):
        nullable = nullable or "null" in kinds
        schema = {**schema, "type": next((kind for kind in kinds if kind != "null"), "null")}
    return schema, nullable or schema.get("type") == "null"


def properties(schema: Schema) -> dict[str, tuple[Any, bool]]:
    """Return an object's properties with whether each is required."""
    required = schema.get("required") or ()
    return {name: (inner, name in required) for name, inner in (schema.get("properties") or {}).items()}


def label_of(name: str, schema: Schema) -> str:
    """Return the words that say what a field is: its name, split, and its description."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ")
    return f"{spaced} {schema.get('description') or ''}".strip()


def allows(schema: Schema, number: float, *, whole: bool) -> bool:
    """Return whether a number is whole where it must be, and within the schema's bounds."""
    bounds = (
        number >= schema.get("minimum", number),
        number <= schema.get("maximum", number),
        number > schema.get("exclusiveMinimum", number - 1),
        number < schema.get("exclusiveMaximum", number + 1),
    )
    return all(bounds) and (not whole or float(number).is_integer())


def default_for(schema: Schema) -> Any:
    """Return a value that the schema allows and that says least, for a field nothing was found for."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _number_within(schema)
    return {"boolean": False, "array": [], "object": {}, "null": None}.get(str(kind), "unknown")


def from_instructions(told: str) -> Schema:
    """Return an object schema with the keys that a prompt names in quotes; JSON mode gives no other."""
    keys = re.findall(r"[\"'`]([A-Za-z_]\w{0,40})[\"'`]", told) or ["answer"]
    return {"type": "object", "properties": {key: {"type": "string"} for key in keys}, "required": keys}


def _pointed_at(pointer: str, root: Schema) -> Schema:
    target: Any = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        target = target.get(part, {}) if part and isinstance(target, Mapping) else target
    return target if isinstance(target, Mapping) else {}


def _number_within(schema: Schema) -> float:
    """Return the allowed number that is closest to 0, of the few that are tried."""
    bounds = [schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")]
    tried = [0.0, *(bound + step for bound in bounds if bound is not None for step in (0, 1, -1, 0.5, -0.5))]
    whole = schema.get("type") == "integer"
    number = min((n for n in tried if allows(schema, n, whole=whole)), key=abs, default=0.0)
    return int(number) if whole else number
