"""The doors of the matrix: each builds what its modes call, over a primary that fails and a good backup."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fault_answers import Invoice, add, brain
from fault_cases import LIMIT_S, Case
from fault_modes import AGENT, GRAPH, MODEL, Mode
from fault_outcomes import Outcome, happened, verdict
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langgraph.graph import END, START, MessagesState, StateGraph

from langroute import RoutedChatModel, add_routed_step, routed_step
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import LoopbackProvider, ScriptedChatModel

__all__ = ["DOORS", "Door", "cell"]

BACKUP_S = 15.0
TRIES = 3


class State(MessagesState, total=False):
    found: Any


@dataclass(frozen=True)
class Door:
    """One way in."""

    name: str
    build: Callable[[dict[str, Any]], Any]
    """From a policy to what the modes of this door call."""
    modes: tuple[Mode, ...]
    given: bool = False
    """Whether the models are instances, not strings."""
    backup: bool = True


def policy(provider: LoopbackProvider, door: Door) -> dict[str, Any]:
    limits = {"primary": LIMIT_S, "backup": BACKUP_S}
    models = []
    for name, limit_s in limits.items() if door.backup else [("primary", LIMIT_S)]:
        if door.given:
            spec: dict[str, Any] = {"model": provider.chat_model(name)}
        else:
            spec = {"model": f"openai:{name}", "settings": {"base_url": provider.base_url}}
        models.append({**spec, "name": name, "timeout_s": limit_s})
    return {"tiers": {"small": {"models": models}}}


def model(policy: dict[str, Any]) -> Any:
    return RoutedChatModel(policy)


def inline(policy: dict[str, Any]) -> dict[str, Any]:
    return graphs(policy, subgraph=False)


def subgraph(policy: dict[str, Any]) -> dict[str, Any]:
    return graphs(policy, subgraph=True)


def graphs(policy: dict[str, Any], *, subgraph: bool) -> dict[str, Any]:
    routed = RoutedChatModel(policy)
    how = {"text": {}, "tools": {"tools": [add]}, "object": {"schema": Invoice, "output": "found"}}
    made = {}
    for kind, given in how.items():
        builder = StateGraph(State)
        if subgraph:
            builder.add_node("answer", routed_step("answer", routed, state_schema=State, **given))
        else:
            add_routed_step(builder, "answer", routed, **given)
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        made[kind] = builder.compile()
    return made


def agents(policy: dict[str, Any]) -> dict[str, Any]:
    unused = ScriptedChatModel(name="unused", replies=[AssertionError("the agent's own model was called")])
    routing = [StepRoutingMiddleware(policy)]
    return {
        "tools": create_agent(unused, [add], middleware=routing),
        "object": create_agent(unused, [], middleware=routing, response_format=Invoice),
    }


def agents_of_a_model(policy: dict[str, Any]) -> dict[str, Any]:
    routed = RoutedChatModel(policy)
    return {
        "tools": create_agent(routed, [add]),
        "object": create_agent(routed, [], response_format=ToolStrategy(Invoice)),
    }


DOORS = {
    door.name: door
    for door in (
        Door("strings", model, MODEL),
        Door("given", model, MODEL, given=True),
        Door("alone", model, MODEL, backup=False),
        Door("inline", inline, GRAPH),
        Door("subgraph", subgraph, GRAPH),
        Door("agent", agents, AGENT),
        Door("agent, given", agents, AGENT, given=True),
        Door("agent's model", agents_of_a_model, AGENT),
    )
}


@contextmanager
def provider(case: Case | None) -> Iterator[LoopbackProvider]:
    with LoopbackProvider({"primary": brain("primary"), "backup": brain("backup")}) as running:
        if case is not None:
            running.fail("primary", case.fault)
        yield running


def cell(case: Case, door: Door, mode: Mode) -> tuple[str, Outcome]:
    """Play one cell of the matrix, and return the verdict on it.

    Where the machine was so slow that the primary was not reached in its time, or did not tell the caller's
    fault within it, so that the backup was rightly asked, the cell is played again.
    """
    for _ in range(TRIES):
        with provider(case) as running:
            outcome = happened(mode.call, door.build(policy(running, door)), mode.seen())
            outcome.primary, outcome.backup = running.calls("primary"), running.calls("backup")
        late = case.callers and outcome.backup and outcome.seconds > LIMIT_S
        if outcome.primary and not late:
            break
    return verdict(case, outcome, backup=door.backup), outcome
