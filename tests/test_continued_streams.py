"""A reply that breaks off after part of it was shown: gone on with by the next endpoint, or a typed error."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from routed_models import STREAMS, pieces, routed, shown

from langroute import RoutedChatModel
from langroute.errors import PartialStream
from langroute.testing import Answer, Fault, LoopbackProvider, capture_decisions

TEXT = (
    "The log of the Great Eastern says that the cable was laid in 1866, two years after the first try. "
    "Its engineer, Mr Canning, had the grapnels lowered thirty times before the lost end came up again."
)
CUT = Fault("cut", after_chunks=14)
RESET = Fault("reset", after_chunks=14)
TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}


def goes_on(body: Mapping[str, Any]) -> str:
    """Answer as a good model does: from the last words that it is told, or from the beginning."""
    told = body["messages"][-1]["content"]
    for line in str(told).splitlines():
        if len(line) > 20 and line in TEXT:
            return TEXT[TEXT.index(line) :]
    return TEXT


REPLIES: dict[str, str | Callable[..., Any]] = {"last words": goes_on, "whole reply again": TEXT}

OTHERS: dict[str, Any] = {
    "apology": "I'm sorry, I can't continue this text.",
    "another answer": "It was laid in 1858, by two ships that met in the middle of the ocean.",
    "tool call": Answer(tool_calls=(("lookup", {"ship": "Eastern"}),)),
    "empty": Answer(""),
    "refusal": Answer("", refusal="I cannot."),
}

each_stream = pytest.mark.parametrize("mode", STREAMS)
each_fault = pytest.mark.parametrize("fault", [CUT, RESET], ids=lambda fault: fault.kind)


def over(provider: LoopbackProvider, *names: str, **step: Any) -> RoutedChatModel:
    """Return a model over these endpoints of the provider whose step goes on with what broke off."""
    endpoints = {name: provider.chat_model(name) for name in names}
    return routed(endpoints, **{"continue_streams": True, **step})


async def broken(model: Any, mode: str, prompt: Any = "When?") -> tuple[str, PartialStream]:
    """Return what was seen of a stream that ends with `PartialStream`, and the error."""
    seen = ""
    with pytest.raises(PartialStream) as raised:  # noqa: PT012 - what was seen before it counts
        async for piece in pieces(model, mode, prompt):
            seen += piece
    return seen, raised.value


@each_stream
@each_fault
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_next_endpoint_goes_on_where_the_reply_broke_off(reply: Any, fault: Fault, mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": reply}) as provider:
        provider.fail("small-a", fault)
        with capture_decisions() as decisions:
            assert await shown(over(provider, "small-a", "small-b"), mode) == TEXT
        asked = provider.requests[-1].body["messages"]
    first, second = decisions[0].attempts
    assert (first.outcome, first.failure.kind, first.failure.remedy) == ("failed", "cut_stream", "continue")
    assert (second.why, second.outcome, decisions[0].outcome) == ("continuation", "accepted", "accepted")
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert TEXT.startswith(asked[1]["content"])


@each_stream
@pytest.mark.parametrize("how", ["built", "given"])
@pytest.mark.usefixtures("all_calls_end")
async def test_reply_that_stands_still_is_gone_on_with(
    how: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")
    for limit_s in (0.5, 2.0, 8.0):  # a busy machine may take the first before anything was shown
        with LoopbackProvider({"small-a": TEXT, "small-b": goes_on}) as provider:
            provider.fail("small-a", Fault("stall", after_chunks=14))
            first: dict[str, Any] = {"model": provider.chat_model("small-a")}
            if how == "built":
                first = {"model": "openai:small-a", "settings": {"base_url": provider.base_url}}
            first |= {"name": "small-a", "timeout_s": limit_s}
            second = {"model": provider.chat_model("small-b"), "name": "small-b"}
            step = {"cascade": ["small"], "continue_streams": True}
            model = RoutedChatModel({"tiers": {"small": {"models": [first, second]}}, "default": step})
            with capture_decisions() as decisions:
                assert await shown(model, mode) == TEXT
        stalled, other = decisions[0].attempts
        if other.why == "continuation":
            break
    assert (stalled.failure.kind, stalled.failure.remedy) == ("cut_stream", "continue")
    assert (other.why, other.outcome) == ("continuation", "accepted")


@each_stream
@pytest.mark.parametrize("after", range(2, 24, 3))
async def test_every_place_of_the_cut_gives_the_whole_text(after: int, mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": goes_on}) as provider:
        provider.fail("small-a", Fault("reset", after_chunks=after))
        assert await shown(over(provider, "small-a", "small-b"), mode) == TEXT


@each_stream
async def test_continuation_that_breaks_off_is_gone_on_with_too(mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": TEXT, "large-a": goes_on}) as provider:
        provider.fail("small-a", RESET)
        provider.fail("small-b", Fault("reset", after_chunks=30))
        model = over(provider, "small-a", "small-b", "large-a")
        with capture_decisions() as decisions:
            assert await shown(model, mode) == TEXT
    assert [attempt.why for attempt in decisions[0].attempts] == ["start", "continuation", "continuation"]


@each_stream
async def test_endpoint_that_cannot_be_reached_is_passed_over(mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": TEXT, "large-a": goes_on}) as provider:
        provider.fail("small-a", CUT)
        provider.fail("small-b", Fault("status", status=400))
        with capture_decisions() as decisions:
            assert await shown(over(provider, "small-a", "small-b", "large-a"), mode) == TEXT
    assert decisions[0].attempts[1].failure.kind == "invalid_request"


@each_stream
@pytest.mark.parametrize("reply", OTHERS.values(), ids=OTHERS)
async def test_reply_that_does_not_go_on_is_never_shown(reply: Any, mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": reply}) as provider:
        provider.fail("small-a", RESET)
        seen, error = await broken(over(provider, "small-a", "small-b"), mode)
    assert error.text == seen
    assert TEXT.startswith(seen)
    assert [attempt.why for attempt in error.decision.attempts] == ["start", "continuation"]
    assert error.decision.outcome == "stopped"


@each_stream
async def test_when_no_endpoint_is_left_the_error_holds_everything_shown(mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": goes_on}) as provider:
        provider.fail("small-a", RESET)
        provider.fail("small-b", Fault("cut", after_chunks=30))  # a reset may take what was sent along
        seen, error = await broken(over(provider, "small-a", "small-b"), mode)
    assert error.text == seen
    assert TEXT.startswith(seen)
    assert len(seen) > len(TEXT) / 2, "part of the continuation was shown"
    assert error.decision.attempts[1].failure.kind == "cut_stream"


@each_stream
async def test_without_the_opt_in_nothing_goes_on(mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": goes_on}) as provider:
        provider.fail("small-a", RESET)
        seen, error = await broken(over(provider, "small-a", "small-b", continue_streams=False), mode)
        assert provider.calls("small-b") == 0
    assert (error.text, error.decision.attempts[0].failure.remedy) == (seen, "raise")


@each_stream
async def test_tool_call_that_was_begun_is_never_gone_on_with(mode: str) -> None:
    said = Answer("I look it up in the log. ", tool_calls=(("lookup", {"ship": "Great Eastern, " * 9}),))
    with LoopbackProvider({"small-a": said, "small-b": TEXT}) as provider:
        provider.fail("small-a", Fault("reset", after_chunks=12))
        model = over(provider, "small-a", "small-b").bind_tools([TOOL])
        seen, error = await broken(model, mode)
        assert provider.calls("small-b") == 0
    assert error.text == seen


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_whole_reply_that_breaks_off_is_an_ordinary_fallback(mode: str) -> None:
    with LoopbackProvider({"small-a": "Something else.", "small-b": TEXT}) as provider:
        provider.fail("small-a", CUT)
        with capture_decisions() as decisions:
            assert await shown(over(provider, "small-a", "small-b"), mode) == TEXT
    assert decisions[0].attempts[1].why == "fallback"


@each_stream
async def test_reply_held_to_its_end_is_an_ordinary_fallback(mode: str) -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": "Another reply, whole."}) as provider:
        provider.fail("small-a", RESET)
        model = over(provider, "small-a", "small-b", verify=[{"length": {"min_chars": 5}}])
        assert await shown(model, mode) == "Another reply, whole."


@each_stream
async def test_prefix_checks_judge_the_joined_text_and_come_too_late(mode: str) -> None:
    text = f"{TEXT} {TEXT.replace('1866', '1867')} {TEXT.replace('1866', '1868')}"
    with LoopbackProvider({"small-a": text, "small-b": text}) as provider:
        provider.fail("small-a", Fault("cut", after_chunks=110))
        model = over(provider, "small-a", "small-b", verify=["no_refusal"])
        with capture_decisions() as decisions:
            assert await shown(model, mode) == text
    second = decisions[0].attempts[1]
    assert (second.why, second.verdicts[0].accepted) == ("continuation", True)


def test_no_person_is_asked_in_the_middle_of_a_reply() -> None:
    with LoopbackProvider({"small-a": TEXT, "large-a": goes_on}) as provider:
        provider.fail("small-a", RESET)
        endpoints = {name: provider.chat_model(name) for name in ("small-a", "large-a")}
        policy = {"budget": {"approve_above_usd": 0.0}}
        model = routed(endpoints, policy=policy, continue_streams=True)
        with pytest.raises(PartialStream):
            list(model.stream("When?"))
        assert provider.calls("large-a") == 0


# One message ---------------------------------------------------------------------------------------------


def test_chunks_are_one_message_with_the_record_and_the_usage() -> None:
    with LoopbackProvider({"small-a": TEXT, "small-b": goes_on}) as provider:
        provider.fail("small-a", RESET)
        chunks = list(over(provider, "small-a", "small-b").stream("When?"))
    whole = sum(chunks[1:], chunks[0])
    assert whole.text == TEXT
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    record = whole.response_metadata["langroute"]
    assert [attempt["why"] for attempt in record["attempts"]] == ["start", "continuation"]
    assert record["endpoint"] == "small-b"
    assert record["attempts"][0]["cost_basis"] == "estimated", "a stream that was reset told no usage"
    assert record["attempts"][1]["cost_usd"] > 0
    assert whole.usage_metadata["output_tokens"] == record["attempts"][1]["usage"]["output_tokens"]
    assert whole.response_metadata["model_provider"] == "openai"


@each_fault
def test_events_are_one_valid_message(fault: Fault) -> None:
    from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

    with LoopbackProvider({"small-a": TEXT, "small-b": goes_on}) as provider:
        provider.fail("small-a", fault)
        model = over(provider, "small-a", "small-b")
        events = list(model.stream_events("When?", version="v3"))
        message = model.stream_events("When?", version="v3").output
    assert_valid_event_stream(events)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert finished == [{"type": "text", "text": TEXT}]
    assert message.text == TEXT
    assert message.response_metadata["langroute"]["attempts"][1]["why"] == "continuation"
