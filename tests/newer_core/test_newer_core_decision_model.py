"""A policy as a decision model of LangChain's, asked by the host's own code."""

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware
from langchain_core.decisions import BaseDecisionModel, Choice, Noul
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from langroute import RoutedChatModel
from langroute.decision_model import RoutedDecisionModel
from langroute.effects import run
from langroute.errors import BudgetExceeded
from langroute.testing import ScriptedChatModel

TIER = Choice(instructions="Which model?", criteria=dict.fromkeys(["large", "small"]))
STEP = Choice(instructions="Which step?", criteria=dict.fromkeys(["orders", "tickets", "default"]))


def policy(**rest):
    tiers = {
        name: {"models": [ScriptedChatModel(name=name, reply="ok")]} for name in ("small", "mid", "large")
    }
    steps = {
        "tickets": {"cascade": ["small"], "nodes": ["ticket*"]},
        "orders": {"cascade": ["mid", "large"]},
    }
    classify = {"keywords": {"tickets": ["ticket"], "orders": ["order"]}}
    return {"tiers": tiers, "steps": steps, "classify": classify, **rest}


def asked(state, **questions):
    return {"state": state, "questions": questions}


def calls(model):
    return [call for endpoint in model._router.endpoints.by_name.values() for call in endpoint.model.calls]


async def test_policy_answers_with_step_and_tier_in_every_mode_and_calls_nothing():
    model = RoutedDecisionModel(policy())
    assert isinstance(model, BaseDecisionModel)
    request = asked("open a ticket", tier=TIER, step=STEP)
    for answer in (model.invoke(request), await model.ainvoke(request), *model.batch([request, request])):
        assert {key: (found.choice, found.confidence) for key, found in answer.choices.items()} == {
            "tier": ("small", 1.0),
            "step": ("tickets", 1.0),
        }
        assert answer.choices["tier"].probabilities == {"large": 0.0, "small": 1.0}
    assert calls(model) == []


@pytest.mark.parametrize(
    "state",
    [
        HumanMessage("open a ticket"),
        [AIMessage("hello"), HumanMessage("open a ticket")],
        {"messages": [HumanMessage("open a ticket")], "notes": "order, order, order"},
        {"messages": "open a ticket"},
        {"subject": "open a ticket", "size": 3},
        ["open a ticket"],
    ],
    ids=["message", "messages", "state", "text", "object", "array"],
)
def test_any_state_of_the_host_is_read(state):
    answer = RoutedDecisionModel(policy()).invoke(asked(state, step=STEP))
    assert answer.choices["step"].choice == "tickets"


@pytest.mark.parametrize(
    ("labels", "chosen", "confidence"),
    [
        (["large", "mid", "small"], "mid", 1.0),
        (["small", "large"], "large", 1.0),
        (["small"], "small", 0.0),
        (["mid", "other"], "mid", 1.0),
    ],
)
def test_tier_that_is_not_offered_is_made_up_for_by_the_next_above(labels, chosen, confidence):
    question = Choice(instructions="Which model?", criteria=dict.fromkeys(labels))
    answer = RoutedDecisionModel(policy()).invoke(asked("an order", tier=question)).choices["tier"]
    assert (answer.choice, answer.confidence) == (chosen, confidence)


def test_call_that_is_no_step_is_the_default_on_its_tier():
    answer = RoutedDecisionModel(policy()).invoke(asked("hello", step=STEP, tier=TIER))
    assert {key: found.choice for key, found in answer.choices.items()} == {
        "step": "default",
        "tier": "large",
    }


def test_policy_that_would_have_to_ask_a_model_is_unsure():
    model = RoutedDecisionModel(policy(classify={"model": "small"}, default={"cascade": ["small", "large"]}))
    answer = model.invoke(asked("an order", tier=TIER)).choices["tier"]
    assert (answer.choice, answer.confidence) == ("large", 0.0)
    assert answer.probabilities == {"large": 0.5, "small": 0.5}
    assert calls(model) == []


def test_step_is_said_or_declared_as_for_any_call():
    model = RoutedDecisionModel(policy())
    said = model.invoke(asked("hello", step=STEP), {"metadata": {"langroute_step": "orders"}})
    assert said.choices["step"].choice == "orders"
    found = []
    builder = StateGraph(MessagesState)

    def node(state):
        found.append(model.invoke(asked(state["messages"], step=STEP)).choices["step"].choice)

    builder.add_node("ticket_desk", node)
    builder.add_edge(START, "ticket_desk")
    builder.add_edge("ticket_desk", END)
    builder.compile().invoke({"messages": [HumanMessage("hello")]})
    assert found == ["tickets"]


@pytest.mark.parametrize(
    "question",
    [Noul(instructions="Is it urgent?"), Choice(instructions="Who?", criteria={"billing": None})],
    ids=["noul", "foreign"],
)
def test_question_that_a_policy_cannot_answer_is_an_error_in_plain_words(question):
    with pytest.raises(ValueError, match="question 'who' cannot be answered by a policy"):
        RoutedDecisionModel(policy()).invoke(asked("an order", who=question))


def budgeted(**rest):
    """Return a policy where each call on `large` costs 0.02 USD and may cost 0.04, a day 0.05 at most."""
    usage = {"input_tokens": 0, "output_tokens": 2_000, "total_tokens": 2_000}
    tiers = {
        tier: {
            "models": [
                {
                    "model": ScriptedChatModel(name=tier, reply="ok", usage=usage),
                    "price": {"input": 1, "output": usd},
                }
            ]
        }
        for tier, usd in (("small", 1), ("large", 10))
    }
    gold = {"name": "gold", "when": {"metadata": {"user": "gold"}}, "start": "large"}
    default = {"cascade": ["small", "large"]}
    return {"tiers": tiers, "default": default, "rules": [gold], "budget": {"per_day_usd": 0.05}, **rest}


async def test_tier_that_a_budget_no_longer_holds_is_not_chosen(tmp_path):
    stated, ledger = budgeted(), f"sqlite:///{tmp_path / 'a.db'}"
    decider = RoutedDecisionModel(stated, ledger=ledger)
    request, gold = asked("an order", tier=TIER), {"metadata": {"user": "gold"}}
    assert decider.invoke(request, gold).choices["tier"].choice == "large"
    RoutedChatModel(stated, ledger=ledger).invoke("hello", gold)
    for answer in (decider.invoke(request, gold), await decider.ainvoke(request, gold)):
        assert answer.choices["tier"].choice == "small"
    assert RoutedDecisionModel(stated).invoke(request, gold).choices["tier"].choice == "large"


def test_decision_for_which_no_money_is_left_says_so(tmp_path):
    stated, ledger = budgeted(default={"cascade": ["large"]}, rules=[]), f"sqlite:///{tmp_path / 'a.db'}"
    RoutedChatModel(stated, ledger=ledger).invoke("hello")
    with pytest.raises(BudgetExceeded, match="per_day_usd"):
        RoutedDecisionModel(stated, ledger=ledger).invoke(asked("an order", tier=TIER))


def test_decision_spends_nothing_where_a_call_would():
    model = RoutedDecisionModel(
        budgeted(classify={"model": "small"}, steps={"orders": {"cascade": ["small"]}})
    )
    assert model.invoke(asked("an order", tier=TIER)).choices["tier"].confidence == 0.0
    ((_, balance),) = run(model._router.purse({}, {}).look()).left
    assert (balance.spent, balance.held, calls(model)) == (0, 0, [])


async def test_hosts_own_model_router_follows_the_policy():
    models = {tier: ScriptedChatModel(name=tier, reply=tier) for tier in ("small", "large")}
    router = ModelRouterMiddleware(
        choices={tier: ModelChoice(model, tier) for tier, model in models.items()},
        instructions="Choose a tier.",
        classifier=RoutedDecisionModel(policy()),
    )
    agent = create_agent(ScriptedChatModel(reply="unused"), [], middleware=[router])
    for text, tier in (("open a ticket", "small"), ("an order", "large"), ("hello", "large")):
        state = {"messages": [HumanMessage(text)]}
        for done in (agent.invoke(state), await agent.ainvoke(state)):
            assert done["messages"][-1].text == tier


def test_one_policy_names_the_steps_of_another():
    names = RoutedDecisionModel(policy())
    large = {"models": [ScriptedChatModel(reply="ok")]}
    other = {"tiers": {"large": large}, "steps": {"tickets": {"cascade": ["large"]}}}
    found = RoutedChatModel(other, classifier=names).invoke("a ticket").response_metadata["langroute"]
    assert (found["step"], found["step_reason"]) == ("tickets", "named by langroute, confidence 1.00")
