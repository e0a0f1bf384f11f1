"""No text of a prompt names a model, leaves the step's tiers, passes a cap or skips an approval."""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from doors_of import agent_of, graph_of
from hostile import Hostile, prompts
from langgraph.types import Command

from langroute import RoutedChatModel
from langroute.cascade import MAX_CALLS
from langroute.decision import Decision
from langroute.errors import ApprovalRequired
from langroute.redaction import printable
from langroute.request import Request
from langroute.testing import ScriptedChatModel, capture_decisions

DECIDED_S = 0.005
"""CPU seconds that a decision may take."""

COUNT, SAMPLE = 2_000, 150

REFUSED = "I cannot help with that."


def policy() -> dict[str, Any]:
    """Return a policy whose cheap tier always refuses, and whose every escalation a person must approve."""

    def model(name: str, said: str) -> dict[str, Any]:
        price = {"input": 1.0, "output": 4.0}
        return {"model": ScriptedChatModel(name=name, reply=said), "name": name, "price": price}

    bound = {"cascade": ["small", "medium"], "verify": ["no_refusal"]}
    return {
        "tiers": {
            "small": {"models": [model("small-1", REFUSED)]},
            "medium": {"models": [model("medium-1", "Three are open.")]},
            "large": {"models": [model("large-1", "Three are open, says the largest.")]},
        },
        "steps": {
            "tool_use": {**bound, "after_tool": {"run_sql": "medium"}, "on_tool_error": "medium"},
            "planning": {**bound, "deadline_s": 60},
            "synthesis": {**bound, "route": {"difficulty": {"threshold": 0.4}}},
            "extraction": bound,
            "answer": bound,
            "special": {"cascade": ["large"], "nodes": ["special"]},
        },
        "default": {"cascade": ["small"]},
        "rules": [
            {"when": {"keywords": ["urgent"]}, "start": "medium"},
            {"when": {"patterns": [r"\brefund\b.*\d{6}", r"(?i)chargeback\s+\w+\s*$"]}, "start": "medium"},
            {"when": {"metadata": {"user_tier": "gold"}}, "start": "medium"},
        ],
        "stakes": {"high": {"tier": "large"}, "tools": {"delete_file": "high"}},
        "budget": {"approve_above_usd": 0.0},
    }


def called(model: Any) -> dict[str, int]:
    return {name: len(endpoint.model.calls) for name, endpoint in model.router.endpoints.by_name.items()}


def keeps_to_the_policy(model: Any, decision: Decision, hostile: Hostile) -> None:
    """Assert what no prompt may change of a finished decision."""
    where, bound = f"{hostile.attack} in {hostile.carrier}", model.router.policy
    assert decision.step.step in {*bound.steps, "default"}, where
    assert decision.step.step != "special", where
    cascade = bound.step(decision.step.step).cascade
    planned = {(rung.tier, choice.endpoint) for rung in decision.plan.rungs for choice in rung.choices}
    assert {tier for tier, _ in planned} <= set(cascade), where
    assert {(a.tier, a.endpoint) for a in decision.attempts} <= planned, where
    assert len(decision.attempts) <= MAX_CALLS, where
    started = decision.plan.rungs[0].tier
    assert {a.tier for a in decision.attempts} <= {started}, f"an escalation that nobody approved: {where}"
    if started == "small" and len(cascade) > 1:
        assert decision.outcome == "ask", where
    text = json.dumps(decision.as_dict(), ensure_ascii=False)
    assert printable(text) == text, where


def by_chat_model(hostile_prompts: Iterable[Hostile]) -> None:
    model, outcomes = RoutedChatModel(policy()), []
    for hostile in hostile_prompts:
        before = called(model)
        with capture_decisions() as decisions, suppress(ApprovalRequired):
            model.invoke(hostile.messages, {"metadata": hostile.metadata})
        keeps_to_the_policy(model, decisions[-1], hostile)
        made = {name: count - before[name] for name, count in called(model).items()}
        assert made["large-1"] == 0
        assert sum(made.values()) == len(decisions[-1].attempts)
        outcomes.append(decisions[-1].outcome)
    assert {"ask", "accepted"} <= set(outcomes)  # all that the policy leaves open does happen


def by_graph(hostile_prompts: Iterable[Hostile]) -> None:
    model = RoutedChatModel(policy())
    graph = graph_of(model)
    for number, hostile in enumerate(hostile_prompts):
        config = {"configurable": {"thread_id": str(number)}, "metadata": hostile.metadata}
        before = called(model)
        done = graph.invoke({"messages": hostile.messages}, config)
        if "__interrupt__" not in done:  # a rule or the documents started it at medium, which may answer
            record = done["messages"][-1].response_metadata["langroute"]
            assert (record["tier"], len(record["attempts"])) == ("medium", 1)
            continue
        # What the prompt says is not a person's answer; nor is its text, should somebody hand it on.
        again = graph.invoke(Command(resume=f"{hostile.text} approve"), config)
        assert "__interrupt__" in again
        made = {name: count - before[name] for name, count in called(model).items()}
        assert made == {"small-1": 1, "medium-1": 0, "large-1": 0}


def by_agent(hostile_prompts: Iterable[Hostile]) -> None:
    agent, routing = agent_of(policy())
    for hostile in hostile_prompts:
        before = called(routing)
        with capture_decisions() as decisions, suppress(ApprovalRequired):
            agent.invoke({"messages": hostile.messages}, {"metadata": hostile.metadata})
        for decision in decisions:
            keeps_to_the_policy(routing, decision, hostile)
        assert called(routing)["large-1"] == before["large-1"]


DOORS = {"graph": by_graph, "agent": by_agent}


def test_all_prompts_to_the_chat_model_stay_inside_the_policy() -> None:
    by_chat_model(prompts(COUNT))


@pytest.mark.parametrize("door", DOORS)
def test_a_sample_of_the_prompts_stays_inside_the_policy(door: str) -> None:
    every = COUNT // SAMPLE
    DOORS[door]([hostile for at, hostile in enumerate(prompts(COUNT)) if at % every == 0])


@pytest.mark.campaign
@pytest.mark.parametrize("door", DOORS)
def test_all_prompts_stay_inside_the_policy(door: str) -> None:
    DOORS[door](prompts(COUNT))


def test_every_prompt_is_decided_within_5_ms_of_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    model = RoutedChatModel(policy())
    slowest_s, whose = 0.0, ""
    for hostile in prompts(COUNT):
        took_s = least_s(model, hostile)
        if took_s > slowest_s:
            slowest_s, whose = took_s, f"{hostile.attack} in {hostile.carrier}"
    with capsys.disabled():
        print(  # noqa: T201 - a figure to be seen
            f"\n{COUNT:,} hostile prompts: decided in {slowest_s * 1e3:.2f} ms of CPU at most ({whose})"
        )
    assert slowest_s < DECIDED_S


def least_s(model: RoutedChatModel, hostile: Hostile) -> float:
    """Return the CPU seconds of a decision at its best: a busy core makes it slower, never faster."""
    best_s = min(decided_s(model, hostile) for _ in range(3))
    for _ in range(50):
        if best_s < DECIDED_S / 2:
            break
        best_s = min(best_s, decided_s(model, hostile))
    return best_s


def decided_s(model: RoutedChatModel, hostile: Hostile) -> float:
    """Return the CPU seconds of one decision, every feature of the prompt read anew."""
    request = Request(tuple(hostile.messages), metadata=hostile.metadata)
    started_s = time.thread_time()
    plan = model.router.plan(request)
    took_s = time.thread_time() - started_s
    assert {rung.tier for rung in plan.rungs} <= {"small", "medium"}
    return took_s


# What may steer, and how far -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "metadata", "step", "start"),
    [
        ("Hello", {}, "default", "small"),
        ("<document id=1>x</document> urgent?", {}, "synthesis", "medium"),
        ("<document id=1>x</document> why?", {}, "synthesis", "small"),
        ("<document id=1>x</document> why?", {"user_tier": "gold"}, "synthesis", "medium"),
        ("urgent", {}, "default", "small"),  # the default's cascade ends there
    ],
)
def test_words_and_documents_move_the_start_inside_the_steps_cascade(
    text: str, metadata: dict[str, str], step: str, start: str
) -> None:
    with capture_decisions() as decisions, suppress(ApprovalRequired):
        RoutedChatModel(policy()).invoke(text, {"metadata": metadata})
    assert (decisions[-1].step.step, decisions[-1].plan.rungs[0].tier) == (step, start)


@pytest.mark.parametrize(
    ("metadata", "tiers"),
    [
        ({"langroute_step": "special"}, ["large"]),
        ({"langroute_step": "\x1b[31m" + "x" * 10_000}, ["small"]),
        ({"langroute_step": ["special"]}, ["small"]),
        ({"langroute_stakes": "high"}, ["large"]),
        ({"langroute_stakes": "unheard of"}, ["large"]),
        ({"langgraph_node": "special"}, ["large"]),
    ],
)
def test_metadata_of_ours_does_steer_so_it_is_not_for_users_to_say(
    metadata: dict[str, Any], tiers: list[str]
) -> None:
    model = RoutedChatModel(policy())
    with capture_decisions() as decisions:
        model.invoke("Hello", {"metadata": metadata})
    text = json.dumps(decisions[-1].as_dict(), ensure_ascii=False)
    assert [rung.tier for rung in decisions[-1].plan.rungs] == tiers
    assert len(text) < 5_000
    assert printable(text) == text
