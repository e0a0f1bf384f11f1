"""Agents with a response format: a tier gives the object, or the run ends; it never spins."""

from typing import Any

import pytest
from agents import agent, calls, search, used
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import ToolMessage
from pydantic import BaseModel

from langroute.errors import AllAttemptsFailed
from langroute.testing import Answer, ScriptedChatModel

ASKED = {"messages": "How many orders are open?"}


class Count(BaseModel):
    """How many there are."""

    orders: int


class Unknown(BaseModel):
    """That nobody knows."""

    why: str


NATIVE = {"structured_output": True, "tool_calling": True}


def model(name: str, *replies: Any, native: bool = False) -> ScriptedChatModel:
    return ScriptedChatModel(name=name, replies=list(replies), profile=NATIVE if native else None)


def as_call(**arguments: Any) -> Answer:
    return calls("Count", **arguments)


def as_text(orders: Any) -> str:
    return f'{{"orders": "{orders}"}}'


FORMATS = [
    pytest.param(Count, as_call(orders="many"), as_call(orders=3), False, id="auto by a tool"),
    pytest.param(AutoStrategy(Count), as_text("many"), as_text(3), True, id="auto by the provider"),
    pytest.param(ToolStrategy(Count), as_call(orders="many"), as_call(orders=3), False, id="tool"),
    pytest.param(
        ToolStrategy(Count, handle_errors=False), as_call(), as_call(orders=3), False, id="tool, no errors"
    ),
    pytest.param(ProviderStrategy(Count), as_text("many"), as_text(3), True, id="provider"),
    pytest.param(ToolStrategy(Count), "Three, I think.", as_call(orders=3), False, id="prose"),
]


@pytest.mark.parametrize("tools", [(), (search,)], ids=["no tools", "tools"])
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize(("response_format", "wrong", "right", "native"), FORMATS)
async def test_answer_that_does_not_validate_escalates(response_format, wrong, right, native, mode, tools):
    steps = {"planning": {"cascade": ["small", "large"]}, "extraction": {"cascade": ["small", "large"]}}
    script = {"small": model("small", wrong, native=native), "large": model("large", right, native=native)}
    routed = agent(script, steps, tools=tools, response_format=response_format)
    state = await routed.ainvoke(ASKED) if mode == "ainvoke" else routed.invoke(ASKED)
    assert state["structured_response"] == Count(orders=3)
    (record,) = state["langroute"]
    assert [attempt["why"] for attempt in record["attempts"]] == ["start", "escalation"]
    assert not [m for m in state["messages"] if isinstance(m, ToolMessage) and "Error" in m.text]


def test_each_model_is_asked_in_the_way_it_can_answer():
    steps = {"planning": {"cascade": ["small", "large"]}}
    script = {
        "small": model("small", as_text("many"), native=True),
        "large": model("large", as_call(orders=3)),
    }
    state = agent(script, steps, response_format=Count).invoke(ASKED)
    assert state["structured_response"] == Count(orders=3)


def test_tools_are_called_before_the_object_is_asked_for():
    script = {"small": model("small", as_call(orders=3)), "large": model("large", calls("search", query="o"))}
    state = agent(script, response_format=ToolStrategy(Count)).invoke(ASKED)
    assert used(state) == [("planning", "large"), ("tool_use", "small")]
    assert state["structured_response"] == Count(orders=3)


@pytest.mark.parametrize("tools", [(), (search,)], ids=["no tools", "tools"])
@pytest.mark.parametrize("wrong", ["Three, I think.", as_call(orders="many")], ids=["prose", "invalid"])
def test_answer_that_never_validates_ends_after_the_calls_of_one_plan(wrong, tools):
    small, large = (ScriptedChatModel(name=name, reply=wrong) for name in ("small", "large"))
    steps = {step: {"cascade": ["small", "large"], "repair": 2} for step in ("planning", "extraction")}
    with pytest.raises(AllAttemptsFailed):
        agent(
            {"small": small, "large": large}, steps, tools=tools, response_format=ToolStrategy(Count)
        ).invoke(ASKED)
    assert (len(small.calls), len(large.calls)) == (3, 3)


def test_repaired_answer_is_told_what_did_not_validate():
    large = model("large", as_call(orders="many"), as_call(orders=3))
    steps = {"planning": {"cascade": "large", "repair": 1}}
    state = agent({"large": large}, steps, response_format=ToolStrategy(Count)).invoke(ASKED)
    assert state["structured_response"] == Count(orders=3)
    assert "valid integer" in large.calls[1].messages[-1].text


def test_object_from_too_low_a_tier_is_asked_for_again():
    steps = {"planning": {"cascade": "small"}, "synthesis": {"cascade": "large"}}
    script = {"small": [as_call(orders=1)], "large": [as_call(orders=3)]}
    state = agent(script, steps, response_format=ToolStrategy(Count)).invoke(ASKED)
    assert used(state) == [("planning", "small"), ("synthesis", "large")]
    assert state["structured_response"] == Count(orders=3)


def test_any_schema_of_a_union_may_be_called():
    steps = {"planning": {"cascade": "large", "verify": ["tool_calls"]}}
    script = {"large": [calls("Unknown", why="no table")]}
    state = agent(script, steps, response_format=ToolStrategy(Count | Unknown)).invoke(ASKED)
    assert state["structured_response"] == Unknown(why="no table")
