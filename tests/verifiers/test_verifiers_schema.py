"""Structured replies: validity and required fields."""

import json
from typing import TypedDict

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ValidationError
from referencing.exceptions import Unresolvable

from langroute.verifiers import RequiredFields, Schema


class Invoice(BaseModel):
    number: str
    total: float


class Address(TypedDict):
    """Where it goes."""

    city: str
    zip: str


TOTAL = {"type": "object", "properties": {"total": {"type": "number", "minimum": 0}}, "required": ["total"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 3}',
        "[1, 2]",
        "  null ",
        'Here it is:\n```json\n{"total": 3}\n```\nAnything else?',
        '{"note": "```"}',
    ],
)
def test_json_in_the_text_or_in_a_fenced_block_is_accepted(verdict, text):
    assert verdict(Schema(), text).accepted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("The total is 3.", "not valid JSON"),
        ('{"total": 3', "line 1, column 12"),
        ('{"total": NaN}', "NaN is no JSON number"),
        ('Sure! {"total": 3}', "not valid JSON"),
        ("[" * 100_000, "not usable JSON"),
        ("[" * 500 + "]" * 500, "nested deeper than 100"),
    ],
)
def test_what_is_not_json_is_rejected_and_may_still_be_the_best(verdict, text, reason):
    rejected = verdict(Schema(), text)
    assert not rejected.accepted
    assert rejected.usable
    assert reason in rejected.reason


@pytest.mark.parametrize(
    ("text", "accepted"), [('{"total": 3}', True), ('{"total": -1}', False), ('{"sum": 3}', False)]
)
def test_json_schema_of_the_policy_is_applied(verdict, text, accepted):
    assert verdict(Schema(json_schema=TOTAL), text).accepted is accepted


@pytest.mark.parametrize(
    ("rule", "value", "accepted"),
    [
        ({"pattern": "^(?!x)"}, "abc", True),
        ({"pattern": "^(?!x)"}, "xbc", False),
        ({"pattern": "^(?!x)"}, "a" * 1_000, False),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 2}], True),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 1}], False),
    ],
)
def test_keywords_that_could_take_long_keep_their_meaning(verdict, rule, value, accepted):
    schema = {"type": "object", "properties": {"it": rule}}
    assert verdict(Schema(json_schema=schema), json.dumps({"it": value})).accepted is accepted


def test_reference_to_the_network_is_an_error_and_no_download(case_of):
    verifier = Schema(json_schema={"$ref": "https://example.invalid/schema.json"})
    with pytest.raises(Unresolvable):
        verifier.check(case_of("{}"))


@pytest.mark.parametrize(
    ("schema", "parsed", "accepted"),
    [
        (Invoice, Invoice(number="7", total=3), True),
        (Invoice, {"number": "7", "total": "3.5"}, True),
        (Invoice, {"number": "7"}, False),
        (Address, {"city": "Kyiv", "zip": "01001"}, True),
        (Address, {"city": "Kyiv"}, False),
        (TOTAL, {"total": 3}, True),
        (TOTAL, {"total": "3"}, False),
    ],
)
def test_parsed_object_is_checked_against_the_schema_of_the_request(verdict, schema, parsed, accepted):
    assert verdict(Schema(), AIMessage(""), schema=schema, parsed=parsed).accepted is accepted


def test_reply_without_the_object_that_was_asked_for_is_unusable(verdict):
    with pytest.raises(ValidationError) as error:
        Invoice.model_validate({"number": "7", "total": "three"})
    rejected = verdict(Schema(), "nothing", schema=Invoice, parsing_error=error.value)
    assert not rejected.usable
    assert rejected.reason == (
        "the reply does not fit the schema: total: Input should be a valid number, "
        "unable to parse string as a number"
    )


def test_reply_that_was_not_even_parsed_says_so(verdict):
    assert "gives no object" in verdict(Schema(), "x", schema=Invoice).reason
    long = verdict(Schema(), "x", schema=Invoice, parsing_error=ValueError("y" * 10_000)).reason
    assert len(long) < 300


@pytest.mark.parametrize(
    ("fields", "reply", "score"),
    [
        (["total"], '{"total": 0}', 1.0),
        (["paid"], '{"paid": false}', 1.0),
        (["total", "number"], '{"total": 1, "number": " "}', 0.5),
        (["seller.name"], '{"seller": {"name": "Acme"}}', 1.0),
        (["seller.name"], '{"seller": "Acme"}', 0.0),
        (["items.sku"], '{"items": [{"sku": "a"}, {"sku": "b"}]}', 1.0),
        (["items.sku"], '{"items": [{"sku": "a"}, {}]}', 0.0),
        (["items.sku"], '{"items": []}', 0.0),
        (["total"], "no JSON at all", 0.0),
    ],
)
def test_required_fields_must_be_filled(verdict, fields, reply, score):
    result = verdict(RequiredFields(fields=fields), reply)
    assert result.score == score
    assert result.accepted is (score == 1.0)


def test_required_fields_are_named_when_they_are_missing(verdict):
    rejected = verdict(
        RequiredFields(fields=("number", "due")), AIMessage(""), parsed=Invoice(number="7", total=1)
    )
    assert rejected.reason == "the reply leaves required fields empty: due"


@pytest.mark.parametrize("depth", [150, 900])
def test_deeply_nested_object_is_rejected(verdict, depth):
    parsed = {}
    for _ in range(depth):
        parsed = {"a": parsed}
    assert not verdict(Schema(), "", parsed=parsed).accepted
    assert not verdict(RequiredFields(fields=("a",)), "", parsed=parsed).accepted
