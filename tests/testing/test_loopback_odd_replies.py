"""Faults that spoil a reply, as a plain client sees them: what the matrix of faults rests on."""

import time

import openai
import pytest
from langchain_core.messages import AIMessage

from langroute.testing import Answer, Fault, LoopbackProvider

TEXT = "one two three four five six"
CALLS = Answer(tool_calls=(("add", {"a": 1, "b": 2}), ("add", {"a": 30, "b": 40})))
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
def provider():
    with LoopbackProvider({"small": TEXT, "calls": CALLS}) as running:
        yield running


def told(provider, fault, *, stream=False, model="small", **settings) -> AIMessage:
    """Return what a plain client makes of a model with a fault."""
    provider.heal(model)
    provider.fail(model, fault)
    asked = provider.chat_model(model, **settings).bind(tools=[ADD])
    if not stream:
        return asked.invoke("Hi")
    chunks = list(asked.stream("Hi"))
    return sum(chunks[1:], chunks[0])


both = pytest.mark.parametrize("stream", [False, True])


@both
@pytest.mark.parametrize(("kind", "text"), [("empty", ""), ("null", ""), ("blank", " \n "), ("refusal", "")])
def test_reply_says_nothing(provider, kind, text, stream):
    assert told(provider, Fault(kind), stream=stream).text == text


def test_refusal_stands_in_its_own_field(provider):
    assert told(provider, Fault("refusal")).additional_kwargs["refusal"] == "I cannot help with that."


@both
@pytest.mark.parametrize(("kind", "finish"), [("length", "length"), ("filtered", "content_filter")])
def test_half_a_reply_says_why_it_ended(provider, kind, finish, stream):
    reply = told(provider, Fault(kind), stream=stream)
    assert (reply.text, reply.response_metadata["finish_reason"]) == (TEXT[: len(TEXT) // 2], finish)


@pytest.mark.parametrize("kind", ["cut_arguments", "broken_arguments"])
def test_arguments_are_no_json_and_all_seems_well(provider, kind):
    reply = told(provider, Fault(kind), model="calls")
    assert len(reply.invalid_tool_calls) == 2
    assert reply.response_metadata["finish_reason"] == "tool_calls"


@both
def test_reply_without_finish_reason_has_its_text(provider, stream):
    reply = told(provider, Fault("unfinished"), stream=stream)
    assert reply.text == TEXT
    assert not reply.response_metadata.get("finish_reason")


@both
@pytest.mark.parametrize("kind", ["no_usage", "no_done", "interleaved", "repeated_ends", "wrong_type"])
def test_odd_replies_are_right_all_the_same(provider, kind, stream):
    assert told(provider, Fault(kind), stream=stream).text == TEXT
    reply = told(provider, Fault(kind), stream=stream, model="calls")
    assert [call["args"] for call in reply.tool_calls] == [arguments for _, arguments in CALLS.tool_calls]


def test_usage_is_missing(provider):
    assert told(provider, Fault("no_usage")).usage_metadata is None


def test_every_chunk_comes_twice(provider):
    doubled = "".join(TEXT[at : at + 4] * 2 for at in range(0, len(TEXT), 4))
    assert told(provider, Fault("doubled"), stream=True).text == doubled


def test_oversize_reply_has_its_size(provider):
    assert len(told(provider, Fault("oversize", size=50_000)).text) == 50_000


@pytest.mark.parametrize("kind", ["no_choices", "null_choices", "error_object", "malformed"])
def test_reply_is_none(provider, kind):
    with pytest.raises((TypeError, ValueError, IndexError)):
        told(provider, Fault(kind))


@pytest.mark.parametrize("kind", ["error_object", "malformed", "short"])
def test_stream_breaks_after_the_chunks_it_was_told(provider, kind):
    provider.fail("small", Fault(kind, after_chunks=3))
    texts = []
    with pytest.raises((ValueError, openai.APIError)):
        texts.extend(chunk.text for chunk in provider.chat_model("small").stream("Hi"))
    assert "".join(texts) in ("", "one two ")


@both
@pytest.mark.parametrize("kind", ["garbage", "redirect", "bad_gzip"])
def test_connection_is_of_no_use(provider, kind, stream):
    with pytest.raises((openai.APIConnectionError, openai.APIStatusError, ValueError)):
        told(provider, Fault(kind), stream=stream)


@pytest.mark.parametrize("kind", ["stall", "hang"])
def test_nothing_more_comes(provider, kind):
    with pytest.raises(openai.APITimeoutError):
        told(provider, Fault(kind, after_chunks=1), timeout=0.1)


@pytest.mark.parametrize("kind", ["comments", "slow_headers", "drip"])
def test_what_never_ends_outlasts_the_clients_limit(provider, kind):
    provider.fail("small", Fault(kind, pause_s=0.2))
    started_s = time.monotonic()
    with pytest.raises(openai.APIError):
        # The client's limit is on each wait, so it is shorter than the pause here.
        provider.chat_model("small", timeout=0.01).invoke("Hi")
    assert time.monotonic() - started_s < 20


@both
def test_trickle_comes_in_pieces_and_whole(provider, stream):
    assert told(provider, Fault("trickle", pause_s=0.001), stream=stream).text == TEXT


def test_share_of_the_calls_fails_and_the_seed_says_which(provider):
    def failures(seed: int) -> list[bool]:
        provider.heal("small")
        provider.fail("small", Fault("empty"), share=0.5, seed=seed)
        return [not provider.chat_model("small").invoke("Hi").text for _ in range(20)]

    first = failures(1)
    assert 3 < sum(first) < 17
    assert failures(1) == first
    assert failures(2) != first


def test_share_that_is_none_is_refused(provider):
    with pytest.raises(ValueError, match="share is 0"):
        provider.fail("small", Fault("empty"), share=0)


def test_connections_are_counted(provider):
    provider.fail("small", Fault("trickle", pause_s=5))
    stream = provider.chat_model("small").stream("Hi")
    next(stream)
    assert provider.connections == 1
    provider.stop()
    assert provider.connections == 0
    stream.close()
