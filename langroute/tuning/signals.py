"""What a learned score sees after the reply: text, tool calls beside their schemas, what checks found.

Tool calls tell most: whether each call names a bound tool, gives what the schema requires in the types it
wants, and takes its values from the question rather than from nowhere.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage

from langroute.attempts import Verdict
from langroute.replies import token_logprobs
from langroute.request import Request, message_text, tool_name
from langroute.tuning.features import text_values

__all__ = ["reply_values", "token_values"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\W_]{3,}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REFUSAL = re.compile(r"\b(?:cannot|can't|unable|sorry|not able|no (?:function|tool)|none of)\b")
_DOUBT = re.compile(r"\b(?:wait|actually|however|assum\w*|approximately|maybe|perhaps|not sure|unclear)\b")
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": (list, tuple),
    "object": Mapping,
}
_KEPT = ("characters", "words", "lines", "numbers", "digits", "marks", "variety", "equals", "questions")
_FAULTS = (
    "unknown_tool",
    "unknown_argument",
    "missing_argument",
    "wrong_type",
    "not_in_enum",
    "empty_value",
)
_MOST_CHARS = 4_000
"""Characters of a reply that are read at each end."""


def reply_values(request: Request, reply: AIMessage, verdicts: Sequence[Verdict] = ()) -> dict[str, float]:
    """Return the named values of one reply to one request.

    Args:
        request: What was asked; its bound tools are what tool calls are compared with.
        reply: The reply.
        verdicts: What other checks found: `verdict=NAME` is the score of each, 1 or 0 where it gives none.
    """
    text = message_text(reply)
    text = text if len(text) <= 2 * _MOST_CHARS else f"{text[:_MOST_CHARS]}\n{text[-_MOST_CHARS:]}"
    folded = text.lower()
    plain = text_values(text)
    values = {f"reply_{name}": plain[name] for name in _KEPT}
    values["reply_empty"] = float(not text.strip())
    values["reply_refusal"] = float(bool(_REFUSAL.search(folded)))
    values["reply_doubt"] = float(min(len(_DOUBT.findall(folded)), 5))
    values["reply_ratio"] = math.log1p(len(text)) - math.log1p(len(request.asked))
    asked, given = set(_NUMBER.findall(request.asked)), set(_NUMBER.findall(text))
    values["reply_numbers_used"] = len(asked & given) / max(len(asked), 1)
    values |= _sureness(reply)
    if reply.usage_metadata is not None:
        values |= token_values(reply.usage_metadata["output_tokens"])
    for verdict in verdicts:
        values[f"verdict={verdict.verifier}"] = (
            float(verdict.accepted) if verdict.score is None else verdict.score
        )
    if request.tools:
        values |= _call_values(request, reply)
    return values


def token_values(output_tokens: int) -> dict[str, float]:
    """Return the value of a reply's tokens, which a ledger has without its text too."""
    return {"reply_tokens": math.log1p(max(output_tokens, 0))}


def _sureness(reply: AIMessage) -> dict[str, float]:
    logprobs = token_logprobs(reply.response_metadata)
    if not logprobs:
        return {}
    return {
        "logprobs": 1.0,
        "logprob_mean": max(sum(logprobs) / len(logprobs), -10.0),
        "logprob_lowest": max(min(logprobs), -10.0),
    }


def _call_values(request: Request, reply: AIMessage) -> dict[str, float]:
    """Return what the tool calls of a reply look like beside the tools that are bound."""
    schemas = {tool_name(tool): _schema(tool) for tool in request.tools}
    question, calls = request.asked.lower(), reply.tool_calls
    names = [call["name"] for call in calls]
    spelt = [json.dumps([call["name"], call["args"]], sort_keys=True, default=str) for call in calls]
    used = set(_NUMBER.findall(" ".join(spelt)))
    return {
        "calls": math.log1p(len(calls)),
        "calls_none": float(not calls),
        "calls_several": float(len(calls) > 1),
        "calls_broken": float(len(reply.invalid_tool_calls)),
        "calls_repeated": float(len(spelt) - len(set(spelt))),
        "calls_different_tools": float(len(set(names))),
        "tools_unused": math.log1p(len(set(schemas) - set(names))),
        "call_arguments": math.log1p(sum(len(call["args"]) for call in calls)),
        "call_numbers_left": math.log1p(len(set(_NUMBER.findall(question)) - used)),
        "call_fits": _fit(schemas, names, question),
        **_argument_values(schemas, calls, question),
    }


def _argument_values(
    schemas: Mapping[str, Mapping[str, Any]], calls: Sequence[Mapping[str, Any]], question: str
) -> dict[str, float]:
    """Return what is wrong with the arguments of calls, and how much of them stands in the question."""
    faults = dict.fromkeys(_FAULTS, 0.0)
    optional = given = leaves = found = 0
    for call in calls:
        schema = schemas.get(call["name"])
        if schema is None:
            faults["unknown_tool"] += 1
            continue
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        faults["missing_argument"] += sum(name not in call["args"] for name in required)
        optional += sum(name not in required for name in properties)
        for name, value in call["args"].items():
            if name not in properties:
                faults["unknown_argument"] += 1
                continue
            given += name not in required
            for fault in _faults(properties[name], value):
                faults[fault] += 1
            if value != properties[name].get("default", _NUMBER):
                ours = list(_leaves(value))
                leaves += len(ours)
                found += sum(_stands(leaf, question) for leaf in ours)
    return {
        **{f"call_{name}": min(count, 3.0) for name, count in faults.items()},
        "call_optional_given": given / max(optional, 1),
        "call_optional_left": math.log1p(optional - given),
        "call_values": math.log1p(leaves),
        "call_values_not_asked": math.log1p(leaves - found),
        "call_values_asked_share": found / max(leaves, 1),
    }


def _faults(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield what is wrong with an argument, by the head of its schema alone."""
    wanted = _TYPES.get(str(schema.get("type")))
    truth_for_number = isinstance(value, bool) and wanted is not bool
    if wanted is not None and (not isinstance(value, wanted) or truth_for_number):
        yield "wrong_type"
    items = schema.get("items")
    if isinstance(value, list | tuple) and isinstance(items, Mapping) and items:
        inner = _TYPES.get(str(items.get("type")))
        if inner is not None and not all(isinstance(item, inner) for item in value):
            yield "wrong_type"
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        yield "not_in_enum"
    if value in ("", None):
        yield "empty_value"


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the single values inside an argument; a truth value says nothing of where it is from."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value


def _stands(leaf: Any, question: str) -> bool:
    """Whether a value stands in the question; a whole number may be written without its `.0`."""
    text = str(leaf).lower().strip()
    if text in question or (text.endswith(".0") and text[:-2] in question):
        return True
    words = _WORD.findall(text)
    return bool(words) and sum(word in question for word in words) / len(words) > 0.7  # noqa: PLR2004 - most of them


def _fit(schemas: Mapping[str, Mapping[str, Any]], names: Sequence[str], question: str) -> float:
    """Return how much more of the question the called tools share than the best of the others, in [-1, 1]."""
    asked = set(_WORD.findall(question))
    shares = {}
    for name, schema in schemas.items():
        told = f"{_CAMEL.sub(' ', name)} {schema.get('description', '')}".lower().replace("_", " ")
        words = set(_WORD.findall(told))
        shares[name] = len(words & asked) / max(len(words), 1)
    called = [shares[name] for name in set(names) if name in shares]
    others = [share for name, share in shares.items() if name not in names]
    return (sum(called) / len(called) if called else 0.0) - max(others, default=0.0)


def _schema(tool: Any) -> Mapping[str, Any]:
    """Return the JSON Schema of a tool's arguments with the tool's description; {} where it says nothing."""
    if not isinstance(tool, Mapping):
        from langchain_core.utils.function_calling import convert_to_openai_tool

        tool = convert_to_openai_tool(tool)
    inner = tool.get("function")
    function = inner if isinstance(inner, Mapping) else tool
    schema = function.get("parameters") or function.get("input_schema") or {}
    return {**schema, "description": function.get("description", "")} if isinstance(schema, Mapping) else {}
