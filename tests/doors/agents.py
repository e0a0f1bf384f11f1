"""Agents whose every model call is routed over scripted endpoints."""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel

from langroute.middleware import StepRoutingMiddleware
from langroute.testing import Answer, ScriptedChatModel

__all__ = ["FINAL", "STEPS", "agent", "calls", "delete_file", "endpoint", "run_sql", "search", "used"]

FINAL = "Three orders are open, says the table."

STEPS: dict[str, Any] = {"planning": {"cascade": "large"}, "tool_use": {"cascade": ["small", "large"]}}


def search(query: str) -> str:
    """Search the documents."""
    if query == "broken":
        raise ValueError("the index is down")
    return f"found {query}"


def run_sql(query: str) -> str:
    """Run a query."""
    return "3"


def delete_file(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


def calls(name: str, **arguments: Any) -> Answer:
    """Return a reply that calls a tool."""
    return Answer(tool_calls=((name, arguments),))


def endpoint(name: str, said: Any) -> BaseChatModel:
    """Return a chat model as it is, a script (list), or one reply for every call."""
    if isinstance(said, BaseChatModel):
        return said
    return ScriptedChatModel(name=name, **({"replies": said} if isinstance(said, list) else {"reply": said}))


def agent(
    endpoints: dict[str, Any],
    steps: dict[str, Any] | None = None,
    *,
    policy: dict[str, Any] | None = None,
    models: dict[str, dict[str, Any]] | None = None,
    tools: Sequence[Any] = (search, run_sql, delete_file),
    middleware: Sequence[Any] = (),
    **settings: Any,
) -> Any:
    """Return a routed agent; an endpoint belongs to the tier that its name begins with.

    Without `steps` the top tier plans and the others read what the tools gave.
    """
    tiers: dict[str, Any] = {}
    for name, said in endpoints.items():
        spec = {"model": endpoint(name, said), "name": name, **(models or {}).get(name, {})}
        tiers.setdefault(name.partition("-")[0], {"models": []})["models"].append(spec)
    usual = {"planning": {"cascade": list(tiers)[-1]}, "tool_use": {"cascade": list(tiers)}}
    routing = StepRoutingMiddleware({"tiers": tiers, "steps": steps or usual, **(policy or {})})
    unused = ScriptedChatModel(name="unused", replies=[AssertionError("the agent's own model was called")])
    return create_agent(unused, list(tools), middleware=[routing, *middleware], **settings)


def used(state: dict[str, Any]) -> list[tuple[str, str]]:
    """Return step and endpoint of every decision in a state."""
    return [(record["step"], record["endpoint"]) for record in state["langroute"]]
