"""How a step that gave no reply is told: the outcome of its decision, and its error in words."""

from collections.abc import Sequence
from typing import Literal

from langroute.attempts import Attempt
from langroute.cascade import Ask, Plan
from langroute.errors import AllAttemptsFailed, ApprovalRequired, LedgerError, NoEndpointAvailable

__all__ = ["ending_of", "obituary", "question"]


def ending_of(
    error: BaseException, attempts: Sequence[Attempt]
) -> Literal["ask", "exhausted", "failed", "stopped", "cancelled"]:
    """Return the outcome of a decision that gave no reply."""
    if isinstance(error, ApprovalRequired):
        return "ask"
    if isinstance(error, AllAttemptsFailed):
        return "exhausted" if any(attempt.outcome == "rejected" for attempt in attempts) else "failed"
    if isinstance(error, NoEndpointAvailable | LedgerError):
        return "failed"
    return "stopped" if attempts and attempts[-1].outcome == "failed" else "cancelled"


def obituary(plan: Plan, attempts: Sequence[Attempt], errors: Sequence[Exception]) -> AllAttemptsFailed:
    """Return the error of a step whose attempts all failed or were rejected."""
    rejected = any(attempt.outcome == "rejected" for attempt in attempts)
    how = "no reply was accepted" if rejected else "every call failed"
    many = f"{len(attempts)} attempt{'s' if len(attempts) != 1 else ''}"
    left_out = (
        reason for reason in plan.reasons if reason.startswith("skipped ")
    )  # an open circuit among others
    return AllAttemptsFailed("; ".join((f"step {plan.step}: {how} in {many}", *left_out)), errors)


def question(plan: Plan, ask: Ask) -> str:
    """Return what is told where a person must decide and the door cannot ask one."""
    if ask.call is None:
        return (
            f"step {plan.step}: {ask.reason}; a person must decide, and of langroute's doors only a step"
            " drawn as nodes (`add_routed_step`) can ask one"
        )
    cost = "an unknown amount" if ask.expected_usd is None else f"{ask.expected_usd:.4f} USD"
    return (
        f"step {plan.step}: {ask.reason} is expected to cost {cost}, above approve_above_usd; a person must"
        " approve it, and of langroute's doors only a step drawn as nodes (`add_routed_step`) can ask one"
    )
