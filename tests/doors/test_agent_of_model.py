"""`create_agent(RoutedChatModel(...))`, without the middleware: each call of the loop is routed by itself."""

from typing import Any

import pytest
from agents import FINAL, STEPS, calls, run_sql, search
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage
from modes import MODES, ended
from pydantic import BaseModel

from langroute import RoutedChatModel
from langroute.testing import ScriptedChatModel, capture_decisions

ASKED = {"messages": [("user", "How many orders are open?")]}
BAD = "I cannot help with that, sorry."


class Count(BaseModel):
    """How many there are."""

    orders: int


def model(steps: dict[str, Any], **scripts: list[Any]) -> RoutedChatModel:
    native = {"structured_output": True, "tool_calling": True}
    tiers = {
        name: ScriptedChatModel(name=name, replies=replies, profile=native)
        for name, replies in scripts.items()
    }
    return RoutedChatModel({"tiers": tiers, "steps": steps})


each_mode = pytest.mark.parametrize("mode", MODES)


@each_mode
async def test_each_call_of_the_loop_is_its_own_step(mode):
    script = {"small": [calls("run_sql", query="q")], "large": [calls("search", query="o"), FINAL]}
    steps = STEPS | {"tool_use": {"cascade": ["small", "large"], "after_tool": {"run_sql": "large"}}}
    with capture_decisions() as decisions:
        state = await ended(create_agent(model(steps, **script), [search, run_sql]), mode, ASKED)
    made = [(d.step.step, d.step.source, d.attempts[d.chosen].tier) for d in decisions]
    assert made == [
        ("planning", "seen", "large"),
        ("tool_use", "seen", "small"),
        ("tool_use", "seen", "large"),
    ]
    assert state["messages"][-1].text == FINAL
    replies = [message for message in state["messages"] if isinstance(message, AIMessage)]
    assert [reply.response_metadata["langroute"] for reply in replies] == [d.as_dict() for d in decisions]


@each_mode
async def test_rejected_tool_call_is_never_made(mode):
    steps = {
        "planning": {"cascade": ["small", "large"], "verify": ["tool_calls"]},
        "tool_use": {"cascade": "small"},
    }
    script = {"small": [calls("search", quantity=1), FINAL], "large": [calls("search", query="o")]}
    with capture_decisions() as decisions:
        state = await ended(create_agent(model(steps, **script), [search]), mode, ASKED)
    assert [a.outcome for a in decisions[0].attempts] == ["rejected", "accepted"]
    assert [m.text for m in state["messages"] if m.type == "tool"] == ["found o"]


FORMATS = [
    pytest.param(ToolStrategy(Count), calls("Count", orders=3), id="tool"),
    pytest.param(ProviderStrategy(Count), '{"orders": 3}', id="provider"),
    pytest.param(Count, '{"orders": 3}', id="auto"),
]


@each_mode
@pytest.mark.parametrize("tools", [(), (search,)], ids=["no tools", "tools"])
@pytest.mark.parametrize(("response_format", "right"), FORMATS)
async def test_object_is_given_by_the_tier_that_the_step_wants(response_format, right, tools, mode):
    script = {"small": [right], "large": [calls("search", query="o")] if tools else [right]}
    steps = STEPS | {"extraction": {"cascade": "small"}}
    routed = create_agent(model(steps, **script), list(tools), response_format=response_format)
    with capture_decisions() as decisions:
        state = await ended(routed, mode, ASKED)
    assert state["structured_response"] == Count(orders=3)
    by_tool = isinstance(response_format, ToolStrategy)
    made = [(d.step.step, d.attempts[d.chosen].tier) for d in decisions]
    alone = ("planning", "large") if by_tool else ("extraction", "small")
    assert made == ([("planning", "large"), ("tool_use", "small")] if tools else [alone])


def test_object_that_does_not_validate_is_rejected_as_the_tool_call_it_is():
    steps = {"planning": {"cascade": ["small", "large"], "verify": ["tool_calls"]}}
    routed = model(steps, small=[calls("Count", orders="many")], large=[calls("Count", orders=3)])
    agent = create_agent(routed, response_format=ToolStrategy(Count))
    assert agent.invoke(ASKED)["structured_response"] == Count(orders=3)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_stream_shows_accepted_text_once_and_rejected_text_never(asynchronous):
    steps = {
        "planning": {"cascade": "large"},
        "tool_use": {"cascade": ["small", "large"], "verify": ["no_refusal"]},
    }
    routed = create_agent(model(steps, small=[BAD], large=[calls("search", query="o"), FINAL]), [search])
    if asynchronous:
        events = [event async for event in routed.astream(ASKED, stream_mode="messages")]
    else:
        events = list(routed.stream(ASKED, stream_mode="messages"))
    assert "".join(message.text for message, _ in events if isinstance(message, AIMessage)) == FINAL
