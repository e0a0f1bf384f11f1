"""How a step's nodes join a person's graph: a private channel, and edges that leave by the last node."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from langgraph.graph import StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict, get_type_hints

__all__ = ["channel_schema", "redirect_edges", "state_of"]


def channel_schema(state_schema: Any, channel: str) -> Any:
    """Return the state's schema with the private channel beside its keys: what a step's nodes read."""
    hints = get_type_hints(state_schema, include_extras=True)
    if isinstance(state_schema, type) and issubclass(state_schema, BaseModel):
        hints = {name: hints[name] for name in state_schema.model_fields}
    return TypedDict(f"With_{channel}", {**hints, channel: dict[str, Any] | None}, total=False)  # type: ignore[operator]  # made at run time


def state_of(state_schema: Any, values: Mapping[str, Any], channel: str) -> Any:
    """Return the state as the person's own class, without the private channel."""
    own = {name: value for name, value in values.items() if name != channel}
    is_class = isinstance(state_schema, type)
    if is_class and (issubclass(state_schema, BaseModel) or dataclasses.is_dataclass(state_schema)):
        return state_schema(**own)
    return own


def redirect_edges(builder: StateGraph[Any, Any, Any, Any], start: str, end: str) -> None:
    """Let every edge that leaves `start`, drawn before or after, leave `end` instead.

    A step is several nodes to the graph and one to the person: edges to its name lead to the first
    node, and edges from its name must leave the last.
    """
    builder.edges = {(end if source == start else source, target) for source, target in builder.edges}
    if start in builder.branches:
        builder.branches[end] = builder.branches.pop(start)
    builder.add_edge = _from(start, end, builder.add_edge)  # type: ignore[method-assign]  # this one builder's
    builder.add_conditional_edges = _from(start, end, builder.add_conditional_edges)  # type: ignore[method-assign]  # as above


def _from(start: str, end: str, add: Callable[..., Any]) -> Callable[..., Any]:
    def redirected(source: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(source, list | tuple):
            source = [end if name == start else name for name in source]
        return add(end if source == start else source, *args, **kwargs)

    return redirected
