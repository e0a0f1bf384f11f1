"""What a stream used: told in every chunk, in parts, or in a way that is no number."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import START, MessagesState, StateGraph
from routed_models import GOOD, STREAMS, routed, shown
from test_bodies import alone, once, streamed
from test_wire import EVENTS, _key, serving

from langroute.cascade import Attempt
from langroute.cost import Usage
from langroute.errors import PartialStream
from langroute.streams import CHUNKS
from langroute.testing import ScriptedChatModel, capture_decisions

__all__ = ["_key"]


def chunk(text: str, **kwargs: Any) -> AIMessageChunk:
    return AIMessageChunk(content=text, **kwargs)


def used(*counts: tuple[Any, Any]) -> list[AIMessageChunk]:
    """Return the chunks of a reply that tell these tokens in and out; they are set unchecked, as hosts do."""
    chunks = [chunk("The cable "), *(chunk("") for _ in counts), chunk("", chunk_position="last")]
    for told, (given, out) in zip(chunks[1:], counts, strict=False):
        told.usage_metadata = {"input_tokens": given, "output_tokens": out, "total_tokens": 0}
    return chunks


@pytest.mark.parametrize(
    ("counts", "tokens"),
    [
        ([(10, 0), (10, 1), (10, 4), (10, 5)], (10, 5)),  # what was used so far
        ([(10, 5), (10, 5)], (10, 5)),  # told twice
        ([(10, 1), (0, 4)], (10, 5)),  # parts
        ([(0, 4), (10, 1)], (10, 5)),
        ([(10, 5)], (10, 5)),
        ([], None),
        ([(10, 1), (10.5, 5)], None),
        ([(10, 1), (10, -5)], None),
    ],
)
def test_usage_told_in_every_chunk_is_that_of_the_last_and_parts_are_added(counts: Any, tokens: Any) -> None:
    told = CHUNKS.assemble(used(*counts)).usage_metadata
    assert (told and (told["input_tokens"], told["output_tokens"])) == tokens
    first, *came = used(*counts)
    (last,) = CHUNKS.finish(first, "The cable ", came)
    told = last.usage_metadata
    assert (told and (told["input_tokens"], told["output_tokens"])) == tokens


class Miscounting(ScriptedChatModel):
    """Tells half a token, or words, of which no chunk is made; the reply has ended by then, or not."""

    ended: bool = True
    usage_told: Any = None

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=chunk(GOOD))
        if self.ended:
            yield ChatGenerationChunk(message=chunk("", response_metadata={"finish_reason": "stop"}))
        half: Any = self.usage_told or {"input_tokens": 10.5, "output_tokens": 5, "total_tokens": 15}
        half.get("input_tokens")  # as integrations read it
        yield ChatGenerationChunk(message=chunk("", usage_metadata=half))


@pytest.mark.parametrize("told", [None, "many"])
@pytest.mark.parametrize("mode", STREAMS)
async def test_whole_reply_outlives_usage_that_cannot_be_read_and_is_estimated(mode: str, told: Any) -> None:
    with capture_decisions() as decisions:
        assert await shown(routed({"small-a": Miscounting(reply=GOOD, usage_told=told)}), mode) == GOOD
    [attempt] = decisions[0].attempts
    assert (attempt.outcome, attempt.cost_basis) == ("accepted", "estimated")
    with pytest.raises(PartialStream):
        await shown(routed({"small-a": Miscounting(reply=GOOD, ended=False, usage_told=told)}), mode)


LATE = {
    "usage that is a text": b'data: {"id":"1","choices":[],"usage":"140"}\n\ndata: [DONE]\n\n',
    "usage whose details are a list": b"data: %s\n\ndata: [DONE]\n\n"
    % b'{"id":"1","choices":[],"usage":{"prompt_tokens":1,"prompt_tokens_details":[1]}}',
    "what is no JSON": b"data: [done]\n\n",
    "a connection that is closed": b"",
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # openai's, of what it cannot read
@pytest.mark.parametrize("mode", ["stream", "astream"])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
async def test_whole_reply_outlives_what_comes_after_its_end(late: bytes, mode: str) -> None:
    body = streamed(GOOD).removesuffix(b"data: [DONE]\n\n") + late
    head = EVENTS.replace(b"\r\n\r\n", b"\r\ncontent-length: %d\r\n\r\n" % (len(body) + 1))
    with serving(once(body, head)) as server, capture_decisions() as decisions:
        assert await shown(alone(server.url), mode) == GOOD
    assert decisions[0].attempts[0].cost_basis in ("estimated", "unknown")


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_end_that_is_told_twice_is_one_word_where_the_chunks_are_joined(mode: str) -> None:
    end = streamed()
    with serving(once(streamed(GOOD).removesuffix(b"data: [DONE]\n\n") + end, EVENTS)) as server:
        model = alone(server.url)
        chunks = (
            list(model.stream("q")) if mode == "stream" else [chunk async for chunk in model.astream("q")]
        )
    whole = chunks[0] + chunks[1:]
    assert (whole.text, whole.response_metadata["finish_reason"]) == (GOOD, "stop")


class EndingTwice(ScriptedChatModel):
    """Says why its reply ended, and then says something else."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for text, word in ((GOOD, "length"), ("", "stop")):
            yield ChatGenerationChunk(message=chunk(text, response_metadata={"finish_reason": word}))


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_two_ends_of_which_one_cuts_are_no_end_of_a_given_models_reply(mode: str) -> None:
    with pytest.raises(PartialStream, match="`length` and with `stop`"):
        await shown(routed({"small-a": EndingTwice(reply=GOOD)}), mode)


class Counting(ScriptedChatModel):
    """Tells in every chunk what was used so far; streams where somebody listens; tells its run, or not."""

    tells: bool = True

    def _stream(
        self, messages: Any, *args: Any, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for out, word in enumerate(GOOD.split(" ")):
            told: Any = {"input_tokens": 10, "output_tokens": out, "total_tokens": 10 + out}
            made = ChatGenerationChunk(message=chunk(f"{word} ", usage_metadata=told))
            if run_manager is not None and self.tells:
                run_manager.on_llm_new_token(made.text, chunk=made)
            yield made

    async def _astream(
        self, messages: Any, *args: Any, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for made in self._stream(messages):
            if run_manager is not None and self.tells:
                await run_manager.on_llm_new_token(made.text, chunk=made)
            yield made


def chunks_of(graph: Any) -> str:
    return "".join(message.text for message, _ in graph.stream(ASKED, stream_mode="messages"))


def events_of(graph: Any) -> str:
    return "".join(str(message.text) for message in graph.stream_events(ASKED, version="v3").messages)


ASKED = {"messages": [("user", "When?")]}
IN_GRAPHS = [chunks_of, events_of]


def streamed_in_a_graph(model: Any, shown: Callable[[Any], str]) -> Attempt:
    """Return the attempt of a call that a graph's stream of messages shows."""
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "ask")
    with capture_decisions() as decisions:
        assert shown(graph.compile()).strip() == GOOD
    return decisions[0].attempts[0]


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("shown", IN_GRAPHS)
def test_reply_that_is_streamed_into_a_graphs_stream_is_billed_once(shown: Any, *, tells: bool) -> None:
    attempt = streamed_in_a_graph(routed({"small-a": Counting(reply=GOOD, tells=tells)}), shown)
    assert attempt.usage == Usage(10, GOOD.count(" "))


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("mode", STREAMS)
async def test_usage_told_in_every_chunk_is_billed_once_in_every_stream(mode: str, *, tells: bool) -> None:
    with capture_decisions() as decisions:
        await shown(routed({"small-a": Counting(reply=GOOD, tells=tells)}), mode)
    assert decisions[0].attempts[0].usage == Usage(10, GOOD.count(" "))


class Silent(ScriptedChatModel):
    """Has one blocking stream, and no async one; what it used comes in two parts."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for given, out in ((10, 0), (0, 5)):
            told: Any = {"input_tokens": given, "output_tokens": out, "total_tokens": given + out}
            yield ChatGenerationChunk(message=chunk("The cable ", usage_metadata=told))

    _astream = BaseChatModel._astream
    _agenerate = BaseChatModel._agenerate


@pytest.mark.parametrize("mode", STREAMS)
async def test_stream_that_is_read_in_a_thread_is_billed_once(mode: str) -> None:
    with capture_decisions() as decisions:
        await shown(routed({"small-a": Silent(reply=GOOD)}), mode)
    assert decisions[0].attempts[0].usage == Usage(10, 5)


@pytest.mark.parametrize("told", [None, "many"])
@pytest.mark.parametrize("shown", IN_GRAPHS)
def test_reply_in_a_graphs_stream_outlives_usage_that_cannot_be_read(shown: Any, told: Any) -> None:
    attempt = streamed_in_a_graph(routed({"small-a": Miscounting(reply=GOOD, usage_told=told)}), shown)
    assert (attempt.outcome, attempt.cost_basis) == ("accepted", "estimated")
