"""Whatever is given: nothing crashes, no text is lost, calls and results are paired, nothing is changed."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langroute import portable

PROVIDERS = ("openai:gpt-5", "anthropic", "google_genai", "mistralai", "bedrock_converse", "some_server")
WRITERS = (None, "openai", "anthropic", "google_genai", "mistralai", "bedrock_converse", "some_server")
KINDS = (
    "text",
    "thinking",
    "redacted_thinking",
    "reasoning",
    "tool_use",
    "image",
    "document",
    "media",
    "x",
    "",
)

words = st.text(max_size=6)
ids = st.sampled_from(["a", "b", "", "functions.f:0", "x" * 65, "é", "abcdefghi"])
anything = st.one_of(st.none(), st.integers(), words, st.dictionaries(words, words, max_size=2))
keys = st.sampled_from(
    ["text", "thinking", "signature", "id", "name", "source", "cache_control", "image", "data"]
)
blocks = st.builds(
    lambda kind, more: {**({"type": kind} if kind else {}), **more},
    st.sampled_from(KINDS),
    st.dictionaries(keys, anything, max_size=3),
)
texts = st.builds(lambda text: {"type": "text", "text": text}, words)
contents = st.one_of(words, st.lists(st.one_of(words, blocks, texts), max_size=3))
names = st.one_of(st.none(), words)
calls = st.builds(lambda i, name: {"name": name, "args": {}, "id": i}, st.one_of(st.none(), ids), words)
invalid = st.builds(
    lambda i, name: {"name": name, "args": "{", "id": i, "error": None, "type": "invalid_tool_call"},
    ids,
    names,
)
stamps = st.sampled_from(WRITERS).map(lambda writer: {"model_provider": writer} if writer else {})
replies = st.builds(
    AIMessage,
    contents,
    tool_calls=st.lists(calls, max_size=3),
    invalid_tool_calls=st.lists(invalid, max_size=1),
    additional_kwargs=st.dictionaries(words, anything, max_size=1),
    response_metadata=stamps,
    name=names,
)
messages = st.one_of(
    st.builds(HumanMessage, contents, name=names),
    st.builds(SystemMessage, contents),
    replies,
    st.builds(ToolMessage, contents, tool_call_id=ids, name=names),
)


def texts_of(message):
    """Return the texts of a message that are not blank."""
    content = [message.content] if isinstance(message.content, str) else message.content
    told = [
        part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
        for part in content
    ]
    return [text for text in told if isinstance(text, str) and text.strip()]


def says_something(message):
    calls = getattr(message, "tool_calls", None)
    return bool(calls or texts_of(message) or message.type == "tool")


def assert_paired(history):
    waiting = []
    for message in history:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
            continue
        assert not waiting
        assert not getattr(message, "invalid_tool_calls", None)
        waiting = [call["id"] for call in getattr(message, "tool_calls", ())]
        assert len(set(waiting)) == len(waiting)
    assert not waiting


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.lists(messages, max_size=7), st.sampled_from(PROVIDERS))
def test_any_history_travels_whole_and_paired(history, to):
    before = copy.deepcopy(history)
    sent = portable(history, to=to)
    assert history == before
    told = "\0".join(text for message in sent for text in texts_of(message))
    assert all(text in told for message in history for text in texts_of(message))
    if any(map(says_something, history)):  # else it is the caller's own, and the provider refuses it
        assert_paired(sent)
    assert portable(sent, to=to) is sent
