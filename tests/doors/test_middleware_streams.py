"""What a routed agent's streams show: the accepted text exactly once, rejected and superseded text never."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
from agents import agent, calls
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langgraph.graph import START, MessagesState, StateGraph

from langroute.errors import PartialStream
from langroute.testing import Fault, LoopbackProvider, ScriptedChatModel

ASKED = {"messages": "How many orders are open?"}
GOOD = "Three orders are open, says the table."
BAD = "I cannot help with that, sorry."
DRAFT = "Some orders, I would say."

CASES = {
    "escalated": ({"tool_use": {"cascade": ["small", "large"], "verify": ["no_refusal"]}}, BAD),
    "superseded": ({"tool_use": {"cascade": "small"}, "synthesis": {"cascade": "large"}}, DRAFT),
    "superseded escalated": (
        {
            "tool_use": {"cascade": "small"},
            "synthesis": {"cascade": ["medium", "large"], "verify": ["no_refusal"]},
        },
        DRAFT,
    ),
}


def routed(case: str) -> Any:
    """Return an agent that calls a tool, then drafts on the small tier what must not be seen."""
    steps, unwanted = CASES[case]
    script = {"small": [unwanted], "medium": [BAD], "large": [calls("search", query="o"), GOOD]}
    return agent(script, {"planning": {"cascade": "large"}, **steps})


def nested(case: str) -> Any:
    """Return a graph whose one node is the agent."""
    return StateGraph(MessagesState).add_node("worker", routed(case)).add_edge(START, "worker").compile()


async def stream(graph: Any, *, asynchronous: bool, **kwargs: Any) -> AsyncIterator[Any]:
    if asynchronous:
        async for item in graph.astream(ASKED, **kwargs):
            yield item
    else:
        for item in graph.stream(ASKED, **kwargs):
            yield item


def text(messages: list[BaseMessage]) -> str:
    return "".join(message.text for message in messages if isinstance(message, AIMessage))


each_case = pytest.mark.parametrize("case", CASES)
sync_and_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@each_case
@sync_and_async
async def test_messages_show_the_accepted_text_once_and_in_pieces(case, asynchronous):
    events = [
        event async for event in stream(routed(case), asynchronous=asynchronous, stream_mode="messages")
    ]
    assert text([message for message, _ in events]) == GOOD
    assert sum(isinstance(message, AIMessageChunk) for message, _ in events) > 3
    assert {metadata["langgraph_node"] for _, metadata in events} == {"model", "tools"}


@each_case
@sync_and_async
@pytest.mark.parametrize("subgraphs", [True, False])
async def test_messages_of_an_agent_in_a_graph_are_shown_once(case, asynchronous, subgraphs):
    how: Any = {"asynchronous": asynchronous, "stream_mode": "messages", "subgraphs": subgraphs}
    events = [event async for event in stream(nested(case), **how)]
    assert text([(event[1] if subgraphs else event)[0] for event in events]) == GOOD


@each_case
@sync_and_async
@pytest.mark.parametrize("mode", ["updates", "values"])
async def test_state_shows_the_accepted_reply_alone(case, asynchronous, mode):
    events = [event async for event in stream(routed(case), asynchronous=asynchronous, stream_mode=mode)]
    updates = events if mode == "values" else [update for event in events for update in event.values()]
    shown = [message.text for update in updates for message in update.get("messages", ())]
    assert shown[-1] == GOOD
    assert not {BAD, DRAFT}.intersection(shown)


@each_case
@sync_and_async
async def test_v3_shows_the_accepted_text_once(case, asynchronous):
    if asynchronous:
        run = await routed(case).astream_events(ASKED, version="v3")
        shown = [await message.text async for message in run.messages]
    else:
        shown = [str(message.text) for message in routed(case).stream_events(ASKED, version="v3").messages]
    assert [line for line in shown if line] == [GOOD]


def test_turn_that_nothing_can_replace_streams_as_it_comes():
    large = ScriptedChatModel(name="large", replies=[GOOD])
    pieces = [m.text for m, _ in agent({"large": large}).stream(ASKED, stream_mode="messages")]
    assert "".join(pieces) == GOOD
    assert len(pieces) > 3


@pytest.mark.parametrize("mode", ["messages", "amessages", "v3", "av3"])
@pytest.mark.parametrize("after_chunks", [3, 4])
@pytest.mark.parametrize("verify", [["tool_calls"], []], ids=["judged", "live"])
async def test_tool_call_that_a_stream_cut_is_not_run(mode, after_chunks, verify):
    ran: list[str] = []

    def search(query: str = "") -> str:
        """Search the documents."""
        ran.append(query)
        return "found"

    steps = {"planning": {"cascade": "large", "verify": verify}}
    with LoopbackProvider({"cut": [calls("search", query="the open orders"), GOOD]}) as provider:
        provider.fail("cut", Fault("cut", after_chunks=after_chunks), times=1)
        backup = ScriptedChatModel(name="large-b", replies=[calls("search", query="orders"), GOOD])
        script = {"large-a": provider.chat_model("cut"), "large-b": backup}
        # As with providers other than OpenAI, nothing but the arguments shows that the reply is not whole.
        graph = agent(script, steps, tools=[search], models={"large-a": {"omits_finish_reason": True}})
        # What was judged was not shown, and may still be replaced.
        with nullcontext() if verify else pytest.raises(PartialStream):
            await through(graph, mode)
    assert ran == (["orders"] if verify else [])


async def through(graph: Any, mode: str) -> None:
    """Read a whole stream of one kind."""
    if mode == "messages":
        list(graph.stream(ASKED, stream_mode="messages"))
    elif mode == "amessages":
        _ = [event async for event in graph.astream(ASKED, stream_mode="messages")]
    elif mode == "v3":
        list(graph.stream_events(ASKED, version="v3"))
    else:
        _ = [event async for event in await graph.astream_events(ASKED, version="v3")]


def test_stream_that_dies_in_a_draft_nobody_has_seen_falls_back():
    steps = {"planning": {"cascade": "small"}, "synthesis": {"cascade": "large"}}
    with LoopbackProvider({"dies": "A long draft that nobody will ever see."}) as provider:
        provider.fail("dies", Fault("reset", after_chunks=4))
        script = {"small-a": provider.chat_model("dies"), "small-b": [DRAFT], "large": [GOOD]}
        events = list(agent(script, steps).stream(ASKED, stream_mode="messages"))
    assert text([message for message, _ in events]) == GOOD
