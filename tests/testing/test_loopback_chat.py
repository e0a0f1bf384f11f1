"""The real `ChatOpenAI` against the loopback provider: every mode it has."""

import json

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from pydantic import BaseModel

from langroute.testing import Answer, LoopbackProvider

GREETING = "Hello there, it is Tuesday: ünïcödé and all."


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


def obliging(body):
    """Calls the first tool, fills in a schema, or greets: as the request wants it."""
    if body["messages"][-1]["role"] == "tool":
        return Answer(f"The tool said {body['messages'][-1]['content']}.")
    if body.get("tools") and body.get("tool_choice") != "none":
        name = body["tools"][0]["function"]["name"]
        return Answer(tool_calls=((name, {"city": "Zürich", "degrees": 21}),))
    if body.get("response_format"):
        return Answer('{"city": "Zürich", "degrees": 21}')
    return Answer(GREETING, probability=0.5)


@pytest.fixture(scope="module")
def provider():
    models = {"obliging": obliging, "refusing": Answer(refusal="I cannot help with that.")}
    with LoopbackProvider(models) as running:
        yield running


@pytest.fixture
def model(provider):
    return provider.chat_model("obliging")


def test_invoke_returns_text_usage_and_finish_reason(model):
    reply = model.invoke("Hi")
    assert reply.text == GREETING
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.response_metadata["model_name"] == "obliging"
    assert reply.usage_metadata["input_tokens"] == 2
    assert reply.usage_metadata["output_tokens"] == 11


def test_stream_is_the_same_reply_in_pieces(model):
    chunks = list(model.stream("Hi"))
    whole = sum(chunks[1:], chunks[0])
    assert len([chunk for chunk in chunks if chunk.text]) == 11
    assert whole.text == GREETING
    assert whole.usage_metadata == model.invoke("Hi").usage_metadata
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_async_modes_give_the_same_reply(model):
    assert (await model.ainvoke("Hi")).text == GREETING
    assert "".join([chunk.text async for chunk in model.astream("Hi")]) == GREETING


def test_stream_without_include_usage_has_no_usage_chunk(provider):
    model = provider.chat_model("obliging", stream_usage=False)
    assert all(chunk.usage_metadata is None for chunk in model.stream("Hi"))


def test_bound_tool_is_called_with_unicode_arguments(model):
    reply = model.bind_tools([Weather]).invoke("How warm is it?")
    assert [(call["name"], call["args"]) for call in reply.tool_calls] == [
        ("Weather", {"city": "Zürich", "degrees": 21})
    ]
    assert reply.content == ""
    assert reply.response_metadata["finish_reason"] == "tool_calls"


def test_streamed_tool_call_arrives_in_pieces_and_adds_up(model):
    chunks = list(model.bind_tools([Weather]).stream("How warm is it?"))
    pieces = [piece["args"] for chunk in chunks for piece in chunk.tool_call_chunks]
    whole = sum(chunks[1:], chunks[0])
    assert len(pieces) > 5
    assert json.loads("".join(pieces)) == {"city": "Zürich", "degrees": 21}
    assert whole.tool_calls[0]["args"] == {"city": "Zürich", "degrees": 21}


@pytest.mark.parametrize("choice", ["auto", "required", "Weather"])
def test_tool_choice_reaches_the_brain_and_a_named_one_ends_with_stop(provider, model, choice):
    reply = model.bind_tools([Weather], tool_choice=choice).invoke("How warm is it?")
    sent = provider.requests[-1].body["tool_choice"]
    assert sent == ({"type": "function", "function": {"name": "Weather"}} if choice == "Weather" else choice)
    assert reply.response_metadata["finish_reason"] == ("stop" if choice == "Weather" else "tool_calls")


def test_tool_choice_none_answers_in_text(model):
    assert model.bind_tools([Weather], tool_choice="none").invoke("Hi").text == GREETING


def test_tool_result_is_taken_back(model):
    asked = model.bind_tools([Weather]).invoke("How warm is it?")
    result = ToolMessage("mild", tool_call_id=asked.tool_calls[0]["id"])
    reply = model.bind_tools([Weather]).invoke([HumanMessage("How warm is it?"), asked, result])
    assert reply.text == "The tool said mild."


@pytest.mark.parametrize("method", ["function_calling", "json_mode", "json_schema"])
def test_structured_output_parses_with_every_method(model, method):
    structured = model.with_structured_output(Weather, method=method)
    assert structured.invoke("The weather as JSON, please.") == Weather(city="Zürich", degrees=21)


# langchain-openai dumps the parsed schema into a field that the openai SDK types as None (langchain#35538).
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_structured_output_streams(model):
    structured = model.with_structured_output(Weather)
    assert [part async for part in structured.astream("How warm?")][-1] == Weather(city="Zürich", degrees=21)


def test_logprobs_come_for_every_token_in_both_modes(provider):
    model = provider.chat_model("obliging", logprobs=True, top_logprobs=1)
    whole = model.invoke("Hi").response_metadata["logprobs"]["content"]
    chunks = list(model.stream("Hi"))
    streamed = sum(chunks[1:], chunks[0]).response_metadata["logprobs"]["content"]
    assert streamed == whole
    assert "".join(token["token"] for token in whole) == GREETING
    assert {round(token["logprob"], 3) for token in whole} == {-0.693}
    assert whole[0]["top_logprobs"][0]["token"] == whole[0]["token"]


def test_stop_and_max_tokens_cut_the_reply(provider, model):
    stopped = model.invoke("Hi", stop=["Tuesday", "ünï"])
    assert (stopped.text, stopped.response_metadata["finish_reason"]) == ("Hello there, it is ", "stop")
    short = provider.chat_model("obliging", max_tokens=3).invoke("Hi")
    assert (short.text, short.response_metadata["finish_reason"]) == ("Hello there,", "length")
    assert short.usage_metadata["output_tokens"] == 3


def test_max_tokens_cuts_tool_arguments_in_the_middle(provider):
    model = provider.chat_model("obliging", max_tokens=5).bind_tools([Weather])
    reply = model.invoke("How warm is it?")
    assert reply.tool_calls == []
    assert reply.invalid_tool_calls[0]["args"] == '{"city": "Zür'
    assert reply.response_metadata["finish_reason"] == "length"


def test_refusal_comes_in_its_own_field_in_both_modes(provider):
    reply = provider.chat_model("refusing").invoke("Hi")
    assert (reply.text, reply.additional_kwargs["refusal"]) == ("", "I cannot help with that.")
    asked = {"model": "refusing", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with openai.OpenAI(base_url=provider.base_url, api_key="any") as api:
        deltas = [chunk.choices[0].delta for chunk in api.chat.completions.create(**asked)]
    assert "".join(delta.refusal or "" for delta in deltas) == "I cannot help with that."
    assert not any(delta.content for delta in deltas)


def test_a_reply_can_be_sent_back_as_history(model):
    first = model.invoke("Hi")
    assert model.invoke([HumanMessage("Hi"), first, HumanMessage("And again")]).text == GREETING
