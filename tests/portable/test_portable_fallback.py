"""A tool loop that one provider began goes on at another, over the wire and its strict checks."""

import pytest
from langchain_core.exceptions import ModelAPIError, ModelInvalidRequestError
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langroute import RoutedChatModel
from langroute.testing import LoopbackProvider, ScriptedChatModel

LONG = "toolu_" + "0" * 59
MARKED = [{"type": "text", "text": "Find it.", "cache_control": {"type": "ephemeral"}}]
WRITTEN = [
    {"type": "thinking", "thinking": "I should search.", "signature": "signed"},
    {"type": "redacted_thinking", "data": "sealed"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": LONG, "name": "search", "input": {"q": "it"}},
]


def claude():
    """Return a model that writes as Anthropic's do, and dies when the tool's result comes."""
    calls = [{"name": "search", "args": {"q": "it"}, "id": LONG}]
    stamp = {"model_provider": "anthropic", "model_name": "claude-opus-4-5"}
    began = AIMessage(WRITTEN, tool_calls=calls, response_metadata=stamp)
    return ScriptedChatModel(name="claude", replies=[began, ModelAPIError("down")])


@pytest.fixture
def provider():
    with LoopbackProvider({"m": "Found it."}) as running:
        yield running


def looped(model):
    """Return the conversation of one turn of the loop, and its result appended."""
    asked = [HumanMessage(MARKED)]
    return [*asked, model.invoke(asked), ToolMessage("It is here.", tool_call_id=LONG, name="search")]


@pytest.mark.parametrize("ask", ["invoke", "stream"])
def test_tool_loop_that_its_model_leaves_is_finished_by_openai_s_wire(provider, ask):
    tiers = {"all": {"models": [{"model": claude(), "name": "claude"}, provider.chat_model("m")]}}
    model = RoutedChatModel({"tiers": tiers})
    history = looped(model)
    answer = model.invoke(history) if ask == "invoke" else sum_of(model.stream(history))
    assert answer.text == "Found it."
    assert [call["id"] for call in history[1].tool_calls] == [LONG]
    (sent,) = [request.body["messages"] for request in provider.requests]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["content"] == "I look."
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] != LONG
    assert "signed" not in str(sent)
    assert "cache_control" not in str(sent)


def test_openai_s_wire_refuses_the_same_loop_as_it_was_written(provider):
    history = looped(claude())
    with pytest.raises(ModelInvalidRequestError):
        provider.chat_model("m").invoke(history)


def sum_of(chunks):
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first
