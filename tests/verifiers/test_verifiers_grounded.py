"""Grounding: values and claims that occur in what was given."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langroute.verifiers import Grounded

CONTRACT = {
    "contract": "Acme Corp. leases 1,250.50 m² at 12 Dock Street, Oslo from 1 March. The rent is NOK 48 000.",
    "annex": "The tenant is represented by Kari Nordmann. Die Kaution beträgt 1.500,75 EUR. 契約は三年です。",
}


def grounded(**settings):
    return Grounded(source="documents", **settings)


@pytest.mark.parametrize(
    "reply",
    [
        '{"tenant": "acme corp", "area": 1250.5}',
        '{"area": "1250.50", "rent": 48000, "deposit": 1500.75}',
        '{"rent": "48,000"}',
        '{"address": "12  Dock Street,\\nOslo"}',
        '{"person": "KARI NORDMANN", "signed": true, "note": null, "empty": ""}',
        '{"term": "三年"}',
        '```json\n{"rent": 48000}\n```',
        "{}",
    ],
)
def test_values_that_occur_in_the_documents_are_accepted(verdict, reply):
    result = verdict(grounded(), reply, documents=CONTRACT)
    assert result.accepted, result.reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ('{"tenant": "Apex Ltd"}', "'Apex Ltd' (tenant) does not occur in the documents"),
        ('{"area": 1250}', "'1250' (area)"),
        ('{"part": 48, "rest": 50}', "'48' (part), '50' (rest) do not occur"),
        ('{"rent": 480000}', "'480000'"),
        ('{"a": {"b": ["Oslo", "Bergen"]}}', "'Bergen' (a.b)"),
        ('{"street": "ock Street"}', "'ock Street'"),
        ('{"joined": "NOK 48 000 The tenant"}', "does not occur"),
    ],
)
def test_values_that_were_made_up_are_rejected_and_named(verdict, reply, reason):
    result = verdict(grounded(), reply, documents=CONTRACT)
    assert not result.accepted
    assert reason in result.reason


def test_only_the_named_fields_must_be_grounded(verdict):
    reply = '{"tenant": {"name": "Acme Corp."}, "risk": "high"}'
    assert not verdict(grounded(), reply, documents=CONTRACT).accepted
    assert verdict(grounded(fields=("tenant",)), reply, documents=CONTRACT).accepted


def test_score_is_the_share_and_min_the_bar(verdict):
    reply = '{"a": "Oslo", "b": "Bergen", "c": 48000, "d": "Acme"}'
    assert verdict(grounded(), reply, documents=CONTRACT).score == 0.75
    assert verdict(grounded(min=0.7), reply, documents=CONTRACT).accepted


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [
        ("The rent is NOK 48,000 a month [1].", True),
        ("1. It is in Oslo.\n2. The rent is 48000 NOK.", True),
        ("Yes.", True),
        ("The tenant is Acme Corp, represented by Kari Nordmann.", True),
        ("The rent is NOK 52,000 [1].", False),
        ("The tenant is represented by Ola Hansen.", False),
        ('The annex says "the deposit is waived".', False),
        ("Die Kaution für den Mieter beträgt 1500,75 EUR und ist nicht verzinst.", True),
    ],
)
def test_numbers_quotations_and_names_of_prose_are_looked_up(verdict, reply, accepted):
    result = verdict(grounded(), reply, documents=CONTRACT)
    assert result.accepted is accepted, result.reason


def test_prompt_is_a_source_but_the_models_own_turns_are_not(verdict):
    messages = [
        SystemMessage("Acme sells kayaks."),
        AIMessage("Acme was founded in 1987."),
        HumanMessage("When?"),
    ]
    prompt = Grounded(source="prompt")
    assert verdict(prompt, '{"sells": "kayaks"}', messages=messages).accepted
    assert not verdict(prompt, '{"founded": 1987}', messages=messages).accepted


@pytest.mark.parametrize("reply", ["{}", "Oslo", '{"city": "Oslo"}'])
def test_without_documents_nothing_is_taken_for_grounded(verdict, reply):
    assert "nothing in the documents" in verdict(grounded(), reply).reason


def test_reply_without_the_object_that_was_asked_for_is_rejected(verdict):
    schema = {"title": "Lease", "properties": {"city": {"type": "string"}}}
    assert "no object" in verdict(grounded(), "In Oslo.", documents=CONTRACT, schema=schema).reason
