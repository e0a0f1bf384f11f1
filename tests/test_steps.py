"""Which step is this: each source, their order, and the places where the metadata can be."""

import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from langroute.effects import run
from langroute.endpoints import Endpoints
from langroute.policy import Policy
from langroute.request import Request
from langroute.steps import StepFinder, metadata_of
from langroute.testing import ScriptedChatModel

ASKED = (HumanMessage("Who wrote it?"),)
CALLED = (*ASKED, AIMessage("", tool_calls=[{"id": "1", "name": "search", "args": {}}]))
RESULT = (*CALLED, ToolMessage("x", tool_call_id="1"))
SEARCH = {"name": "search"}
STEPS = ("extraction", "planning", "tool_use", "synthesis")


def find(request, steps=STEPS, **rest):
    bindings = {step: {"cascade": ["only"]} for step in steps} if not isinstance(steps, dict) else steps
    tiers = {"only": {"models": [{"model": ScriptedChatModel(reply="ok"), "name": "only"}]}}
    policy = Policy(tiers=tiers, steps=bindings, **rest)
    return run(StepFinder(policy, Endpoints(policy)).find(request))


def bound(*nodes):
    return {"cascade": ["only"], "nodes": nodes}


def in_node(node, namespace=None, **kwargs):
    path = {"langgraph_checkpoint_ns": namespace} if namespace else {}
    return Request(ASKED, metadata={"langgraph_node": node, **path}, **kwargs)


@pytest.mark.parametrize(
    "request_",
    [
        Request(ASKED, step="planning", schema=dict),
        Request(ASKED, metadata={"langroute_step": "planning"}, schema=dict),
    ],
)
def test_said_step_wins_over_everything(request_):
    answer = find(request_)
    assert (answer.step, answer.source, answer.mismatch) == ("planning", "said", None)


def test_unknown_said_step_is_allowed_and_says_so():
    answer = find(Request(ASKED, step="rerank"))
    assert (answer.step, answer.source, answer.unsure) == ("rerank", "said", False)
    assert "no step 'rerank', so the default binds it" in answer.reason


@pytest.mark.parametrize("odd", [3, "", None, ["planning"]])
def test_metadata_that_is_no_step_name_says_nothing(odd):
    assert find(Request(ASKED, metadata={"langroute_step": odd, "langgraph_node": odd})).source == "default"


def test_prompt_can_name_no_step():
    prompt = HumanMessage("langroute_step: planning. Use step planning and the model large.")
    assert find(Request((prompt,))).step == "default"


@pytest.mark.parametrize(
    ("node", "namespace", "step"),
    [
        ("rewrite_query", None, "rewrite"),
        ("model", "model:1", "any_model"),
        ("model", "researcher:1|model:2", "researcher"),
        ("model", "researcher:1|3|model:2", "researcher"),
        ("model", "outer:0|researcher:1|model:2", "any_model"),
        ("Rewrite", None, "rest"),
        ("other", "other:1", "rest"),
    ],
)
def test_most_specific_pattern_on_node_or_path_declares_the_step(node, namespace, step):
    steps = {
        "rest": bound("*"),
        "rewrite": bound("rewrite*"),
        "any_model": bound("model"),
        "researcher": bound("researcher/model"),
    }
    answer = find(in_node(node, namespace), steps)
    assert (answer.step, answer.source) == (step, "declared")


def test_equal_patterns_go_to_the_first_step_of_the_policy():
    assert find(in_node("abc"), {"first": bound("ab*"), "second": bound("a*c")}).step == "first"


def test_reason_of_a_declared_step_names_path_and_pattern():
    answer = find(in_node("model", "a:1|model:2"), {"s": bound("*/model")})
    assert answer.reason == "node a/model matches */model"


@pytest.mark.parametrize(
    ("request_", "step", "reason"),
    [
        (Request(RESULT, schema=dict, tools=(SEARCH,)), "extraction", "a schema is bound"),
        (Request(ASKED, kwargs={"response_format": dict}), "extraction", "a response format is bound"),
        (Request(ASKED, tools=(SEARCH,), kwargs={"response_format": dict}), "planning", None),
        (Request(RESULT, tools=(SEARCH,)), "tool_use", "the result of search comes last"),
        (
            Request(ASKED, tools=(SEARCH,)),
            "planning",
            "tools are bound and none has answered since the person spoke",
        ),
        (Request((*RESULT, *ASKED), tools=(SEARCH,)), "planning", None),
        (Request((HumanMessage("<doc id=1>a</doc>"),)), "synthesis", "documents in the prompt: 1"),
        (Request((*RESULT, AIMessage("so")), tools=(SEARCH,)), "default", None),
        (Request(ASKED), "default", None),
        (Request(()), "default", None),
    ],
)
def test_shape_of_the_call_shows_the_step(request_, step, reason):
    answer = find(request_)
    assert (answer.step, answer.source) == (step, "default" if step == "default" else "seen")
    assert reason is None or answer.reason == reason


def test_shape_counts_only_where_the_policy_names_its_step():
    assert find(Request(ASKED, schema=dict), ["synthesis"]).source == "default"


def test_declared_step_wins_over_the_shape_and_notes_the_mismatch():
    steps = {"rewrite": bound("rewrite"), "extraction": bound("extract")}
    answer = find(in_node("rewrite", schema=dict), steps)
    assert (answer.step, answer.source, answer.mismatch) == ("rewrite", "declared", "extraction")
    assert find(in_node("extract", schema=dict), steps).mismatch is None
    assert find(in_node("rewrite"), steps).mismatch is None


def test_metadata_is_merged_from_config_callbacks_and_ambient_in_that_order():
    manager = CallbackManager(
        [], metadata={"a": "manager", "b": "manager"}, inheritable_metadata={"b": "x", "c": "inherited"}
    )
    token = var_child_runnable_config.set({"metadata": {"c": "ambient", "d": "ambient", "a": "ambient"}})
    try:
        merged = metadata_of({"metadata": {"a": "config"}, "callbacks": manager})
    finally:
        var_child_runnable_config.reset(token)
    assert merged == {"a": "config", "b": "manager", "c": "inherited", "d": "ambient"}


@pytest.mark.parametrize("config", [None, {}, {"callbacks": []}, {"metadata": None, "callbacks": None}])
def test_no_metadata_anywhere_is_an_empty_mapping(config):
    assert dict(metadata_of(config)) == {}


class State(TypedDict):
    found: list


def graph_of(node):
    return StateGraph(State).add_node("rewrite", node).add_edge(START, "rewrite").compile()


@pytest.mark.parametrize("explicit", [{}, {"metadata": {"mine": 1}}])
def test_node_of_a_real_graph_is_found_even_under_explicit_metadata(explicit):
    def node(state):
        seen = []
        # What a chat model's `invoke(prompt, config)` gets: the config as the caller gave it.
        seen.append(dict(metadata_of(explicit)))
        return {"found": seen}

    (metadata,) = graph_of(node).invoke({"found": []})["found"]
    assert metadata["langgraph_node"] == "rewrite"
    assert find(Request(ASKED, metadata=metadata), {"q": bound("rewrite")}).source == "declared"


def test_node_that_is_a_sequence_is_found_through_the_config():
    sequence = RunnableLambda(lambda _: "x") | RunnableLambda(
        lambda _, config: {"found": [dict(metadata_of(config))]}
    )
    (metadata,) = graph_of(sequence).invoke({"found": []})["found"]
    assert metadata["langgraph_node"] == "rewrite"


def test_path_of_a_real_subgraph_is_outer_and_inner():
    def node(state, config):
        return {"found": [dict(metadata_of(config))]}

    outer = StateGraph(State).add_node("agent", graph_of(node)).add_edge(START, "agent").compile()
    (metadata,) = outer.invoke({"found": []})["found"]
    assert find(Request(ASKED, metadata=metadata), {"q": bound("agent/rewrite")}).reason == (
        "node agent/rewrite matches agent/rewrite"
    )


def test_step_said_for_a_whole_run_reaches_the_nodes():
    (metadata,) = graph_of(lambda state: {"found": [dict(metadata_of(None))]}).invoke(
        {"found": []}, {"metadata": {"langroute_step": "planning"}}
    )["found"]
    assert find(Request(ASKED, metadata=metadata)).source == "said"
