"""Every scenario through the graph door: inline and as a subgraph, four modes, three kinds of state."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel
from scenarios import SCENARIOS, Scenario, constant
from typing_extensions import TypedDict

from langroute import RoutedChatModel, add_routed_step, routed_step
from langroute.decision import Decision
from langroute.errors import AllAttemptsFailed, ApprovalRequired
from langroute.testing import capture_decisions

MODES = ["invoke", "ainvoke", "stream", "astream"]
FORMS = ["inline", "subgraph"]


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

# What a step of a graph is, its node says; and only a bare model has to be told of the node it would be in.
STEPS = [
    scenario
    for scenario in SCENARIOS
    if scenario.said is not None and scenario.answer is not ApprovalRequired
]


def graph(scenario: Scenario, form: str, state: Any) -> Any:
    policy, _ = scenario.build()
    output = "messages" if scenario.tools else "answer"
    how = {"tools": list(scenario.tools), "schema": scenario.schema, "output": output}
    builder = StateGraph(state)
    if form == "inline":
        add_routed_step(builder, "answer", policy, **how)
    else:
        builder.add_node("answer", routed_step("answer", policy, state_schema=state, **how))
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile()


async def run(compiled: Any, mode: str, scenario: Scenario) -> dict[str, Any]:
    given = {"messages": scenario.messages()}
    if mode == "invoke":
        return compiled.invoke(given)
    if mode == "ainvoke":
        return await compiled.ainvoke(given)
    if mode == "stream":
        return list(compiled.stream(given, stream_mode="values"))[-1]
    return [values async for values in compiled.astream(given, stream_mode="values")][-1]


async def outcome(scenario: Scenario, form: str, mode: str, state: Any = Typed) -> tuple[Any, Decision]:
    with capture_decisions() as decisions:
        try:
            values = await run(graph(scenario, form, state), mode, scenario)
        except Exception as error:
            return type(error), decisions[-1]
    assert len(decisions) == 1
    if scenario.tools:
        return values["messages"][-1].tool_calls[0]["args"], decisions[-1]
    return values["answer"], decisions[-1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scenario", STEPS, ids=lambda scenario: scenario.name)
async def test_scenario_gives_the_same_answer_and_attempts(scenario: Scenario, form: str, mode: str) -> None:
    answer, decision = await outcome(scenario, form, mode)
    assert answer == scenario.answer
    assert [(a.endpoint, a.why, a.outcome) for a in decision.attempts] == list(scenario.attempts)
    assert decision.outcome == scenario.ending


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scenario", STEPS, ids=lambda scenario: scenario.name)
async def test_scenario_works_in_any_state(scenario: Scenario, form: str, state: Any) -> None:
    answer, _ = await outcome(scenario, form, "invoke", state)
    assert answer == scenario.answer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scenario", STEPS, ids=lambda scenario: scenario.name)
async def test_record_is_that_of_the_chat_model_but_for_ids_and_times(scenario: Scenario, form: str) -> None:
    model: Any = RoutedChatModel(scenario.build()[0]).for_step("answer")
    if scenario.tools:
        model = model.bind_tools(list(scenario.tools))
    if scenario.schema is not None:
        model = model.with_structured_output(scenario.schema)
    with capture_decisions() as decisions, suppress(AllAttemptsFailed):
        model.invoke(scenario.messages())
    _, decision = await outcome(scenario, form, "invoke")
    assert constant(decision) == constant(decisions[-1])
