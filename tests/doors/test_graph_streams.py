"""Inside a LangGraph node: the accepted text is seen exactly once, rejected text never."""

from typing import Annotated, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langroute import RoutedChatModel
from langroute.cascade import Verdict
from langroute.testing import ScriptedChatModel
from langroute.verifiers.base import Case

GOOD = "The cable was laid in 1866, says the log."
BAD = "I cannot help with that, sorry."


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    text: str


def routed(**step: Any) -> RoutedChatModel:
    small = ScriptedChatModel(name="small", reply=BAD)
    large = ScriptedChatModel(name="large", reply=GOOD)
    tiers = {"small": {"models": [small]}, "large": {"models": [large]}}
    binding = {"cascade": ["small", "large"], "verify": ["no_refusal"], **step}
    return RoutedChatModel({"tiers": tiers, "steps": {"answer": binding}}).for_step("answer")


def graph(model: Any, *, gives: str, calls: str, asynchronous: bool = False) -> Any:
    """Return a one-node graph whose node calls the model by `calls` and gives a message or its text."""

    def whole(state: State) -> AIMessage:
        if calls == "invoke":
            return model.invoke(state["messages"])
        chunks = list(model.stream(state["messages"]))
        return sum(chunks[1:], chunks[0])

    async def awhole(state: State) -> AIMessage:
        if calls == "invoke":
            return await model.ainvoke(state["messages"])
        chunks = [chunk async for chunk in model.astream(state["messages"])]
        return sum(chunks[1:], chunks[0])

    def update(reply: AIMessage) -> State:
        return {"messages": [reply]} if gives == "message" else {"text": reply.text}

    async def anode(state: State) -> State:
        return update(await awhole(state))

    builder = StateGraph(State)
    builder.add_node("answering", anode if asynchronous else lambda state: update(whole(state)))
    builder.add_edge(START, "answering")
    builder.add_edge("answering", END)
    return builder.compile()


QUESTION = {"messages": [HumanMessage("When was the cable laid?")]}


def seen_text(events: list[tuple[BaseMessage, Any]]) -> str:
    return "".join(message.text for message, _ in events if isinstance(message, AIMessage))


@pytest.mark.parametrize("calls", ["invoke", "stream"])
@pytest.mark.parametrize("gives", ["message", "text"])
def test_messages_stream_shows_the_accepted_reply_once(gives: str, calls: str) -> None:
    events = list(graph(routed(), gives=gives, calls=calls).stream(QUESTION, stream_mode="messages"))
    assert seen_text(events) == GOOD
    assert len(events) > 3, "the reply must come in chunks, not as one message"


@pytest.mark.parametrize("calls", ["invoke", "stream"])
@pytest.mark.parametrize("gives", ["message", "text"])
async def test_async_messages_stream_shows_the_accepted_reply_once(gives: str, calls: str) -> None:
    compiled = graph(routed(), gives=gives, calls=calls, asynchronous=True)
    events = [event async for event in compiled.astream(QUESTION, stream_mode="messages")]
    assert seen_text(events) == GOOD
    assert len(events) > 3


def v3_texts(run: Any) -> list[str]:
    return [str(message.text) for message in run.messages]


@pytest.mark.parametrize("calls", ["invoke", "stream"])
@pytest.mark.parametrize("gives", ["message", "text"])
def test_v3_stream_shows_the_accepted_reply_once(gives: str, calls: str) -> None:
    run = graph(routed(), gives=gives, calls=calls).stream_events(QUESTION, version="v3")
    assert v3_texts(run) == [GOOD]


@pytest.mark.parametrize("calls", ["invoke", "stream"])
@pytest.mark.parametrize("gives", ["message", "text"])
async def test_async_v3_stream_shows_the_accepted_reply_once(gives: str, calls: str) -> None:
    compiled = graph(routed(), gives=gives, calls=calls, asynchronous=True)
    run = await compiled.astream_events(QUESTION, version="v3")
    assert [await message.text async for message in run.messages] == [GOOD]


def test_best_of_rejected_replies_is_shown_once_too() -> None:
    model = routed(verify=["no_refusal", {"patterns": {"required": ["never to be found"]}}])
    events = list(graph(model, gives="text", calls="invoke").stream(QUESTION, stream_mode="messages"))
    assert seen_text(events) == GOOD


def test_what_a_judging_model_says_is_not_shown() -> None:
    judge = ScriptedChatModel(name="judge", reply="JUDGED")

    def asks_a_model(case: Case) -> Verdict:
        said = judge.invoke("Is it good?").text
        return Verdict("asks_a_model", accepted="cable" in case.text, reason=said)

    compiled = graph(routed(verify=[asks_a_model]), gives="text", calls="invoke")
    assert seen_text(list(compiled.stream(QUESTION, stream_mode="messages"))) == GOOD


def test_plain_routing_streams_live() -> None:
    shown: list[str] = []
    model = routed(cascade=["large"], verify=[])
    compiled = graph(model, gives="text", calls="invoke")
    for message, metadata in compiled.stream(QUESTION, stream_mode="messages"):
        shown.append(message.text)
        assert metadata["langroute_tier"] == "large"
    assert "".join(shown) == GOOD
    assert len(shown) > 3


def test_cached_answer_in_a_thread_is_a_message_of_its_own_and_shown_once() -> None:
    model = routed(cascade=["large"], verify=[]).model_copy(update={"cache": InMemoryCache()})
    compiled = graph(model, gives="message", calls="invoke")
    state: Any = QUESTION
    asked = HumanMessage("When was the cable laid?", id="q")
    for _ in range(2):
        events = list(compiled.stream({"messages": [asked]}, stream_mode="messages"))
        assert seen_text(events) == GOOD
        state = compiled.invoke({"messages": [*state["messages"], HumanMessage("again")]})
    assert len({message.id for message in state["messages"]}) == len(state["messages"])
