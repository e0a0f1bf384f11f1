"""Refusals and hedges: told from answers about them."""

import pytest
from langchain_core.messages import AIMessage

from langroute.verifiers import PREFIX_CHARS, NoHedging, NoRefusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with this request.",
        "I cannot provide instructions for that.",
        "Sorry, I'm not able to share this information.",
        "As an AI language model, I cannot answer questions about people.",
        "Thank you for asking! Unfortunately, I am unable to comply.",
        "**I must respectfully decline.**",
        "I won't be able to help you here.",
        "Es tut mir leid, aber dabei kann ich dir nicht helfen.",
        "Je suis désolé, mais je ne peux pas répondre à cette question.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, mas não posso ajudar com isso.",
        "很抱歉,我无法回答这个问题。",
        "申し訳ありませんが、お答えできません。",
        "This request violates my guidelines, so I can't help.",
        "This is illegal, so I can't help with it.",
        "That's not something I can help with.",
        "I don't feel comfortable writing this.",
        "My guidelines prevent me from answering this.",
        "It would be inappropriate for me to answer.",
        "No, I won't do that.",
        "No. I will not.",
        "Ich kann Ihnen dabei leider nicht helfen.",
        "Ich kann diese Anfrage nicht erfüllen.",
        "No puedo ayudarte con eso.",
        "<think>Is this allowed?</think>I can't help with that.",
        "I can't help with that, but I can help with something else.",
        "I can't help with that. However, there are many resources.",
        "I can't provide legal advice, but you should see a lawyer.",
        "I can't share that, but call 988 now.",
    ],
)
def test_opening_refusal_is_rejected(verdict, text):
    result = verdict(NoRefusal(), text)
    assert not result.accepted
    assert "refuses" in result.reason


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "No.",
        "",
        "The bot answered \"I'm sorry, but I can't help with that.\" and closed the ticket.",
        '"I cannot provide that" is what the log shows for request 17.',
        "> I'm sorry, I can't help with that.\n\nThat line comes from the safety filter.",
        "The assistant's policy: users who ask for keys are told it cannot share them.",
        "I can't help but notice that both totals differ.",
        "I'm sorry to hear that! Restart the router and wait a minute.",
        "The documents do not say when the bridge was opened.",
        "Unfortunately, the 2019 report has no figure for exports; 2020 gives 14 %.",
        "Leider steht im Vertrag nichts zur Kaution.",
        "I can't provide an exact figure, but the documents say about 3,000 km.",
        "I can't answer for the author, but the text says 1866.",
        "I can't give an exact date. However, the report says it was in spring.",
        "I can't give an exact figure, but I make it 3,000 km.",
        "Leider kann ich die genaue Zahl nicht nennen, aber laut Bericht sind es etwa 3000 km.",
        "I cannot answer this from the documents.",
        "Ich kann nicht ausschließen, dass es 1866 war.",
        "No, it won't help.",
        "This violates the travel policy, since the approval is missing.",
        "The company's guidelines prevent employees from answering.",
        "It is not something the contract allows.",
        "The answer is below. " * 20 + "I'm sorry, but I can't help with that.",
    ],
)
def test_answer_is_not_taken_for_a_refusal(verdict, text):
    result = verdict(NoRefusal(), text)
    assert result.accepted, result.reason


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("", additional_kwargs={"refusal": "I can't do that."}),
        AIMessage([{"type": "refusal", "refusal": "No."}]),
        AIMessage([{"type": "non_standard", "value": {"type": "refusal", "refusal": "No."}}]),
        AIMessage("Part of", response_metadata={"finish_reason": "content_filter"}),
        AIMessage("", response_metadata={"stop_reason": "refusal"}),
        AIMessage("", response_metadata={"finish_reason": "SAFETY"}),
    ],
)
def test_refusal_marked_by_the_provider_is_rejected(verdict, reply):
    assert not verdict(NoRefusal(), reply).accepted


@pytest.mark.parametrize(
    "text",
    [
        "I'm not entirely sure, but it may be 1932.",
        "I don't really know. Perhaps 1932?",
        "My best guess is 1932.",
        "As far as I can tell, it was 1932, but I could be wrong.",
        "It is hard to say.",
    ],
)
def test_reply_that_doubts_itself_is_rejected(verdict, text):
    assert not verdict(NoHedging(), text).accepted


@pytest.mark.parametrize(
    "text",
    [
        "It was opened in 1932.",
        "Rain is likely; the front may stall over the coast.",
        'The witness said "I am not sure" twice.',
        "I think the second clause decides: the lease ends in May.",
        "1932",
    ],
)
def test_doubt_about_the_matter_is_no_hedge(verdict, text):
    assert verdict(NoHedging(), text).accepted


@pytest.mark.parametrize("verifier", [NoRefusal(), NoHedging()])
def test_prefix_gives_the_same_verdict_as_the_whole_reply(verdict, verifier):
    for text in ["I'm sorry, but I can't help with that, and I'm not sure. ", "The lease ends in May. "]:
        whole = text + "More follows. " * 100
        assert verdict(verifier, whole[:PREFIX_CHARS]) == verdict(verifier, whole)
        assert verifier.reads == "prefix"
