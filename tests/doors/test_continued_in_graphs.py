"""A reply that broke off and was gone on with, in graphs and agents: one message, its text seen once."""

from itertools import pairwise
from typing import Any

import pytest
from agents import agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from langroute import RoutedChatModel, add_routed_step, routed_step
from langroute.errors import PartialStream
from langroute.testing import Fault, LoopbackProvider, ScriptedChatModel, capture_decisions

TEXT = (
    "The log of the Great Eastern says that the cable was laid in 1866, two years after the first try. "
    "Its engineer, Mr Canning, had the grapnels lowered thirty times before the lost end came up again."
)
ASKED: Any = {"messages": [HumanMessage("When?", id="asked")]}
FAULTS = {"cut": Fault("cut", after_chunks=14), "reset": Fault("reset", after_chunks=14)}

FORMS = ("a node", "a node that streams", "inline", "subgraph", "agent")
MODES = ("messages", "amessages", "v3", "av3")


@pytest.fixture
def provider():
    with LoopbackProvider({"small-a": TEXT}) as running:
        yield running


def policy(provider: LoopbackProvider, reply: str) -> dict[str, Any]:
    models = [
        {"model": provider.chat_model("small-a"), "name": "small-a"},
        {"model": ScriptedChatModel(name="small-b", reply=reply), "name": "small-b"},
    ]
    steps = {"answer": {"cascade": "small", "continue_streams": True}}
    return {"tiers": {"small": {"models": models}}, "steps": steps}


def graph(form: str, provider: LoopbackProvider, reply: str = TEXT) -> Any:
    """Return a graph whose one step is gone on with by another model, which gives this reply."""
    if form == "agent":
        endpoints = {"small-a": provider.chat_model("small-a"), "small-b": reply}
        return agent(endpoints, {"planning": {"cascade": "small", "continue_streams": True}})
    written = policy(provider, reply)
    model = RoutedChatModel(written).for_step("answer")

    def streams(state: Any) -> Any:
        chunks = list(model.stream(state["messages"]))
        return {"messages": [sum(chunks[1:], chunks[0])]}

    builder = StateGraph(MessagesState)
    if form == "inline":
        add_routed_step(builder, "answer", written)
    elif form == "subgraph":
        builder.add_node("answer", routed_step("answer", written))
    elif form == "a node":
        builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    else:
        builder.add_node("answer", streams)
    return builder.add_edge(START, "answer").compile(checkpointer=InMemorySaver())


CONFIG: Any = {"configurable": {"thread_id": "1"}}


async def seen(compiled: Any, mode: str, given: Any = ASKED) -> tuple[list[str], list[Any]]:
    """Return the texts that a stream of one kind shows, one a message, and the ids of those messages."""
    how: Any = {"stream_mode": "messages", "subgraphs": True}
    if mode == "messages":
        found = [event for _, event in compiled.stream(given, CONFIG, **how)]
    elif mode == "amessages":
        found = [event async for _, event in compiled.astream(given, CONFIG, **how)]
    elif mode == "v3":
        events = [e for e in compiled.stream_events(given, CONFIG, version="v3") if e["method"] == "messages"]
        found = [event["params"]["data"] for event in events]
    else:
        stream = await compiled.astream_events(given, CONFIG, version="v3")
        found = [event["params"]["data"] async for event in stream if event["method"] == "messages"]
    texts: dict[Any, str] = {}
    for payload, metadata in found:
        if isinstance(payload, AIMessage):
            texts[payload.id] = texts.get(payload.id, "") + payload.text
        elif isinstance(payload, dict) and payload["event"] == "content-block-delta":
            texts[metadata["run_id"]] = texts.get(metadata["run_id"], "") + payload["delta"]["text"]
    return list(texts.values()), list(texts)


each_form = pytest.mark.parametrize("form", FORMS)
each_mode = pytest.mark.parametrize("mode", MODES)


@each_form
@each_mode
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whole_text_is_seen_once_as_one_message(provider, form, mode, fault):
    provider.fail("small-a", fault)
    compiled = graph(form, provider)
    with capture_decisions() as decisions:
        texts, ids = await seen(compiled, mode)
    assert texts == [TEXT]
    assert [attempt.why for attempt in decisions[-1].attempts] == ["start", "continuation"]
    if form != "agent":
        said = (await compiled.aget_state(CONFIG)).values["messages"]
        assert [message.text for message in said] == ["When?", TEXT]
        if mode in ("messages", "amessages"):
            assert ids == [said[-1].id]


def test_run_that_goes_on_takes_the_edge_that_is_drawn_for_it(provider):
    provider.fail("small-a", FAULTS["cut"])
    compiled = graph("inline", provider)
    shown = compiled.stream(ASKED, CONFIG, stream_mode=["messages", "tasks"])
    visited = [told["name"] for mode, told in shown if mode == "tasks" and "input" in told]
    drawn = {(edge.source, edge.target): edge.data for edge in compiled.get_graph().edges}
    labels = [drawn[pair] for pair in pairwise(visited)]
    assert visited[1:3] == ["answer.small.small-a", "answer.small.small-b"]
    assert "cut" in labels[1]


@each_form
@each_mode
async def test_reply_that_does_not_go_on_is_never_shown(provider, form, mode):
    provider.fail("small-a", FAULTS["reset"])
    compiled = graph(form, provider, "I'm sorry, I can't continue this text.")
    with pytest.raises(PartialStream) as raised:
        await seen(compiled, mode)
    assert TEXT.startswith(raised.value.text)
    assert 0 < len(raised.value.text) < len(TEXT)


@each_form
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_where_nothing_is_shown_it_is_an_ordinary_fallback(provider, form, mode):
    provider.fail("small-a", FAULTS["cut"])
    compiled = graph(form, provider, "Another reply, whole.")
    if form == "a node that streams":
        return  # its own node sees the stream
    given = compiled.invoke(ASKED, CONFIG) if mode == "invoke" else await compiled.ainvoke(ASKED, CONFIG)
    assert given["messages"][-1].text == "Another reply, whole."


def test_run_that_is_resumed_shows_its_new_reader_a_reply_of_its_own(provider):
    provider.fail("small-a", FAULTS["reset"], times=1)
    written = policy(provider, "never asked")
    sorry = ScriptedChatModel(name="small-b", replies=["I'm sorry, I can't go on.", "A reply of its own."])
    written["tiers"]["small"]["models"][1]["model"] = sorry
    builder = StateGraph(MessagesState)
    add_routed_step(builder, "answer", written)
    compiled = builder.add_edge(START, "answer").compile(checkpointer=InMemorySaver())
    with pytest.raises(PartialStream):
        list(compiled.stream(ASKED, CONFIG, stream_mode="messages"))
    again = [message.text for message, _ in compiled.stream(None, CONFIG, stream_mode="messages")]
    assert "".join(again) == "A reply of its own."
    assert compiled.get_state(CONFIG).values["messages"][-1].text == "A reply of its own."
