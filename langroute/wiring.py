"""How a step's nodes join a person's graph: a private channel, and edges that leave by the last node."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict, get_type_hints

from langroute import drive
from langroute.effects import Flow

__all__ = [
    "Work",
    "as_one",
    "carries_messages",
    "channel_schema",
    "joined",
    "output_schema",
    "state_of",
    "steps_drawn",
]


def channel_schema(state_schema: Any, *channels: str) -> Any:
    """Return the state's schema with private channels beside its keys: what a step's nodes read."""
    hints = {**_hints(state_schema), **dict.fromkeys(channels, dict[str, Any] | None)}
    return TypedDict(f"With_{channels[0]}", hints, total=False)  # type: ignore[operator]  # made at run time


def output_schema(state_schema: Any, output: str) -> Any:
    """Return what a step of its own graph gives: its output alone.

    A graph gives back all it was given, and the graph around it would take that for news: a list with a
    reducer such as `operator.add` would hold everything twice, and two steps side by side would clash.
    """
    hints = {name: hint for name, hint in _hints(state_schema).items() if name == output}
    return TypedDict(f"Only_{output}", hints, total=False) if hints else state_schema  # type: ignore[operator]  # as above


def _hints(state_schema: Any) -> dict[str, Any]:
    hints = get_type_hints(state_schema, include_extras=True)
    if isinstance(state_schema, type) and issubclass(state_schema, BaseModel):
        return {name: hints[name] for name in state_schema.model_fields}
    return hints


def carries_messages(state_schema: Any) -> bool:
    """Whether a state has a key for messages, so that a prompt made of it may hold earlier replies."""
    hints = get_type_hints(state_schema, include_extras=True)
    return any("message" in f"{name} {hint}".lower() for name, hint in hints.items())


def state_of(state_schema: Any, values: Mapping[str, Any], *channels: str) -> Any:
    """Return the state as the person's own class, without the private channels."""
    own = {name: value for name, value in values.items() if name not in channels}
    is_class = isinstance(state_schema, type)
    if is_class and (issubclass(state_schema, BaseModel) or dataclasses.is_dataclass(state_schema)):
        return state_schema(**own)
    return own


def as_one(builder: StateGraph[Any, Any, Any, Any], start: str, end: str, channel: str) -> None:
    """Make the nodes of a step one to the person: edges leave by the last node, the channel stays private."""
    _redirect_edges(builder, start, end)
    _hide_channel(builder, channel)


def _hide_channel(builder: StateGraph[Any, Any, Any, Any], channel: str) -> None:
    """Let the graphs that a builder compiles keep a private channel to themselves.

    LangGraph streams every channel in `values` and `updates` and shows it in snapshots of the state, and
    gives all of them to the state's own class where the person asks for one: a dataclass would not take it.
    """
    compile_graph = builder.compile

    def compiled(*args: Any, **kwargs: Any) -> Any:
        graph = compile_graph(*args, **kwargs)
        graph.stream_channels = [name for name in graph.stream_channels_list if name != channel]
        return graph

    builder.compile = compiled  # type: ignore[method-assign]  # this one builder's


def _redirect_edges(builder: StateGraph[Any, Any, Any, Any], start: str, end: str) -> None:
    """Let every edge that leaves `start`, drawn before or after, leave `end` instead.

    A step is several nodes to the graph and one to the person: edges to its name lead to the first
    node, and edges from its name must leave the last.
    """
    builder.edges = {(end if source == start else source, target) for source, target in builder.edges}
    if start in builder.branches:
        builder.branches[end] = builder.branches.pop(start)
    builder.add_edge = _from(start, end, builder.add_edge)  # type: ignore[method-assign]  # this one builder's
    builder.add_conditional_edges = _from(start, end, builder.add_conditional_edges)  # type: ignore[method-assign]  # as above


def steps_drawn(builder: Any) -> list[Any]:
    """Return the specs of the steps drawn into a builder so far, in order; what is added to it stays."""
    drawn: list[Any] = builder.__dict__.setdefault("langroute_steps", [])
    return drawn


def joined(builder: StateGraph[Any, Any, Any, Any], start: str, end: str) -> bool:
    """Whether an edge between two nodes waits for a node that does not run again when `start` does.

    Such an edge never leads on a second time. A branch that does not say where it may lead is taken to
    end there.
    """
    between, whole = _reached(builder, start, end), _reached(builder, start)
    return any(
        between.intersection(sources) and not whole.issuperset(sources)
        for sources, _ in builder.waiting_edges
    )


def _reached(builder: StateGraph[Any, Any, Any, Any], start: str, before: str | None = None) -> set[str]:
    """Return the nodes that `start` leads to, itself included, on ways that end before a node."""
    reached: set[str] = set()
    left = [start]
    while left:
        node = left.pop()
        if node != before and node not in reached:
            reached.add(node)
            left.extend(_next(builder, node))
    return reached


def _next(builder: StateGraph[Any, Any, Any, Any], node: str) -> Iterator[str]:
    yield from (target for source, target in builder.edges if source == node)
    yield from (target for sources, target in builder.waiting_edges if node in sources)
    for branch in builder.branches.get(node, {}).values():
        yield from (branch.ends or {}).values()
    if node in builder.nodes:
        yield from builder.nodes[node].ends or ()


def _from(start: str, end: str, add: Callable[..., Any]) -> Callable[..., Any]:
    def redirected(source: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(source, list | tuple):
            source = [end if name == start else name for name in source]
        return add(end if source == start else source, *args, **kwargs)

    return redirected


class Work(RunnableLambda[Any, Any]):
    """A flow as what a node runs; a sync one in LangGraph's own run of the node, without one inside it.

    That second run and four look-ups of its function's signature are most of what a `RunnableLambda`
    takes. An async node keeps them: without its task and run, a `GeneratorExit` from foreign code leaves
    coroutines of LangGraph's (1.2) half-way.
    """

    def __init__(self, flow: Callable[[Any, RunnableConfig], Flow[Any]], name: str) -> None:
        def run(values: Any, config: RunnableConfig) -> Any:
            return drive.run(flow(values, config))

        async def arun(values: Any, config: RunnableConfig) -> Any:
            return await drive.arun(flow(values, config))

        super().__init__(run, arun, name=name)
        self._run = run

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Do the node's work in the calling thread."""
        return self._run(input, config or {})
