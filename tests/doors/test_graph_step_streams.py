"""A step drawn as nodes: the accepted text is seen exactly once, rejected text never, in every stream."""

from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langroute import add_routed_step, routed_step
from langroute.testing import ScriptedChatModel

GOOD = "The cable was laid in 1866, says the log."
BAD = "I cannot help with that, sorry."
QUESTION = {"messages": [HumanMessage("When was the cable laid?")]}


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    text: str


def graph(*, form: str = "inline", output: str = "messages", **step: Any) -> Any:
    small = ScriptedChatModel(name="small", reply=BAD)
    large = ScriptedChatModel(name="large", reply=GOOD)
    tiers = {"small": {"models": [small]}, "large": {"models": [large]}}
    binding = {"cascade": ["small", "large"], "verify": ["no_refusal"], **step}
    policy = {"tiers": tiers, "steps": {"answer": binding}}
    builder = StateGraph(State)
    if form == "inline":
        add_routed_step(builder, "answer", policy, output=output)
    else:
        builder.add_node("answer", routed_step("answer", policy, state_schema=State, output=output))
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile()


def seen(events: Any) -> str:
    return "".join(message.text for message, _ in events if isinstance(message, AIMessage))


@pytest.mark.parametrize("output", ["messages", "text"])
def test_messages_stream_shows_the_accepted_reply_once(output: str) -> None:
    events = list(graph(output=output).stream(QUESTION, stream_mode="messages"))
    assert seen(events) == GOOD
    assert len(events) > 3, "in chunks, not as one message"


@pytest.mark.parametrize("output", ["messages", "text"])
async def test_async_messages_stream_shows_the_accepted_reply_once(output: str) -> None:
    events = [event async for event in graph(output=output).astream(QUESTION, stream_mode="messages")]
    assert seen(events) == GOOD
    assert len(events) > 3


@pytest.mark.parametrize("output", ["messages", "text"])
def test_messages_stream_of_a_subgraph_shows_the_accepted_reply_once(output: str) -> None:
    compiled = graph(form="subgraph", output=output)
    events = [event for _, event in compiled.stream(QUESTION, stream_mode="messages", subgraphs=True)]
    assert seen(events) == GOOD


@pytest.mark.parametrize("output", ["messages", "text"])
def test_v3_stream_shows_the_accepted_reply_once(output: str) -> None:
    run = graph(output=output).stream_events(QUESTION, version="v3")
    assert [str(message.text) for message in run.messages] == [GOOD]


@pytest.mark.parametrize("output", ["messages", "text"])
async def test_async_v3_stream_shows_the_accepted_reply_once(output: str) -> None:
    run = await graph(output=output).astream_events(QUESTION, version="v3")
    assert [await message.text async for message in run.messages] == [GOOD]


def test_updates_and_values_hold_no_rejected_message_in_the_states_own_keys() -> None:
    for mode in ("updates", "values"):
        for event in graph().stream(QUESTION, stream_mode=mode):
            states = event.values() if mode == "updates" else [event]
            said = [m.text for state in states for m in (state or {}).get("messages", [])]
            assert BAD not in said


def test_plain_step_streams_live_from_its_endpoints_node() -> None:
    compiled = graph(cascade=["large"], verify=[], output="text")
    events = list(compiled.stream(QUESTION, stream_mode="messages"))
    assert seen(events) == GOOD
    assert {metadata["langgraph_node"] for _, metadata in events} == {"answer.large.langroute/large"}


def test_private_channel_is_in_no_input_output_or_result() -> None:
    compiled = graph(output="text")
    assert set(compiled.invoke(QUESTION)) == {"messages", "text"}
    assert not any("langroute" in key for key in compiled.get_input_jsonschema()["properties"])
    assert not any("langroute" in key for key in compiled.get_output_jsonschema()["properties"])
