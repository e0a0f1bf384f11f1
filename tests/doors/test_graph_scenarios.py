"""Every scenario through the graph door: each form, mode and kind of state: one answer and one record."""

from contextlib import suppress
from functools import cache
from itertools import product
from typing import Any

import pytest
from forms import FORMS, STATES, output_of, routed
from modes import MODES, ended
from scenarios import SCENARIOS, Scenario, constant

from langroute.decision import Decision
from langroute.errors import AllAttemptsFailed, ApprovalRequired
from langroute.testing import capture_decisions

# What a step of a graph is, its node says; and only a bare model has to be told of the node it would be in.
STEPS = {
    scenario.name: scenario
    for scenario in SCENARIOS
    if scenario.said is not None and scenario.answer is not ApprovalRequired
}


async def outcome(scenario: Scenario, form: str, mode: str, state: Any) -> tuple[Any, Decision]:
    """Return what the state ends with (arguments, object, text or error class), and the decision."""
    graph = FORMS[form](scenario, state, output_of(scenario))
    with capture_decisions() as decisions:
        try:
            values = await ended(graph, mode, {"messages": scenario.messages()})
        except Exception as error:
            return type(error), decisions[-1]
    assert len(decisions) == 1
    values = values if isinstance(values, dict) else vars(values)
    if scenario.tools:
        return values["messages"][-1].tool_calls[0]["args"], decisions[-1]
    return values["answer"], decisions[-1]


@cache
def record_of_the_chat_model(name: str) -> dict[str, Any]:
    with capture_decisions() as decisions, suppress(AllAttemptsFailed):
        routed(STEPS[name]).invoke(STEPS[name].messages())
    return constant(decisions[-1])


async def check(name: str, form: str, mode: str, state: Any) -> None:
    scenario = STEPS[name]
    answer, decision = await outcome(scenario, form, mode, state)
    assert answer == scenario.answer
    assert [(a.endpoint, a.why, a.outcome) for a in decision.attempts] == list(scenario.attempts)
    assert decision.outcome == scenario.ending
    assert constant(decision) == record_of_the_chat_model(name)


# Every form meets every mode and every state, and every mode every state; the campaign runs them all.
WAYS = [
    (form, mode, STATES[(i + j) % len(STATES)])
    for (i, form), (j, mode) in product(enumerate(FORMS), enumerate(MODES))
]


@pytest.mark.parametrize(("form", "mode", "state"), WAYS)
@pytest.mark.parametrize("name", STEPS)
async def test_answer_attempts_and_record_are_the_chat_models(name, form, mode, state):
    await check(name, form, mode, state)


@pytest.mark.campaign
@pytest.mark.parametrize("form", FORMS)
async def test_answer_attempts_and_record_are_the_chat_models_in_every_state(form):
    ways = list(product(STEPS, MODES, STATES))
    for name, mode, state in ways:
        await check(name, form, mode, state)
    print(f"\n{form}: {len(ways)} runs alike")  # noqa: T201 - the campaign's figures
