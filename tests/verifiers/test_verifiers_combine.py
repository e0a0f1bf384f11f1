"""Verifiers made of verifiers."""

import pytest
from langchain_core.messages import AIMessage

from langroute.verifiers import (
    AllOf,
    AnyOf,
    Judge,
    Length,
    NoRefusal,
    NotEmpty,
    Sampled,
    Schema,
    SelfRated,
    ToolCalls,
)

JSON = "schema"
LONG = {"length": {"min_chars": 20}}
JUDGED = {"judge": {"rubric": "Good?", "tier": "large"}}


@pytest.mark.parametrize(
    ("text", "accepted"),
    [('{"a": "long enough now"}', True), ("{}", False), ("words, words, words, words", False)],
)
def test_all_of_accepts_what_every_part_accepts(verdict, text, accepted):
    assert verdict(AllOf(verify=[JSON, LONG]), text).accepted is accepted


@pytest.mark.parametrize(
    ("text", "accepted"), [("{}", True), ("words, words, words, words", True), ("no", False)]
)
def test_any_of_accepts_what_one_part_accepts(verdict, text, accepted):
    assert verdict(AnyOf(verify=[JSON, LONG]), text).accepted is accepted


def test_all_of_stops_at_the_first_rejection_and_any_of_at_the_first_acceptance(verdict, second_model):
    model = second_model()
    assert not verdict(AllOf(verify=[JSON, JUDGED]), "words", ask=model).accepted
    assert verdict(AnyOf(verify=[JSON, JUDGED]), "{}", ask=model).accepted
    assert model.asked == []


def test_rejection_names_the_part_and_its_reason(verdict):
    assert (
        verdict(AllOf(verify=[JSON, LONG]), "{}").reason
        == "length: the reply has 2 characters, fewer than 20"
    )
    assert "schema: the reply is not valid JSON" in verdict(AnyOf(verify=[JSON, LONG]), "no").reason


@pytest.mark.parametrize("combinator", [AllOf, AnyOf])
def test_calls_of_the_parts_are_on_the_bill(verdict, second_model, combinator):
    model = second_model({"score": 0.1, "reason": "poor"}, {"certainty": 0.9})
    parts = (
        [JUDGED, {"self_rated": 0.5}] if combinator is AnyOf else [{"self_rated": 0.0}, {"self_rated": 0.0}]
    )
    if combinator is AllOf:
        model = second_model({"certainty": 0.9}, {"certainty": 0.8})
    assert len(verdict(combinator(verify=parts), "text", ask=model).spend) == 2


@pytest.mark.parametrize("combinator", [AllOf, AnyOf])
def test_nothing_excuses_an_unusable_reply(verdict, combinator):
    call = {"name": "unknown", "args": {}, "id": "c1", "type": "tool_call"}
    result = verdict(combinator(verify=["tool_calls", "not_empty"]), AIMessage("hi", tool_calls=[call]))
    assert (result.accepted, result.usable) == (False, False)


def test_check_that_failed_is_told_from_a_reply_that_did(verdict):
    assert verdict(AllOf(verify=["not_empty", {"confidence": 0.5}]), "text").unsure
    assert verdict(AnyOf(verify=["citations", {"confidence": 0.5}]), "text").unsure
    assert not verdict(AnyOf(verify=["schema", {"confidence": 0.5}]), "text").unsure
    assert verdict(Sampled(share=1, verify={"confidence": 0.5}), "text").unsure


def test_sample_is_a_share_of_the_requests_and_always_the_same_ones(verdict):
    verifier = Sampled(share=0.2, verify=LONG)
    results = [verdict(verifier, "no", question=f"question {n}") for n in range(500)]
    assert 70 <= sum(not result.accepted for result in results) <= 130
    assert results == [verdict(verifier, "no", question=f"question {n}") for n in range(500)]


def test_verdict_says_whether_the_request_was_sampled(verdict):
    assert verdict(Sampled(share=1, verify=[LONG]), "no").reason.startswith("sampled: length: ")
    assert verdict(Sampled(share=1e-9, verify=[LONG]), "no").reason.startswith("not sampled: ")


def test_tiers_and_calls_of_the_parts_are_known(verdict):
    nested = AllOf(
        verify=[JSON, AnyOf(verify=[JUDGED, Sampled(share=0.1, verify={"agreement": {"tier": "small"}})])]
    )
    assert nested.tiers() == ("large", "small")
    assert nested.asks
    assert not AllOf(verify=[Schema(), NoRefusal(), Length(max_chars=5), NotEmpty(), ToolCalls()]).asks
    assert AnyOf(verify=SelfRated(min=0.5)).asks
    assert Judge(rubric="x", tier="large").tiers() == ("large",)


CITED = "Yes, it was laid by the Niagara [9]."


@pytest.mark.parametrize(
    ("verifier", "blames"),
    [
        (AllOf(verify=["not_empty", "citations"]), True),
        (AllOf(verify=["schema", "citations"]), False),
        (AnyOf(verify=["schema", "citations"]), True),
        (AnyOf(verify=["not_empty", "citations"]), False),
        (AnyOf(verify=["citations", "not_empty"]), False),
        (Sampled(share=1, verify="citations"), True),
        (Sampled(share=1e-9, verify="citations"), False),
    ],
)
def test_whole_blames_the_input_where_a_part_that_rejected_it_does(verdict, verifier, blames):
    assert verdict(verifier, CITED, documents={"1": "A cable."}).blames_input is blames


def test_whole_may_blame_the_input_where_a_part_may():
    assert AllOf(verify=["schema", {"any_of": ["citations"]}]).may_blame_input
    assert Sampled(share=0.5, verify={"grounded": "prompt"}).may_blame_input
    assert AnyOf(verify=[lambda case: True]).may_blame_input
    assert not AnyOf(verify=["schema", JUDGED, "no_refusal"]).may_blame_input
