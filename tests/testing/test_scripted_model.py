"""`ScriptedChatModel`: what its script can hold, and that every mode of a chat model works."""

import copy
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from pydantic import BaseModel, ValidationError

from langroute.testing import Answer, ScriptedChatModel


class Weather(BaseModel):
    """The weather of a city."""

    city: str


@tool
def search(query: str) -> str:
    """Search the library."""
    return query


def whole(chunks):
    return sum(chunks[1:], chunks[0])


def test_replies_are_given_in_turn_and_an_exception_is_raised():
    model = ScriptedChatModel(replies=["one", RuntimeError("down"), AIMessage("three")])
    assert model.invoke("Hi").text == "one"
    with pytest.raises(RuntimeError, match="down"):
        model.invoke("Hi")
    assert model.invoke("Hi").text == "three"


def test_call_past_the_script_says_so():
    model = ScriptedChatModel(name="small", replies=["one"])
    model.invoke("Hi")
    with pytest.raises(AssertionError, match=r"script of 'small' has 1 replies and this is call 2"):
        model.invoke("Hi")


def test_single_reply_repeats():
    model = ScriptedChatModel(reply="again")
    assert [reply.text for reply in model.batch(["a", "b", "c"])] == ["again"] * 3


@pytest.mark.parametrize("script", [{}, {"replies": ["a"], "reply": "b"}, {"replies": [7]}])
def test_script_that_makes_no_sense_is_refused(script):
    with pytest.raises(ValidationError, match=r"give a script as|a reply cannot be 7"):
        ScriptedChatModel(**script)


def test_reply_carries_name_finish_reason_and_estimated_usage():
    reply = ScriptedChatModel(name="small", reply="12345").invoke("12345678")
    assert reply.response_metadata == {"model_name": "small", "finish_reason": "stop"}
    assert reply.usage_metadata == {"input_tokens": 2, "output_tokens": 2, "total_tokens": 4}


def test_usage_is_the_replys_own_then_the_models():
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    own = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    model = ScriptedChatModel(replies=["a", AIMessage("b", usage_metadata=own)], usage=usage)
    assert [model.invoke("Hi").usage_metadata for _ in range(2)] == [usage, own]


async def test_streams_come_word_by_word_and_end_with_usage():
    model = ScriptedChatModel(name="small", reply="one two  three\n")
    sync, mixed = list(model.stream("Hi")), [chunk async for chunk in model.astream("Hi")]
    assert [chunk.content for chunk in sync] == ["one ", "two  ", "three\n", ""]
    assert [chunk.content for chunk in mixed] == [chunk.content for chunk in sync]
    assert sync[-1].chunk_position == "last"
    invoked = await model.ainvoke("Hi")
    assert whole(sync).usage_metadata == invoked.usage_metadata
    assert whole(sync).response_metadata == invoked.response_metadata


def test_exception_is_raised_in_a_stream_too():
    with pytest.raises(TimeoutError):
        list(ScriptedChatModel(reply=TimeoutError("slow")).stream("Hi"))


def test_tool_calls_are_the_same_invoked_and_streamed():
    calls = (("search", {"query": "Zoë"}), ("search", '{"query": '))
    model = ScriptedChatModel(reply=Answer("Let me look.", tool_calls=calls)).bind_tools([search])
    invoked, streamed = model.invoke("Hi"), whole(list(model.stream("Hi")))
    assert invoked.tool_calls[0]["args"] == streamed.tool_calls[0]["args"] == {"query": "Zoë"}
    assert invoked.invalid_tool_calls[0]["args"] == '{"query": '
    assert invoked.text == streamed.text == "Let me look."
    assert invoked.response_metadata["finish_reason"] == "tool_calls"


def test_bound_tools_are_openai_dicts_in_a_binding_and_in_the_calls():
    model = ScriptedChatModel(reply="done")
    bound = model.bind_tools([search, Weather], tool_choice="any")
    bound.invoke("Hi", stop=["x"])
    assert isinstance(bound, RunnableBinding)
    assert [each["function"]["name"] for each in model.calls[0].kwargs["tools"]] == ["search", "Weather"]
    assert model.calls[0].kwargs["tool_choice"] == "any"
    assert model.calls[0].kwargs["stop"] == ["x"]


def test_mapping_is_a_structured_answer():
    model = ScriptedChatModel(replies=[{"city": "Oslo"}, {"town": "Oslo"}, {"city": "Oslo"}])
    assert model.with_structured_output(Weather).invoke("Hi") == Weather(city="Oslo")
    broken = model.with_structured_output(Weather, include_raw=True).invoke("Hi")
    assert broken["parsed"] is None
    assert isinstance(broken["parsing_error"], ValidationError)
    assert model.invoke("Hi").text == '{"city": "Oslo"}'


def test_answer_brings_logprobs_refusal_and_finish_reason():
    model = ScriptedChatModel(
        replies=[Answer("four", probability=0.5), Answer(refusal="No.", finish_reason="length")]
    )
    sure, refused = model.invoke("Hi"), model.invoke("Hi")
    assert sure.response_metadata["logprobs"]["content"][0]["logprob"] == math.log(0.5)
    assert refused.additional_kwargs["refusal"] == "No."
    assert refused.response_metadata["finish_reason"] == "length"


def test_stop_cuts_a_text():
    assert ScriptedChatModel(reply="one two three").invoke("Hi", stop=["two"]).text == "one "


def test_calls_hold_messages_and_mode_and_copies_share_them():
    model = ScriptedChatModel(replies=["a", "b"])
    copy = model.model_copy(update={"tags": ["quiet"]})
    model.invoke([HumanMessage("first")])
    assert whole(list(copy.stream("second"))).text == "b"
    assert [(call.messages[0].text, call.streamed) for call in model.calls] == [
        ("first", False),
        ("second", True),
    ]


def test_deep_copies_share_script_and_calls():
    model = ScriptedChatModel(replies=["a", RuntimeError("down"), Answer("c")])
    twin = copy.deepcopy(model)
    assert model.invoke("first").text == "a"
    with pytest.raises(RuntimeError, match="down"):
        twin.invoke("second")
    assert model.invoke("third").text == "c"
    assert len(twin.calls) == 3


def test_threads_share_a_script_without_losing_a_reply():
    model = ScriptedChatModel(replies=[str(number) for number in range(64)])
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: model.invoke("Hi").text, range(64)))
    assert sorted(said, key=int) == [str(number) for number in range(64)]


def test_profile_can_be_set():
    model = ScriptedChatModel(reply="a", profile={"max_input_tokens": 1000, "tool_calling": True})
    assert model.profile["max_input_tokens"] == 1000
