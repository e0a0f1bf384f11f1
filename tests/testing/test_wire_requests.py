"""What the provider refuses: the requests that OpenAI refuses, with status 400 and the parameter's name."""

import json

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langroute.testing import LoopbackProvider

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
LONG_CALLING = {**CALLING, "tool_calls": [{**CALL, "id": "c" * 65}]}

REFUSED = {
    "no messages": ({"messages": []}, "messages"),
    "messages that are a text": ({"messages": "Hi"}, "messages"),
    "a role nobody has": ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
    "content that is a number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "a tool result without a call": (
        {"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "call_1"}]},
        "messages[1].role",
    ),
    "a call without a result": ({"messages": [USER, CALLING, USER]}, "messages"),
    "a call at the end without a result": ({"messages": [USER, CALLING]}, "messages"),
    "a call id that is too long": ({"messages": [USER, LONG_CALLING]}, "messages[1].tool_calls[0].id"),
    "a tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    "a tool choice without tools": ({"tool_choice": "auto"}, "tool_choice"),
    "a tool choice nobody knows": ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
    "a named tool that is not there": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "find"}}},
        "tool_choice",
    ),
    "a format nobody knows": ({"response_format": {"type": "xml"}}, "response_format.type"),
    "json mode without the word": ({"response_format": {"type": "json_object"}}, "messages"),
    "a schema without a name": (
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.name",
    ),
    "a schema that is not there": (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
    ),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "no room": ({"max_completion_tokens": 0}, "max_completion_tokens"),
    "a stop that is a number": ({"stop": ["a", 5]}, "stop[1]"),
    "too many stops": ({"stop": list("abcde")}, "stop"),
    "several choices": ({"n": 2}, "n"),
}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "type", "text", "function", "name", "id"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = [
    "messages",
    "tools",
    "tool_choice",
    "response_format",
    "stop",
    "max_tokens",
    "stream",
    "stream_options",
]


@pytest.fixture(scope="module")
def provider():
    with LoopbackProvider({"small": "fine"}) as running:
        yield running


@pytest.fixture(scope="module")
def chat(provider):
    with openai.OpenAI(base_url=provider.base_url, api_key="any", max_retries=0) as api:
        yield api.chat.completions


@pytest.fixture(scope="module")
def post(provider):
    with httpx2.Client(base_url=provider.base_url) as http:
        yield lambda raw: http.post("chat/completions", content=raw)


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_request_is_a_400_that_names_the_parameter(chat, case):
    changes, param = REFUSED[case]
    request = {"model": "small", "messages": [USER]} | changes
    with pytest.raises(openai.BadRequestError) as caught:
        chat.create(**request)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"messages": []}', b"\xff\xfe"])
def test_body_that_is_no_request_is_a_400(post, raw):
    reply = post(raw)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "model"


@settings(max_examples=60, deadline=None, database=None)
@given(changes=st.dictionaries(st.sampled_from([*KEYS, "n", "logprobs"]), ANYTHING, max_size=3))
def test_no_request_breaks_the_provider(post, changes):
    reply = post(json.dumps({"model": "small", "messages": [USER]} | changes))
    assert reply.status_code in (200, 400)
    assert reply.headers["content-type"].split(";")[0] in ("application/json", "text/event-stream")


def test_parts_and_images_are_taken_and_an_image_counts_as_its_name(chat):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    assert chat.create(model="small", messages=[message]).usage.prompt_tokens == 8
