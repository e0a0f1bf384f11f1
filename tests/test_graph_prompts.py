"""What a step of a graph reads from the state: a name that leads nowhere is told before anything is paid."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from langroute import add_routed_step, route_node, routed_step
from langroute.testing import LoopbackProvider, ScriptedChatModel

GOOD = "The cable was laid in 1866."


class State(TypedDict, total=False):
    question: str
    pages: Any
    answer: Any


@dataclass
class Fields:
    question: str = ""
    pages: Any = None
    answer: Any = None


class Model(BaseModel):
    question: str = ""
    pages: Any = None
    answer: Any = None


def policy() -> dict[str, Any]:
    return {
        "tiers": {"small": {"models": [ScriptedChatModel(reply=GOOD)]}},
        "steps": {"write": {"cascade": ["small"]}},
    }


def drawn(state: Any = State, *, form: str = "inline", **how: Any) -> Any:
    builder = StateGraph(state)
    how = {"prompt": "{question}", "output": "answer", **how}
    if form == "inline":
        add_routed_step(builder, "write", policy(), **how)
    else:
        builder.add_node("write", routed_step("write", policy(), state_schema=state, **how))
    builder.add_edge(START, "write")
    builder.add_edge("write", END)
    return builder.compile()


TEMPLATE = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{questoin}")])
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "format string": ({"prompt": "Answer {questoin}"}, "'questoin' for the prompt; did you mean 'question'"),
    "attribute": ({"prompt": "Answer {questoin.text}"}, "'questoin' for the prompt; did you mean 'question'"),
    "nested": ({"prompt": "{question:{width}}"}, "'width' for the prompt; correct the name, or add it"),
    "template": ({"prompt": TEMPLATE}, "'questoin' for the prompt; did you mean 'question'"),
    "documents": ({"documents": "page"}, "'page' for the documents; did you mean 'pages'"),
    "no prompt": ({"prompt": None}, "'messages' for the prompt; say `prompt=`, or add it"),
}


@pytest.mark.parametrize("state", [State, Fields, Model])
@pytest.mark.parametrize("form", ["inline", "subgraph"])
@pytest.mark.parametrize(("how", "told"), WRONG.values(), ids=WRONG)
def test_key_that_the_state_does_not_have_is_told_when_the_step_is_drawn(how, told, form, state):
    with pytest.raises(ValueError, match=r"^step write: the state has no key ") as raised:
        drawn(state, form=form, **how)
    assert told in str(raised.value)
    assert str(raised.value).endswith("It has: question, pages, answer")


@pytest.mark.parametrize("prompt", ["{}", "{0}", "{question} {"])
def test_prompt_that_is_no_format_string_of_names_is_told_when_drawn(prompt):
    with pytest.raises(ValueError, match=r"names no key of the state|expected '}'|Single '{'"):
        drawn(prompt=prompt)


ASKED = ChatPromptTemplate.from_template("{question}")


@pytest.mark.parametrize("prompt", ["{question}", "{question!r:>{pages}}", "{{no key}}", ASKED])
@pytest.mark.parametrize("state", [State, Fields, Model])
def test_prompt_of_keys_that_are_there_is_filled(prompt, state):
    assert drawn(state, prompt=prompt).invoke({"question": "When?", "pages": 9})["answer"] == GOOD


def test_key_that_nobody_has_written_yet_is_told_when_the_step_runs():
    with pytest.raises(
        ValueError, match="step write: the state has no key 'question' for the prompt"
    ) as raised:
        drawn().invoke({"pages": []})
    assert str(raised.value).endswith("It has: pages")
    with pytest.raises(ValueError, match="step write: the state has no key 'pages' for the documents"):
        drawn(documents="pages").invoke({"question": "When?"})
    with pytest.raises(ValueError, match=r"does not fill the prompt: AttributeError.*'str'.*'text'"):
        drawn(prompt="{question.text}").invoke({"question": "When?"})


def test_router_alone_says_which_key_it_lacks():
    builder = StateGraph(State)
    builder.add_node("route", route_node(policy(), step="write", prompt="{questoin}", output="answer"))
    builder.add_edge(START, "route")
    with pytest.raises(ValueError, match="step route: the state has no key 'questoin'"):
        builder.compile().invoke({"question": "When?"})


# An object as a message ----------------------------------------------------------------------------------


class Date(BaseModel):
    """A date."""

    year: int


def dated(first: Any, provider: LoopbackProvider, form: str, schema: Any) -> Any:
    """Return a graph whose first step gives an object as a message, and whose second goes on talking."""
    tiers = {"small": {"models": [first]}, "next": {"models": [provider.chat_model("next")]}}
    written = {"tiers": tiers, "steps": {"date": {"cascade": ["small"]}, "write": {"cascade": ["next"]}}}
    builder = StateGraph(MessagesState)
    if form == "inline":
        add_routed_step(builder, "date", written, schema=schema)
    else:
        builder.add_node("date", routed_step("date", written, schema=schema))
    add_routed_step(builder, "write", written)
    builder.add_edge(START, "date")
    builder.add_edge("date", "write")
    builder.add_edge("write", END)
    return builder.compile()


@pytest.mark.parametrize("form", ["inline", "subgraph"])
@pytest.mark.parametrize("schema", [Date, Date.model_json_schema()], ids=["class", "JSON Schema"])
@pytest.mark.parametrize("way", ["tool call", "text"])
def test_object_as_a_message_can_stand_in_a_conversation(way, schema, form):
    with LoopbackProvider({"small": '{"year": 1866}', "next": GOOD}) as provider:
        by_call = ScriptedChatModel(
            name="small", reply={"year": 1866}
        )  # as many integrations ask for an object
        small = by_call if way == "tool call" else provider.chat_model("small")
        done = dated(small, provider, form, schema).invoke({"messages": [("user", "When?")]})
        sent = provider.requests[-1].body["messages"]
    date = done["messages"][1]
    assert json.loads(date.text) == {"year": 1866}
    assert (date.tool_calls, date.response_metadata["langroute"]["step"]) == ([], "date")
    assert done["messages"][-1].text == GOOD
    assert [(message["role"], message.get("tool_calls")) for message in sent] == [
        ("user", None),
        ("assistant", None),
    ]


def test_stream_of_a_graph_shows_the_object_of_a_tool_call_once():
    with LoopbackProvider({"next": GOOD}) as provider:
        graph = dated(ScriptedChatModel(name="small", reply={"year": 1866}), provider, "inline", Date)
        shown = list(graph.stream({"messages": [("user", "When?")]}, stream_mode="messages"))
    arguments = "".join(
        str(call["args"] or "")
        for message, told in shown
        if told["langroute_step"] == "date"
        for call in getattr(message, "tool_call_chunks", ())
    )
    texts = [m.text for m, told in shown if told["langroute_step"] == "date" and m.text]
    assert (json.loads(arguments or texts[0]), len(texts) < 2) == ({"year": 1866}, True)
