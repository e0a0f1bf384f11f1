"""A whole log under another policy, step by step: what it would have cost, and how good it would have been.

for found in replay_policy(Policy.load("new.yaml"), logs):
print(found.step, found.whatif.summary)
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from langroute.attempts import Attempt, Verdict, Why, is_function
from langroute.attempts import Outcome as Ended
from langroute.cascade import Plan
from langroute.policy import Policy, StepPolicy
from langroute.tuning.dials import minimum_of, passes
from langroute.tuning.evidence import check_confidence
from langroute.tuning.outcomes import Outcome
from langroute.tuning.replay import Judge, Logged, plan_under, rejudged, rung_of
from langroute.tuning.whatif import WhatIf, what_if
from langroute.verifiers import VERIFIERS
from langroute.verifiers.base import Verifier

__all__ = ["StepReplay", "judge_under", "logs_of", "replay_policy"]


@dataclass(frozen=True, slots=True)
class StepReplay:
    """What one step's log would have come to."""

    step: str
    requests: int
    whatif: WhatIf | None
    """None where it cannot be replayed."""
    unknown: str | None = None
    """Why it cannot be said."""

    @property
    def basis(self) -> str:
        """What the figures rest on: `measured`, `estimate`, or `unknown`."""
        return "unknown" if self.whatif is None or self.whatif.untried else self.whatif.basis

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        figures = {} if self.whatif is None else asdict(self.whatif)
        return {**figures, "step": self.step, "requests": self.requests, "unknown": self.unknown}

    def of_file(self, log: Sequence[Logged]) -> Self:
        """Return it without what a file of outcomes does not hold: times, and of a test what was routed."""
        if self.whatif is None:
            return self
        told = replace(self.whatif, latency_s=None, logged_latency_s=None)
        if all(logged.plan.propensity == 1 for logged in log):
            told = replace(told, logged_quality=None, logged_usd=None, logged_escalated=None)
        return replace(self, whatif=told)


def replay_policy(
    policy: Policy,
    logs: Mapping[str, Sequence[Logged]],
    *,
    confidence: float = 0.9,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[StepReplay]:
    """Return what each step's logged runs would have come to under a policy, those with most runs first.

    Args:
        policy: The other policy.
        logs: Step to its runs.
        confidence: Chance with which the intervals hold.
        progress: Called with how many steps are done, and how many there are.

    Raises:
        ValueError: The confidence is not above 0.5 and below 1.
    """
    check_confidence(confidence)
    found = []
    for number, (step, log) in enumerate(sorted(logs.items(), key=lambda item: -len(item[1])), 1):
        found.append(_replayed(policy, step, log, confidence))
        progress(number, len(logs))
    return found


def _replayed(policy: Policy, step: str, log: Sequence[Logged], confidence: float) -> StepReplay:
    bound = policy.step(step)
    learned = bound.route.learned
    if learned is not None and learned.model.score.embeds:
        why = "its score reads embeddings, which no log holds"
        return StepReplay(step, len(log), None, why)
    try:
        found = what_if(log, plan_under(policy), judge_under(bound), confidence=confidence)
    except ValueError as error:
        return StepReplay(step, len(log), None, str(error))
    return StepReplay(step, len(log), found, found.summary if found.untried else None)


def judge_under(bound: StepPolicy) -> Judge:
    """Return how a step's checks would judge logged replies: its minimums, and only the checks it has.

    A check that is not one of langroute's own, as that of a structured reply, stands as logged. A function
    before the models may have checks in their place.
    """
    function = bound.cascade.function
    ours = _judge(bound.verify)
    if function is None or function.verify is None:
        return ours
    theirs = _judge(function.verify)
    return lambda attempt: (theirs if is_function(attempt.endpoint) else ours)(attempt)


def _judge(checks: Sequence[Verifier]) -> Judge:
    names = [getattr(verifier, "label", verifier.name) for verifier in checks]
    minimums = {each.name: minimum for each in checks if (minimum := minimum_of(each)) is not None}
    again = rejudged(minimums, names)
    dropped = VERIFIERS.keys() - set(names)

    def judge(attempt: Attempt) -> Attempt | None:
        left = tuple(verdict for verdict in attempt.verdicts if verdict.verifier not in dropped)
        return again(replace(attempt, verdicts=left))

    return judge


def logs_of(outcomes: Iterable[Outcome], policy: Policy) -> dict[str, list[Logged]]:
    """Return outcomes of a file as runs that can be replayed, by step: each query with all of its replies.

    A query whose row says where its step started, and with what chance, is a run that started there; one
    that a test put to every tier is a run that tried them all. Tiers that the policy lacks are left out.
    """
    queries: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.tier in policy.tiers:
            queries[outcome.step, outcome.query].append(outcome)
    found: dict[str, list[Logged]] = defaultdict(list)
    for (step, _), replies in queries.items():
        found[step].append(_run(step, replies, policy))
    return dict(found)


def _run(step: str, replies: Sequence[Outcome], policy: Policy) -> Logged:
    """Return one query's replies as a run up the tiers."""
    bound, order = policy.step(step), list(policy.tiers)
    known = sorted(replies, key=lambda each: order.index(each.tier))
    rungs = tuple(rung_of(policy, each.tier) for each in known)
    tried = tuple(
        _attempt(each, rung.choices[0].endpoint, bound, first=not at)
        for at, (each, rung) in enumerate(zip(known, rungs, strict=True))
    )
    chance = next((each.propensity for each in known if each.propensity is not None), 1.0)
    worth = tuple(each.score for each in known)
    first = replies[0]
    return Logged(Plan(step, rungs, propensity=chance), tried, worth, first.difficulty, None, first.prompt)


def _attempt(outcome: Outcome, endpoint: str, bound: StepPolicy, *, first: bool) -> Attempt:
    verdicts = tuple(
        Verdict(name, score >= 0.5, "as recorded", score)  # noqa: PLR2004 - 1 or 0 where there is no score
        for name, score in outcome.verdicts.items()
    )
    ended: Ended = "accepted" if passes(bound, outcome.verdicts) else "rejected"
    why: Why = "start" if first else "escalation"
    return Attempt(outcome.tier, endpoint, why, ended, verdicts, cost_usd=outcome.cost_usd)
