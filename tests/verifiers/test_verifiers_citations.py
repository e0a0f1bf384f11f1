"""Citations: present, resolving, and quoting what is there."""

import pytest
from pydantic import BaseModel

from langroute.verifiers import Citations

HANDBOOK = {
    "leave-policy": "Employees accrue 25 days of paid leave per year. Unused days lapse on 31 March.",
    "travel-policy": "Travel above 500 EUR needs the manager's written approval before booking.",
    "expenses": "Receipts are handed in within 30 days.",
}
NUMBERED = {"7": "The bridge was opened in 1932.", "9": "The bridge spans 503 metres."}


class Answer(BaseModel):
    answer: str
    sources: list[str]


@pytest.mark.parametrize(
    "reply",
    [
        "You get 25 days [leave-policy].",
        "You get 25 days [Leave-Policy] and lose them in March [1].",
        "Both apply [leave-policy, travel-policy]; hand in receipts [3].",
        "All of it is written down [1-3].",
        "You get 25 days (see [Document 1]), and [doc3].",
        "You get 25 days [leave-policy, p. 12] and lose them [1](#leave).",
        "You get 25 days【1†source】.",
        'The rule says "25 days of paid leave" [leave-policy].',
        "The rule says “25 Days of\u00a0paid  leave.” [1][2]",
        'As [2] puts it, "written approval before booking".',
        'It says "Employees accrue … paid leave per year" [1].',
        "See [the manual](http://example.org/9) and [sic] and [...], but also [1].",
        "Use `days[9]` for that [1].\n```\nx = rows[12]\n```",
        "Yes [1].",
        "You get 25 days[1] and lose the leave[1][2].",
        "With x[7] and row_ids[9] unset, it is 25 days [1].",
    ],
)
def test_citations_that_resolve_are_accepted(verdict, reply):
    result = verdict(Citations(), reply, documents=HANDBOOK)
    assert result.accepted, result.reason
    assert result.score == 1.0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("You get 25 days.", "cites none of the 3 supplied documents"),
        ("", "cites none"),
        ("You get 25 days [sic].", "cites none"),
        ("You get a[0] and x[1].", "cites none"),
        ("The loop sets days[1] = 4, then m[1][2].", "cites none"),
        ("You get 25 days [7].", "cites [7], but only documents 1 to 3"),
        ("You get 25 days [0].", "cites [0]"),
        ("You get 25 days [1, 4].", "cites [4]"),
        ("You get 25 days [1-9].", "cites [9]"),
        ("You get 25 days [leave-rules].", "cites [leave-rules]"),
        (
            'The rule says "30 days of paid leave" [leave-policy].',
            'quotes "30 days of paid leave" from [leave-policy]',
        ),
        ('The rule says "25 days of paid leave" [travel-policy].', "does not stand there"),
        ('As [1] puts it, "written approval before booking".', "does not stand there"),
    ],
)
def test_citations_that_do_not_hold_are_rejected_with_what_is_wrong(verdict, reply, reason):
    result = verdict(Citations(), reply, documents=HANDBOOK)
    assert not result.accepted
    assert reason in result.reason
    assert result.score is not None
    assert result.score < 1


@pytest.mark.parametrize(
    "reply",
    [
        "The documents do not contain the answer.",
        "I'm sorry, but the provided documents don't mention the price.",
        "I could not find this in the sources. Please provide more.",
        "I cannot answer, because none of the documents mention it.",
        "Based on the documents, I cannot determine the price.",
        "Die Dokumente enthalten dazu keine Angaben.",
    ],
)
def test_reply_that_only_states_absence_needs_no_citation(verdict, reply):
    result = verdict(Citations(), reply, documents=HANDBOOK)
    assert result.accepted, result.reason


@pytest.mark.parametrize(
    "reply",
    [
        "The documents do not say, but it was 1932.",
        "The documents do not contain the answer. It was 1932.",
        "The documents do not mention it, and Field died in 1892.",
        "The contract does not allow subletting.",
        "I don't know.",
    ],
)
def test_claim_beside_absence_needs_a_citation(verdict, reply):
    assert "cites none" in verdict(Citations(), reply, documents=HANDBOOK).reason


def test_number_is_an_id_where_documents_have_numbers_for_ids(verdict):
    assert verdict(Citations(), "Opened in 1932 [7].", documents=NUMBERED).accepted
    rejected = verdict(Citations(), "Opened in 1932 [1].", documents=NUMBERED)
    assert rejected.reason == "the reply cites [1], but only [7], [9] were supplied"


def test_made_up_id_is_not_read_as_a_position(verdict):
    documents = {"doc17": "Leave is 25 days.", "doc23": "Travel needs approval."}
    assert verdict(Citations(), "25 days [doc17].", documents=documents).accepted
    assert "cites [doc1]" in verdict(Citations(), "25 days [doc1].", documents=documents).reason


def test_documents_in_the_prompt_can_be_cited(verdict):
    prompt = '<document id="fees">A card costs 12 EUR.</document>\nWhat does a card cost?'
    assert verdict(Citations(), "12 EUR [fees].", question=prompt).accepted


def test_without_documents_nothing_is_taken_for_checked(verdict):
    assert "no documents were supplied" in verdict(Citations(), "It is so [1].").reason


def test_quotation_without_a_citation_next_to_it_is_left_alone(verdict):
    reply = 'People call this "use it or lose it". Unused days lapse on 31 March [1].'
    assert verdict(Citations(), reply, documents=HANDBOOK).accepted


@pytest.mark.parametrize(("source", "accepted"), [("expenses", True), ("fees-2020", False)])
def test_structured_reply_cites_in_its_source_fields(verdict, source, accepted):
    parsed = Answer(answer="Within 30 days.", sources=[source])
    assert verdict(Citations(), "", documents=HANDBOOK, parsed=parsed).accepted is accepted


def test_score_is_the_share_that_holds(verdict):
    assert verdict(Citations(), "So [1], so [2], so [3], and so [4].", documents=HANDBOOK).score == 0.75


@pytest.mark.parametrize(
    ("reply", "blames"),
    [
        ("You get 30 days [sick-leave].", True),
        ("You get 25 days [9].", True),
        ('The rule says "30 days of paid leave" [leave-policy].', True),
        ("You get 25 days.", False),
        ("You get 25 days [leave-policy].", False),
        ("The documents do not say.", False),
    ],
)
def test_what_the_documents_do_not_have_blames_the_input(verdict, reply, blames):
    assert verdict(Citations(), reply, documents=HANDBOOK).blames_input is blames


def test_documents_that_were_given_and_are_none_blame_the_input(verdict):
    assert verdict(Citations(), "Yes [1].", documents={}).blames_input
    assert not verdict(Citations(), "Yes [1].").blames_input
