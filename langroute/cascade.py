"""Routing is a pure function of the plan and the attempts so far.

    plan = router.plan(request)           # which rungs, in which order, judged how, and why
    move = next_move(plan, attempts)      # Call | Ask | Accept | Stop

`next_move` has no I/O, no clock and no randomness. The chat model loops over it, the graph reads it
as edges, a replay calls it again. Nothing here knows LangChain; every record is made of plain JSON
types, so that a checkpoint or a log can hold it.

Two words that are never mixed: a reply that came and was *rejected* escalates to the next tier; a
call that *failed* falls back to the next endpoint.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from langroute.cost import CostBasis, Spend, Usage

__all__ = [
    "MAX_CALLS",
    "Accept",
    "Ask",
    "Attempt",
    "Call",
    "Choice",
    "Failure",
    "Move",
    "Plan",
    "Rung",
    "Stop",
    "Verdict",
    "exhausted",
    "next_move",
]

MAX_CALLS = 25
"""Calls that one plan may make: a step that never validates ends, whatever its policy says."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One endpoint of a rung, as planned for one request."""

    endpoint: str
    expected_usd: float | None = None
    """Expected cost of one call in USD, prompt cache included; None where unknown, or not weighed."""
    expected_s: float | None = None
    """Expected seconds to the whole reply; None where nobody said."""
    context_tokens: int | None = None
    """Context window in tokens; None where unknown."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One tier of a plan and its endpoints, first choice first."""

    tier: str
    choices: tuple[Choice, ...]
    """Never empty."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided for one step before the first call."""

    step: str
    rungs: tuple[Rung, ...]
    """Cheapest first, from the tier the step starts at; never empty."""
    repairs: int = 0
    """How often a rejected endpoint may be told what was found and called once more, per rung."""
    on_exhausted: Literal["best", "raise", "ask"] = "best"
    """What happens when every rung was tried and no reply was accepted."""
    latency_budget_s: float | None = None
    """Seconds within which any call after the first reply must be expected to end, or it does not start."""
    approve_above_usd: float | None = None
    """An escalation expected to cost more than this many USD needs a person's approval."""
    reasons: tuple[str, ...] = ()
    """Why the plan is what it is, in the order in which it was decided."""

    @property
    def may_repeat(self) -> bool:
        """Whether more than one call is possible."""
        return self.repairs > 0 or len(self.rungs) > 1 or len(self.rungs[0].choices) > 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's answer about one reply."""

    verifier: str
    accepted: bool
    reason: str
    """One sentence; a repair passes it on to the model."""
    score: float | None = None
    """How good the reply is in [0, 1], where the verifier can say."""
    usable: bool = True
    """False for a reply that may never be returned, not even as the best there is."""
    unsure: bool = False
    """True where the check itself failed: nothing was found wrong, so there is nothing to repair."""
    spend: tuple[Spend, ...] = ()
    """Calls the verifier made to reach its verdict."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed and what to do about it."""

    kind: str
    """One of the kinds in `langroute.failures`, e.g. `timeout`, `rate_limit`, `context_overflow`."""
    remedy: Literal["next_endpoint", "larger_context", "stop", "raise"]
    """`stop`: the request is at fault; `raise`: part of the reply was shown, so none may replace it."""
    message: str


Why = Literal["start", "escalation", "fallback", "repair"]
Outcome = Literal["accepted", "rejected", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model call made for a step, and what became of it."""

    tier: str
    endpoint: str
    why: Why
    outcome: Outcome
    verdicts: tuple[Verdict, ...] = ()
    failure: Failure | None = None
    model: str | None = None
    """The model's name as the provider reports it."""
    usage: Usage | None = None
    cost_usd: float | None = None
    """USD of this call without its verdicts' own; 0 where the provider did no work, None where unknown."""
    cost_basis: CostBasis = "unknown"
    latency_s: float = 0.0
    """Seconds of the model's call."""
    judged_s: float = 0.0
    """Seconds that the verifiers took."""
    first_token_s: float | None = None
    """Seconds to the first content of a streamed reply."""

    @property
    def merit(self) -> tuple[int, float]:
        """How good a rejected reply still is: checks passed, then the score of the worst check."""
        scores = [v.score if v.score is not None else float(v.accepted) for v in self.verdicts]
        return sum(verdict.accepted for verdict in self.verdicts), min(scores, default=1.0)

    @property
    def unsure(self) -> bool:
        """Whether nothing was found wrong: what rejected the reply is only that it could not be checked."""
        return self.outcome == "rejected" and all(v.accepted or v.unsure for v in self.verdicts)

    @property
    def usable(self) -> bool:
        """Whether the reply may be returned, should nothing better come."""
        return self.outcome in ("accepted", "rejected") and all(v.usable for v in self.verdicts)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the verifiers found wrong, one sentence each."""
        return tuple(f"{v.verifier}: {v.reason}" for v in self.verdicts if not v.accepted)

    @property
    def account(self) -> str:
        """What became of an attempt that gave nothing, in one line: its failure, or what was found wrong."""
        if self.failure is not None:
            return f"{self.endpoint}: {self.failure.kind}: {self.failure.message}"
        return f"{self.endpoint}: {'; '.join(self.findings)}"


@dataclass(frozen=True, slots=True)
class Call:
    """Call this endpoint next."""

    tier: str
    endpoint: str
    why: Why


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a person: whether `call` may be made, or, where it is None, what to do with rejected replies."""

    call: Call | None
    reason: str
    expected_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """Return the reply of attempt `attempt` (an index); `best` where it is only the best of rejected ones."""

    attempt: int
    best: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Return nothing and raise: the original error or all attempts."""

    reason: Literal["stopped", "cancelled", "failed", "exhausted"]
    """`stopped` (a fault of the request, or a reply half shown) and `cancelled` raise the original error."""


Move = Call | Ask | Accept | Stop


def next_move(plan: Plan, attempts: Sequence[Attempt]) -> Move:
    """Return what to do next for a step: the whole cascade, and its only place.

    The first attempt is the first choice of the first rung. An accepted reply ends the step. A
    rejected one is repaired while repairs are left, then escalates to the next rung. A failed call
    falls back to the next endpoint of its rung, then to the next rung. No endpoint is called twice
    but as a repair, no tier is gone back to, and nothing is called past the plan. Once there is a
    reply, rejected or not, no call starts that cannot end within the latency budget.
    """
    if not attempts:
        first = plan.rungs[0]
        return Call(first.tier, first.choices[0].endpoint, "start")
    last = attempts[-1]
    if last.outcome == "accepted":
        return Accept(len(attempts) - 1)
    if last.outcome == "cancelled":
        return Stop("cancelled")
    if _ends_everything(attempts, last):
        return Stop("stopped")
    question: Ask | None = None
    for call, choice in _continuations(plan, attempts, last) if len(attempts) < MAX_CALLS else ():
        if not _in_time(plan, attempts, choice):
            continue
        if call.tier == last.tier or not _needs_approval(plan, choice):
            return call
        question = question or Ask(call, f"{call.why} to {call.endpoint}", choice.expected_usd)
    return question or _when_exhausted(plan, attempts)


def _ends_everything(attempts: Sequence[Attempt], last: Attempt) -> bool:
    """Whether `last` failed in a way that no other endpoint can mend.

    A request that is at fault is so everywhere, unless some endpoint has already replied to it.
    """
    if last.failure is None:
        return False
    return last.failure.remedy == "raise" or (last.failure.remedy == "stop" and not _replied(attempts))


def _replied(attempts: Sequence[Attempt]) -> bool:
    return "rejected" in [attempt.outcome for attempt in attempts]


def _continuations(plan: Plan, attempts: Sequence[Attempt], last: Attempt) -> Iterator[tuple[Call, Choice]]:
    """Yield every call that may follow `last`, best first."""
    tried = {attempt.endpoint for attempt in attempts}
    at = [rung.tier for rung in plan.rungs].index(last.tier)
    failed = last.outcome == "failed"
    if not failed and not last.unsure:
        repaired = sum(attempt.why == "repair" and attempt.tier == last.tier for attempt in attempts)
        if repaired < plan.repairs:
            again = next(choice for choice in plan.rungs[at].choices if choice.endpoint == last.endpoint)
            yield Call(last.tier, last.endpoint, "repair"), again
    too_small = _overflowed_window(plan, attempts)
    rejected = not failed or _replied(attempts)
    for rung in plan.rungs[at if failed else at + 1 :]:
        why: Why = "escalation" if rejected and rung.tier != last.tier else "fallback"
        for choice in rung.choices:
            fits = choice.context_tokens is None or choice.context_tokens > too_small
            if choice.endpoint not in tried and fits:
                yield Call(rung.tier, choice.endpoint, why), choice


def _overflowed_window(plan: Plan, attempts: Sequence[Attempt]) -> int:
    """Return the largest window in tokens that was too small for the prompt, 0 where none was."""
    full = [a.endpoint for a in attempts if a.failure is not None and a.failure.remedy == "larger_context"]
    if not full:
        return 0
    windows = {choice.endpoint: choice.context_tokens or 0 for rung in plan.rungs for choice in rung.choices}
    return max(windows.get(endpoint, 0) for endpoint in full)


def _in_time(plan: Plan, attempts: Sequence[Attempt], choice: Choice) -> bool:
    """Whether a call may start: a first reply is worth any wait, a better one no more than the budget."""
    if plan.latency_budget_s is None or not _replied(attempts):
        return True
    spent_s = sum(attempt.latency_s + attempt.judged_s for attempt in attempts)
    return spent_s + (choice.expected_s or 0.0) <= plan.latency_budget_s


def _needs_approval(plan: Plan, choice: Choice) -> bool:
    limit = plan.approve_above_usd
    return limit is not None and (choice.expected_usd is None or choice.expected_usd > limit)


def exhausted(plan: Plan, attempts: Sequence[Attempt]) -> Move:
    """Return what a step comes to when nothing more is called: its best usable reply, or the end."""
    return _when_exhausted(replace(plan, on_exhausted="best"), attempts)


def _when_exhausted(plan: Plan, attempts: Sequence[Attempt]) -> Move:
    """Return the best usable reply, a question, or the end, as the plan says.

    A last reply that nobody found wrong, because its verifier could not check, is as good as can be had.
    """
    usable = [index for index, attempt in enumerate(attempts) if attempt.usable]
    if not usable:
        return Stop("exhausted" if any(a.outcome == "rejected" for a in attempts) else "failed")
    best = max(usable, key=lambda index: (*attempts[index].merit, index))
    if plan.on_exhausted == "best":
        return Accept(best, best=True)
    if attempts[usable[-1]].unsure:
        return Accept(usable[-1], best=True)
    if plan.on_exhausted == "ask":
        return Ask(None, "every tier was tried and no reply was accepted")
    return Stop("exhausted")
