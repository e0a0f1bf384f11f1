"""A graph of your own: one node decides, an edge branches on the tier, and the nodes behind it are yours.

    python examples/own_graph.py

Runs offline: the models are scripted, the routing is real.
"""

from typing import Annotated, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langroute import route_node, tier_edge
from langroute.testing import ScriptedChatModel

SMALL = ScriptedChatModel(name="small", reply="A short answer.")
LARGE = ScriptedChatModel(name="large", reply="A careful answer, step by step.")
POLICY = {
    "tiers": {"small": {"models": [SMALL]}, "large": {"models": [LARGE]}},
    "steps": {"answer": {"cascade": ["small", "large"]}},
    "rules": [{"name": "proofs", "when": {"keywords": ["prove", "derive"]}, "start": "large"}],
}


class State(TypedDict, total=False):
    """What the graph carries."""

    messages: Annotated[list[BaseMessage], add_messages]
    route: dict[str, Any]


def draft(state: State) -> State:
    """Answer at once."""
    return {"messages": [SMALL.invoke(state["messages"])]}


def think(state: State) -> State:
    """Answer with care."""
    return {"messages": [LARGE.invoke(state["messages"])]}


def build() -> Any:
    """Return the compiled graph."""
    builder = StateGraph(State)
    builder.add_node("route", route_node(POLICY, step="answer"))
    builder.add_node("draft", draft)
    builder.add_node("think", think)
    builder.add_edge(START, "route")
    builder.add_conditional_edges("route", tier_edge(), {"small": "draft", "large": "think"})
    builder.add_edge("draft", END)
    builder.add_edge("think", END)
    return builder.compile()


def main() -> None:
    """Ask an easy and a hard question."""
    graph = build()
    for question in ("What is a prime?", "Prove that there are infinitely many primes."):
        done = graph.invoke({"messages": [HumanMessage(question)]})
        route = done["route"]
        print(f"{question}\n  routed to tier {route['tier']}, because {route['reason']}")
        print(f"  answered: {done['messages'][-1].text}")


if __name__ == "__main__":
    main()
