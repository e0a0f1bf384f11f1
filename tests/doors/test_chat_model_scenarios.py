"""Every scenario through the chat model, in every mode: same answer, same attempts, same record."""

from typing import Any

import pytest
from scenarios import SCENARIOS, Scenario, constant

from langroute import RoutedChatModel
from langroute.decision import Decision
from langroute.testing import capture_decisions

MODES = ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"]
V3 = ["v3", "av3"]
"""What the host has for chat models alone: a structured call is none."""
WAYS = [(s, mode) for s in SCENARIOS for mode in MODES + ([] if s.schema else V3)]


def runnable(scenario: Scenario, policy: dict[str, Any]) -> Any:
    model: Any = RoutedChatModel(policy, functions=scenario.functions)
    if scenario.said is not None:
        model = model.for_step(scenario.said)
    if scenario.tools:
        model = model.bind_tools(list(scenario.tools))
    if scenario.schema is not None:
        model = model.with_structured_output(scenario.schema)
    return model


async def call(model: Any, mode: str, scenario: Scenario) -> Any:
    messages, config = scenario.messages(), {"metadata": scenario.metadata}
    if mode == "ainvoke":
        return await model.ainvoke(messages, config)
    if mode == "abatch":
        return (await model.abatch([messages], config))[0]
    if mode == "astream":
        return merged([chunk async for chunk in model.astream(messages, config)])
    if mode == "av3":
        return await (await model.astream_events(messages, config, version="v3"))
    return called(model, mode, messages, config)


def called(model: Any, mode: str, messages: Any, config: Any) -> Any:
    if mode == "invoke":
        return model.invoke(messages, config)
    if mode == "batch":
        return model.batch([messages], config)[0]
    if mode == "stream":
        return merged(list(model.stream(messages, config)))
    return model.stream_events(messages, config, version="v3").output


def merged(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


async def outcome(scenario: Scenario, mode: str) -> tuple[Any, Decision]:
    """Return what the caller gets (text, tool arguments, object or error class) and the decision."""
    policy, _ = scenario.build()
    with capture_decisions() as decisions:
        try:
            reply = await call(runnable(scenario, policy), mode, scenario)
        except Exception as error:
            return type(error), decisions[-1]
    if scenario.schema is not None:
        return reply, decisions[-1]
    assert reply.response_metadata["langroute"] == decisions[-1].as_dict()
    return reply.tool_calls[0]["args"] if scenario.tools else reply.text, decisions[-1]


@pytest.mark.parametrize(("scenario", "mode"), WAYS, ids=lambda value: getattr(value, "name", value))
async def test_scenario_gives_the_same_answer_and_attempts_in_every_mode(
    scenario: Scenario, mode: str
) -> None:
    answer, decision = await outcome(scenario, mode)
    assert answer == scenario.answer
    assert [(a.endpoint, a.why, a.outcome) for a in decision.attempts] == list(scenario.attempts)
    assert decision.outcome == scenario.ending
    assert decision.step.mismatch == scenario.mismatch
    assert decision.cost_usd is not None


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_record_differs_between_modes_only_in_ids_and_times(scenario: Scenario) -> None:
    records = [
        constant((await outcome(scenario, mode))[1], "first_token_s") for s, mode in WAYS if s is scenario
    ]
    assert all(record == records[0] for record in records)
