"""Routing is a pure function of the plan and the attempts so far.

    plan = router.plan(request)           # which rungs, in which order, judged how, and why
    move = next_move(plan, attempts)      # Call | Redo | Ask | Accept | Stop

`next_move` has no I/O, no clock and no randomness. The chat model loops over it, the graph reads it
as edges, a replay calls it again. Nothing here knows LangChain; every record is made of plain JSON
types, so that a checkpoint or a log can hold it.

Two words that are never mixed: a reply that came and was *rejected* escalates to the next tier; a
call that *failed* falls back to the next endpoint. A rejection that blames the step's input may go back
to the step that gave the input, where the door can.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from langroute.attempts import Attempt, Failure, Verdict, Why, is_function
from langroute.cost import Spend
from langroute.records import maker

__all__ = [
    "MAX_CALLS",
    "MAX_WAIT_S",
    "Accept",
    "Ask",
    "Attempt",
    "Blame",
    "Call",
    "Choice",
    "Failure",
    "Move",
    "Plan",
    "Redo",
    "Rung",
    "Stop",
    "Verdict",
    "cheaper",
    "exhausted",
    "left_s",
    "made_choice",
    "made_plan",
    "made_rung",
    "next_move",
    "time_limit",
]

MAX_WAIT_S = 2.0
"""Longest wait that a provider may ask for; one that asks for more is left alone, and the next is called."""

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
class Blame:
    """An earlier step that can answer again when a rejection blames the input it gave."""

    step: str
    rung: Rung
    """Where it would start: the rung of its plan above every tier that has replied."""


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
    spend: tuple[Spend, ...] = ()
    """Calls made to plan, beside the step's classifier."""
    deadline_s: float | None = None
    """Seconds that calls and checks have in all; when they are spent, nothing more is called."""
    continue_streams: bool = False
    """Whether a reply that breaks off after part of it was shown is gone on with by the next endpoint."""
    blame: Blame | None = None
    """Where a rejection that blames the input leads; None where there is no going back, or not any more."""

    propensity: float = 1.0
    """How likely the step was to start at this tier, given the request; below 1 where the policy explores."""
    least: str | None = None
    """Lowest tier that limits, stakes, rules and time left, where that is not the cascade's first; scores and
    exploring start the step there or above."""
    arm: str | None = None
    """`main` or `canary` where the policy has a canary: by whose policy this was planned."""
    arm_propensity: float = 1.0
    """How likely the thread was to come to this arm."""

    @property
    def start(self) -> str:
        """Tier at which it starts: of its models, whatever function is asked before them."""
        return next(rung.tier for rung in self.rungs if not is_function(rung.choices[0].endpoint))

    @property
    def may_repeat(self) -> bool:
        """Whether more than one call is possible."""
        rungs = self.rungs
        return len(rungs) > 1 or len(rungs[0].choices) > 1 or self.repairs > 0 or self.blame is not None


@dataclass(frozen=True, slots=True)
class Call:
    """Call this endpoint next."""

    tier: str
    endpoint: str
    why: Why
    wait_s: float = 0.0
    """Seconds to wait before: what a provider asked for that was called too often."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Go back: let an earlier step answer again, from this tier and endpoint on; the visit ends here."""

    step: str
    tier: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a person: whether `call` may be made, or, where it is None, what to do with rejected replies."""

    call: Call | Redo | None
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
    """`stopped` (a fault of the request, or a reply half shown that nobody goes on with) and `cancelled`
    raise the original error."""


Move = Call | Redo | Ask | Accept | Stop

made_choice, made_rung, made_plan = maker(Choice), maker(Rung), maker(Plan)
_made_call, _made_accept = maker(Call), maker(Accept)


def next_move(plan: Plan, attempts: Sequence[Attempt]) -> Move:
    """Return what to do next for a step: the whole cascade, and its only place.

    The first attempt is the first choice of the first rung. An accepted reply ends the step. A
    rejected one is repaired while repairs are left, then escalates to the next rung; one whose input is
    blamed goes back to the earlier step before it escalates, for a larger model has the same input, and
    lacks the same. A failed call falls back to the next endpoint of its rung, then to the next rung; one
    of whose reply a part was shown is gone on with there, and by nobody who must be asked for first. No
    endpoint is called twice but as a repair, or once more after a short wait that it asked for; no tier
    is gone back to, and nothing is called past the plan. Once there is a reply, rejected or not, no call
    starts that cannot end within the latency budget; when the deadline is over, none starts at all.
    """
    if not attempts:
        first = plan.rungs[0]
        return _made_call(first.tier, first.choices[0].endpoint, "start")
    last = attempts[-1]
    if last.outcome == "accepted":
        return _made_accept(len(attempts) - 1)
    if last.outcome == "cancelled":
        return Stop("cancelled")
    if _ends_everything(attempts, last):
        return Stop("stopped")
    question: Ask | None = None
    for move, choice in _continuations(plan, attempts, last) if len(attempts) < MAX_CALLS else ():
        if not _in_time(plan, attempts, choice):
            continue
        # A function costs nothing: the call after it is the step's first that anybody pays for.
        inside = isinstance(move, Call) and (move.tier == last.tier or is_function(last.endpoint))
        if inside or not _needs_approval(plan, choice):
            return move
        if not last.broke_off:
            question = question or Ask(move, _asked_for(move), choice.expected_usd)
    return question or _when_exhausted(plan, attempts)


def _ends_everything(attempts: Sequence[Attempt], last: Attempt) -> bool:
    """Whether `last` failed in a way that no other endpoint can mend.

    A request that is at fault is so everywhere, unless some endpoint has already replied to it.
    """
    if last.failure is None:
        return False
    taken = _replied(attempts) or last.broke_off
    return last.failure.remedy == "raise" or (last.failure.remedy == "stop" and not taken)


def _replied(attempts: Sequence[Attempt]) -> bool:
    """Whether a model has replied: what a function said tells nothing of what models take, and how soon."""
    return any(attempt.outcome == "rejected" and not is_function(attempt.endpoint) for attempt in attempts)


def _asked_for(move: Call | Redo) -> str:
    if isinstance(move, Redo):
        return f"going back to {move.step}, to be done again by {move.endpoint}"
    return f"{move.why} to {move.endpoint}"


def _continuations(
    plan: Plan, attempts: Sequence[Attempt], last: Attempt
) -> Iterator[tuple[Call | Redo, Choice]]:
    """Yield everything that may follow `last`, best first."""
    tried = {attempt.endpoint for attempt in attempts}
    at = [rung.tier for rung in plan.rungs].index(last.tier)
    failed = last.outcome == "failed"
    if (wait_s := _short_wait(plan, attempts, last)) is not None:
        again = next(choice for choice in plan.rungs[at].choices if choice.endpoint == last.endpoint)
        yield Call(last.tier, last.endpoint, "retry", wait_s), again
    if not failed and not last.unsure and not is_function(last.endpoint):
        repaired = sum(attempt.why == "repair" and attempt.tier == last.tier for attempt in attempts)
        if repaired < plan.repairs:
            again = next(choice for choice in plan.rungs[at].choices if choice.endpoint == last.endpoint)
            yield Call(last.tier, last.endpoint, "repair"), again
    if plan.blame is not None and last.blames_input:
        rung = plan.blame.rung
        yield Redo(plan.blame.step, rung.tier, rung.choices[0].endpoint), rung.choices[0]
    too_small = _overflowed_window(plan, attempts)
    rejected = not failed or _replied(attempts)
    # A reply that may not be returned is none: at the top, the rung's other endpoints are asked.
    stays = failed or (at == len(plan.rungs) - 1 and not last.usable)
    for rung in plan.rungs[at if stays else at + 1 :]:
        why: Why = "escalation" if rejected and rung.tier != last.tier else "fallback"
        why = "continuation" if last.broke_off else why
        for choice in rung.choices:
            fits = choice.context_tokens is None or choice.context_tokens > too_small
            if choice.endpoint not in tried and fits:
                yield Call(rung.tier, choice.endpoint, why), choice


def _short_wait(plan: Plan, attempts: Sequence[Attempt], last: Attempt) -> float | None:
    """Return the seconds after which a failed endpoint asked to be called again, once, where they are few."""
    wait_s = last.failure.retry_after_s if last.failure is not None else None
    if wait_s is None or wait_s > MAX_WAIT_S or last.why == "repair" or last.broke_off:
        return None
    left = left_s(plan, attempts)
    if left is not None and wait_s >= left:
        return None
    waited = any(attempt.endpoint == last.endpoint and attempt.why == "retry" for attempt in attempts)
    return None if waited else wait_s


def _overflowed_window(plan: Plan, attempts: Sequence[Attempt]) -> int:
    """Return the largest window in tokens that was too small for the prompt, 0 where none was."""
    full = {a.endpoint for a in attempts if a.failure is not None and a.failure.remedy == "larger_context"}
    choices = (choice for rung in plan.rungs for choice in rung.choices)
    return max((choice.context_tokens or 0 for choice in choices if choice.endpoint in full), default=0)


def _in_time(plan: Plan, attempts: Sequence[Attempt], choice: Choice) -> bool:
    """Whether a call may start.

    A first reply is worth any wait but the deadline's, a better one no more than the latency budget.
    """
    if plan.deadline_s is not None and left_s(plan, attempts) == 0:
        return False
    if plan.latency_budget_s is None or not _replied(attempts):
        return True
    return _spent_s(attempts) + (choice.expected_s or 0.0) <= plan.latency_budget_s


def _spent_s(attempts: Sequence[Attempt]) -> float:
    return sum(attempt.latency_s + attempt.judged_s for attempt in attempts)


def left_s(plan: Plan, attempts: Sequence[Attempt]) -> float | None:
    """Return the seconds that the plan's deadline leaves, None where it has none."""
    return None if plan.deadline_s is None else max(plan.deadline_s - _spent_s(attempts), 0.0)


def time_limit(plan: Plan, attempts: Sequence[Attempt], call: Call, own_s: float | None) -> float | None:
    """Return the seconds that `call` may take, None for any.

    It is the smaller of the endpoint's own limit and of what the deadline leaves, less a reserve for one
    fallback: what the next call is expected to take, a third of what is left where nobody knows, and never
    more than half of it.
    """
    left = left_s(plan, attempts) if plan.deadline_s is not None else None
    if left is None:
        return own_s
    left -= call.wait_s
    failed = Attempt(call.tier, call.endpoint, call.why, "failed")
    following = next(_continuations(plan, [*attempts, failed], failed), None)
    if following is not None:
        expected_s = following[1].expected_s
        left -= min(left / 3 if expected_s is None else expected_s, left / 2)
    return left if own_s is None else min(left, own_s)


def _needs_approval(plan: Plan, choice: Choice) -> bool:
    limit = plan.approve_above_usd
    return limit is not None and (choice.expected_usd is None or choice.expected_usd > limit)


def cheaper(plan: Plan, attempts: Sequence[Attempt]) -> tuple[tuple[Call, float], ...]:
    """Return the calls that a person may name in place of the one asked for: each with its lower USD."""
    asked = next_move(plan, attempts)
    if not isinstance(asked, Ask) or asked.call is None:
        return ()
    return tuple(
        (move, choice.expected_usd)
        for move, choice in _continuations(plan, attempts, attempts[-1])
        if isinstance(move, Call)
        and choice.expected_usd is not None
        and (asked.expected_usd is None or choice.expected_usd < asked.expected_usd)
        and _in_time(plan, attempts, choice)
    )


def exhausted(plan: Plan, attempts: Sequence[Attempt]) -> Move:
    """Return what a step comes to when nothing more is called: its best usable reply, or the end."""
    return _when_exhausted(replace(plan, on_exhausted="best"), attempts)


def _when_exhausted(plan: Plan, attempts: Sequence[Attempt]) -> Move:
    """Return the best usable reply, a question, or the end, as the plan says.

    A last reply that nobody found wrong, because its verifier could not check, is as good as can be had.
    """
    if attempts[-1].broke_off:
        return Stop("stopped")
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
