"""Interrupts, commands to the parent graph and drains as people write them, behind every door."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained, ParentCommand
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, interrupt
from steered import AS_NODES, ASKED, DOORS, GOOD, Setup, door_to

from langroute.testing import ScriptedChatModel, capture_decisions

every_door = pytest.mark.parametrize("door", DOORS)
sync_and_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def behind(door: str, verifier: Any) -> tuple[Any, dict[str, ScriptedChatModel]]:
    """Return a graph with a checkpointer and a node beside the one that holds the step."""
    setup = Setup({"small-a": GOOD, "large-a": "from large"}, {}, {"verify": [verifier]})
    graph, models = door_to(door, setup)
    builder = StateGraph(MessagesState)
    builder.add_node("inside", graph)
    builder.add_node("beside", lambda state: {"messages": [("ai", "from beside")]})
    builder.add_edge(START, "inside")
    return builder.compile(checkpointer=InMemorySaver()), models


async def run(graph: Any, given: Any, *, asynchronous: bool, **how: Any) -> dict[str, Any]:
    thread: Any = {"configurable": {"thread_id": "1"}}
    if asynchronous:
        return await graph.ainvoke(given, thread, **how)
    return graph.invoke(given, thread, **how)


def asks_a_person(case: Any) -> bool:
    return interrupt("Is it good?") == "yes"


def sends_elsewhere(case: Any) -> bool:
    raise ParentCommand(Command(graph="inside", goto="beside"))


@sync_and_async
@every_door
async def test_verifier_may_ask_a_person(door, asynchronous):
    graph, models = behind(door, asks_a_person)
    with capture_decisions() as decisions:
        stopped = await run(graph, ASKED, asynchronous=asynchronous)
        assert [asked.value for asked in stopped["__interrupt__"]] == ["Is it good?"]
        state = await run(graph, Command(resume="yes"), asynchronous=asynchronous)
    assert state["messages"][-1].text == GOOD
    # A node that is run again asks its model again; a step drawn as nodes has the reply.
    drafts, ends = (1, ["accepted"]) if door in AS_NODES else (2, ["cancelled", "accepted"])
    assert (len(models["small-a"].calls), len(models["large-a"].calls)) == (drafts, 0)
    assert [decision.outcome for decision in decisions] == ends


@sync_and_async
@every_door
async def test_command_to_the_parent_graph_gets_there(door, asynchronous):
    graph, models = behind(door, sends_elsewhere)
    state = await run(graph, ASKED, asynchronous=asynchronous)
    assert state["messages"][-1].text == "from beside"
    assert (len(models["small-a"].calls), len(models["large-a"].calls)) == (1, 0)


@sync_and_async
@pytest.mark.parametrize("door", AS_NODES)
async def test_drained_run_stops_between_two_nodes_and_goes_on_later(door, asynchronous):
    control = RunControl()

    def drains(case: Any) -> bool:
        control.request_drain()
        return True

    graph, models = behind(door, drains)
    with pytest.raises(GraphDrained):
        await run(graph, ASKED, asynchronous=asynchronous, control=control)
    state = await run(graph, None, asynchronous=asynchronous)
    assert state["messages"][-1].text == GOOD
    assert (len(models["small-a"].calls), len(models["large-a"].calls)) == (1, 0)
