"""One scenario in every form that a graph can give it, over three kinds of state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send
from pydantic import BaseModel
from scenarios import Scenario
from typing_extensions import TypedDict

from langroute import RoutedChatModel, add_routed_step, routed_step

__all__ = ["FORMS", "STATES", "Typed", "output_of", "routed"]


class Typed(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    answer: Any


class Modelled(BaseModel):
    messages: Annotated[list[BaseMessage], add_messages] = []
    answer: Any = None


@dataclass
class Classed:
    messages: Annotated[list[BaseMessage], add_messages] = field(default_factory=list)
    answer: Any = None


STATES = [Typed, Modelled, Classed]


def routed(scenario: Scenario) -> Any:
    """Return the scenario's model, with what it binds."""
    model: Any = RoutedChatModel(scenario.build()[0], functions=scenario.functions).for_step("answer")
    if scenario.tools:
        model = model.bind_tools(list(scenario.tools))
    return model if scenario.schema is None else model.with_structured_output(scenario.schema)


def output_of(scenario: Scenario) -> str:
    return "messages" if scenario.tools else "answer"


def asked(values: Any) -> list[BaseMessage]:
    return values["messages"] if isinstance(values, dict) else values.messages


def around(node: Any, state: Any) -> Any:
    builder = StateGraph(state).add_node("answer", node).add_edge(START, "answer")
    return builder.add_edge("answer", END).compile()


def a_node(scenario: Scenario, state: Any, output: str) -> Any:
    """Return a graph whose one node calls the chat model."""
    model = routed(scenario)

    def given(reply: Any) -> dict[str, Any]:
        if output == "messages":
            return {"messages": [reply]}
        return {"answer": reply if scenario.schema is not None else reply.text}

    def call(values: Any) -> dict[str, Any]:
        return given(model.invoke(asked(values)))

    async def acall(values: Any) -> dict[str, Any]:
        return given(await model.ainvoke(asked(values)))

    return around(RunnableLambda(call, acall), state)


def how(scenario: Scenario, output: str) -> dict[str, Any]:
    return {
        "functions": scenario.functions,
        "tools": list(scenario.tools),
        "schema": scenario.schema,
        "output": output,
    }


def inline(scenario: Scenario, state: Any, output: str) -> Any:
    builder = StateGraph(state)
    add_routed_step(builder, "answer", scenario.build()[0], **how(scenario, output))
    return builder.add_edge(START, "answer").add_edge("answer", END).compile()


def step_of_its_own(scenario: Scenario, state: Any, output: str) -> Any:
    return routed_step("answer", scenario.build()[0], state_schema=state, **how(scenario, output))


def subgraph(scenario: Scenario, state: Any, output: str) -> Any:
    return around(step_of_its_own(scenario, state, output), state)


def nested(scenario: Scenario, state: Any, output: str) -> Any:
    """Return a graph around a graph around one that has the step's nodes."""
    return around(around(inline(scenario, state, output), state), state)


def sent(scenario: Scenario, state: Any, output: str) -> Any:
    """Return a graph that sends its question to the step."""

    def send(values: Any) -> list[Send]:
        return [Send("answer", {"messages": asked(values)})]

    builder = StateGraph(state).add_node("answer", step_of_its_own(scenario, state, output))
    return builder.add_edge("answer", END).add_conditional_edges(START, send, ["answer"]).compile()


FORMS: Mapping[str, Callable[[Scenario, Any, str], Any]] = {
    "a node": a_node,
    "inline": inline,
    "subgraph": subgraph,
    "nested": nested,
    "sent": sent,
}
