"""Before the first word of a reply nothing is shown, whatever comes first: a failed call falls back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr
from routed_models import GOOD, STREAMS, pieces, routed, shown

from langroute.errors import PartialStream
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
    if mode == "stream":
        found: Any = list(model.stream("When?"))
    elif mode == "astream":
        found = [each async for each in model.astream("When?")]
    elif mode == "v3":
        found = list(model.stream_events("When?", version="v3"))
    else:
        found = [each async for each in await model.astream_events("When?", version="v3")]
    assert "Let me see" not in str(found)


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
