"""Steps into which a signal is put that steers the host: every door, every place where foreign code runs."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from langchain.agents import create_agent
from langchain_core.embeddings import Embeddings
from langchain_core.exceptions import ModelConnectionError
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.errors import GraphBubbleUp, GraphDrained, GraphInterrupt, ParentCommand
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from modes import ended
from pydantic import BaseModel

from langroute import RoutedChatModel, add_routed_step, routed_step
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import ScriptedChatModel

__all__ = [
    "ASKED",
    "AS_NODES",
    "DOORS",
    "GOOD",
    "SIGNALS",
    "Setup",
    "came_of",
    "door_to",
    "places_of",
    "plain",
]

GOOD = "The cable was laid in 1866."
BAD = "I cannot help with that."
ASKED = {"messages": [HumanMessage("When was the cable laid?")]}

SIGNALS: Mapping[str, Callable[[], BaseException]] = {
    "interrupt": GraphInterrupt,
    "bubble up": GraphBubbleUp,
    "drained": GraphDrained,
    "parent command": lambda: ParentCommand(Command(graph="elsewhere", goto="there")),
    "cancelled": asyncio.CancelledError,
    "keyboard": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "generator exit": GeneratorExit,
}


HOSTS_OWN = re.compile("coroutine ignored GeneratorExit|asynchronous generator is already running")
"""How the host's async runs trip over a GeneratorExit, now and then, whoever raises it."""


class Date(BaseModel):
    """A date."""

    year: int


def lookup(ship: str) -> str:
    """Look up a ship."""
    return ship


class Raising(Embeddings):
    """Embeddings that raise."""

    def __init__(self, signal: BaseException) -> None:
        self._signal = signal

    def embed_documents(self, texts: list[str]) -> Any:
        raise self._signal

    embed_query = embed_documents


@dataclass(frozen=True)
class Setup:
    """One step: what its endpoints say, what the policy wants, and which calls are made in all."""

    script: Mapping[str, Any]
    """Endpoint to its reply, or replies; an endpoint belongs to the tier its name begins with."""
    calls: Mapping[str, int]
    step: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    how: Mapping[str, Any] = field(default_factory=dict)
    """What only the graph door takes, by keyword; the other doors bind its tools and schema."""
    embeddings: Embeddings | None = None
    planned: bool = True
    """Whether there is a decision by then, which is recorded as cancelled."""

    def build(self) -> tuple[dict[str, Any], dict[str, ScriptedChatModel]]:
        """Return a fresh policy and its models by endpoint."""
        models: dict[str, ScriptedChatModel] = {}
        tiers: dict[str, Any] = {}
        for name, said in self.script.items():
            given = {"replies": said} if isinstance(said, list) else {"reply": said}
            models[name] = ScriptedChatModel(name=name, **given)
            spec = {"model": models[name], "name": name}
            tiers.setdefault(name.partition("-")[0], {"models": []})["models"].append(spec)
        step = {"cascade": ["small", "large"], **self.step}
        return {"tiers": tiers, "steps": {"answer": step}, **self.policy}, models


def raising(signal: BaseException) -> Callable[..., Any]:
    def raises(*_: Any) -> Any:
        raise signal

    return raises


def raising_later(signal: BaseException) -> Callable[..., Any]:
    async def raises(*_: Any) -> Any:
        raise signal

    return raises


JUDGE = {"judge": {"tier": "large", "rubric": "Is it good?"}}
INTENT = {"rules": [{"when": {"intent": "ships"}, "start": "large"}], "intents": {"ships": ["a ship"]}}
Places = Mapping[str, Callable[[BaseException], Setup]]
ANYWHERE: Places = {
    "model": lambda signal: Setup(
        {"small-a": signal, "small-b": GOOD, "large-a": GOOD}, {"small-a": 1}, {"verify": ["no_refusal"]}
    ),
    "only model": lambda signal: Setup(
        {"small-a": signal, "large-a": GOOD}, {"small-a": 1}, {"cascade": ["small"]}
    ),
    "fallback": lambda signal: Setup(
        {"small-a": ModelConnectionError("refused"), "small-b": signal, "large-a": GOOD},
        {"small-a": 1, "small-b": 1},
    ),
    "repair": lambda signal: Setup(
        {"small-a": [BAD, signal], "large-a": GOOD}, {"small-a": 2}, {"verify": ["no_refusal"], "repair": 1}
    ),
    "escalation": lambda signal: Setup(
        {"small-a": BAD, "large-a": signal}, {"small-a": 1, "large-a": 1}, {"verify": ["no_refusal"]}
    ),
    "verifier": lambda signal: Setup(
        {"small-a": GOOD, "large-a": GOOD}, {"small-a": 1}, {"verify": [raising(signal)], "repair": 1}
    ),
    "async verifier": lambda signal: Setup(
        {"small-a": GOOD, "large-a": GOOD}, {"small-a": 1}, {"verify": [raising_later(signal)]}
    ),
    "judge": lambda signal: Setup(
        {"small-a": GOOD, "large-a": signal}, {"small-a": 1, "large-a": 1}, {"verify": [JUDGE]}
    ),
    "agreement": lambda signal: Setup(
        {"small-a": GOOD, "large-a": signal},
        {"small-a": 1, "large-a": 1},
        {"verify": [{"agreement": {"tier": "large"}}]},
    ),
    "own rating": lambda signal: Setup(
        {"small-a": [GOOD, signal], "large-a": GOOD},
        {"small-a": 2},
        {"verify": [{"self_rated": {"min": 0.9}}]},
    ),
    "embeddings": lambda signal: Setup(
        {"small-a": GOOD, "large-a": GOOD}, {}, {}, INTENT, embeddings=Raising(signal), planned=False
    ),
    "tools": lambda signal: Setup(
        {"small-a": signal, "large-a": GOOD}, {"small-a": 1}, how={"tools": [lookup]}
    ),
    "schema": lambda signal: Setup(
        {"small-a": signal, "large-a": {"year": 1}}, {"small-a": 1}, how={"schema": Date}
    ),
}

UNSAID: Places = {
    "classifier": lambda signal: Setup(
        {"small-a": signal, "large-a": GOOD},
        {"small-a": 1},
        {},
        {"classify": {"model": "small"}},
        planned=False,
    ),
    "examples": lambda signal: Setup(
        {"small-a": GOOD, "large-a": GOOD},
        {},
        {},
        {"classify": {"examples": {"answer": ["a ship"]}}},
        embeddings=Raising(signal),
        planned=False,
    ),
}
"""Only where the door does not say the step."""
DRAWN: Places = {
    "prompt": lambda signal: Setup(
        {"small-a": GOOD, "large-a": GOOD}, {}, how={"prompt": raising(signal)}, planned=False
    ),
    "documents": lambda signal: Setup(
        {"small-a": GOOD, "large-a": GOOD}, {}, how={"documents": raising(signal)}, planned=False
    ),
}
"""Only where the step is drawn as nodes."""
AS_NODES = ("inline", "subgraph", "nested")


def places_of(door: str) -> Places:
    """Return every place of foreign code that a step behind a door has."""
    return {**ANYWHERE, **(DRAWN if door in AS_NODES else UNSAID)}


def around(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("answer", node).add_edge(START, "answer").compile()


def node(setup: Setup, policy: Any, *, said: bool = True) -> Any:
    """Return a graph whose one node calls the chat model."""
    model: Any = RoutedChatModel(policy, embeddings=setup.embeddings)
    model = model.for_step("answer") if said else model
    if "tools" in setup.how:
        model = model.bind_tools(setup.how["tools"])
    if "schema" in setup.how:
        model = model.with_structured_output(setup.how["schema"])

    def call(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def acall(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return around(RunnableLambda(call, acall))


def inline(setup: Setup, policy: Any) -> Any:
    builder = StateGraph(MessagesState)
    model = RoutedChatModel(policy, embeddings=setup.embeddings)
    add_routed_step(builder, "answer", model, **setup.how)
    return builder.add_edge(START, "answer").add_edge("answer", END).compile()


def subgraph(setup: Setup, policy: Any) -> Any:
    return around(routed_step("answer", RoutedChatModel(policy, embeddings=setup.embeddings), **setup.how))


def nested(setup: Setup, policy: Any) -> Any:
    return around(inline(setup, policy))


def agent(setup: Setup, policy: Any, *, said: bool = True) -> Any:
    routing = StepRoutingMiddleware(policy, embeddings=setup.embeddings)
    unused = ScriptedChatModel(reply=AssertionError("the agent's own model was called"))
    return created(unused, setup, middleware=[routing], said=said)


def agent_of_model(setup: Setup, policy: Any, *, said: bool = True) -> Any:
    return created(RoutedChatModel(policy, embeddings=setup.embeddings), setup, said=said)


def created(model: Any, setup: Setup, *, said: bool, **how: Any) -> Any:
    tools, schema = setup.how.get("tools", []), setup.how.get("schema")
    made = create_agent(model, tools, response_format=schema, **how)
    return made.with_config(metadata={"langroute_step": "answer"}) if said else made


DOORS: Mapping[str, Callable[..., Any]] = {
    "node": node,
    "inline": inline,
    "subgraph": subgraph,
    "nested": nested,
    "agent": agent,
    "agent of the model": agent_of_model,
}


def door_to(door: str, setup: Setup, place: str = "") -> tuple[Any, dict[str, ScriptedChatModel]]:
    """Return a fresh graph with the step behind a door, and its models by endpoint."""
    policy, models = setup.build()
    unsaid = {"said": False} if place in UNSAID else {}
    return DOORS[door](setup, policy, **unsaid), models


@cache
def plain(name: str, mode: str) -> str:
    """Return what the host itself makes of a signal: what comes of a bare node that raises it."""
    signal = SIGNALS[name]()
    return came_of(around(RunnableLambda(raising(signal), raising_later(signal))), mode)


def came_of(graph: Any, mode: str) -> str:
    """Return what comes of a run in a loop of its own: what it raises, or that it ends."""
    try:
        asyncio.run(ended(graph, mode, ASKED))
    except RuntimeError as error:
        return "GeneratorExit" if HOSTS_OWN.search(str(error)) else repr(error)
    except BaseException as error:
        return type(error).__name__
    return "ended"
