"""When a streamed reply is shown: the gate, and what a caller sees when something goes wrong."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from routed_models import BAD, GOOD, STREAMS, Closing, calls, down, pieces, routed, shown

from langroute import RoutedChatModel
from langroute.errors import PartialStream
from langroute.gates import Gate
from langroute.streams import CHUNKS
from langroute.testing import Answer, Fault, LoopbackProvider, ScriptedChatModel, capture_decisions
from langroute.verifiers.base import PREFIX_CHARS

LONG = "The log of the Great Eastern says that the cable was laid in 1866. " * 12


def chunk(text: str, **kwargs: Any) -> AIMessageChunk:
    return AIMessageChunk(content=text, **kwargs)


def gate(commit: Any, passes: Any = lambda text: True) -> Gate:
    return Gate(commit, CHUNKS, passes)


ROLE, LAST = chunk(""), chunk("", chunk_position="last")


# The gate ------------------------------------------------------------------------------------------------


def test_gate_at_start_opens_with_the_first_content_not_with_the_role() -> None:
    held = gate("start")
    assert list(held.push(ROLE)) == []
    assert not held.open
    first = chunk("The")
    assert list(held.push(first)) == [ROLE, first], "what was held comes out, in order"
    assert held.open


def test_gate_counts_a_tool_call_as_content() -> None:
    held = gate("start")
    part = AIMessageChunk(content="", tool_call_chunks=[{"name": "f", "args": "", "id": "1", "index": 0}])
    assert list(held.push(part)) == [part]


@pytest.mark.parametrize("commit", ["start", "prefix", "end"])
def test_gate_holds_the_last_item_for_the_record(commit: str) -> None:
    held = gate(commit)
    held.push(chunk("x" * PREFIX_CHARS))
    assert list(held.push(LAST)) == []
    assert held.rest()[-1] is LAST
    assert list(held.rest()) == []


def test_gate_with_a_prefix_opens_once_enough_text_has_passed() -> None:
    asked: list[str] = []
    held = gate("prefix", lambda text: not asked.append(text))
    assert list(held.push(chunk("x" * (PREFIX_CHARS - 1)))) == []
    assert asked == [], "a part of the prefix is not judged"
    assert len(held.push(chunk("y"))) == 2
    assert len(held.push(chunk("z"))) == 1
    assert asked == ["x" * (PREFIX_CHARS - 1) + "y"], "the prefix is judged once"


def test_gate_whose_prefix_fails_waits_for_the_end() -> None:
    held = gate("prefix", lambda text: False)
    assert list(held.push(chunk("x" * PREFIX_CHARS))) == []
    assert list(held.push(chunk("more"))) == []
    assert not held.open
    assert held.text == "x" * PREFIX_CHARS + "more"


def test_gate_at_the_end_shows_nothing_by_itself() -> None:
    held = gate("end")
    assert list(held.push(chunk("x" * 1_000))) == []
    assert len(held.rest()) == 1


def test_closed_gate_lets_nothing_in() -> None:
    held = gate("start")
    held.close()
    assert list(held.push(chunk("late"))) == []
    assert list(held.rest()) == []


# What is shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", STREAMS)
async def test_nothing_of_a_rejected_reply_is_shown(mode: str) -> None:
    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"])
    assert await shown(model, mode) == GOOD


@pytest.mark.parametrize("mode", STREAMS)
async def test_nothing_of_a_failed_attempt_is_shown(mode: str) -> None:
    model = routed({"small-a": down(), "large-a": GOOD})
    assert await shown(model, mode) == GOOD


@pytest.mark.parametrize("mode", STREAMS)
async def test_unverified_reply_is_shown_as_it_comes(mode: str) -> None:
    said = Closing(name="small-a", reply=GOOD)
    assert len([piece async for piece in pieces(routed({"small-a": said}), mode) if piece]) > 3


@pytest.mark.parametrize("mode", STREAMS)
async def test_prefix_checks_let_a_long_reply_start_early(mode: str) -> None:
    model = Progress(name="small-a", reply=LONG)
    routed_model = routed({"small-a": model, "large-a": GOOD}, verify=["no_refusal"])
    came = [model.sent async for piece in pieces(routed_model, mode) if piece]
    assert came[0] < 0.6 * model.sent, "shown before the reply was whole"


@pytest.mark.parametrize("mode", STREAMS)
async def test_checks_of_the_whole_reply_hold_it_to_its_end(mode: str) -> None:
    model = Progress(name="small-a", reply=LONG)
    routed_model = routed({"small-a": model, "large-a": GOOD}, verify=[{"length": {"min_chars": 5}}])
    came = [model.sent async for piece in pieces(routed_model, mode) if piece]
    assert came[0] == model.sent


@pytest.mark.parametrize("mode", STREAMS)
async def test_bad_prefix_of_a_long_reply_is_never_shown(mode: str) -> None:
    model = routed({"small-a": f"{BAD} {LONG}", "large-a": GOOD}, verify=["no_refusal"])
    assert await shown(model, mode) == GOOD


@pytest.mark.parametrize("mode", STREAMS)
async def test_best_of_rejected_replies_is_shown_once(mode: str) -> None:
    verify = ["no_refusal", {"length": {"min_chars": 10_000}}]
    assert await shown(routed({"small-a": BAD, "large-a": GOOD}, verify=verify), mode) == GOOD


def test_last_chunk_carries_the_record_and_there_is_one() -> None:
    chunks = list(routed({"small-a": GOOD}).stream("When?"))
    assert ["langroute" in each.response_metadata for each in chunks] == [False] * (len(chunks) - 1) + [True]
    whole = sum(chunks[1:], chunks[0])
    assert whole.response_metadata["langroute"]["endpoint"] == "small-a"
    assert chunks[-1].chunk_position == "last"
    assert len({each.id for each in chunks}) == 1


async def test_v3_stream_gives_the_message_with_the_record() -> None:
    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"])
    message = model.stream_events("When?", version="v3").output
    assert (message.text, message.response_metadata["langroute"]["tier"]) == (GOOD, "large")
    message = await (await model.astream_events("When?", version="v3")).output
    assert (message.text, message.response_metadata["langroute"]["tier"]) == (GOOD, "large")


def test_v3_events_are_one_valid_sequence() -> None:
    from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"])
    assert_valid_event_stream(list(model.stream_events("When?", version="v3")))


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_model_that_cannot_stream_gives_its_whole_reply(mode: str) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel, FakeMessagesListChatModel

    whole = FakeMessagesListChatModel(responses=[AIMessage(GOOD)])
    assert await shown(routed({"small-a": whole}), mode) == GOOD
    assert await shown(routed({"small-a": FakeListChatModel(responses=[GOOD])}), mode) == GOOD


@pytest.mark.parametrize("mode", STREAMS)
async def test_tool_calls_are_streamed_whole(mode: str) -> None:
    call = Answer("Looking.", tool_calls=(("lookup", {"ship": "Eastern"}),))
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    model = routed({"small-a": call}).bind_tools([tool])
    if mode == "stream":
        chunks = list(model.stream("When?"))
        assert sum(chunks[1:], chunks[0]).tool_calls[0]["args"] == {"ship": "Eastern"}
    elif mode == "astream":
        chunks = [each async for each in model.astream("When?")]
        assert sum(chunks[1:], chunks[0]).tool_calls[0]["args"] == {"ship": "Eastern"}
    elif mode == "v3":
        assert model.stream_events("When?", version="v3").output.tool_calls[0]["args"] == {"ship": "Eastern"}
    else:
        stream = await model.astream_events("When?", version="v3")
        assert (await stream.output).tool_calls[0]["args"] == {"ship": "Eastern"}


class Progress(ScriptedChatModel):
    """A scripted model that knows how many chunks of its reply it has sent."""

    sent: int = 0

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[Any]:
        for each in super()._stream(messages, stop, run_manager, **kwargs):
            self.sent += 1
            yield each

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        for each in self._stream(messages, stop, run_manager, **kwargs):
            for _ in range(4):  # lets the readers of the host's v3 stream, which run beside it, keep up
                await asyncio.sleep(0)
            yield each


# A provider that dies ------------------------------------------------------------------------------------

EARLY = [
    Fault("drop"),
    Fault("reset", after_chunks=0),
    Fault("reset", after_chunks=1),
    Fault("cut", after_chunks=0),
    Fault("cut", after_chunks=1),
    Fault("malformed"),
    Fault("status", status=500),
    Fault("html"),
]


@pytest.mark.parametrize("mode", STREAMS)
@pytest.mark.parametrize("fault", EARLY, ids=lambda fault: f"{fault.kind}-{fault.after_chunks}")
async def test_failure_before_the_first_content_falls_back(fault: Fault, mode: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": GOOD}) as provider:
        provider.fail("small-a", fault)
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        with capture_decisions() as decisions:
            assert await shown(model, mode) == GOOD
    assert [attempt.outcome for attempt in decisions[0].attempts] == ["failed", "accepted"]


@pytest.mark.parametrize("mode", STREAMS)
async def test_failure_after_the_first_content_raises_with_the_text_shown(mode: str) -> None:
    seen = ""
    with LoopbackProvider({"small-a": GOOD, "small-b": GOOD}) as provider:
        provider.fail("small-a", Fault("reset", after_chunks=4))
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        with pytest.raises(PartialStream) as raised:  # noqa: PT012 - what was seen before it counts
            async for piece in pieces(model, mode):
                seen += piece
        assert provider.calls("small-b") == 0
    assert seen
    assert raised.value.text == seen
    assert GOOD.startswith(seen)
    assert raised.value.__cause__ is not None
    failure = raised.value.decision.attempts[0].failure
    assert failure.kind == "cut_stream"
    assert failure.message
    assert str(raised.value).endswith(f"shown: cut_stream: {failure.message}")


@pytest.mark.parametrize("mode", STREAMS)
async def test_failure_while_the_reply_is_held_escalates_unseen(mode: str) -> None:
    with LoopbackProvider({"small-a": LONG, "large-a": GOOD}) as provider:
        provider.fail("small-a", Fault("reset", after_chunks=9))
        verify = [{"length": {"min_chars": 5}}]
        model = routed({name: provider.chat_model(name) for name in ("small-a", "large-a")}, verify=verify)
        assert await shown(model, mode) == GOOD


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_whole_reply_that_breaks_off_falls_back(mode: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": GOOD}) as provider:
        provider.fail("small-a", Fault("cut"))
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        assert await shown(model, mode) == GOOD


@pytest.mark.parametrize("mode", STREAMS)
async def test_text_that_is_cut_cleanly_is_never_returned_as_whole(mode: str) -> None:
    with LoopbackProvider({"small-a": LONG, "small-b": GOOD}) as provider:
        provider.fail("small-a", Fault("cut", after_chunks=5))
        given = {name: provider.chat_model(name) for name in ("small-a", "small-b")}
        with pytest.raises(PartialStream) as caught:
            await shown(routed(given), mode)
        assert LONG.startswith(caught.value.text)
        assert await shown(routed(given, verify=["not_truncated"]), mode) == GOOD


def test_server_that_never_gives_a_finish_reason_may_say_so_in_the_policy() -> None:
    with LoopbackProvider({"small-a": LONG}) as provider:
        provider.fail("small-a", Fault("cut", after_chunks=5))
        lax = {"model": provider.chat_model("small-a"), "omits_finish_reason": True}
        model = RoutedChatModel({"tiers": {"small": [lax]}})
        assert LONG.startswith("".join(chunk.text for chunk in model.stream("When?")))


@pytest.mark.parametrize("verify", [[], ["not_truncated", "tool_calls"]], ids=["unverified", "verified"])
def test_cut_tool_call_of_a_stream_is_never_returned_as_whole(verify: list[str]) -> None:
    said = Answer(tool_calls=(("lookup", {"ship": "Great Eastern"}),))
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    with LoopbackProvider({"small-a": said, "large-a": GOOD}) as provider:
        provider.fail("small-a", Fault("cut", after_chunks=5))
        model = routed({name: provider.chat_model(name) for name in ("small-a", "large-a")}, verify=verify)
        try:
            chunks = list(model.bind_tools([tool]).stream("When?"))
        except PartialStream:
            return
    whole = sum(chunks[1:], chunks[0])
    assert whole.text == GOOD


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", *STREAMS])
async def test_empty_reply_is_a_failed_call(mode: str) -> None:
    with LoopbackProvider({"small-a": Answer(""), "small-b": GOOD}) as provider:
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        with capture_decisions() as decisions:
            assert await shown(model, mode) == GOOD
    first, second = decisions[0].attempts
    assert (first.outcome, first.failure and first.failure.kind) == ("failed", "bad_response")
    assert (second.why, second.outcome) == ("fallback", "accepted")


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", *STREAMS])
async def test_silence_after_a_tools_result_is_a_reply(mode: str) -> None:
    call = {"name": "send", "args": {}, "id": "1"}
    asked = [
        HumanMessage("Send it."),
        AIMessage("", tool_calls=[call]),
        ToolMessage("sent", tool_call_id="1"),
    ]
    with LoopbackProvider({"small-a": Answer(""), "small-b": GOOD}) as provider:
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        assert await shown(model, mode, asked) == ""


# A caller that leaves ------------------------------------------------------------------------------------


def left_early(commit: str) -> tuple[Any, Closing]:
    """Return a model that streams at once or holds its reply, and its first endpoint."""
    first = Closing(name="small-a", reply=LONG)
    verify = ["no_refusal"] if commit == "prefix" else []
    return routed({"small-a": first, "large-a": GOOD}, verify=verify), first


@pytest.mark.parametrize("commit", ["start", "prefix"])
def test_closed_stream_closes_the_models_own_and_calls_nothing_else(commit: str) -> None:
    model, first = left_early(commit)
    with capture_decisions() as decisions:
        with closing(model.stream("When?")) as stream:
            assert next(stream).text
        assert first.closed[0] == "GeneratorExit"
    (decision,) = decisions
    assert (decision.outcome, decision.attempts[0].outcome) == ("cancelled", "cancelled")
    assert calls(model) == {"small-a": 1, "large-a": 0}


def test_stream_left_by_break_is_closed_when_it_is_let_go() -> None:
    model, first = left_early("start")
    with capture_decisions() as decisions:
        for _ in model.stream("When?"):
            break
        gc.collect()
    assert first.closed[0] == "GeneratorExit"
    assert [decision.outcome for decision in decisions] == ["cancelled"]


@pytest.mark.parametrize("commit", ["start", "prefix"])
async def test_closed_async_stream_closes_the_models_own_and_calls_nothing_else(commit: str) -> None:
    model, first = left_early(commit)
    with capture_decisions() as decisions:
        async with aclosing(model.astream("When?")) as stream:
            assert (await anext(stream)).text
        assert first.closed[0] == "GeneratorExit"
    assert [decision.outcome for decision in decisions] == ["cancelled"]
    assert calls(model) == {"small-a": 1, "large-a": 0}


async def test_partly_read_async_stream_goes_on_where_it_was() -> None:
    model, _ = left_early("start")
    stream = model.astream("When?")
    head = [(await anext(stream)).text for _ in range(5)]
    tail = [each.text async for each in stream]
    assert "".join(head + tail) == LONG


async def test_v3_stream_closed_early_closes_the_models_own() -> None:
    model, first = left_early("start")
    with capture_decisions() as decisions:
        stream = await model.astream_events("When?", version="v3")
        async for _ in stream.text:
            break
        await stream.aclose()
    assert first.closed[0] == "CancelledError"
    assert [decision.outcome for decision in decisions] == ["cancelled"]
    assert calls(model) == {"small-a": 1, "large-a": 0}


def test_sync_v3_stream_let_go_closes_the_models_own() -> None:
    model, first = left_early("start")
    with capture_decisions() as decisions:
        stream = model.stream_events("When?", version="v3")
        next(iter(stream.text))
        del stream
        gc.collect()
    assert first.closed[0] == "GeneratorExit"
    assert [decision.outcome for decision in decisions] == ["cancelled"]


def test_stream_never_begun_calls_nothing() -> None:
    model, _ = left_early("start")
    model.stream("When?").close()
    assert calls(model) == {"small-a": 0, "large-a": 0}


class Hanging(ScriptedChatModel):
    """Says a word, then waits until it is cancelled."""

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=chunk("The "))
        await asyncio.Event().wait()


async def test_cancelled_stream_records_a_cancelled_attempt_and_calls_nothing_else() -> None:
    model = routed({"small-a": Hanging(name="small-a", reply=GOOD), "large-a": GOOD})
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream("When?"):
            begun.set()

    with capture_decisions() as decisions:
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [decision.outcome for decision in decisions] == ["cancelled"]
    assert calls(model) == {"small-a": 0, "large-a": 0}, "the hanging one is not scripted"
