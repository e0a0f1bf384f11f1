"""The finished record of one step: what the reply's metadata, the observers and the ledger are given."""

from dataclasses import dataclass
from typing import Any, Literal

from langroute.cascade import Attempt, Plan, Verdict
from langroute.cost import Spend, Usage, total_usd
from langroute.records import maker

__all__ = ["Decision", "StepAnswer", "made_decision"]


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """Which step a call is, and how that is known."""

    step: str
    source: Literal["said", "declared", "seen", "classified", "default"]
    reason: str
    mismatch: str | None = None
    """The step that the call's shape suggests, where the declared one differs: a useful alarm."""
    unsure: bool = False
    """True where the classifier failed or was late: the step then goes to its safe tier."""
    spend: tuple[Spend, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The finished record of one step: how it was known, what was planned and tried, what came of it."""

    call_id: str
    step: StepAnswer
    plan: Plan
    attempts: tuple[Attempt, ...]
    outcome: Literal["accepted", "best", "exhausted", "failed", "stopped", "cancelled", "ask", "blamed"]
    """`blamed`: the step went back to the one that gave its input; it is decided anew when led to again."""
    chosen: int | None = None
    """Index of the attempt whose reply was returned; None where none was."""
    spend: tuple[Spend, ...] = ()
    """Classifiers' calls, before the first attempt; embeddings, which report no usage, are not here."""
    began_at_s: float | None = None
    """When the step began, in seconds since 1970; None where that was not kept."""

    @property
    def cost_usd(self) -> float | None:
        """USD of everything: attempts, rejected drafts, judges, classifiers; None when a part is unknown."""
        if len(self.attempts) == 1 and not (self.spend or self.attempts[0].verdicts):
            return self.attempts[0].cost_usd  # most calls: nothing to add up
        costs = [spend.cost_usd for spend in self.spend] if self.spend else []
        for attempt in self.attempts:
            costs.append(attempt.cost_usd)
            for verdict in attempt.verdicts:
                costs.extend([spend.cost_usd for spend in verdict.spend] if verdict.spend else ())
        return total_usd(costs)

    @property
    def latency_s(self) -> float:
        """Seconds spent in the attempts and in judging them."""
        spent_s = 0.0
        for attempt in self.attempts:
            spent_s += attempt.latency_s + attempt.judged_s
        return spent_s

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types: what `response_metadata["langroute"]` holds.

        Beside the fields: `tier`, `endpoint` and `model` of the reply returned (None where none was),
        `reason` (one line), `cost_usd` (USD, None when unknown).
        """
        step, plan, attempts = self.step, self.plan, self.attempts
        chosen = attempts[self.chosen] if self.chosen is not None else None
        # Loops over what mostly has one element: a comprehension is a call of its own (until Python 3.12).
        rungs, tried = [], []
        for rung in plan.rungs:
            choices = rung.choices
            names = [choices[0].endpoint] if len(choices) == 1 else [choice.endpoint for choice in choices]
            rungs.append({"tier": rung.tier, "endpoints": names})
        for attempt in attempts:
            tried.append(_attempt_dict(attempt))  # noqa: PERF401 - as above
        return {
            "call_id": self.call_id,
            "step": step.step,
            "step_source": step.source,
            "step_reason": step.reason,
            "mismatch": step.mismatch,
            "tier": chosen and chosen.tier,
            "endpoint": chosen and chosen.endpoint,
            "model": chosen and chosen.model,
            "outcome": self.outcome,
            "chosen": self.chosen,
            "reason": "; ".join(plan.reasons),
            "rungs": rungs,
            "propensity": plan.propensity,
            "arm": plan.arm,
            "arm_propensity": plan.arm_propensity,
            "blame": plan.blame and plan.blame.step,
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
            "attempts": tried,
            "spend": [_spend_dict(spend) for spend in self.spend] if self.spend else [],
        }


made_decision = maker(Decision)


# Written out: `dataclasses.asdict` takes four times as long, on every call.
def _attempt_dict(attempt: Attempt) -> dict[str, Any]:
    usage, failure = attempt.usage, attempt.failure
    return {
        "tier": attempt.tier,
        "endpoint": attempt.endpoint,
        "why": attempt.why,
        "outcome": attempt.outcome,
        "model": attempt.model,
        "verdicts": [_verdict_dict(verdict) for verdict in attempt.verdicts] if attempt.verdicts else [],
        "failure": failure and {name: getattr(failure, name) for name in ("kind", "remedy", "message")},
        "usage": usage and _usage_dict(usage),
        "cost_usd": attempt.cost_usd,
        "cost_basis": attempt.cost_basis,
        "latency_s": attempt.latency_s,
        "judged_s": attempt.judged_s,
        "first_token_s": attempt.first_token_s,
    }


def _verdict_dict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verifier": verdict.verifier,
        "accepted": verdict.accepted,
        "reason": verdict.reason,
        "score": verdict.score,
        "usable": verdict.usable,
        "unsure": verdict.unsure,
        "blames_input": verdict.blames_input,
        "spend": [_spend_dict(spend) for spend in verdict.spend],
    }


def _spend_dict(spend: Spend) -> dict[str, Any]:
    return {
        "purpose": spend.purpose,
        "endpoint": spend.endpoint,
        "usage": spend.usage and _usage_dict(spend.usage),
        "cost_usd": spend.cost_usd,
    }


def _usage_dict(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
