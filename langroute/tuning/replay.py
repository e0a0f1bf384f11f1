"""What a logged run would have come to under another policy: routed again by the function that routed it.

A replay walks the other plan through `next_move` and takes each reply from the log. Where it calls a tier
that was never tried for a request, nobody knows what would have come back, and it says which it is.
`langroute.tuning.whatif` does it for a whole log, and estimates what is missing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from langroute.cascade import Attempt, Call, Choice, Move, Plan, Rung, next_move
from langroute.cost import total_usd
from langroute.policy import Policy

if TYPE_CHECKING:
    from langroute.tuning.features import Features

__all__ = [
    "Judge",
    "Logged",
    "Replan",
    "Replayed",
    "escalated",
    "plan_under",
    "rejudged",
    "replay",
    "rung_of",
    "spent_usd",
]


@dataclass(frozen=True, slots=True)
class Logged:
    """One step as it was planned and tried."""

    plan: Plan
    attempts: tuple[Attempt, ...]
    quality: tuple[float | None, ...] = ()
    """Quality in [0, 1] of each attempt's reply, None where nobody said; () where nothing is known."""
    difficulty: float | None = None
    """Difficulty score of the request, for thresholds on it; None where it was not scored."""
    least: str | None = None
    """Lowest tier that rules and stakes allowed to start at; None for the first of the cascade."""
    prompt: "Features | None" = field(default=None, repr=False)
    """The prompt as values, for learned scores; None where it is not known."""

    @property
    def start(self) -> str:
        """Tier at which the step started."""
        return self.plan.start


@dataclass(frozen=True, slots=True)
class Replayed:
    """How far another plan could be followed through the log."""

    attempts: tuple[Attempt, ...]
    move: Move
    """The last move: an end, a question to a person, or the call that was never made."""
    missing: str | None
    """Tier whose reply the log does not have; None where the replay came to its end."""
    unjudged: bool
    """Whether it has that reply, and not what a check of the other policy says of it."""
    cost_usd: float | None
    """USD of the attempts with their checks; None where a part is unknown."""
    latency_s: float
    quality: float | None
    """Quality of the reply returned, 0 where none was; None where nobody said."""

    @property
    def repairs(self) -> bool:
        """Whether what the log does not have is a repair."""
        return self.missing is not None and not self.unjudged and getattr(self.move, "why", "") == "repair"

    @property
    def escalated(self) -> bool:
        """Whether a rejected reply led to a higher tier, whether or not the log has that tier's."""
        return escalated(self.attempts, getattr(self.move, "why", ""))


Judge = Callable[[Attempt], Attempt | None]
"""Judges a logged reply anew; None where the log does not hold what that would take."""

Replan = Callable[[Logged], Plan]
"""The plan that another policy would have made."""


def replay(logged: Logged, plan: Plan, judge: Judge | None = None) -> Replayed:
    """Return what `plan` would have come to, as far as the log has the replies.

    Args:
        logged: The step as it was tried.
        plan: The plan to follow.
        judge: Judges each reply anew (see `rejudged`); without it the logged verdicts stand.
    """
    attempts: list[Attempt] = []
    taken: list[int] = []
    calls: Counter[str] = Counter()
    move = next_move(plan, attempts)
    missing, unjudged = None, False
    while isinstance(move, Call):
        index = _nth_call(logged.attempts, move.endpoint, calls[move.endpoint])
        found = None if index is None else logged.attempts[index]
        if found is not None and judge is not None:
            found = judge(found)
        if index is None or found is None:
            missing, unjudged = move.tier, index is not None
            break
        calls[move.endpoint] += 1
        taken.append(index)
        attempts.append(replace(found, tier=move.tier, why=move.why))
        move = next_move(plan, attempts)
    latency_s = sum(attempt.latency_s + attempt.judged_s for attempt in attempts)
    quality = _quality(logged, move, taken) if missing is None else None
    return Replayed(tuple(attempts), move, missing, unjudged, spent_usd(attempts), latency_s, quality)


def escalated(attempts: Sequence[Attempt], next_why: str = "") -> bool:
    """Return whether a rejected reply led to a higher tier; a function that had no answer gave no reply.

    Args:
        attempts: The attempts of a step.
        next_why: Why the next call would be made; "" where there is none.
    """
    whys = [*(attempt.why for attempt in attempts[1:]), next_why]
    return any(
        why == "escalation" and not before.declined for before, why in zip(attempts, whys, strict=False)
    )


def spent_usd(attempts: Sequence[Attempt]) -> float | None:
    """Return the USD of attempts with their checks; None where a part is unknown."""
    spent = [attempt.cost_usd for attempt in attempts]
    spent += [spend.cost_usd for a in attempts for verdict in a.verdicts for spend in verdict.spend]
    return total_usd(spent)


def _nth_call(attempts: Sequence[Attempt], endpoint: str, number: int) -> int | None:
    at = [index for index, attempt in enumerate(attempts) if attempt.endpoint == endpoint]
    return at[number] if number < len(at) else None


def _quality(logged: Logged, move: Move, taken: Sequence[int]) -> float | None:
    at = getattr(move, "attempt", None)
    if at is None:
        return 0.0  # nothing was returned
    return logged.quality[taken[at]] if logged.quality else None


def rejudged(minimums: Mapping[str, float], checks: Sequence[str]) -> Judge:
    """Return a judge for other minimum scores: a verdict accepts what reaches the minimum of its verifier.

    Args:
        minimums: Verifier to the score that its verdicts now ask for; the others stand as logged.
        checks: The step's verifiers by name. The first that rejects ends a checking, so that of a reply which
            would now be accepted a later one may never have been asked: then nobody knows.
    """

    def judge(attempt: Attempt) -> Attempt | None:
        if attempt.outcome not in ("accepted", "rejected"):
            return attempt
        verdicts = tuple(
            replace(verdict, accepted=verdict.score >= minimums[verdict.verifier])
            if verdict.score is not None and verdict.verifier in minimums
            else verdict
            for verdict in attempt.verdicts
        )
        if not all(verdict.accepted for verdict in verdicts):
            return replace(attempt, outcome="rejected", verdicts=verdicts)
        if not {verdict.verifier for verdict in verdicts}.issuperset(checks):
            return None
        return replace(attempt, outcome="accepted", verdicts=verdicts)

    return judge


def plan_under(policy: Policy) -> Replan:
    """Return how a policy would have planned logged steps: cascade, scores, repairs and limits.

    Rules and stakes are what they were (`Logged.least`); what was unavailable, and the prompt cache, are not
    looked at. Exploring is left out: the policy is judged by what it would choose itself.
    """

    def replan(logged: Logged) -> Plan:
        step = policy.step(logged.plan.step)
        ranks = {tier: rank for rank, tier in enumerate(policy.tiers)}
        lowest = ranks.get(logged.least or "", 0)
        tiers = [tier for tier in step.cascade if ranks[tier] >= lowest] or [step.cascade[-1]]
        route = step.route.difficulty
        if route is not None and logged.difficulty is not None and logged.difficulty >= route.threshold:
            share = (logged.difficulty - route.threshold) / max(1 - route.threshold, 1e-12)
            top = len(step.cascade) - 1
            wanted = ranks[step.cascade[min(1 + int(share * top), top)]]
            tiers = [tier for tier in tiers if ranks[tier] >= wanted] or tiers[-1:]
        if step.route.learned is not None and logged.prompt is not None:
            learned, scored = step.route.learned, list(tiers)
            start, _ = learned.model.score.start(logged.prompt, scored, learned.threshold)
            tiers = scored[start:]
        known = {rung.tier: rung for rung in logged.plan.rungs}
        rungs = [known.get(tier) or rung_of(policy, tier) for tier in tiers]
        function = step.cascade.function
        if function is not None and logged.least is None:
            rungs.insert(0, Rung(function.function, (Choice(function.endpoint),)))
        return Plan(
            logged.plan.step,
            tuple(rungs),
            step.repair,
            step.on_exhausted,
            step.latency_budget_s,
            policy.budget.approve_above_usd,
            deadline_s=step.deadline_s,
            continue_streams=step.continue_streams,
        )

    return replan


def rung_of(policy: Policy, tier: str) -> Rung:
    """Return a tier of a policy as a rung, nothing known of its cost."""
    specs = policy.tiers[tier].models
    names = (spec.name or f"{tier} {number}" for number, spec in enumerate(specs, 1))
    choices = (Choice(name, None, spec.expected_s) for name, spec in zip(names, specs, strict=True))
    return Rung(tier, tuple(choices))
