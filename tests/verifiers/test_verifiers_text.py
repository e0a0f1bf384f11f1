"""The text of a reply: there, whole, as long as wanted, of the right form, and new."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ValidationError

from langroute.verifiers import Length, NotDuplicate, NotEmpty, NotTruncated, Patterns

CALL = {"name": "search", "args": {}, "id": "c1", "type": "tool_call"}


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("5"),
        AIMessage("👍"),
        AIMessage("", tool_calls=[CALL]),
        AIMessage([{"type": "image", "base64": "AA==", "mime_type": "image/png"}]),
        AIMessage([{"type": "text", "text": "yes"}]),
        AIMessage("<think>Seven times six.</think>42"),
        AIMessage("The tag <think> opens a thought."),
    ],
)
def test_reply_with_any_content_is_not_empty(verdict, reply):
    assert verdict(NotEmpty(), reply).accepted


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage(""),
        AIMessage(" \n\t"),
        AIMessage("\u200b\ufeff"),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}]),
        AIMessage("<think>Seven times six.</think>\n"),
        AIMessage("\n<think>Seven times"),
    ],
)
def test_empty_reply_is_rejected_and_never_the_best(verdict, reply):
    result = verdict(NotEmpty(), reply)
    assert (result.accepted, result.usable) == (False, False)


@pytest.mark.parametrize(
    "metadata",
    [
        {"finish_reason": "length"},
        {"finish_reason": "MAX_TOKENS"},
        {"stop_reason": "max_tokens"},
        {"stopReason": "max_tokens"},
        {"done_reason": "length"},
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    ],
)
def test_reply_ended_by_a_limit_is_truncated_in_every_providers_words(verdict, metadata):
    assert not verdict(NotTruncated(), AIMessage("It was", response_metadata=metadata)).accepted


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("Short.", True),
        ('{"a": [1, 2]}', True),
        ('{"a": "}"', False),
        ('{"a": [1, 2', False),
        ('```json\n{"a": 1', False),
        ('```json\n{"a": 1}\n```', True),
        ('[1] says it is 5" wide', True),
        ("Use { to open a block", True),
        ("[see below", True),
        ("[12 items, see below", True),
        ("{placeholder", True),
        ("[", False),
        ("[1, 2", False),
        ('[{"a": 1}, {', False),
        ("[[true, fal", False),
    ],
)
def test_json_whose_brackets_stay_open_is_truncated(verdict, text, accepted):
    assert (
        verdict(NotTruncated(), AIMessage(text, response_metadata={"finish_reason": "stop"})).accepted
        is accepted
    )


def test_truncated_text_may_be_the_best_but_a_truncated_call_may_not(verdict):
    cut = {"finish_reason": "length"}
    assert verdict(NotTruncated(), AIMessage("It was", response_metadata=cut)).usable
    assert not verdict(NotTruncated(), AIMessage("", tool_calls=[CALL], response_metadata=cut)).usable


@pytest.mark.parametrize(
    ("settings", "text", "accepted"),
    [
        ({"min_chars": 3}, " ab ", False),
        ({"min_chars": 3}, "abc", True),
        ({"max_chars": 3}, "abcd", False),
        ({"max_chars": 3}, "  abc  ", True),
        ({"min_chars": 1, "max_chars": 3}, "", False),
    ],
)
def test_length_has_bounds(verdict, settings, text, accepted):
    assert verdict(Length(**settings), text).accepted is accepted


@pytest.mark.parametrize("settings", [{}, {"min_chars": 5, "max_chars": 4}, {"max_chars": 0}])
def test_bounds_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        Length(**settings)


@pytest.mark.parametrize(
    ("settings", "text", "reason"),
    [
        ({"forbidden": [r"\bTODO\b"]}, "Done. TODO: tests", "forbidden pattern"),
        ({"forbidden": [r"(?i)as an ai"]}, "Well, As An AI I think", "forbidden pattern"),
        ({"required": [r"^\d{4}-\d\d-\d\d$"]}, "on 2024-03-01", "required pattern"),
        ({"required": ["EUR", "%"]}, "12 EUR", "'%'"),
    ],
)
def test_pattern_that_is_missing_or_forbidden_rejects(verdict, settings, text, reason):
    assert reason in verdict(Patterns(**settings), text).reason


def test_reply_that_matches_what_it_must_is_accepted(verdict):
    assert verdict(Patterns(required=[r"\d EUR"], forbidden=["USD"]), "It costs 12 EUR.\ud800").accepted


@pytest.mark.parametrize("pattern", ["(", r"(?=a)", r"(a)\1"])
def test_pattern_that_cannot_run_in_linear_time_is_refused(pattern):
    with pytest.raises(ValidationError, match="look-around and back-references"):
        Patterns(forbidden=[pattern])


LONG = "The lease ends in May, unless the tenant gives notice in writing by the end of March."


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [
        (LONG, False),
        (f"{LONG.upper()} Indeed.", False),
        ("The deposit is paid back within thirty days of the day on which the keys are returned.", True),
        ("Yes.", True),
        ("", True),
    ],
)
def test_near_duplicate_of_an_earlier_reply_is_rejected(verdict, reply, accepted):
    messages = [HumanMessage("When?"), AIMessage(LONG), AIMessage("Yes."), HumanMessage("And?")]
    result = verdict(NotDuplicate(max_similarity=0.8), reply, messages=messages)
    assert result.accepted is accepted, result.reason


def test_only_recent_replies_of_the_model_are_compared(verdict):
    others = [AIMessage(f"Clause {n} is about something else.") for n in range(5)]
    assert verdict(NotDuplicate(), LONG, messages=[HumanMessage(LONG)]).accepted
    assert verdict(NotDuplicate(), LONG, messages=[AIMessage(LONG), *others]).accepted
