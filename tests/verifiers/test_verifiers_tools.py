"""Tool calls: they can be run, and they get somewhere."""

from typing import Annotated

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolArg, tool
from pydantic import BaseModel, field_validator

from langroute.verifiers import NotRepeating, ToolCalls


@tool
def search(query: str, limit: int = 3, user: Annotated[str, InjectedToolArg] = "") -> str:
    """Search the archive."""
    return query + user + str(limit)


class Transfer(BaseModel):
    """Move money."""

    amount: float
    to: str

    @field_validator("amount")
    @classmethod
    def positive(cls, amount: float) -> float:
        if amount <= 0:
            raise ValueError("must be positive")
        return amount


def weather(city: str) -> str:
    """Tell the weather."""
    return city


RAW = {
    "type": "function",
    "function": {
        "name": "run_sql",
        "description": "Run a query.",
        "parameters": {
            "type": "object",
            "properties": {"sql": {"type": "string", "pattern": "^(?i:select) "}},
            "required": ["sql"],
        },
    },
}
BUILT_IN = {"type": "web_search", "name": "web_search"}
TOOLS = (search, Transfer, weather, RAW, BUILT_IN)


def call(name, call_id="c1", /, **args):
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def calling(*calls, **kwargs):
    return AIMessage("", tool_calls=list(calls), **kwargs)


def history(*steps):
    """Return a conversation in which each (call, status) was made and answered."""
    messages = [HumanMessage("Find it.")]
    for made, status in steps:
        messages += [calling(made), ToolMessage("…", tool_call_id=made["id"], status=status)]
    return messages


@pytest.mark.parametrize(
    "made",
    [
        [call("search", query="tea")],
        [call("search", query="tea", limit="5")],
        [call("Transfer", amount=5, to="Ann")],
        [call("weather", city="Lima")],
        [call("run_sql", sql="SELECT 1")],
        [call("web_search", "w1", anything=1)],
        [call("search", "a", query="tea"), call("search", "b", query="tea")],
        [],
    ],
)
def test_calls_that_can_be_run_are_accepted(verdict, made):
    result = verdict(ToolCalls(), calling(*made), tools=TOOLS)
    assert result.accepted, result.reason


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            [call("serach", query="tea")],
            "'serach', which is not bound; the bound tools are: Transfer, run_sql",
        ),
        ([call("search")], "invalid arguments: query: Field required"),
        ([call("search", query="tea", limit="many")], "limit: Input should be a valid integer"),
        ([call("Transfer", amount=-5, to="Ann")], "must be positive"),
        ([call("weather", town="Lima")], "'city' is a required property"),
        ([call("run_sql", sql="DROP TABLE x")], "sql: the value does not match"),
        ([call("search", None, query="tea")], "has no id"),
        ([call("search", "a", query="tea"), call("search", "a", query="milk")], "the id of another call"),
    ],
)
def test_call_that_cannot_be_run_makes_the_reply_unusable(verdict, made, reason):
    result = verdict(ToolCalls(), calling(*made), tools=TOOLS)
    assert not result.accepted
    assert not result.usable
    assert reason in result.reason


def test_invalid_tool_call_is_never_returned(verdict):
    broken = {
        "name": "search",
        "args": '{"query": "te',
        "id": "c1",
        "error": None,
        "type": "invalid_tool_call",
    }
    result = verdict(ToolCalls(), AIMessage("", invalid_tool_calls=[broken]), tools=TOOLS)
    assert not result.usable
    assert "'search' has arguments that are not valid JSON" in result.reason


@pytest.mark.parametrize("metadata", [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}])
def test_call_in_a_cut_reply_is_never_returned(verdict, metadata):
    result = verdict(
        ToolCalls(), calling(call("search", query="te"), response_metadata=metadata), tools=TOOLS
    )
    assert not result.usable


def test_streamed_call_whose_arguments_end_early_is_never_returned(verdict):
    chunk = {"name": "search", "args": '{"query": "te', "id": "c1", "index": 0, "type": "tool_call_chunk"}
    reply = AIMessageChunk("", tool_call_chunks=[chunk])
    assert reply.tool_calls[0]["args"] == {"query": "te"}
    result = verdict(ToolCalls(), reply, tools=TOOLS)
    assert not result.usable
    assert "end early" in result.reason


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "search", "arguments": {"query": "tea"}}\n</tool_call>',
        'I will look it up. <tool_call>{"name": "search", "arguments": {}}',
        '{"name": "search", "arguments": {"query": "tea"}}',
        '<think>Look it up.</think>[{"name": "search", "parameters": {"query": "tea"}}]',
        '```json\n{"type": "function", "function": {"name": "run_sql", "arguments": "{}"}}\n```',
    ],
)
def test_call_written_as_text_is_never_returned(verdict, text):
    result = verdict(ToolCalls(), text, tools=TOOLS)
    assert (result.accepted, result.usable) == (False, False)
    assert "as text" in result.reason


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ann", "arguments": ["cost", "time"]}',
        '{"name": "search", "founded": 1987}',
        '{"name": ["search"], "arguments": {}}',
        "Calls look so: `<tool_call>{}</tool_call>`.",
        'A call is {"name": "search", "arguments": {}}, for example.',
        "[1] says so.",
    ],
)
def test_text_that_only_looks_like_a_call_is_accepted(verdict, text):
    assert verdict(ToolCalls(), text, tools=TOOLS).accepted


def test_structured_output_by_function_calling_names_no_tool(verdict):
    reply = calling(call("Transfer", amount=1, to="Ann"))
    assert verdict(ToolCalls(), reply, schema=Transfer, parsed=Transfer(amount=1, to="Ann")).accepted


@pytest.mark.parametrize(("required", "accepted"), [(False, True), (True, False)])
def test_reply_without_calls_is_rejected_only_where_one_is_required(verdict, required, accepted):
    result = verdict(ToolCalls(required=required), "It is 5.", tools=TOOLS)
    assert result.accepted is accepted
    assert result.usable


def test_call_that_has_just_failed_is_not_made_again(verdict):
    messages = history((call("search", "a", query="tea"), "error"))
    again = verdict(ToolCalls(), calling(call("search", "b", query="tea")), tools=TOOLS, messages=messages)
    assert not again.accepted
    assert again.usable
    assert verdict(ToolCalls(), calling(call("search", query="te")), tools=TOOLS, messages=messages).accepted


def test_call_that_failed_and_then_worked_may_be_made_again(verdict):
    made = call("search", "a", query="tea")
    messages = history((made, "error"), ({**made, "id": "b"}, "success"))
    assert verdict(ToolCalls(), calling(call("search", query="tea")), tools=TOOLS, messages=messages).accepted


@pytest.mark.parametrize(
    ("times", "limit", "accepted"), [(0, 0, True), (1, 0, False), (1, 1, True), (2, 1, False), (5, 5, True)]
)
def test_same_call_is_repeated_at_most_max_times(verdict, times, limit, accepted):
    messages = history(*((call("search", f"c{n}", query="tea"), "success") for n in range(times)))
    reply = calling(call("search", "new", query="tea"))
    assert verdict(NotRepeating(max=limit), reply, messages=messages).accepted is accepted


def test_repetition_is_counted_within_the_turn_and_the_reply(verdict):
    earlier = [*history((call("search", "a", query="tea"), "success")), HumanMessage("Look again.")]
    assert verdict(NotRepeating(), calling(call("search", query="tea")), messages=earlier).accepted
    twice = calling(call("search", "a", query="tea"), call("search", "b", query="tea"))
    assert "already called once" in verdict(NotRepeating(), twice).reason


def test_call_with_deeply_nested_arguments_is_never_returned(verdict):
    args = {}
    for _ in range(900):
        args = {"a": args}
    made = {"name": "web_search", "args": args, "id": "c1", "type": "tool_call"}
    assert "deeper than 100 levels" in verdict(ToolCalls(), calling(made), tools=TOOLS).reason
