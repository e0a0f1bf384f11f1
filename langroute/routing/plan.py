"""Before the first call: which rungs a step may climb for this request, where it starts, and why.

The weighings come in a fixed order: what cannot be overruled (boundary, capability, context window, what
is unavailable), stakes, rules, tools, the expected time, the difficulty score, then money with what the
prompt cache is worth. Stakes are a floor. Every later weighing may only raise the start, never lower what
an earlier one demanded; where the tier it wants has no endpoint left, the highest that has takes its place.
A function goes before the models that were chosen, unless stakes, rules or tools demand a higher start.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from langroute.cascade import Choice, Plan, Rung, made_plan
from langroute.cost import Spend
from langroute.decision import StepAnswer
from langroute.difficulty import difficulty
from langroute.effects import Flow
from langroute.errors import NoEndpointAvailable
from langroute.health import Obstacle
from langroute.policy import Policy, RoutePolicy, StepPolicy
from langroute.request import Request
from langroute.routing.explore import explored
from langroute.routing.intent import Embedder
from langroute.routing.learned import LearnedStart
from langroute.routing.limits import Candidates, in_time, reachable, within_boundary
from langroute.routing.money import Till, rungs, stay_or_leave
from langroute.routing.questions import DecisionModel, Told
from langroute.routing.rules import Rules
from langroute.routing.stakes import STAKES_KEY, demanded

if TYPE_CHECKING:
    from langroute.endpoints import Endpoint, Endpoints

__all__ = ["Planner"]


@dataclass(frozen=True, slots=True)
class _Binding:
    """A step's binding with all that can be worked out before there is a request."""

    step: StepPolicy
    bound: str
    """How the step is bound, for the reasons."""
    cascade: tuple[Candidates, ...]
    """The step's tiers with the endpoints inside its boundary."""
    function: Candidates | None
    """The function that is asked before them; None without one."""
    tiers: Mapping[str, Candidates]
    """Every tier of the policy, likewise."""
    outside: Mapping[str, tuple[str, ...]]
    """Why endpoints of a tier are outside the step's boundary."""
    blind: str | None
    """Why no intent may be looked for in this step; None where one may."""
    settled: Plan | None
    """The plan of every request that all its endpoints can take, where nothing else is weighed."""
    every: "tuple[Endpoint, ...]"
    """The endpoints of `cascade`."""


class Planner:
    """Makes the plan of a step for one request; holds what a policy's plans have in common, compiled once."""

    def __init__(
        self,
        policy: Policy,
        endpoints: "Endpoints",
        embedder: Embedder | None = None,
        *,
        difficulty_model: DecisionModel | None = None,
        unavailable: Callable[["Endpoint"], Obstacle | None] | None = None,
        arm: tuple[str | None, float] = (None, 1.0),
    ) -> None:
        """Compile a policy.

        Args:
            policy: The policy; its tiers, rules and stakes are read.
            endpoints: Its endpoints by tier.
            embedder: Embeddings for rules on intent; without it such rules are passed over.
            difficulty_model: Scores the difficulty in place of langroute's own score.
            unavailable: Says what is in the way of calling an endpoint now, None where nothing is; the last
                endpoint of a step stays, whatever it says.
            arm: Which arm the policy is, and how likely a thread is to come to it: see `langroute.arms`.
        """
        self._arm, self._arm_propensity = arm
        self._policy = policy
        self._endpoints = endpoints
        self._ranks = {tier: rank for rank, tier in enumerate(policy.tiers)}
        self._embedder = embedder
        self._rules = Rules(policy, embedder)
        self._difficulty_model = difficulty_model
        self._unavailable = unavailable
        tiers = {tier: Candidates(tier, rank, endpoints.tier(tier)) for tier, rank in self._ranks.items()}
        self._bindings = {name: self._bind(name, step, tiers) for name, step in policy.steps.items()}
        self._default = self._bind("default", policy.default, tiers)

    def _function(self, step: StepPolicy) -> Candidates | None:
        """Return the function that the step begins with, below every tier."""
        rung = step.cascade.function
        return None if rung is None else Candidates(rung.function, -1, self._endpoints.tier(rung.function))

    def _bind(self, name: str, step: StepPolicy, tiers: Mapping[str, Candidates]) -> _Binding:
        inside, outside = {}, {}
        for tier, candidates in tiers.items():
            inside[tier], reasons = within_boundary(candidates, step.boundary, name)
            if reasons:
                outside[tier] = reasons
        function = self._function(step)
        names = (*((f"the function {function.tier}",) if function else ()), *step.cascade)
        bound = f"{name} is bound to {', then '.join(names)}"
        if step.blame is not None:
            bound += f"; in a graph it may go back to {step.blame}"
        cascade = tuple(inside[tier] for tier in step.cascade)
        blind = self._rules.blind(name, step.boundary)
        settled = None if function else self._settled(name, step, bound, cascade)
        every = tuple(endpoint for tier in cascade for endpoint in tier.endpoints)
        return _Binding(step, bound, cascade, function, inside, outside, blind, settled, every)

    def _settled(self, name: str, step: StepPolicy, bound: str, cascade: Sequence[Candidates]) -> Plan | None:
        """Return the plan of a step that leaves nothing to weigh; None where it does.

        Such steps are what most calls are: this saves them half the time of a decision and more. Only a
        person who is asked wants to know what a call is expected to cost.
        """
        weighed = step.stakes or step.latency_budget_s or step.boundary or self._rules
        alone = len(cascade) == 1 and len(cascade[0].endpoints) == 1
        chosen = step.after_tool or step.on_tool_error or step.route != RoutePolicy() or step.explore
        if weighed or (not alone and (chosen or self._policy.budget.approve_above_usd is not None)):
            return None
        made = [
            Rung(
                tier.tier, tuple(Choice(e.name, None, e.expected_s, e.context_tokens) for e in tier.endpoints)
            )
            for tier in cascade
        ]
        return Plan(
            name,
            tuple(made),
            step.repair,
            step.on_exhausted,
            reasons=(bound,),
            deadline_s=step.deadline_s,
            continue_streams=step.continue_streams and not alone,
            arm=self._arm,
            arm_propensity=self._arm_propensity,
        )

    def plan(self, request: Request, answer: StepAnswer) -> Flow[Plan]:
        """Return the plan of the step in `answer`; a flow: embeddings or a decision model may be waited for.

        Raises:
            NoEndpointAvailable: Nothing of the step may be called; the message lists each endpoint and why.
            BudgetExceeded: Nothing may be, and of what could take the request nothing can be paid for.
        """
        binding = self._bindings.get(answer.step, self._default)
        step = binding.step
        till = None
        if request.purse is not None:
            till = Till((yield from request.purse.look()), request, step)
        if (fixed := self._fixed(binding, request, answer, till)) is not None:
            return fixed
        reasons = [binding.bound]
        function = None if answer.unsure or self._has_stakes(binding, request) else binding.function
        tiers = self._reachable(binding, request, answer.step, reasons, till)
        if answer.unsure:
            reasons.append(f"unsure which step this is: starts at its safe tier, {tiers[-1].tier}")
            tiers = tiers[-1:]
        elif self._rules or step.after_tool or step.on_tool_error:
            raised = yield from self._start(tiers, binding, request, answer.step, reasons)
            tiers, function = tiers[raised:], None if raised else function
        if step.latency_budget_s is not None:
            tiers = in_time(tiers, step.latency_budget_s, reasons)
        least = tiers[0].tier
        start, spend = yield from self._scored_start(tiers, binding, request, answer.step, reasons)
        propensity = 1.0
        if step.explore is not None:
            start, propensity = explored(step.explore, tiers, start, request, answer.step, reasons)
        if start:
            tiers = tiers[start:]
        if request.holder is not None:
            tiers = stay_or_leave(
                tiers, request, step.expected_output_tokens, self._policy.cache_margin, reasons
            )
        if function is not None:
            tiers = [function, *tiers]
        limit_usd = self._policy.budget.approve_above_usd
        money_matters = limit_usd is not None or request.holder is not None
        return made_plan(
            answer.step,
            rungs(tiers, request, step.expected_output_tokens, priced=money_matters),
            step.repair,
            step.on_exhausted,
            step.latency_budget_s,
            limit_usd,
            tuple(reasons),
            spend,
            step.deadline_s,
            step.continue_streams,
            propensity=propensity,
            least=None if least == step.cascade[0] else least,
            arm=self._arm,
            arm_propensity=self._arm_propensity,
        )

    def nothing(self, step: str, why: str) -> Plan:
        """Return the plan of a step for which nothing may be called: it stands in the record of that."""
        return Plan(step, (), reasons=(why,), arm=self._arm, arm_propensity=self._arm_propensity)

    def fixed(self, request: Request, answer: StepAnswer) -> Plan | None:
        """Return the plan of a request that leaves nothing to weigh or to wait for; None where it does."""
        if request.purse is not None:
            return None
        return self._fixed(self._bindings.get(answer.step, self._default), request, answer, None)

    def _fixed(
        self, binding: _Binding, request: Request, answer: StepAnswer, till: Till | None
    ) -> Plan | None:
        plan, output_tokens = binding.settled, binding.step.expected_output_tokens
        if plan is None or plan.step != answer.step or answer.unsure or STAKES_KEY in request.metadata:
            return None
        if len(binding.every) > 1 and request.holder is not None:
            return None
        for endpoint in binding.every:
            if (
                endpoint.lacks(request)
                or endpoint.too_small(request, output_tokens)
                or (till is not None and till.too_dear(endpoint))
                or (self._unavailable is not None and self._unavailable(endpoint))
            ):
                return None
        return plan

    def outlines(self, request: Request, step_name: str) -> Iterator[Plan]:
        """Yield the plans of requests like this one, wherever rules, tools and difficulty let them start.

        None where nothing may be called. Who is out for now does not count: that passes.
        """
        binding = self._bindings.get(step_name, self._default)
        step, output_tokens = binding.step, binding.step.expected_output_tokens
        limit_usd = self._policy.budget.approve_above_usd
        left = reachable(self._at_stake(binding, request, []), request, output_tokens, None, [])
        worded = (
            self._rules
            or step.after_tool
            or step.on_tool_error
            or step.route != RoutePolicy()
            or step.explore
        )
        stakes = self._has_stakes(binding, request)
        first: list[Candidates | None] = [binding.function] if binding.function and not stakes else [None]
        first += [None] if worded and first != [None] else []
        for start, function in product(range(len(left) if worded else min(1, len(left))), first):
            tiers = left[start:]
            if step.latency_budget_s is not None:
                tiers = in_time(tiers, step.latency_budget_s, [])
            tiers = stay_or_leave(tiers, request, output_tokens, self._policy.cache_margin, [])
            tiers = tiers if function is None else [function, *tiers]
            made = rungs(tiers, request, output_tokens, priced=limit_usd is not None)
            plan = Plan(step_name, made, step.repair, step.on_exhausted, step.latency_budget_s, limit_usd)
            yield replace(plan, continue_streams=step.continue_streams)

    def _reachable(
        self, binding: _Binding, request: Request, step: str, reasons: list[str], till: Till | None
    ) -> list[Candidates]:
        """Return the tiers that can take the request, that its stakes allow and its budgets pay for."""
        tiers = self._at_stake(binding, request, reasons)
        if binding.outside:
            reasons.extend(reason for tier in tiers for reason in binding.outside.get(tier.tier, ()))
        too_dear = None if till is None else till.too_dear
        output_tokens = binding.step.expected_output_tokens
        left = reachable(tiers, request, output_tokens, self._unavailable, reasons, too_dear)
        if not left and till is not None and till.refusal is not None:
            till.refusal.args = (f"step {step}: {'; '.join(reasons)}",)
            raise till.refusal
        if not left:
            raise NoEndpointAvailable(f"no endpoint may be called for step {step}: {'; '.join(reasons)}")
        return left

    def _has_stakes(self, binding: _Binding, request: Request) -> bool:
        return STAKES_KEY in request.metadata or binding.step.stakes is not None

    def _at_stake(self, binding: _Binding, request: Request, reasons: list[str]) -> Sequence[Candidates]:
        if not self._has_stakes(binding, request):
            return binding.cascade
        demand = demanded(self._policy.stakes, self._ranks, binding.step, request)
        if demand is None:
            return binding.cascade
        reasons.append(demand.reason)
        high_enough = [tier for tier in binding.cascade if tier.rank >= self._ranks[demand.tier]]
        if not high_enough:
            reasons.append(f"the step's cascade ends below {demand.tier}, so {demand.tier} takes its place")
        return high_enough or [binding.tiers[demand.tier]]

    def _start(
        self, tiers: Sequence[Candidates], binding: _Binding, request: Request, step: str, reasons: list[str]
    ) -> Flow[int]:
        """Return the rung to start at after rules and tools."""
        start = 0
        # With one tier an intent decides nothing, and embeddings take longer than all the rest.
        blind = binding.blind or ("the step has one tier" if len(tiers) == 1 else None)
        match = yield from self._rules.first_match(request, step, blind, reasons)
        if match is not None:
            start = self._raised(tiers, start, match.start or tiers[-1].tier, match.reason, reasons)
        for tier, why in _after_tools(binding.step, request):
            start = self._raised(tiers, start, tier, why, reasons)
        return start

    def _raised(
        self, tiers: Sequence[Candidates], start: int, tier: str, why: str, reasons: list[str]
    ) -> int:
        """Return the rung to start at when `tier` is wanted: the first at or above it and `start`."""
        rank = self._ranks[tier]
        at = next((i for i, rung in enumerate(tiers) if rung.rank >= rank), None)
        if at is None:
            reasons.append(
                f"{why}: wants {tier}, clamped to {tiers[-1].tier}, the highest tier there is for the step"
            )
            return len(tiers) - 1
        if at > start or (at == start and tiers[at].tier == tier):
            reasons.append(f"{why}: starts at {tiers[at].tier}")
        else:
            reasons.append(f"{why}: wants {tier}, below where the step starts, so it has no effect")
        return max(at, start)

    def _scored_start(
        self, tiers: Sequence[Candidates], binding: _Binding, request: Request, step: str, reasons: list[str]
    ) -> Flow[tuple[int, tuple[Spend, ...]]]:
        """Return the rung that the step's scores ask for, and what they cost."""
        route, start = binding.step.route, 0
        spend: tuple[Spend, ...] = ()
        if len(tiers) > 1 and route.difficulty is not None:
            told = yield from self._how_hard(request, step, binding.step.boundary, reasons)
            start, spend = (
                self._hard_start(tiers, binding, told, route.difficulty.threshold, reasons),
                told.spend,
            )
        if len(tiers) > 1 and route.learned is not None:
            learned = LearnedStart(route.learned, self._embedder, step, binding.step.boundary)
            start = max(start, (yield from learned.rung(request, [tier.tier for tier in tiers], reasons)))
        return start, spend

    def _hard_start(
        self,
        tiers: Sequence[Candidates],
        binding: _Binding,
        told: Told,
        threshold: float,
        reasons: list[str],
    ) -> int:
        """Return the rung that the difficulty score asks for; the top where a decision model gives none.

        Of n rungs of the step's cascade (counted from 0), a score at or over the threshold starts at
        `1 + floor((score - threshold) / (1 - threshold) * (n - 1))`, at most at the top: the range from the
        threshold to 1 is shared out evenly among the rungs above the first.
        """
        score = told.value
        if score is None:
            return self._raised(tiers, 0, tiers[-1].tier, f"difficulty unknown, as {told.reason}", reasons)
        if score < threshold:
            reasons.append(f"{told.reason} is below {threshold:g}: no higher start")
            return 0
        top = len(binding.cascade) - 1
        share = (score - threshold) / (1 - threshold) if threshold < 1 else 0.0
        wanted = binding.cascade[min(1 + math.floor(share * top), top)]
        return self._raised(tiers, 0, wanted.tier, f"{told.reason} reaches {threshold:g}", reasons)

    def _how_hard(
        self, request: Request, step: str, allowed: Sequence[str] | None, reasons: list[str]
    ) -> Flow[Told]:
        """Return how hard the request is, by the decision model where it may see the prompt."""
        given = self._difficulty_model
        if given is not None and (allowed is None or given.boundary in allowed):
            return (yield from given.difficulty(request))
        if given is not None:
            reasons.append(
                f"{given.name} passed over: it runs in boundary {given.boundary}, which {step} does not allow"
            )
        judged = difficulty(request)
        return Told(judged.score, f"difficulty {judged.score:.2f} ({judged.leading})")


def _after_tools(step: StepPolicy, request: Request) -> list[tuple[str, str]]:
    """Return the tiers that the results ending the conversation ask for, and why."""
    wanted = []
    for message, name in zip(request.last_tool_messages, request.last_tool_names, strict=True):
        if message.status == "error" and step.on_tool_error is not None:
            wanted.append((step.on_tool_error, f"the call of {name or 'a tool'} failed"))
        if name in step.after_tool:
            wanted.append((step.after_tool[name], f"reads the result of {name}"))
    return wanted
