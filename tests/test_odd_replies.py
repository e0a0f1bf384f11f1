"""Replies no provider should give and some do: the next endpoint answers, in every mode."""

import operator
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from routed_models import GOOD, MODES, Runs, routed, shown

from langroute.cascade import Attempt, Call, Choice, Plan, Rung, Stop, Verdict, next_move
from langroute.errors import AllAttemptsFailed, PartialStream
from langroute.testing import Answer, Fault, LoopbackProvider, ScriptedChatModel, capture_decisions


class Odd(ScriptedChatModel):
    """Gives a message as it stands, whole or as the only chunk of a stream."""

    says: Any = None

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration.model_construct(message=self.says, text="")])

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        if not isinstance(self.says, AIMessage):
            yield ChatGenerationChunk.model_construct(message=self.says, text="")
            return
        kept = {key: getattr(self.says, key) for key in ("content", "response_metadata", "additional_kwargs")}
        yield ChatGenerationChunk(message=AIMessageChunk(**kept, tool_call_chunks=self._pieces()))

    def _pieces(self) -> list[Any]:
        calls = [*self.says.tool_calls, *self.says.invalid_tool_calls]
        return [{"name": call["name"], "args": "{}", "id": "c", "index": 0} for call in calls]


def ended(word: str, text: Any = "", **more: Any) -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": word}, **more)


NAMELESS = {"name": "", "args": {}, "id": "c", "type": "tool_call"}

ODD = {
    "another role's message": HumanMessage("hello"),
    "white space": ended("stop", " \n "),
    "characters without width": ended("stop", "\u200b \ufeff\u2060"),
    "a text without width": ended("stop", [{"type": "text", "text": "\u200d"}]),
    "a list of empty texts": ended("stop", [{"type": "text", "text": ""}]),
    "an empty list": ended("stop", []),
    "control characters": ended("stop", "\0\x1b\x7f"),
    "an end in error": ended("error"),
    "a malformed function call": ended("MALFORMED_FUNCTION_CALL"),
    "an aborted reply": ended("abort"),
    "a refusal in a block": ended("stop", [{"type": "refusal", "refusal": "I can't."}]),
    "a call of a function": ended("function_call", additional_kwargs={"function_call": {"name": "add"}}),
    "a failed response": AIMessage("", response_metadata={"status": "failed"}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("says", ODD.values(), ids=ODD.keys())
async def test_reply_that_is_none_is_a_failed_call(says: BaseMessage, mode: str) -> None:
    with capture_decisions() as decisions:
        model = routed({"small-a": Odd(reply=GOOD, says=says), "small-b": GOOD})
        assert await shown(model, mode) == GOOD
    assert [attempt.outcome for attempt in decisions[-1].attempts] == ["failed", "accepted"]


ADD: dict[str, Any] = {"name": "add", "args": {}, "id": "c", "type": "tool_call"}

WHOLE_ONLY = {
    "half a reply that is refused": ended("stop", "The cable", additional_kwargs={"refusal": "I can't."}),
    "two calls of one id": ended("tool_calls", tool_calls=[ADD, ADD]),
    "a number that is none": ended("tool_calls", tool_calls=[{**ADD, "args": {"a": [float("nan")]}}]),
    "thoughts alone": ended("stop", [{"type": "thinking", "thinking": "Hm."}]),
    "thoughts beside no content": ended("stop", additional_kwargs={"reasoning_content": "Hm."}),
    "a tool call without a name": ended("tool_calls", tool_calls=[NAMELESS]),
    "an endless list of text": ended("stop", [{"type": "text", "text": "x" * 2_100_000}]),
    "endless arguments": ended(
        "tool_calls", tool_calls=[{**NAMELESS, "name": "t", "args": {"a": "x" * 2_100_000}}]
    ),
    "half a reply that broke": ended("error", "The cable"),
    "half a reply for want of room": ended("insufficient_system_resource", "The cable"),
    "half a reply of a lost network": ended("network_error", "The cable"),
    "half a reply that is sensitive": ended("sensitive", "The cable"),
    "half a reply that was cut, then stopped": ended("lengthstop", "The cable"),
    "half a reply that stopped, then was withheld": ended("stopcontent_filter", "The cable"),
    "half a reply that was cut thrice": ended("length" * 3, "The cable"),
    "words before tool calls that are none": ended("tool_calls", "I will add them."),
}


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "batch"])
@pytest.mark.parametrize("says", WHOLE_ONLY.values(), ids=WHOLE_ONLY.keys())
async def test_whole_reply_that_is_none_is_a_failed_call(says: AIMessage, mode: str) -> None:
    model = routed({"small-a": Odd(reply=GOOD, says=says), "small-b": GOOD})
    assert await shown(model, mode) == GOOD


@pytest.mark.parametrize("word", ["stopstop", "stop" * 3, "tool_callsstop", "eos_token", "STOP", "rare"])
def test_words_that_say_nothing_bad_end_an_answer(word: str) -> None:
    assert routed({"small-a": Odd(reply=GOOD, says=ended(word, "Fine."))}).invoke("When?").text == "Fine."


@pytest.mark.parametrize("mode", MODES)
async def test_completed_response_is_an_answer(mode: str) -> None:
    says = AIMessage("Fine.", response_metadata={"status": "completed", "model_provider": "openai"})
    assert await shown(routed({"small-a": Odd(reply=GOOD, says=says), "small-b": GOOD}), mode) == "Fine."


def test_refusal_where_an_object_was_asked_for_is_an_error_and_no_empty_object() -> None:
    says = AIMessage("", additional_kwargs={"refusal": "No."}, response_metadata={"finish_reason": "stop"})
    model = routed({"small-a": Odd(reply=GOOD, says=says)})
    with pytest.raises(AllAttemptsFailed) as raised:
        model.with_structured_output({"title": "T", "type": "object"}).invoke("When?")
    assert "refused: No" in str(raised.value)


@pytest.mark.parametrize("mode", ["stream", "astream", "v3", "av3"])
async def test_stream_whose_every_piece_comes_twice_ends_in_an_error(mode: str) -> None:
    with LoopbackProvider({"a": GOOD}) as provider:
        provider.fail("a", Fault("doubled"))
        model = routed({"small-a": provider.chat_model("a"), "small-b": GOOD})
        with pytest.raises(PartialStream):
            await shown(model, mode)


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_stream_that_repeats_itself_in_words_is_an_answer(mode: str) -> None:
    said = "ha  ha  ha  ha  "
    with LoopbackProvider({"a": said}) as provider:
        assert await shown(routed({"small-a": provider.chat_model("a")}), mode) == said


# Replies that are streamed though the caller waits for the whole: the host mends what was cut ---------------


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


CALL = Answer(tool_calls=(("add", {"a": 1_000, "b": 2_000}),))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("listened", [False, True])
async def test_tool_call_cut_in_a_stream_nobody_asked_for_is_a_failed_call(
    *, listened: bool, asynchronous: bool
) -> None:
    config: Any = {"callbacks": [Runs()]} if listened else {}
    with LoopbackProvider({"a": CALL}) as provider:
        provider.fail("a", Fault("cut_arguments"), times=1)
        small = provider.chat_model("a", streaming=True)
        model = routed({"small-a": small, "small-b": GOOD}).bind_tools([add])
        cut = await model.ainvoke("Add", config) if asynchronous else model.invoke("Add", config)
        assert (cut.text, cut.tool_calls) == (GOOD, [])
        assert model.invoke("Add", config).tool_calls[0]["args"] == {"a": 1_000, "b": 2_000}


def test_object_of_arguments_cut_in_a_stream_nobody_asked_for_is_a_failed_call() -> None:
    said = Answer(tool_calls=(("add", {"a": 1_000, "b": 2_000}),))
    with LoopbackProvider({"a": said, "b": said}) as provider:
        provider.fail("a", Fault("cut_arguments"))
        model = routed({f"small-{name}": provider.chat_model(name, streaming=True) for name in "ab"})
        schema = {"title": "add", "type": "object", "properties": {"a": {"type": "integer"}}}
        found = model.with_structured_output(schema, method="function_calling").invoke("Add")
        assert found == {"a": 1_000, "b": 2_000}
        assert (provider.calls("a"), provider.calls("b")) == (1, 1)


class Piecemeal(ScriptedChatModel):
    """Streams tool calls in pieces: name, id, arguments and number of each."""

    pieces: tuple[tuple[str | None, str | None, str, int], ...] = ()

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for name, ident, text, index in self.pieces:
            piece: Any = {"name": name, "args": text, "id": ident, "index": index, "type": "tool_call_chunk"}
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[piece]))
        yield ChatGenerationChunk(
            message=AIMessageChunk("", response_metadata={"finish_reason": "tool_calls"})
        )


def calling(*pieces: tuple[str | None, str | None, str, int]) -> Piecemeal:
    return Piecemeal(reply=GOOD, pieces=pieces)


BAD_CALLS = {
    "a name that comes with every piece": (("add", "c", '{"a": 1,', 0), ("add", None, ' "b": 2}', 0)),
    "two calls of one id": (("add", "c", '{"a": 1, "b": 2}', 0), ("add", "c", '{"a": 3, "b": 2}', 1)),
    "a number that is none": (("add", "c", '{"a": 1, "b": NaN}', 0),),
    "arguments that were cut": (("add", "c", '{"a": 1', 0),),
}


def joined(chunks: Iterator[Any]) -> AIMessageChunk:
    return reduce(operator.add, chunks)


@pytest.mark.parametrize("pieces", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_tool_call_that_proves_bad_after_it_was_shown_never_stands_in_a_reply(pieces: Any) -> None:
    model = routed({"small-a": calling(*pieces), "small-b": GOOD})
    with pytest.raises(PartialStream):
        joined(model.bind_tools([add]).stream("Add"))


@pytest.mark.parametrize("pieces", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_tool_call_that_proves_bad_is_not_shown_where_tool_calls_are_verified(pieces: Any) -> None:
    good = calling(("add", "d", '{"a": 1,', 0), (None, None, ' "b": 2}', 0))
    model = routed({"small-a": calling(*pieces), "small-b": good}, verify=["tool_calls"])
    (call,) = joined(model.bind_tools([add]).stream("Add")).tool_calls
    assert (call["id"], call["args"]) == ("d", {"a": 1, "b": 2})


@pytest.mark.parametrize("names", [("add", None), ("a", "dd")])
def test_tool_call_without_an_id_is_given_one_that_is_shown_too(names: tuple[str | None, ...]) -> None:
    said = calling((names[0], None, '{"a": 1,', 0), (names[1], None, ' "b": 2}', 0))
    whole = joined(routed({"small-a": said}).bind_tools([add]).stream("Add"))
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("add", {"a": 1, "b": 2})]
    assert whole.tool_calls[0]["id"]


def test_whole_tool_calls_without_ids_are_given_different_ones() -> None:
    says = ended("tool_calls", tool_calls=[{**ADD, "id": None}, {**ADD, "id": ""}])
    reply = routed({"small-a": Odd(reply=GOOD, says=says)}).bind_tools([add]).invoke("Add")
    assert len({call["id"] for call in reply.tool_calls} - {None, ""}) == 2


# A reply that may not be returned, with nothing above -----------------------------------------------------


def rung(tier: str, *endpoints: str) -> Rung:
    return Rung(tier, tuple(Choice(name) for name in endpoints))


def rejected(tier: str, endpoint: str, *, usable: bool) -> Attempt:
    verdict = Verdict("structured", accepted=False, reason="no object", usable=usable)
    return Attempt(tier, endpoint, "start", "rejected", (verdict,))


TWO = (rung("small", "a"), rung("large", "b", "c"))

MOVES: list[tuple[Plan, Attempt, Callable[[Any], bool]]] = [
    (
        Plan("s", (rung("small", "a", "b"),)),
        rejected("small", "a", usable=False),
        lambda move: move == Call("small", "b", "fallback"),
    ),
    (
        Plan("s", (rung("small", "a", "b"),), on_exhausted="raise"),
        rejected("small", "a", usable=True),
        lambda move: move == Stop("exhausted"),
    ),
    (
        Plan("s", TWO),
        rejected("small", "a", usable=False),
        lambda move: move == Call("large", "b", "escalation"),
    ),
    (
        Plan("s", TWO),
        rejected("large", "b", usable=False),
        lambda move: move == Call("large", "c", "fallback"),
    ),
]


@pytest.mark.parametrize(("plan", "attempt", "expected"), MOVES)
def test_unusable_reply_of_the_top_tier_falls_back_within_it(
    plan: Plan, attempt: Attempt, expected: Callable[[Any], bool]
) -> None:
    assert expected(next_move(plan, [attempt]))
