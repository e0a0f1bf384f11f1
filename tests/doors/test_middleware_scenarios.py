"""Every scenario through the agent door, in every mode: the answer, attempts and record of the chat model."""

from contextlib import suppress
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langgraph.checkpoint.memory import InMemorySaver
from modes import MODES, ended
from scenarios import SCENARIOS, Scenario, constant

from langroute import RoutedChatModel
from langroute.decision import Decision
from langroute.errors import LangrouteError
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import ScriptedChatModel, capture_decisions

# The node of an agent's model is always `model`; tests of the middleware declare a step for it.
TURNS = [scenario for scenario in SCENARIOS if scenario.said is not None]


def agent(scenario: Scenario) -> Any:
    """Return an agent that stops before its tools run, so that each scenario is one model call."""
    return create_agent(
        ScriptedChatModel(reply="never asked"),
        list(scenario.tools),
        middleware=[StepRoutingMiddleware(scenario.build()[0], functions=scenario.functions)],
        response_format=ToolStrategy(scenario.schema) if scenario.schema is not None else None,
        checkpointer=InMemorySaver(),
        interrupt_before=["tools"] if scenario.tools else None,
    )


async def run(scenario: Scenario, mode: str) -> dict[str, Any]:
    config = {"metadata": {"langroute_step": scenario.said}, "configurable": {"thread_id": "1"}}
    return await ended(agent(scenario), mode, {"messages": scenario.messages()}, config)


async def outcome(scenario: Scenario, mode: str) -> tuple[Any, Decision]:
    with capture_decisions() as decisions:
        try:
            values = await run(scenario, mode)
        except Exception as error:
            return type(error), decisions[-1]
    (record,) = values["langroute"]
    assert record == decisions[-1].as_dict()
    reply = next(message for message in reversed(values["messages"]) if message.type == "ai")
    if scenario.schema is not None:
        return values["structured_response"], decisions[-1]
    return reply.tool_calls[0]["args"] if scenario.tools else reply.text, decisions[-1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", TURNS, ids=lambda scenario: scenario.name)
async def test_scenario_gives_the_same_answer_and_attempts(scenario: Scenario, mode: str) -> None:
    answer, decision = await outcome(scenario, mode)
    assert answer == scenario.answer
    assert [(a.endpoint, a.why, a.outcome) for a in decision.attempts] == list(scenario.attempts)
    assert decision.outcome == scenario.ending
    assert decision.cost_usd is not None


@pytest.mark.parametrize("scenario", TURNS, ids=lambda scenario: scenario.name)
async def test_record_is_that_of_the_chat_model_but_for_ids_and_times(scenario: Scenario) -> None:
    model: Any = RoutedChatModel(scenario.build()[0], functions=scenario.functions).for_step("answer")
    if scenario.tools:
        model = model.bind_tools(list(scenario.tools))
    if scenario.schema is not None:
        model = model.with_structured_output(scenario.schema)
    with capture_decisions() as decisions, suppress(LangrouteError):
        model.invoke(scenario.messages())
    _, decision = await outcome(scenario, "invoke")
    assert unworded(decision) == unworded(decisions[-1])


def unworded(decision: Decision) -> dict[str, Any]:
    """Return the constant part of a record but for the verdicts' words: the agent finds its own."""
    record = constant(decision)
    for attempt in record["attempts"]:
        for verdict in attempt["verdicts"]:
            verdict.pop("reason")
    return record
