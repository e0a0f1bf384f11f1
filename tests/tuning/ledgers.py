"""Logged runs as the ledger keeps them: only the reply that was returned has a rating."""

import dataclasses
from typing import Any

from langroute.cascade import Accept, next_move
from langroute.ledger.records import AttemptRecord, DecisionRecord, FeedbackRecord
from langroute.tuning.replay import Logged, spent_usd


def kept(logged: Logged, number: int = 0, **more: Any) -> tuple[DecisionRecord, float | None]:
    """Return the decision as a ledger has it, and the rating of its reply."""
    move = next_move(logged.plan, logged.attempts)
    chosen = move.attempt if isinstance(move, Accept) else None
    attempts = tuple(_attempt(logged, at, returned=at == chosen) for at in range(len(logged.attempts)))
    returned = None if chosen is None else logged.attempts[chosen]
    told: dict[str, Any] = {
        "id": f"{number:032x}",
        "decided_at_s": 1_790_000_000.0 + number,
        "step": logged.plan.step,
        "step_source": "said",
        "step_reason": "",
        "mismatch": None,
        "outcome": "accepted",
        "tier": returned and returned.tier,
        "endpoint": returned and returned.endpoint,
        "model": None,
        "policy": "p",
        "thread": None,
        "run": None,
        "node": None,
        "keys": {},
        "request": None,
        "difficulty": logged.difficulty,
        "features": {},
        "plan": dataclasses.asdict(logged.plan),
        "spend": [],
        "spend_usd": 0.0,
        "latency_s": sum(a.latency_s + a.judged_s for a in logged.attempts),
        "top_usd": None,
        "baselines": {},
        "text_kept": "off",
        "prompt": None,
        "reply": None,
    }
    label = None if chosen is None or not logged.quality else logged.quality[chosen]
    said = () if label is None else (_feedback(told["id"], label),)
    return DecisionRecord(**told | more, attempts=attempts, feedback=said), label


def _feedback(decision: str, score: float) -> FeedbackRecord:
    return FeedbackRecord(
        id="f",
        given_at_s=1_790_000_000.0,
        decision=decision,
        run=None,
        thread=None,
        score=score,
        source="test",
        comment=None,
        propensity=None,
    )


def _attempt(logged: Logged, at: int, *, returned: bool) -> AttemptRecord:
    attempt = logged.attempts[at]
    spent = spent_usd([dataclasses.replace(attempt, cost_usd=0.0)])
    return AttemptRecord(
        decision="",
        number=at,
        mark=at,
        decided_at_s=0.0,
        step=logged.plan.step,
        tier=attempt.tier,
        endpoint=attempt.endpoint,
        model=None,
        why=attempt.why,
        outcome=attempt.outcome,
        returned=int(returned),
        failure_kind=attempt.failure and attempt.failure.kind,
        failure=attempt.failure and dataclasses.asdict(attempt.failure),
        input_tokens=1,
        output_tokens=1,
        cache_read_tokens=0,
        cache_write_tokens=0,
        reasoning_tokens=0,
        cost_usd=attempt.cost_usd,
        cost_basis="priced",
        checks_usd=spent,
        latency_s=attempt.latency_s,
        judged_s=attempt.judged_s,
        first_token_s=None,
        verdicts=[dataclasses.asdict(verdict) for verdict in attempt.verdicts],
    )
