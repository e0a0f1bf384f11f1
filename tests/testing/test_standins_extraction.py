"""Field extraction by the stand-ins: any schema, filled from the text that is given."""

import json

import jsonschema
import pytest

from langroute.testing.standins import large, small

BOTH = pytest.mark.parametrize("model", [small, large], ids=["small", "large"])

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
WHOLE = {"type": "integer"}
INVOICE = """Invoice number: INV-2041
Vendor: Acme Tools Ltd
Date: 3 March 2025
Contact: billing@acme.example
Total due: 1,250.50 EUR for 12 drills"""


def record(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


def extract(model, text, schema, system="Extract the fields."):
    reply = model(
        {
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "Record", "schema": schema}},
        }
    )
    found = json.loads(reply.text)
    jsonschema.validate(found, schema)
    return found


@BOTH
def test_fields_are_found_by_name_type_and_format(model):
    schema = record(
        invoice_number=TEXT,
        vendor=TEXT,
        date={"type": "string", "format": "date"},
        email=TEXT,
        total=NUMBER,
        quantity={"type": "integer", "description": "number of drills"},
        currency={"enum": ["USD", "EUR"]},
    )
    assert extract(model, INVOICE, schema) == {
        "invoice_number": "INV-2041",
        "vendor": "Acme Tools Ltd",
        "date": "2025-03-03",
        "email": "billing@acme.example",
        "total": 1250.5,
        "quantity": 12,
        "currency": "EUR",
    }


@BOTH
def test_fields_are_found_in_running_text(model):
    schema = record(
        name=TEXT, age={"type": "integer", "description": "age in years"}, city=TEXT, company=TEXT
    )
    said = "Alice Smith is 34 years old, lives in Berlin and works for Siemens."
    expected = {"name": "Alice Smith", "age": 34, "city": "Berlin", "company": "Siemens"}
    assert extract(model, said, schema) == expected


@BOTH
def test_list_of_objects_has_one_for_each_item_of_the_text(model):
    schema = record(people={"type": "array", "items": record(name=TEXT, age=WHOLE, city=TEXT)})
    found = extract(
        model, "The people:\n\n- Bob Stone, 30, lives in Rome\n- Eve Moss, 25, lives in Oslo", schema
    )
    assert found["people"] == [
        {"name": "Bob Stone", "age": 30, "city": "Rome"},
        {"name": "Eve Moss", "age": 25, "city": "Oslo"},
    ]


@BOTH
def test_facts_quote_the_document_word_for_word(model):
    text = "The dam was opened in 1931. It is 120 metres long."
    schema = record(facts={"type": "array", "items": record(claim=TEXT, quote=TEXT, document=TEXT)})
    found = extract(
        model, f'<document id="d7">{text}</document>\n\nQuestion: When was the dam opened?', schema
    )
    assert found["facts"]
    assert all(fact["quote"] in text and fact["document"] == "d7" for fact in found["facts"])


@BOTH
def test_references_alternatives_and_optional_fields_are_understood(model):
    schema = {
        "$defs": {"Place": record(city=TEXT)},
        "type": "object",
        "properties": {
            "home": {"$ref": "#/$defs/Place"},
            "email": {"anyOf": [TEXT, {"type": "null"}]},
            "phone": {"type": ["string", "null"]},
            "url": TEXT,
        },
        "required": ["home", "email", "phone"],
    }
    found = extract(model, "She lives in Lyon, mail her at a.b@c.example", schema)
    assert found["home"] == {"city": "Lyon"}
    assert found["email"] == "a.b@c.example"


@BOTH
def test_schema_that_contains_itself_ends(model):
    schema = {
        "$defs": {"Node": record(name=TEXT, child={"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]})}
    }
    schema |= {"$ref": "#/$defs/Node"}
    assert "name" in extract(model, "The root is named 'Alpha'.", schema)


@BOTH
def test_step_of_a_call_is_classified_by_the_words_that_explain_the_options(model):
    told = "Name the step.\n- query_rewrite: turn a question into a search query\n- tool_use: run a function"
    schema = record(step={"enum": ["tool_use", "query_rewrite", "default"]})
    found = extract(
        model, "<call>\nTurn this into a search query: what is a decorator?\n</call>", schema, told
    )
    assert found == {"step": "query_rewrite"}


@BOTH
def test_judge_scores_a_supported_reply_above_a_made_up_one_on_the_scale_that_is_asked(model):
    schema = record(score={"type": "integer", "minimum": 1, "maximum": 5}, reason=TEXT)
    source = '<document id="a">The dam was opened in 1931.</document>'
    case = f"<question>When was the dam opened?</question>\n{source}\n"
    good = extract(model, f"{case}<reply>The dam was opened in 1931 [a].</reply>", schema, "Judge the reply.")
    bad = extract(model, f"{case}<reply>Bananas come from Ecuador.</reply>", schema, "Judge the reply.")
    assert good["score"] == 5
    assert bad["score"] == 1
    assert good["reason"]


def test_forced_tool_is_filled_like_a_schema():
    function = {"name": "Person", "description": "A person.", "parameters": record(name=TEXT, age=WHOLE)}
    reply = large(
        {
            "messages": [{"role": "user", "content": "Mia Wong turned 41."}],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": "Person"}},
        }
    )
    assert reply.tool_calls == (("Person", {"name": "Mia Wong", "age": 41}),)


def test_number_that_the_text_does_not_have_stays_within_its_bounds():
    bounded = {"type": "integer", "exclusiveMinimum": 5, "maximum": 9}
    assert extract(large, "No figures here.", record(count=bounded)) == {"count": 6}
