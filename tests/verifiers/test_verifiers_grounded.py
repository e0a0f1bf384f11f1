"""Grounding: values and claims that occur in what was given."""

from datetime import UTC, date, datetime

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, computed_field

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


class Party(BaseModel):
    name: str
    role: str = "unknown"


class Lease(BaseModel):
    parties: list[Party]
    currency: str = "CHF"

    @computed_field
    @property
    def count(self) -> int:
        return 7 * len(self.parties)


def test_only_fields_that_the_model_set_are_checked(verdict):
    lease = Lease(parties=[Party(name="Acme Corp."), Party(name="Kari Nordmann")])
    assert verdict(grounded(), "", documents=CONTRACT, parsed=lease).accepted
    for made_up in (Lease(parties=[], currency="CHF"), Lease(parties=[Party(name="Oslo", role="unknown")])):
        assert not verdict(grounded(), "", documents=CONTRACT, parsed=made_up).accepted


class Signed(BaseModel):
    day: date | datetime | str


@pytest.mark.parametrize(
    "written",
    [
        *(
            "3 May 2026",
            "May 3, 2026",
            "03.05.2026",
            "3. Mai 2026",
            "3rd of May 2026",
            "2026-05-03",
            "2026/5/3",
        ),
        *("2026年5月3日", "3 de mayo de 2026", "3-May-2026", "In 2026 the parties met on 3 May"),
    ],
)
@pytest.mark.parametrize("stated", [date(2026, 5, 3), "3 May 2026", "May 3rd, 2026"])
def test_date_is_grounded_in_another_format(verdict, written, stated):
    documents = {"a": f"Signed: {written}."}
    assert verdict(grounded(), "", documents=documents, parsed=Signed(day=stated)).accepted
    assert verdict(grounded(), f"It was signed on {stated}.", documents=documents).accepted
    other = Signed(day=date(2026, 5, 4))
    assert not verdict(grounded(), "", documents=documents, parsed=other).accepted


def test_time_at_midnight_is_a_date(verdict):
    signed = Signed(day=datetime(2026, 5, 3, tzinfo=UTC))
    assert verdict(grounded(), "", documents={"a": "Signed: 3 May 2026."}, parsed=signed).accepted


@pytest.mark.parametrize(
    ("written", "accepted"),
    [("13/5/2026", True), ("5/13/2026", True), ("3/5/2026", False), ("32.05.2026", False)],
)
def test_date_in_slashes_counts_where_it_can_only_be_one_day(verdict, written, accepted):
    documents = {"a": f"Signed: {written}."}
    day = 13 if accepted else 3
    result = verdict(grounded(), f'{{"day": "2026-05-{day:02}"}}', documents=documents)
    assert result.accepted is accepted


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [
        ('{"cost": 2500000, "users": 3000, "rows": "4.2 million"}', True),
        ('{"cost": "$2,500,000", "in_millions": 2.5, "debt": 1500000000}', True),
        ("It cost 2.5 million and has 3,000 users on 4.2 million rows.", True),
        ('{"cost": 25000000}', False),
        ('{"rows": "4.3 million"}', False),
        ("It has 4k users.", False),
        ('{"pipe": 5000000}', False),
    ],
)
def test_numbers_with_scale_words_are_compared_by_value(verdict, reply, accepted):
    documents = {"a": "It cost $2.5 million; 3k users; 4,200,000 rows; 1,5 Mrd EUR; a pipe of 5m."}
    result = verdict(grounded(), reply, documents=documents)
    assert result.accepted is accepted, result.reason


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [
        ("The Answer: it was laid by Cyrus Field.", True),
        ("**Key Findings**\nIt was Cyrus Field's cable, as far as I'm aware.", True),
        ("What The Sources Have:\nthe cable was laid by Cyrus Field.", True),
        ("**Final Answer:** by Cyrus Field", True),
        ("The Answer: it was laid by Samuel Morse.", False),
        ("It was laid by Field Cyrus.", False),
        ('{"by": "Cyrus Field", "engineer": "Ludwig Beethoven"}', True),
        ('{"by": "Cyrus Ludwig"}', False),
    ],
)
def test_name_is_grounded_by_its_parts_in_order_and_headings_are_no_names(verdict, reply, accepted):
    documents = {"a": "The cable was laid by Cyrus W. Field, Ludwig van Beethoven being its engineer."}
    result = verdict(grounded(), reply, documents=documents)
    assert result.accepted is accepted, result.reason


@pytest.mark.parametrize(
    ("reply", "blames"),
    [
        ('{"rent": 49000}', True),
        ("The rent is NOK 49,000.", True),
        ('{"rent": 48000}', False),
        ("There is a tenant.", False),
    ],
)
def test_what_does_not_occur_blames_the_input(verdict, reply, blames):
    assert verdict(grounded(), reply, documents=CONTRACT).blames_input is blames


def test_reply_without_an_object_is_its_models_own_fault(verdict):
    rejected = verdict(grounded(fields=["rent"]), "I see no rent.", documents=CONTRACT)
    assert (rejected.accepted, rejected.blames_input) == (False, False)


def test_empty_documents_blame_the_input_and_an_empty_prompt_does_not(verdict):
    assert verdict(grounded(), '{"rent": 1}', documents={}).blames_input
    assert not verdict(grounded(), '{"rent": 1}').blames_input
    assert not verdict(Grounded(source="prompt"), '{"rent": 1}', question="").blames_input
