"""The doors of one policy that hostile prompts go through, beside the chat model."""

from typing import Any

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from langroute import RoutedChatModel, add_routed_step
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import ScriptedChatModel

__all__ = ["agent_of", "graph_of"]


def run_sql(query: str) -> str:
    """Run a query."""
    return "3"


def delete_file(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


def graph_of(model: RoutedChatModel) -> Any:
    """Return a graph whose one step asks a person before it escalates."""
    builder = StateGraph(MessagesState)
    add_routed_step(builder, "answer", model)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


def agent_of(policy: dict[str, Any]) -> tuple[Any, StepRoutingMiddleware]:
    """Return an agent with two tools, and the middleware that routes it."""
    routing = StepRoutingMiddleware(policy)
    unused = ScriptedChatModel(name="unused", replies=[AssertionError("the agent's own model was called")])
    return create_agent(unused, [run_sql, delete_file], middleware=[routing]), routing
