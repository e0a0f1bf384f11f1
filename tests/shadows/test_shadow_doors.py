"""Shadows at every door: nodes of a graph and an agent's loop are measured as a chat model's calls are."""

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from shadowing import CHEAP, OTHER, PATIENCE_S, kept, policy

from langroute import Ledger, RoutedChatModel, add_routed_step, routed_step
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import Answer, ScriptedChatModel

GIVEN: dict[str, Any] = {"messages": [HumanMessage("When?")]}


def model_of(tmp_path: Path, **of_policy: Any) -> RoutedChatModel:
    return RoutedChatModel(policy(**of_policy), ledger=Ledger(tmp_path / "ledger.sqlite"))


def graph_of(model: RoutedChatModel, form: str) -> Any:
    builder = StateGraph(MessagesState)
    if form == "drawn":
        add_routed_step(builder, "answer", model)
    else:
        builder.add_node("answer", routed_step("answer", model))
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("form", ["drawn", "one node"])
@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream"])
async def test_steps_of_a_graph_are_shadowed_once_and_show_nothing_of_it(
    form: str, mode: str, tmp_path: Path
) -> None:
    model = model_of(tmp_path)
    graph, config = graph_of(model, form), {"configurable": {"thread_id": "t"}}
    if mode == "stream":
        pieces = [chunk.text for chunk, _ in graph.stream(GIVEN, config, stream_mode="messages")]
        assert "".join(pieces) == CHEAP
    else:
        out = await graph.ainvoke(GIVEN, config) if mode == "ainvoke" else graph.invoke(GIVEN, config)
        assert out["messages"][-1].text == CHEAP
    [record] = kept(model.router)
    assert [shadow.verdict for shadow in record.shadows] == ["misrouted"]
    [asked] = model.router.endpoints.by_name["large"].model.calls
    assert [message.text for message in asked.messages] == ["When?"]


def look_up(word: str) -> str:
    """Look a word up."""
    return word


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_calls_of_an_agent_are_shadowed_without_its_handler(mode: str, tmp_path: Path) -> None:
    calls = AIMessage("", tool_calls=[{"name": "look_up", "args": {"word": "cable"}, "id": "1"}])
    written = policy(small=[calls, CHEAP], large=[calls, OTHER], step={"verify": []})
    del written["steps"]["answer"]
    written["steps"]["planning"] = written["steps"]["tool_use"] = {"cascade": ["small", "large"]}
    written["shadow"] = [{**written["shadow"], "step": step} for step in ("planning", "tool_use")]
    routing = StepRoutingMiddleware(written, ledger=Ledger(tmp_path / "ledger.sqlite"))
    agent = create_agent(ScriptedChatModel(name="unused", reply="never"), [look_up], middleware=[routing])
    out = await agent.ainvoke(GIVEN) if mode == "ainvoke" else agent.invoke(GIVEN)
    assert out["messages"][-1].text == CHEAP
    verdicts = {record.step: [s.verdict for s in record.shadows] for record in kept(routing.router)}
    assert verdicts == {"planning": ["good"], "tool_use": ["misrouted"]}
    asked = routing.router.endpoints.by_name["large"].model.calls
    assert ["look_up" in str(call.kwargs.get("tools")) for call in asked] == [True, True]


def test_escalated_reply_is_no_cheap_one_and_a_resumed_run_is_drawn_alike(tmp_path: Path) -> None:
    model = model_of(tmp_path, small=[Answer(refusal="No."), CHEAP])
    graph = graph_of(model, "drawn")
    for thread in ("a", "b"):
        graph.invoke(GIVEN, {"configurable": {"thread_id": thread}})
        assert model.router.shadows.flush(PATIENCE_S)
    assert [[s.verdict for s in record.shadows] for record in kept(model.router)] == [[], ["misrouted"]]
