"""The edges drawn for a step are those that `next_move` takes: none is missing, and none is never taken."""

import math
import random
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from langroute import RoutedChatModel, add_routed_step
from langroute.cascade import (
    Accept,
    Ask,
    Attempt,
    Call,
    Choice,
    Failure,
    Plan,
    Rung,
    Stop,
    Verdict,
    next_move,
)
from langroute.errors import AllAttemptsFailed, NoEndpointAvailable
from langroute.request import Request
from langroute.testing import ScriptedChatModel


class State(TypedDict, total=False):
    question: str
    answer: str


class Talk(State, total=False):
    messages: list[Any]


def model(name: str, reply: Any = "x", **settings: Any) -> dict[str, Any]:
    return {"model": ScriptedChatModel(name=name, reply=reply), "name": name, **settings}


def policy(*tiers: list[dict[str, Any]], top: dict[str, Any] | None = None, **step: Any) -> dict[str, Any]:
    names = ["small", "large", "huge"][: len(tiers)]
    written = {name: {"models": models} for name, models in zip(names, tiers, strict=True)}
    return {
        "tiers": written,
        "steps": {"answer": {"cascade": names, "verify": ["not_empty"], **step}},
        **(top or {}),
    }


CHEAP, DEAR = {"price": {"input": 1, "output": 1}}, {"price": {"input": 900, "output": 900}}
BLIND = {"capabilities": {"images": False}}
RULE = {"when": {"keywords": "prove"}, "start": "large"}
HIGH = {"high": {"tier": "huge"}}
ASKING = {"budget": {"approve_above_usd": 0.005}}
POLICIES = {
    "one endpoint": policy([model("a")]),
    "two tiers": policy([model("a")], [model("b")]),
    "nothing to verify": policy([model("a")], [model("b"), model("c")], verify=[]),
    "fallbacks": policy([model("a"), model("b")], [model("c"), model("d")]),
    "three tiers": policy([model("a")], [model("b")], [model("c"), model("d")]),
    "three tiers, rules": policy([model("a")], [model("b")], [model("c")], top={"rules": [RULE]}),
    "repairs": policy([model("a"), model("b")], [model("c")], repair=2),
    "raises": policy([model("a")], [model("b")], on_exhausted="raise"),
    "asks at the end": policy([model("a")], [model("b")], on_exhausted="ask"),
    "approval": policy([model("a", **CHEAP)], [model("b", **DEAR), model("c", **CHEAP)], top=ASKING),
    "unknown price": policy([model("a", **CHEAP)], [model("b")], top=ASKING, on_exhausted="raise"),
    "windows": policy(
        [model("a", context_tokens=2_000)],
        [model("b", context_tokens=2_000), model("c", context_tokens=4_000), model("d")],
    ),
    "no pictures": policy([model("a", **BLIND)], [model("b", **BLIND), model("c")]),
    "in time": policy(
        [model("a", expected_s=1)], [model("b", expected_s=4), model("c", expected_s=2)], latency_budget_s=5
    ),
    "goes on": policy([model("a"), model("b")], [model("c")], continue_streams=True),
    "goes on, nothing to verify": policy([model("a"), model("b")], verify=[], continue_streams=True),
    "goes on, approval": policy(
        [model("a", **CHEAP)], [model("b", **DEAR)], top=ASKING, continue_streams=True, on_exhausted="raise"
    ),
    "stakes above the cascade": policy(
        [model("a")], [model("b")], [model("c")], cascade=["small"], top={"stakes": HIGH}
    ),
}


def graph(written: dict[str, Any], state: Any = State) -> Any:
    builder = StateGraph(state)
    add_routed_step(builder, "answer", written, prompt=lambda state: state["question"], output="answer")
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile()


def drawn(written: dict[str, Any], state: Any = State) -> set[tuple[str, str, str]]:
    edges = graph(written, state).get_graph().edges
    own = [edge for edge in edges if edge.data and edge.data != "raised"]
    return {(e.source, label, e.target) for e in own for label in e.data.split(" or ")}


def planned(written: dict[str, Any], *, talk: bool) -> set[Plan]:
    """The planner's plans for real requests of every size, content, stake, word and earlier reply."""
    router = RoutedChatModel(written).router
    said = [{}, {"langroute_stakes": "high"}, {"langroute_stakes": "?"}]
    replies = [[], *([name] for name in router.endpoints.by_name)] if talk else [[]]
    blocks: list[Any] = ["words", [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]]
    plans = set()
    for metadata, reply, block, size, word in product(
        said, replies, blocks, (1, 6_000, 14_000, 80_000), ("", "prove")
    ):
        before = [
            AIMessage("y" * size, response_metadata={"langroute": {"endpoint": name}}) for name in reply
        ]
        messages = (HumanMessage(word + " x" * (size // 2)), *before, HumanMessage(block))
        try:
            plan = router.plan(Request(messages, step="answer", metadata=metadata))
        except NoEndpointAvailable:
            continue
        rungs = tuple(Rung(rung.tier, tuple(map(dull, rung.choices))) for rung in plan.rungs)
        plans.add(
            Plan(
                plan.step,
                rungs,
                plan.repairs,
                plan.on_exhausted,
                plan.latency_budget_s,
                plan.approve_above_usd,
                continue_streams=plan.continue_streams,
            )
        )
    return plans


def dull(choice: Choice) -> Choice:
    """A choice whose price is only above or below the limit, so that far fewer plans differ."""
    dear = choice.expected_usd is None or choice.expected_usd > 0.005
    return Choice(choice.endpoint, None if dear else 0.0, choice.expected_s, choice.context_tokens)


def outcomes(plan: Plan, call: Call, *, judged: bool) -> Iterator[Attempt]:
    def attempt(outcome: Any, **more: Any) -> Attempt:
        return Attempt(call.tier, call.endpoint, call.why, outcome, **more)

    yield attempt("accepted")
    for seconds in (0.0,) if plan.latency_budget_s is None else (0.0, 2.0, math.inf):
        for failure in (
            Failure("k", "next_endpoint", ""),
            Failure("k", "next_endpoint", "", usable=True),
            Failure("k", "larger_context", ""),
        ):
            yield attempt("failed", failure=failure, latency_s=seconds)
        if plan.continue_streams:
            yield attempt("failed", failure=Failure("k", "continue", ""), latency_s=seconds)
        for usable, unsure in ((True, False), (False, False), (True, True)) if judged else ():
            verdict = Verdict("v", accepted=False, reason="", usable=usable, unsure=unsure)
            yield attempt("rejected", verdicts=(verdict,), latency_s=seconds)


def node(move: Any) -> str:
    match move:
        case Call(why="repair"):
            return f"answer.repair.{move.tier}"
        case Call():
            return f"answer.{move.tier}.{move.endpoint}"
        case Accept():
            return "answer.accept"
        case Ask():
            return "answer.approve"
    return "answer.fail"


def taken(
    plan: Plan, attempts: tuple[Attempt, ...], call: Call, *, judged: bool
) -> Iterator[tuple[str, str, str]]:
    """Every edge on every way from a call on, each way gone to its end."""
    for attempt in outcomes(plan, call, judged=judged):
        after = (*attempts, attempt)
        move, source, label = next_move(plan, after), node(call), attempt.outcome
        if judged and label != "failed":
            yield source, "answered", f"answer.verify.{call.tier}"
            source = f"answer.verify.{call.tier}"
        label = "best" if isinstance(move, Accept) and move.best else label
        if attempt.broke_off:
            if isinstance(move, Stop):
                continue  # the node that was called raises what was shown
            label = "cut"
        yield source, label, node(move)
        if isinstance(move, Ask):
            best = any(a.usable for a in after)
            if move.call is None:
                yield "answer.approve", "approved", "answer.accept"
                yield "answer.approve", "refused", "answer.fail"
            else:
                yield "answer.approve", "approved", node(move.call)
                kept = best and plan.on_exhausted != "raise"
                yield "answer.approve", "refused", "answer.accept" if kept else "answer.fail"
            move = move.call
        if isinstance(move, Call):
            yield from taken(plan, after, move, judged=judged)


@pytest.mark.parametrize("state", [State, Talk])
@pytest.mark.parametrize("name", POLICIES)
def test_drawn_edges_are_those_that_next_move_takes(name: str, state: Any) -> None:
    written = POLICIES[name]
    judged = bool(written["steps"]["answer"]["verify"])
    edges = set()
    for plan in planned(written, talk=state is Talk):
        first = next_move(plan, ())
        edges |= {("answer", "planned", node(first)), *taken(plan, (), first, judged=judged)}
    assert drawn(written, state) == edges


REPLIES = ["good", "good", "", ConnectionError("refused")]


@pytest.mark.parametrize("seed", range(40))
def test_runs_keep_to_the_drawn_edges(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    tiers = [[model(name, chance.choice(REPLIES)) for name in names] for names in ("ab", "cd")]
    compiled = graph(
        policy(*tiers, repair=chance.randint(0, 1), on_exhausted=chance.choice(["best", "raise"]))
    )
    edges = {(edge.source, edge.target) for edge in compiled.get_graph().edges}
    visited = []
    try:
        for shown in compiled.stream({"question": "when?"}, stream_mode="tasks"):
            visited += [shown["name"]] if "input" in shown else []
    except AllAttemptsFailed:
        assert visited[-1] == "answer.fail"
    assert visited[0] == "answer"
    assert set(pairwise(visited)) <= edges


def test_tiers_are_drawn_from_the_cheapest_down() -> None:
    lines = graph(POLICIES["fallbacks"]).get_graph().draw_mermaid().replace("\\2e", ".")
    nodes = ("answer.small.a(", "answer.small.b(", "answer.large.c(", "answer.large.d(", "answer.accept(")
    assert sorted(nodes, key=lines.index) == list(nodes)


def test_fallback_leads_to_the_next_endpoint_alone() -> None:
    failed = {(source, target) for source, label, target in drawn(POLICIES["fallbacks"]) if label == "failed"}
    assert failed == {
        ("answer.small.a", "answer.small.b"),
        ("answer.small.b", "answer.large.c"),
        ("answer.large.c", "answer.large.d"),
        ("answer.large.d", "answer.fail"),
    }


@pytest.mark.parametrize("limit_usd", [0.00065, 0.0037, 0.0152])
def test_dear_tier_is_passed_over_for_one_a_little_cheaper(limit_usd: float) -> None:
    dearer = [model("b", price={"input": 1.1, "output": 1.0})]
    cheaper = [model("c", price={"input": 1.0, "output": 1.0}, context_tokens=15_000)]
    written = policy([model("a")], dearer, cheaper, top={"budget": {"approve_above_usd": limit_usd}})
    failed = {
        target for source, label, target in drawn(written) if (source, label) == ("answer.small.a", "failed")
    }
    assert failed == {"answer.approve", "answer.large.b", "answer.huge.c"}


def test_reply_that_breaks_off_leads_to_the_next_endpoint_and_to_nobody_who_must_be_asked_for() -> None:
    cut = {(source, target) for source, label, target in drawn(POLICIES["goes on"]) if label == "cut"}
    assert cut == {("answer.small.a", "answer.small.b"), ("answer.small.b", "answer.large.c")}
    assert "cut" not in {label for _, label, _ in drawn(POLICIES["goes on, approval"])}
    assert "cut" not in {label for _, label, _ in drawn(POLICIES["fallbacks"])}


def test_step_of_one_tier_has_no_node_for_an_approval_that_nobody_asks_for() -> None:
    nodes = graph(policy([model("a"), model("b")], top=ASKING)).get_graph().nodes
    assert "answer.approve" not in nodes


def test_stakes_that_the_policy_knows_no_level_for_stay_inside_the_cascade() -> None:
    bound = graph(policy([model("a")], [model("b")], cascade=["small"]))
    done = bound.invoke({"question": "when?"}, {"metadata": {"langroute_stakes": "high"}})
    assert done["answer"] == "x"
    assert {node for node in bound.get_graph().nodes if "large" in node} == set()
