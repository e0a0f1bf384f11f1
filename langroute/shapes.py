"""The forms in which a person may write a value of a policy, each also described to its JSON Schema.

Numbers are strict: text or `true` is no number. A bare value may stand where a list of one is meant.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, PlainValidator, SerializationInfo
from pydantic_core import PydanticCustomError

from langroute.verifiers.language import Code

__all__ = [
    "Count",
    "Day",
    "Flag",
    "Model",
    "ModelString",
    "Name",
    "Names",
    "Positive",
    "Seconds",
    "Share",
    "SomeLanguages",
    "SomeNames",
    "SomePatterns",
    "Text",
    "Usd",
    "Version",
    "Wanted",
    "as_model",
    "as_tier",
    "free_name",
    "levels_schema",
    "listed",
    "model_shown",
]


_PROVIDER_MODEL = re.compile(r"[^\s:/]{1,50}:[^\s/]\S{0,250}")


def listed(value: Any) -> Any:
    """Read a bare value in a list's place as a list of one."""
    return [value] if isinstance(value, str | Mapping | BaseModel | Runnable) else value


def as_model(value: Any) -> Any:
    """Read a bare model as an endpoint with nothing else said."""
    return {"model": value} if isinstance(value, str | Runnable) else value


def as_tier(value: Any) -> Any:
    """Read bare models as a tier with nothing else said."""
    return {"models": value} if isinstance(value, str | list | tuple | Runnable) else value


def free_name(model: str, counts: Counter[str]) -> str:
    """Return `model`, or `model#2` and so on where `counts` holds it already; the name is then taken."""
    name = model
    while name in counts:
        counts[model] += 1
        name = f"{model}#{counts[model]}"
    counts[name] += 1
    return name


def levels_schema(schema: dict[str, Any]) -> None:
    """Describe to the JSON Schema how stakes are written: every key but `tools` is a level."""
    schema["additionalProperties"] = schema["properties"].pop("levels")["additionalProperties"]
    schema["examples"] = [{"high": {"tier": "large"}, "tools": {"delete_file": "high"}}]


def _model(value: Any) -> Any:
    """Check that a model is a chat model, or `provider:model` with both parts."""
    if isinstance(value, Runnable):
        return value
    if not isinstance(value, str) or not _PROVIDER_MODEL.fullmatch(value):
        remedy = "Write `provider:model`, for example `openai:gpt-5-nano`."
        raise PydanticCustomError("model", "not a model with its provider", {"remedy": remedy})
    return value


def _model_text(value: Any, info: SerializationInfo) -> Any:
    """Keep an instance in Python; in JSON it is its class and its model's name, never its settings."""
    return value if info.mode == "python" else model_shown(value)


def model_shown(value: Any) -> str:
    """Return a model's string; of an instance its class and its model's name, for its repr shows headers."""
    if isinstance(value, str):
        return value
    inner = getattr(value, "bound", value)  # what `model.bind(...)` wraps
    name = next((getattr(inner, key) for key in ("model_name", "model", "name") if hasattr(inner, key)), None)
    kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
    return f"{kind}:{name}" if isinstance(name, str) else kind


def _day(value: Any) -> Any:
    """Read `2025-12-31` as a date: a file has only text for it."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) and "-" in value else value
    except ValueError:
        return value


def _version(value: Any) -> Any:
    """Keep `true` from passing for 1, as it does in Python."""
    return str(value).lower() if isinstance(value, bool) else value


def _wanted(value: Any) -> Any:
    """Check that metadata is compared with a plain value, or with a list of them."""
    items = value if isinstance(value, list | tuple) else [value]
    if not items or not all(item is None or isinstance(item, str | int | float) for item in items):
        remedy = "Write text, a number, true, false, or a list of such values."
        raise PydanticCustomError("wanted", "metadata is compared with plain values only", {"remedy": remedy})
    return value


Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, gt=0)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Usd = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1)]

_Texts = tuple[Text, ...]
_SomeTexts = Annotated[tuple[Text, ...], Field(min_length=1)]
Names = Annotated[_Texts, BeforeValidator(listed, json_schema_input_type=Text | _Texts)]
_Pattern = Annotated[str, Field(min_length=1, max_length=1_000)]
_SomePatterns = Annotated[tuple[_Pattern, ...], Field(min_length=1)]
SomePatterns = Annotated[
    _SomePatterns, BeforeValidator(listed, json_schema_input_type=_Pattern | _SomePatterns)
]
SomeNames = Annotated[_SomeTexts, BeforeValidator(listed, json_schema_input_type=Text | _SomeTexts)]

_Codes = Annotated[tuple[Code, ...], Field(min_length=1)]
SomeLanguages = Annotated[_Codes, BeforeValidator(listed, json_schema_input_type=Code | _Codes)]

ModelString = Annotated[str, Field(pattern=f"^{_PROVIDER_MODEL.pattern}$", examples=["openai:gpt-5-nano"])]
Model = Annotated[
    str | BaseChatModel | Runnable[Any, Any],
    PlainValidator(_model, json_schema_input_type=ModelString),
    PlainSerializer(_model_text),
]
Day = Annotated[date, Field(strict=True), BeforeValidator(_day, json_schema_input_type=date)]
Version = Annotated[Literal[1], BeforeValidator(_version, json_schema_input_type=Literal[1])]

_Scalar = str | float | bool | None
Wanted = Annotated[
    Any,
    PlainValidator(
        _wanted, json_schema_input_type=_Scalar | Annotated[tuple[_Scalar, ...], Field(min_length=1)]
    ),
]
