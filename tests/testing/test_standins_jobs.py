"""What both stand-ins do right: each job, inferred from the request alone."""

import json

import pytest

from langroute.testing.standins import large, small

BOTH = pytest.mark.parametrize("model", [small, large], ids=["small", "large"])

TOWER = (
    '<document id="a">The Eiffel Tower stands in Paris. It was completed in 1889. '
    "Gustave Eiffel designed its structure.</document>\n"
    '<document id="b">Paris is the capital of France. The city lies on the Seine.</document>\n\n'
)
CITE = "Answer the question from the documents. Cite each sentence as [id]."


def ask(model, *said, system=None, **body):
    """Put a conversation to a brain, user and assistant in turns, the last a user's."""
    roles = ["user", "assistant"] * len(said)
    start = 0 if len(said) % 2 else 1
    messages = [{"role": role, "content": text} for role, text in zip(roles[start:], said, strict=False)]
    return model({"messages": [{"role": "system", "content": system}] * bool(system) + messages, **body})


def tool(name, description="", **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


WEATHER = tool("get_weather", "Get the weather at a location.", location={"type": "string"})
MULTIPLY = tool("multiply", "Multiply two numbers.", a={"type": "number"}, b={"type": "number"})
TOOLS = [WEATHER, MULTIPLY]


@BOTH
def test_rewriting_drops_filler_and_keeps_the_entities(model):
    question = "Could you please tell me what the finally clause does when a return statement runs?"
    reply = ask(model, question, system="Rewrite the question as a search query.")
    assert reply.text == "finally clause, return statement runs"


@BOTH
def test_rewriting_resolves_a_pronoun_from_the_turn_before(model):
    said = ("Tell me about the Eiffel Tower.", "It is in Paris.", "How tall is it?")
    assert (
        "Eiffel Tower" in ask(model, *said, system="Rewrite the question as a standalone search query.").text
    )


@BOTH
def test_answer_cites_the_document_of_every_sentence(model):
    reply = ask(model, f"{TOWER}Question: When was the Eiffel Tower completed?", system=CITE)
    assert "It was completed in 1889 [a]." in reply.text
    assert reply.text.count("[") == reply.text.count(".")


@BOTH
def test_answer_admits_that_the_documents_say_nothing(model):
    reply = ask(model, f"{TOWER}Question: Which algae ferment quinoa?", system=CITE)
    assert reply.text == "The documents do not say."
    assert reply.probability < 0.5


@BOTH
def test_plan_is_numbered_and_names_documents(model):
    question = f"{TOWER}Question: How tall is the Eiffel Tower and when was it completed?"
    lines = ask(model, question, system="Draft a numbered outline.").text.splitlines()
    assert [line[:2] for line in lines] == ["1.", "2.", "3."]
    assert "[a]" in lines[0]


@BOTH
def test_tool_that_the_request_speaks_of_is_called_with_its_arguments(model):
    assert ask(model, "What is the weather in San Francisco, CA?", tools=TOOLS).tool_calls == (
        ("get_weather", {"location": "San Francisco, CA"}),
    )
    assert ask(model, "Multiply 6 by 7.5, please.", tools=TOOLS).tool_calls == (
        ("multiply", {"a": 6, "b": 7.5}),
    )


@BOTH
def test_tool_argument_keeps_its_unicode(model):
    customer = tool("add_customer", "Create a customer.", customer_name={"type": "string"})
    reply = ask(model, "Create a customer named '你好啊集团' (Hello Group).", tools=[customer])
    assert reply.tool_calls == (("add_customer", {"customer_name": "你好啊集团"}),)


@BOTH
def test_tools_stay_idle_when_the_request_is_about_something_else(model):
    reply = ask(model, "Hello there!", tools=TOOLS)
    assert not reply.tool_calls
    assert reply.text


@BOTH
def test_tool_choice_is_obeyed(model):
    named = {"type": "function", "function": {"name": "multiply"}}
    assert ask(model, "Hello!", tools=TOOLS, tool_choice=named).tool_calls[0][0] == "multiply"
    assert ask(model, "Hello!", tools=TOOLS, tool_choice="required").tool_calls
    assert not ask(model, "Multiply 6 by 7.", tools=TOOLS, tool_choice="none").tool_calls


def after_tool(result, request="What is the weather in Oslo?", arguments='{"location": "Oslo"}'):
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    return {
        "messages": [
            {"role": "user", "content": request},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": result},
        ],
        "tools": TOOLS,
    }


@BOTH
def test_result_of_a_tool_becomes_the_answer(model):
    assert model(after_tool('{"sky": "sunny", "celsius": 4}')).text == "sky: sunny, celsius: 4"
    assert model(after_tool([{"type": "text", "text": "It rains."}])).text == "It rains."


@BOTH
def test_failed_tool_call_is_made_better_once_and_then_reported(model):
    better = model(after_tool("Error: location missing", arguments="{}"))
    assert better.tool_calls == (("get_weather", {"location": "Oslo"}),)
    assert "The tool failed" in model(after_tool("Error: service down")).text


@BOTH
def test_chat_repeats_recalls_and_is_never_empty(model):
    assert ask(model, 'Reply with exactly "pong".').text == "pong"
    assert "Ada" in ask(model, "My name is Ada.", "Noted.", "What is my name?").text
    assert all(ask(model, said).text for said in ("hi", "?", "...", "", "how are you"))


@BOTH
def test_same_request_gets_the_same_answer(model):
    said = f"{TOWER}Question: When was the Eiffel Tower completed?"
    assert ask(model, said, system=CITE) == ask(model, said, system=CITE)


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function"}],
            "tool_choice": "required",
        },
        {"messages": [{"role": "user", "content": "<document id=" * 500}]},
        {
            "messages": [{"role": "user", "content": "((((" * 5_000}],
            "response_format": {"type": "json_object"},
        },
    ],
    ids=["none", "null", "image", "bare tool", "broken documents", "brackets"],
)
def test_odd_request_is_answered_all_the_same(model, body):
    answer = model(body)
    assert answer.text or answer.tool_calls


def test_reply_to_json_mode_holds_the_keys_that_the_prompt_names():
    said = "Tell me a joke. Return JSON with 'setup' and 'punchline' keys."
    reply = ask(large, said, response_format={"type": "json_object"})
    assert json.loads(reply.text).keys() == {"setup", "punchline"}
