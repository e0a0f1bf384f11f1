"""Before the first word of a reply nothing is shown, whatever comes first: a failed call falls back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import PrivateAttr
from routed_models import GOOD, STREAMS, pieces, routed, shown

from langroute import add_routed_step
from langroute.errors import AllAttemptsFailed, PartialStream
from langroute.gates import Gate
from langroute.streams import CHUNKS, EVENTS
from langroute.testing import Answer, LoopbackProvider, ScriptedChatModel, capture_decisions


def chunk(content: Any = "", **kwargs: Any) -> AIMessageChunk:
    return AIMessageChunk(content=content, **kwargs)


class Pieces(ScriptedChatModel):
    """Streams the chunks it is given, and raises what stands among them."""

    _chunks: list[Any] = PrivateAttr(default_factory=list)

    @classmethod
    def of(cls, name: str, *chunks: Any) -> "Pieces":
        model = cls(name=name, reply="not streamed")
        model._chunks = list(chunks)
        return model

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for each in self._chunks:
            if isinstance(each, BaseException):
                raise each
            yield ChatGenerationChunk(message=each.model_copy())

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for each in self._stream(messages, stop, run_manager, **kwargs):
            await asyncio.sleep(0)
            yield each


FIRST = {
    "a role": [chunk()],
    "an empty text block": [chunk([{"type": "text", "text": "", "index": 0}])],
    "reasoning": [chunk([{"type": "reasoning", "reasoning": "Let me see.", "index": 0}])],
    "thinking": [chunk([{"type": "thinking", "thinking": "Let me see.", "index": 0}])] * 3,
    "a signature": [
        chunk([{"type": "thinking", "thinking": "Hm.", "index": 0}]),
        chunk([{"type": "thinking", "signature": "abc", "index": 0}]),
    ],
    "reasoning beside the content": [chunk(additional_kwargs={"reasoning_content": "Let me see."})],
    "a refusal": [chunk(additional_kwargs={"refusal": "I cannot"})],
}
DOWN = ConnectionResetError("gone")


async def everything(model: Any, mode: str) -> AsyncIterator[Any]:
    """Yield every chunk or event of a stream."""
    if mode in ("stream", "v3"):
        for each in model.stream("When?") if mode == "stream" else model.stream_events("When?", version="v3"):
            yield each
    elif mode == "astream":
        async for each in model.astream("When?"):
            yield each
    else:
        async for each in await model.astream_events("When?", version="v3"):
            yield each


each_stream = pytest.mark.parametrize("mode", STREAMS)


@each_stream
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
async def test_provider_that_dies_before_the_first_word_falls_back_unseen(first: Any, mode: str) -> None:
    model = routed({"small-a": Pieces.of("small-a", *first, DOWN), "small-b": GOOD})
    with capture_decisions() as decisions:
        assert await shown(model, mode) == GOOD
    assert [attempt.why for attempt in decisions[0].attempts] == ["start", "fallback"]


@each_stream
async def test_what_was_thought_by_one_that_died_is_not_shown(mode: str) -> None:
    model = routed({"small-a": Pieces.of("small-a", *FIRST["thinking"], DOWN), "small-b": GOOD})
    assert "Let me see" not in str([each async for each in everything(model, mode)])


# The host's events know reasoning alone: a provider's own blocks are translated by its integration.
THOUGHTS = [("reasoning", mode) for mode in STREAMS]
THOUGHTS += [(name, mode) for name in ("thinking", "reasoning beside the content") for mode in STREAMS[:2]]


@pytest.mark.parametrize(("first", "mode"), THOUGHTS)
@pytest.mark.parametrize("verify", [[], ["no_refusal"]], ids=["unverified", "best anyway"])
async def test_only_endpoint_shows_what_it_thinks_at_once(verify: list[str], first: str, mode: str) -> None:
    alone = routed({"small-a": Pieces.of("small-a", *FIRST[first], DOWN)}, verify=verify)
    found = []
    with pytest.raises(PartialStream) as raised:  # noqa: PT012 - what was seen before it counts
        async for each in everything(alone, mode):
            found.append(each)  # noqa: PERF401 - a comprehension would lose them
    assert "Let me see" in str(found)
    assert raised.value.text == ""


@pytest.mark.parametrize(
    "step",
    [
        {"repair": 1, "verify": ["no_refusal"]},
        {"on_exhausted": "raise", "verify": ["no_refusal"]},
        {"continue_streams": True, "endpoints": 2},
    ],
    ids=["a repair", "may be refused", "a fallback"],
)
def test_thoughts_wait_where_something_may_come_instead(step: dict[str, Any]) -> None:
    names = ["small-a", "small-b"][: step.pop("endpoints", 1)]
    model = routed({name: Pieces.of(name, *FIRST["reasoning"], DOWN) for name in names}, **step)
    with pytest.raises(AllAttemptsFailed) as raised:
        list(model.stream("When?"))
    assert not isinstance(raised.value, PartialStream)


@each_stream
@pytest.mark.parametrize("first", [FIRST["a role"], FIRST["an empty text block"], [chunk(" ")]])
async def test_only_endpoint_that_dies_before_any_thought_has_shown_nothing(first: Any, mode: str) -> None:
    with pytest.raises(AllAttemptsFailed):
        await shown(routed({"small-a": Pieces.of("small-a", *first, DOWN)}), mode)


@pytest.mark.parametrize("form", ["node", "drawn"])
async def test_graph_shows_what_an_only_endpoint_thinks_at_once(form: str) -> None:
    model = routed({"small-a": Pieces.of("small-a", *FIRST["reasoning"], DOWN)})
    builder = StateGraph(MessagesState)
    if form == "node":
        builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    else:
        add_routed_step(builder, "answer", model)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    found = []
    with pytest.raises(PartialStream):  # noqa: PT012 - what was seen before it counts
        async for each in builder.compile().astream({"messages": [("user", "?")]}, stream_mode="messages"):
            found.append(each)  # noqa: PERF401 - a comprehension would lose them
    assert "Let me see" in str(found)


def test_what_was_thought_is_shown_with_the_first_word() -> None:
    said = [*FIRST["reasoning"], chunk([{"type": "text", "text": "In 1866.", "index": 1}]), chunk(" Yes.")]
    model = routed({"small-a": Pieces.of("small-a", *said), "small-b": GOOD})
    chunks = list(model.stream("When?"))
    assert chunks[0].content == [{"type": "reasoning", "reasoning": "Let me see.", "index": 0}]
    assert "".join(each.text for each in chunks) == "In 1866. Yes."


@each_stream
async def test_list_contents_are_text_and_commit(mode: str) -> None:
    said = [chunk([{"type": "text", "text": part, "index": 0}]) for part in ("It was ", "laid ")]
    model = routed({"small-a": Pieces.of("small-a", *said, DOWN), "small-b": GOOD})
    seen = ""
    with pytest.raises(PartialStream) as raised:  # noqa: PT012 - what was seen before it counts
        async for piece in pieces(model, mode):
            seen += piece
    assert raised.value.text == seen == "It was laid "


@each_stream
async def test_list_contents_are_gone_on_with_after_thinking(mode: str) -> None:
    said = [
        *FIRST["reasoning"],
        chunk([{"type": "text", "text": "The cable ", "index": 1}]),
        chunk([{"type": "text", "text": "was laid", "index": 1}]),
    ]
    model = routed({"small-a": Pieces.of("small-a", *said, DOWN), "small-b": GOOD}, continue_streams=True)
    assert await shown(model, mode) == GOOD


@each_stream
async def test_other_model_may_think_before_it_goes_on(mode: str) -> None:
    first = [chunk("The cable "), chunk("was"), DOWN]
    second = [*FIRST["reasoning"], chunk([{"type": "text", "text": GOOD, "index": 1}])]
    endpoints = {"small-a": Pieces.of("small-a", *first), "small-b": Pieces.of("small-b", *second)}
    assert await shown(routed(endpoints, continue_streams=True), mode) == GOOD


@each_stream
async def test_streamed_refusal_falls_back_unseen(mode: str) -> None:
    with LoopbackProvider({"small-a": Answer("", refusal="I cannot say."), "small-b": GOOD}) as provider:
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        with capture_decisions() as decisions:
            assert await shown(model, mode) == GOOD
    # LangChain's OpenAI client drops what a streamed refusal says: an empty reply is left of it.
    assert [attempt.why for attempt in decisions[0].attempts] == ["start", "fallback"]


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_gate_stays_shut_until_the_first_word(first: Any) -> None:
    held = Gate("start", CHUNKS, bool)
    assert [list(held.push(each)) for each in first] == [[]] * len(first)
    assert len(held.push(chunk("It"))) == len(first) + 1


def test_thinking_is_progress_and_silence_is_none() -> None:
    thought = [first[0] for name, first in FIRST.items() if name not in ("a role", "an empty text block")]
    assert all(map(CHUNKS.is_progress, thought))
    assert not CHUNKS.is_progress(chunk())
    assert not CHUNKS.is_progress(chunk([{"type": "text", "text": "", "index": 0}]))
    thinks = {"event": "content-block-delta", "delta": {"type": "reasoning-delta", "reasoning": "Hm."}}
    assert (EVENTS.content(thinks), EVENTS.is_progress(thinks)) == (None, True)
    assert not EVENTS.is_progress({"event": "message-start", "role": "ai"})
