"""The ways a routed step may take, read off `next_move`: what its drawing shows, no more and no less.

A drawing shows every request at once. So the step is planned for requests of each kind that the planner
tells apart, and every plan is followed through whatever its calls and their judges may come to. What
passes is not drawn: an endpoint that is out for now is passed over along no edge of its own, and one that
asked for a short wait is called once more by its own node. Nor, in a step of many endpoints, what windows and
times pass over.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langroute.cascade import (
    Accept,
    Ask,
    Attempt,
    Blame,
    Call,
    Choice,
    Failure,
    Move,
    Plan,
    Redo,
    Rung,
    Stop,
    Verdict,
    next_move,
)
from langroute.endpoints import Endpoint
from langroute.nodes import Nodes
from langroute.policy import Policy
from langroute.request import Request
from langroute.routing.stakes import STAKES_KEY
from langroute.saved import Saved
from langroute.spec import StepSpec

__all__ = ["possible_plans", "ways"]

_LABELS = (
    *("planned", "stands", "answered", "accepted", "best"),
    *("rejected", "blamed", "failed", "cut", "approved", "refused"),
)
"""What an edge may be called, in the order in which several stand on one edge."""

_BLOCKS = {"images": "image", "audio": "audio", "files": "file"}
"""Capability that a request may need to a content block that needs it."""

_SIZES = tuple(10**power for power in range(8))
"""Prompts in tokens that are tried where a conversation may stay with the endpoint that holds its prefix."""


_EXACT_UP_TO = 6
"""Endpoints of a plan whose every way is followed: with windows, prices and times, nine take seconds."""

_NO = Verdict("", accepted=False, reason="")
_FOUND = (_NO, replace(_NO, usable=False), replace(_NO, unsure=True))
_BLAMING = (replace(_NO, blames_input=True), replace(_NO, usable=False, blames_input=True))


def ways(spec: StepSpec, *, conversing: bool, blamed: bool = False) -> dict[str, dict[str, str]]:
    """Return for each node of a step where it may lead, and what has then happened.

    Looked through once, when the graph is built: 5 ms for two tiers of two endpoints each, 0.1 s for nine
    endpoints that may be repaired.

    Args:
        spec: The step.
        conversing: Whether its prompt may hold an earlier reply, whose endpoint then goes first.
        blamed: Whether a later step may send the graph back to it; where it does no better then, what it
            gave before stands.
    """
    found: dict[str, dict[str, set[str]]] = {}
    arms = spec.in_every_arm()
    for each, plan in ((arm, plan) for arm in arms for plan in possible_plans(arm, conversing=conversing)):
        edges = list(_followed(plan, each))
        if blamed:
            edges.append((spec.nodes.start, "stands", spec.nodes.accept))
            for start in range(len(plan.rungs)):
                again = replace(plan, rungs=plan.rungs[start:], on_exhausted="raise")
                edges += _followed(again, each, unmet=spec.nodes.accept)
        for source, label, target in edges:
            found.setdefault(source, {}).setdefault(target, set()).add(label)
    return {
        source: {target: " or ".join(sorted(labels, key=_LABELS.index)) for target, labels in targets.items()}
        for source, targets in found.items()
    }


def possible_plans(spec: StepSpec, *, conversing: bool) -> set[Plan]:
    """Return the plans of requests of every kind, without what no move depends on."""
    planner, step = spec.model.router.planner, cast("str", spec.step)
    requests = _requests(spec, conversing=conversing)
    plans = {_bare(plan) for request in requests for plan in planner.outlines(request, step)}
    if spec.earlier is None:
        return plans
    # Going back is priced by the call that would be made there: asked for, or not.
    back = [Blame(str(spec.blame), Rung("", (Choice("", usd),))) for usd in (0.0, None)]
    return plans | {replace(plan, blame=blame) for plan in plans for blame in back}


def _requests(spec: StepSpec, *, conversing: bool) -> Iterator[Request]:
    """Yield requests that differ in all that plans are made of, but for rules and difficulty."""
    policy, router = spec.model.policy, spec.model.router
    known = router.endpoints.by_name
    endpoints = [known[name] for tier in spec.nodes.endpoints.values() for name in tier if name in known]
    output_tokens = policy.step(cast("str", spec.step)).expected_output_tokens
    turns = (size for endpoint in endpoints for size in _turns(endpoint, output_tokens, policy))
    sizes = {1, *(size for size in turns if size > 0)}
    if conversing:
        sizes.update(_SIZES)
    lacking = {kind for endpoint in endpoints for kind, can in endpoint.capabilities.items() if not can}
    contents: list[Any] = ["", *([{"type": block}] for kind, block in _BLOCKS.items() if kind in lacking)]
    replies: list[tuple[BaseMessage, ...]] = [()]
    if conversing:
        replies += [(_reply(endpoint.name),) for endpoint in endpoints]
    for content, before, said, tokens in product(contents, replies, _said(policy), sizes):
        for held in {0, tokens} if before else {0}:
            yield _request(spec, (*before, HumanMessage(content)), said, tokens, held)


def _turns(endpoint: Endpoint, output_tokens: int, policy: Policy) -> Iterator[int]:
    """Yield the prompts in tokens between which an endpoint's window ends, and its call wants approval."""
    if window := endpoint.context_tokens:
        yield from (window - output_tokens, window - output_tokens + 1)
    limit_usd = policy.budget.approve_above_usd
    if limit_usd is not None:

        def dear(tokens: int) -> bool:
            usd = endpoint.expected_usd(tokens, output_tokens)
            return usd is None or usd > limit_usd

        first = bisect_left(range(_SIZES[-1]), True, key=dear)  # noqa: FBT003 - what is looked for
        yield from (first - 1, first)


def _reply(endpoint: str) -> BaseMessage:
    return AIMessage("", response_metadata={"langroute": {"endpoint": endpoint}})


def _said(policy: Policy) -> list[Mapping[str, Any]]:
    """Return what callers may say of the stakes: nothing, a level, or what is no level of the policy."""
    return [{}, *({STAKES_KEY: level} for level in (*policy.stakes.levels, 0))]


def _request(
    spec: StepSpec, messages: tuple[BaseMessage, ...], said: Mapping[str, Any], tokens: int, held: int
) -> Request:
    """Return a request of so many tokens, `held` of them in a prompt cache, without writing them out."""
    tools = getattr(spec.binding, "tools", ())
    request = Request(messages, metadata=said, tools=tuple(tools), schema=spec.schema, binding=spec.binding)
    request.__dict__.update(estimated_tokens=tokens, held_tokens=held)
    return request


def _bare(plan: Plan) -> Plan:
    """Return the plan with each price as all that is asked of it: whether its call needs approval.

    Of a plan with many endpoints, windows and times are left out as well, and all calls are dear or none:
    what they pass over multiplies.
    """
    limit = plan.approve_above_usd

    def is_dear(choice: Choice) -> bool:
        return limit is None or choice.expected_usd is None or choice.expected_usd > limit

    choices = [choice for rung in plan.rungs for choice in rung.choices]
    large, any_dear = len(choices) > _EXACT_UP_TO, any(map(is_dear, choices))

    def bare(choice: Choice) -> Choice:
        if large:
            return Choice(choice.endpoint, None if any_dear else 0.0)
        return replace(choice, expected_usd=None if is_dear(choice) else 0.0)

    rungs = tuple(replace(rung, choices=tuple(map(bare, rung.choices))) for rung in plan.rungs)
    if large:
        plan = replace(plan, latency_budget_s=None, deadline_s=None)
    return replace(plan, rungs=rungs, reasons=())


def _followed(plan: Plan, spec: StepSpec, unmet: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield every edge that a plan can lead along: node, what has happened, node.

    Args:
        plan: The plan.
        spec: Its step.
        unmet: Node at which a plan ends that comes to nothing; the step's `fail` when not given.
    """
    nodes, first = spec.nodes, next_move(plan, ())
    yield nodes.start, "planned", nodes.of_move(first)
    under_way: list[tuple[tuple[Attempt, ...], Move]] = [((), first)]
    seen = set()
    while under_way:
        attempts, call = under_way.pop()
        for attempt in _outcomes(plan, cast("Call", call), nodes, stopping=unmet is not None):
            after = (*attempts, attempt)
            standing = _standing(plan, after)
            if standing in seen:
                continue
            seen.add(standing)
            for source, label, move in _moves(plan, nodes, after):
                match move:
                    case None:
                        target = nodes.verify(attempt.tier)
                    case Redo():
                        target = cast("StepSpec", spec.earlier).nodes.start
                    case Stop():
                        target = unmet or nodes.fail
                    case _:
                        target = nodes.of_move(move)
                yield source, label, target
                if isinstance(move, Call):
                    under_way.append((after, move))


def _moves(plan: Plan, nodes: Nodes, attempts: tuple[Attempt, ...]) -> Iterator[tuple[str, str, Move | None]]:
    """Yield where the last attempt leads: node, what has happened, move; None where a judge comes first."""
    last, move = attempts[-1], next_move(plan, attempts)
    if last.broke_off and isinstance(move, Stop):
        return  # raised in the node that made the call
    source, label = nodes.of_move(Call(last.tier, last.endpoint, last.why)), str(last.outcome)
    if last.tier in nodes.judged and label != "failed":
        yield source, "answered", None
        source = nodes.verify(last.tier)
    if isinstance(move, Accept) and move.best:
        label = "best"
    elif isinstance(move, Redo):
        label = "blamed"
    elif last.broke_off:
        label = "cut"
    yield source, label, move
    if isinstance(move, Ask):
        saved = Saved(plan=plan, attempts=attempts, move=move)
        yield nodes.approve, "approved", saved.answer_to("approve")
        yield nodes.approve, "refused", saved.answer_to("refuse")


def _outcomes(plan: Plan, call: Call, nodes: Nodes, *, stopping: bool) -> Iterator[Attempt]:
    """Yield what a call may come to, as far as the next move depends on it."""
    tried = Attempt(call.tier, call.endpoint, call.why, "accepted")
    yield tried
    choices = [choice for rung in plan.rungs for choice in rung.choices]
    # A refused or cut reply that failed may still be returned as the best there is.
    remedies = [("next_endpoint", False), ("next_endpoint", True)]
    remedies += [("larger_context", False)] if any(choice.context_tokens for choice in choices) else []
    remedies += [("continue", False)] if plan.continue_streams else []
    remedies += [("stop", False)] if stopping else []  # elsewhere it is raised in the node that made the call
    budget_s = plan.latency_budget_s
    waits_s = {0.0} if budget_s is None and plan.deadline_s is None else {0.0, math.inf}
    if budget_s is not None:
        waits_s |= {budget_s - (choice.expected_s or 0.0) for choice in choices}
    for latency_s in waits_s:
        for remedy, usable in remedies:
            failure = Failure("", remedy, "", usable)  # type: ignore[arg-type]  # four of its words
            yield replace(tried, outcome="failed", failure=failure, latency_s=latency_s)
        for verdict in (*_FOUND, *(_BLAMING if plan.blame else ())) if call.tier in nodes.judged else ():
            yield replace(tried, outcome="rejected", verdicts=(verdict,), latency_s=latency_s)


def _standing(plan: Plan, attempts: tuple[Attempt, ...]) -> tuple[Any, ...]:
    """Return all of the attempts that what comes after them depends on: equal standings go on alike."""
    last = attempts[-1]
    windows = {choice.endpoint: choice.context_tokens or 0 for rung in plan.rungs for choice in rung.choices}
    overflowed = [a for a in attempts if a.failure is not None and a.failure.remedy == "larger_context"]
    usable = [attempt.unsure for attempt in attempts if attempt.usable]
    return (
        (last.endpoint, last.why == "repair", last.outcome, last.unsure, last.blames_input),
        last.failure is not None and last.failure.remedy == "stop",
        last.broke_off,
        # No tier is gone back to, so what was tried below the last one does not matter.
        frozenset(attempt.endpoint for attempt in attempts if attempt.tier == last.tier),
        sum(attempt.why == "repair" and attempt.tier == last.tier for attempt in attempts),
        max((windows[attempt.endpoint] for attempt in overflowed), default=0),
        any(attempt.outcome == "rejected" for attempt in attempts),
        tuple(usable[-1:]),
        sum(attempt.latency_s for attempt in attempts),
    )
