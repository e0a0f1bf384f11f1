"""Confidence by token probability and by the model's own word."""

import math

import pytest
from langchain_core.messages import AIMessage

from langroute.verifiers import Confidence, SelfRated


def reply(*probabilities):
    content = [
        {"token": "x", "logprob": math.log(p), "bytes": None, "top_logprobs": []} for p in probabilities
    ]
    return AIMessage("An answer.", response_metadata={"logprobs": {"content": content}})


@pytest.mark.parametrize(
    ("probabilities", "settings", "score", "accepted"),
    [
        ((0.9, 0.9), {"min": 0.7}, 0.9, True),
        ((0.9, 0.4), {"min": 0.7}, 0.6, False),
        ((0.9, 0.4), {"min": 0.5, "of": "lowest"}, 0.4, False),
        ((0.9, 0.9, 0.9, 0.4), {"min": 0.7}, 0.735, True),
        ((1.0,), {"min": 1.0}, 1.0, True),
    ],
)
def test_probability_of_the_tokens_is_compared(verdict, probabilities, settings, score, accepted):
    result = verdict(Confidence(**settings), reply(*probabilities))
    assert result.score == pytest.approx(score, abs=0.001)
    assert result.accepted is accepted


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"logprobs": None},
        {"logprobs": {"content": []}},
        {"logprobs": {"content": [{"logprob": float("nan")}]}},
    ],
)
def test_without_logprobs_the_reply_is_rejected(verdict, metadata):
    result = verdict(Confidence(min=0.1), AIMessage("x", response_metadata=metadata))
    assert not result.accepted
    assert result.reason.startswith("no logprobs were returned")


@pytest.mark.parametrize(("certainty", "accepted"), [(0.9, True), (0.2, False)])
def test_model_rates_its_own_certainty(verdict, second_model, certainty, accepted):
    model = second_model({"certainty": certainty})
    result = verdict(SelfRated(min=0.5), "1932", question="When?", ask=model)
    assert (result.accepted, result.score) == (accepted, certainty)
    assert [spend.purpose for spend in result.spend] == ["self_rated"]
    assert model.asked[0].get("tier") is None


def test_rating_that_cannot_be_read_rejects_and_is_still_paid(verdict, second_model):
    result = verdict(SelfRated(min=0.5), "1932", ask=second_model("Very sure!"))
    assert not result.accepted
    assert len(result.spend) == 1


def test_self_rating_is_a_call():
    assert SelfRated(min=0.5).asks
    assert SelfRated(min=0.5).tiers() == ()
