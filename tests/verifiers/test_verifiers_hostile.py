"""Replies that mean harm are judged in time linear in their length; the campaign uses a megabyte of each."""

import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langroute.verifiers import (
    Agreement,
    Citations,
    Confidence,
    Grounded,
    Judge,
    Language,
    Length,
    NoHedging,
    NoRefusal,
    NotDuplicate,
    NotEmpty,
    NotRepeating,
    NotTruncated,
    Patterns,
    RequiredFields,
    Schema,
    ToolCalls,
)

BOUND_S = 10.0
"""Seconds of CPU: the slowest case takes under two; a quadratic check would take minutes, or hours."""

UNITS = {
    "letters": "a",
    "spaces": " ",
    "openings": "[",
    "objects": '{"a":',
    "lists": "[[],",
    "quotes": '"',
    "opening quotes": "“",
    "quote pairs": '"a" [1] ',
    "citations": "[1]",
    "open citations": "[1",
    "ids": "[a-1, ",
    "numbers": "1,",
    "spaced numbers": "1 000 ",
    "digits": "7",
    "sentences": "I am sorry. ",
    "fences": "```",
    "ticks": "`",
    "backslashes": '{"\\',
    "names": "a Anna ",
    "ligatures": "\ufdfa",
    "surrogates": "\ud800",
    "tags": "<a",
    "answers": "answer: ",
}
EMAIL = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
VERIFIERS = [
    Schema(),
    Schema(json_schema=EMAIL),
    RequiredFields(fields=("a.b.c",)),
    Citations(),
    Grounded(source="documents"),
    Grounded(source="prompt"),
    ToolCalls(),
    NotRepeating(),
    NoRefusal(),
    NoHedging(),
    NotEmpty(),
    NotTruncated(),
    Length(max_chars=5),
    Patterns(forbidden=("(a+)+$", r"(.*)*x"), required=(r"\s+$",)),
    NotDuplicate(),
    Language(expected="same"),
    Confidence(min=0.5),
    Agreement(tier="small"),
    Judge(rubric="Good?", tier="small"),
]


@pytest.fixture
def in_time():
    started_s = time.process_time()
    yield
    assert time.process_time() - started_s < BOUND_S


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("chars", [50_000, pytest.param(1_000_000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS.keys())
def test_a_long_reply_of_anything_is_judged_in_linear_time(verdict, second_model, unit, chars):
    text = (unit * (chars // len(unit) + 1))[:chars]
    for verifier in VERIFIERS:
        model = second_model({"score": 0, "reason": text} if isinstance(verifier, Judge) else text)
        messages = [AIMessage(text), HumanMessage("What is it, and why is that so?")]
        result = verdict(verifier, text, messages=messages, documents={"a": "a b c", "b-1": "d"}, ask=model)
        assert len(result.reason) <= 500


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("verifier", [Grounded(source="documents"), Citations()])
def test_many_phrases_in_long_documents_are_judged_in_bounded_time(verdict, verifier):
    documents = {str(n): "a b " * 20_000 for n in range(5)}
    reply = "\n".join(f'"{"a b " * (n % 90 + 2)}c" [{n % 5}]' for n in range(2_000))
    assert not verdict(verifier, reply, documents=documents).accepted


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    "data",
    [
        {"a": "a" * 5_000 + "!"},
        {"a": "x", "b": [{"c": n} for n in range(20_000)]},
        {"a": [[]] * 20_000, "b": {str(n): n for n in range(20_000)}},
    ],
    ids=["regex bomb", "unhashable items", "wide"],
)
def test_parsed_objects_are_judged_in_linear_time(verdict, data):
    schema = {**EMAIL, "title": "It", "additionalProperties": {"uniqueItems": True}}
    for verifier in (Schema(json_schema=schema), RequiredFields(fields=("a.b",)), Grounded(source="prompt")):
        verdict(verifier, "", parsed=data, schema=schema, question="a b c")
    call = {"name": "It", "args": data, "id": "c1", "type": "tool_call"}
    verdict(ToolCalls(), AIMessage("", tool_calls=[call]), tools=({**schema, "name": "It"},))
