"""A decision model of LangChain's as the classifier of steps and of difficulty, in every door."""

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.decisions import ChoiceAnswer, ClassifierResponse
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from words import Stuck, Words

from langroute import RoutedChatModel, add_routed_step
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import ScriptedChatModel

SPENT = [
    {
        "purpose": "classifier",
        "endpoint": "words",
        "usage": {
            "input_tokens": 9,
            "output_tokens": 1,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
        },
        "cost_usd": None,
    }
]


def tiers(asked=None):
    """Two tiers in process, and one that only classifies where `asked` is given."""
    models = {"small": ScriptedChatModel(reply="ok"), "large": ScriptedChatModel(reply="ok")}
    models |= {"zasked": asked} if asked is not None else {}
    price = {"input": 1.0, "output": 4.0}
    return {
        name: {"models": [{"model": model, "name": name, "boundary": "local", "price": price}]}
        for name, model in models.items()
    }


def policy(*, asked=None, tickets=None, threshold=None, **classify):
    route = {} if threshold is None else {"route": {"difficulty": {"threshold": threshold}}}
    steps = {
        "tickets": {"cascade": ["small", "large"], "why": "open a ticket", **route, **(tickets or {})},
        "orders": {"cascade": ["small"]},
    }
    default = {"cascade": ["small", "large"]}
    return {"tiers": tiers(asked), "steps": steps, "default": default, "classify": classify}


def record(message):
    return message.response_metadata["langroute"]


def told(written, text, **given):
    return record(RoutedChatModel(written, **given).invoke(text))


# Steps ---------------------------------------------------------------------------------------------------


async def test_decision_model_names_the_step_in_every_mode():
    model = RoutedChatModel(policy(), classifier=Words())
    whole = [model.invoke("tickets, please"), await model.ainvoke("tickets, please")]
    streamed = None
    for chunk in model.stream("tickets, please"):
        streamed = chunk if streamed is None else streamed + chunk
    for reply in (*whole, streamed):
        found = record(reply)
        assert (found["step"], found["step_source"], found["tier"]) == ("tickets", "classified", "small")
        assert found["step_reason"] == "named by words, confidence 0.90"


def test_labels_are_the_steps_of_the_policy_and_what_they_are_for():
    classifier = Words()
    told(policy(), "orders", classifier=classifier)
    [(state, questions)] = classifier.asked
    assert state == "orders"
    assert questions["step"].criteria == {
        "tickets": "open a ticket",
        "orders": None,
        "default": "None of the other steps.",
    }


def test_call_that_is_none_of_the_steps_is_surely_the_default():
    found = told(policy(), "hello", classifier=Words())
    assert (found["step"], found["step_source"], found["tier"]) == ("default", "classified", "small")
    assert found["step_reason"] == "words named none of the steps"


class Wild(Words):
    """Names what nobody asked for."""

    def answer(self, text, question):
        return ChoiceAnswer(type="choice", choice="delete", probabilities={}, confidence=1.0)


class Silent(Words):
    def _classify(self, state, questions):
        return ClassifierResponse(model="words", answers={})


class Sideways(Words):
    """Answers a question of another type than it was asked."""

    def answer(self, text, question):
        return {"type": "noul", "noul": 1.0}


class Rubbish(Words):
    def _classify(self, state, questions):
        return "tickets"


UNSURE = [
    (Wild(), "words named 'delete', which is no step of the policy"),
    (Silent(), "words did not answer the question"),
    (Sideways(), "words did not answer the question"),
    (Rubbish(), "words gave no answer"),
    (Words(confidence=0.3), "tickets was named by words, confidence 0.30 < 0.5"),
    (Words(fails=ConnectionError("no route to host")), "words gave no answer: it failed, "),
    (Stuck.make(), "words gave no answer: it was late"),
]


@pytest.mark.parametrize(("classifier", "reason"), UNSURE, ids=lambda given: type(given).__name__)
async def test_unsure_decision_model_sends_the_call_to_the_safe_tier(classifier, reason):
    model = RoutedChatModel(policy(timeout_s=0.05), classifier=classifier)
    for reply in (model.invoke("tickets"), await model.ainvoke("tickets")):
        found = record(reply)
        assert (found["step"], found["step_source"], found["tier"]) == ("default", "classified", "large")
        assert found["step_reason"].startswith(reason)
        assert "unsure which step this is" in found["reason"]
    if isinstance(classifier, Stuck):
        classifier.released.set()


def test_late_decision_model_leaves_the_bill_open():
    classifier = Stuck.make()
    found = told(policy(timeout_s=0.05), "tickets", classifier=classifier)
    classifier.released.set()
    assert [(spend["purpose"], spend["cost_usd"]) for spend in found["spend"]] == [("classifier", None)]
    assert found["cost_usd"] is None


def test_decision_model_is_asked_after_keywords_and_before_the_small_model():
    small = ScriptedChatModel(reply={"step": "orders"})
    classifier = Words()
    written = policy(asked=small, model="zasked", keywords={"tickets": ["ticket"]})
    assert told(written, "a ticket", classifier=classifier)["step"] == "tickets"
    assert classifier.asked == []
    assert told(written, "my tickets", classifier=classifier)["step"] == "tickets"
    assert small.calls == []
    broken = Words(fails=ConnectionError("down"))
    assert told(written, "hello", classifier=broken)["step"] == "orders"


def test_tokens_it_reports_are_on_the_bill_at_an_unknown_price():
    billed = told(policy(), "tickets", classifier=Words(usage={"input_tokens": 9, "output_tokens": 1}))
    assert (billed["spend"], billed["cost_usd"]) == (SPENT, None)
    for silent in (Words(), Words(usage={"input_tokens": 0, "output_tokens": 0})):
        free = told(policy(), "tickets", classifier=silent)
        assert free["spend"] == []
        assert free["cost_usd"] is not None


def test_decision_model_outside_a_possible_steps_boundary_never_sees_the_prompt():
    classifier = Words()
    written = policy(tickets={"boundary": ["local"]})
    barred = told(written, "tickets", classifier=classifier)
    assert (barred["step"], classifier.asked) == ("default", [])
    assert barred["step_reason"].startswith("words passed over: the prompt may be tickets's")
    allowed = told(written, "tickets", classifier=classifier, classifiers_boundary="local")
    assert allowed["step"] == "tickets"


def test_call_that_is_said_or_seen_asks_no_decision_model():
    classifier = Words()
    model = RoutedChatModel(policy(), classifier=classifier)
    assert record(model.for_step("orders").invoke("tickets"))["step"] == "orders"
    assert classifier.asked == []


def test_interrupt_of_the_host_passes_through():
    model = RoutedChatModel(policy(), classifier=Words(fails=GraphInterrupt(())))
    with pytest.raises(GraphInterrupt):
        model.invoke("tickets")


# Difficulty ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tier", "reason"),
    [
        ("a hard one", "large", "difficulty 0.90 (words) reaches 0.5: starts at large"),
        ("a plain one", "small", "difficulty 0.10 (words) is below 0.5: no higher start"),
    ],
)
async def test_decision_model_scores_the_difficulty_against_the_steps_threshold(text, tier, reason):
    model = RoutedChatModel(policy(threshold=0.5), difficulty_classifier=Words()).for_step("tickets")
    for reply in (model.invoke(text), await model.ainvoke(text)):
        assert (record(reply)["tier"], reason in record(reply)["reason"]) == (tier, True)


@pytest.mark.parametrize(
    "classifier",
    [Silent(), Words(fails=ConnectionError("down")), Stuck.make()],
    ids=lambda c: type(c).__name__,
)
def test_difficulty_that_cannot_be_told_starts_at_the_top(classifier):
    model = RoutedChatModel(policy(threshold=0.5, timeout_s=0.05), difficulty_classifier=classifier)
    found = record(model.for_step("tickets").invoke("a plain one"))
    if isinstance(classifier, Stuck):
        classifier.released.set()
    assert found["tier"] == "large"
    assert "difficulty unknown, as words" in found["reason"]


def test_difficulty_is_asked_only_where_a_threshold_can_decide_something():
    classifier = Words()
    model = RoutedChatModel(policy(threshold=0.5), difficulty_classifier=classifier)
    model.for_step("orders").invoke("a hard one")
    assert classifier.asked == []


def test_difficulty_of_a_step_it_may_not_see_is_langroutes_own_score():
    classifier = Words()
    written = policy(threshold=0.9, tickets={"boundary": ["local"]})
    model = RoutedChatModel(written, difficulty_classifier=classifier).for_step("tickets")
    found = record(model.invoke("hard"))
    assert (found["tier"], classifier.asked) == ("small", [])
    assert "words passed over: it runs in boundary hosted, which tickets does not allow" in found["reason"]
    inside = RoutedChatModel(written, difficulty_classifier=classifier, classifiers_boundary="local")
    assert record(inside.for_step("tickets").invoke("hard"))["tier"] == "large"


# What is given, traces and the other doors ---------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["classifier", "difficulty_classifier"])
@pytest.mark.parametrize("door", [RoutedChatModel, StepRoutingMiddleware])
def test_what_is_no_decision_model_is_refused_in_plain_words(door, keyword):
    with pytest.raises(TypeError, match=rf"^{keyword} takes a decision model.*, not ScriptedChatModel;"):
        door(policy(), **{keyword: ScriptedChatModel(reply="ok")})


class Heard(BaseCallbackHandler):
    def __init__(self):
        self.runs = []

    def on_chain_start(self, serialized, inputs, *, metadata=None, tags=None, name=None, **kwargs):
        if name == "Words":
            self.runs.append((metadata["langroute_purpose"], metadata["ls_model_name"], tags))


def graph(model, **compiled):
    builder = StateGraph(MessagesState)
    add_routed_step(builder, "help", model, step="tickets")
    builder.add_edge(START, "help")
    builder.add_edge("help", END)
    return builder.compile(**compiled)


async def test_step_drawn_as_nodes_asks_once_and_keeps_the_bill_in_its_checkpoints():
    usage = {"input_tokens": 9, "output_tokens": 1}
    classifier = Words(usage=usage)
    model = RoutedChatModel(
        policy(threshold=0.5, tickets={"verify": ["not_empty"]}), difficulty_classifier=classifier
    )
    drawn = graph(model, checkpointer=InMemorySaver())
    heard = Heard()
    asked = {"messages": [("user", "a hard one")]}
    done = drawn.invoke(asked, {"configurable": {"thread_id": "1"}, "callbacks": [heard]})
    adone = await drawn.ainvoke(asked, {"configurable": {"thread_id": "2"}})
    for state in (done, adone):
        assert record(state["messages"][-1])["tier"] == "large"
        assert record(state["messages"][-1])["spend"] == SPENT
    assert len(classifier.asked) == 2
    [(purpose, name, tags)] = heard.runs
    assert (purpose, name) == ("classifier", "words")
    assert "nostream" in tags


async def test_agent_asks_the_decision_model_for_a_call_that_nothing_else_tells():
    agent = create_agent(
        ScriptedChatModel(reply="unused"),
        [],
        middleware=[StepRoutingMiddleware(policy(), classifier=Words())],
    )
    asked = {"messages": [("user", "tickets")]}
    for done in (agent.invoke(asked), await agent.ainvoke(asked)):
        assert [(found["step"], found["step_source"]) for found in done["langroute"]] == [
            ("tickets", "classified")
        ]
