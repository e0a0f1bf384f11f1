"""Made-up ledgers for tests: seeded, plausible, as long as you like, and written quickly.

    for record in decisions(100_000, seed=7): ...
    fill(ledger, 100_000, seed=7)

Times run forward, one decision every few seconds; drafts are rejected, calls fail, some costs are unknown.
"""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

from langroute import Ledger
from langroute.cost import Price, Usage
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.ledger.rows import write

__all__ = ["START_S", "STEPS", "decisions", "fill"]

START_S = 1_790_000_000.0
"""Unix seconds of the first decision."""

PRICES = {
    "small": Price(0.05, 0.4, 0.005),
    "medium": Price(0.25, 2.0, 0.025),
    "large": Price(1.25, 10.0, 0.125),
}
TIERS = tuple(PRICES)
ENDPOINTS = {tier: (f"{tier}-a", f"{tier}-b") for tier in TIERS}
STEPS = {
    "query_rewrite": (("small",), 400, 40),
    "extraction": (("small", "large"), 2_500, 300),
    "planning": (("large",), 1_500, 250),
    "tool_use": (("small", "medium", "large"), 3_000, 120),
    "synthesis": (("medium", "large"), 6_000, 700),
}
"""Step to its cascade, and its usual tokens in and out."""

_REJECTED, _FAILED, _UNKNOWN = 0.18, 0.04, 0.01
_BATCH = 2_000


def decisions(count: int, seed: int = 0, every_s: float = 5.0) -> Iterator[DecisionRecord]:
    """Yield `count` decisions, oldest first; the same seed gives the same."""
    drawn = random.Random(seed)  # noqa: S311 - a test must be repeatable
    names = list(STEPS)
    at_s = START_S
    for number in range(count):
        at_s += drawn.expovariate(1 / every_s)
        step = drawn.choices(names, (4, 3, 2, 6, 5))[0]
        yield _decision(drawn, f"{drawn.getrandbits(128):032x}", number, step, at_s)


def fill(ledger: Ledger, count: int, seed: int = 0, every_s: float = 5.0) -> int:
    """Write `count` decisions, and return how many rows that made."""
    made, rows = decisions(count, seed, every_s), 0
    while batch := list(islice(made, _BATCH)):
        with ledger.store.transaction() as connection:
            rows += write(connection, batch)
    return rows


def _decision(drawn: random.Random, id: str, number: int, step: str, at_s: float) -> DecisionRecord:
    cascade, tokens_in, tokens_out = STEPS[step]
    attempts = list(_attempts(drawn, id, step, at_s, cascade, tokens_in, tokens_out))
    last = attempts[-1]
    accepted = last.outcome == "accepted"
    baselines = _baselines(last) if accepted else dict.fromkeys(TIERS, 0.0)
    classified = drawn.random() < 0.1
    spend = [{"purpose": "classifier", "endpoint": "small-a", "usage": None, "cost_usd": 2e-5}]
    return DecisionRecord(
        id=id,
        decided_at_s=at_s,
        step=step,
        step_source="classified" if classified else "declared",
        step_reason=f"node {step} matches {step}",
        mismatch="synthesis" if drawn.random() < 0.01 else None,
        outcome="accepted" if accepted else "failed",
        tier=last.tier if accepted else None,
        endpoint=last.endpoint if accepted else None,
        model=last.model if accepted else None,
        policy="0123456789ab" if number % 3 else "ba9876543210",
        thread=f"thread-{number // 20}",
        run=f"run-{number // 5}",
        node=f"agent/{step}",
        keys={"tenant": f"tenant-{drawn.randrange(10)}"},
        request=f"{drawn.getrandbits(64):064x}",
        difficulty=drawn.betavariate(2, 4),
        features={"length": float(tokens_in), "questions": 1.0},
        plan=_plan(step, cascade),
        spend=spend if classified else [],
        spend_usd=2e-5 if classified else 0.0,
        latency_s=sum(attempt.latency_s + attempt.judged_s for attempt in attempts),
        top_usd=baselines["large"],
        baselines=baselines,
        text_kept="off",
        prompt=None,
        reply=None,
        attempts=tuple(attempts),
    )


def _attempts(
    drawn: random.Random, id: str, step: str, at_s: float, cascade: Any, tokens_in: int, tokens_out: int
) -> Iterator[AttemptRecord]:
    usage_in, number, why = max(int(drawn.lognormvariate(0, 0.5) * tokens_in), 1), 0, "start"
    for rung, tier in enumerate(cascade):
        for endpoint in ENDPOINTS[tier]:
            failed = drawn.random() < _FAILED
            rejected = not failed and rung < len(cascade) - 1 and drawn.random() < _REJECTED
            outcome = "failed" if failed else "rejected" if rejected else "accepted"
            usage = None if failed else _usage(drawn, usage_in, tokens_out)
            yield _attempt(drawn, id, step, at_s, number, tier, endpoint, why, outcome, usage)
            number += 1
            if not failed:
                break
            why = "fallback"
        if outcome == "accepted":
            return
        why = "escalation" if outcome == "rejected" else "fallback"


def _usage(drawn: random.Random, tokens_in: int, tokens_out: int) -> Usage:
    cached = int(tokens_in * drawn.choice((0, 0, 0.5)))
    return Usage(tokens_in, max(int(drawn.lognormvariate(0, 0.4) * tokens_out), 1), cached)


def _attempt(
    drawn: random.Random,
    id: str,
    step: str,
    at_s: float,
    number: int,
    tier: str,
    endpoint: str,
    why: str,
    outcome: str,
    usage: Usage | None,
) -> AttemptRecord:
    latency_s = drawn.lognormvariate(0, 0.6) * {"small": 0.5, "medium": 1.2, "large": 3.0}[tier]
    unknown = drawn.random() < _UNKNOWN
    cost = 0.0 if usage is None else None if unknown else PRICES[tier].cost_usd(usage)
    said = {"verifier": "no_refusal", "accepted": outcome == "accepted", "reason": "made up", "score": None}
    judged = {"purpose": "judge", "endpoint": "medium-a", "usage": None, "cost_usd": 1e-4}
    by_judge = usage is not None and step == "synthesis"
    verdict = {
        **said,
        "usable": True,
        "unsure": False,
        "spend": [judged] if by_judge else [],
        "blames_input": False,
    }
    failure = {"kind": "timeout", "remedy": "next_endpoint", "message": "late", "usable": False}
    return AttemptRecord(
        decision=id,
        number=number,
        mark=int(latency_s * 1e6),
        decided_at_s=at_s,
        step=step,
        tier=tier,
        endpoint=endpoint,
        model=None if usage is None else f"model-{endpoint}",
        why=why,
        outcome=outcome,
        returned=int(outcome == "accepted"),
        failure_kind=None if usage else "timeout",
        failure=None if usage else {**failure, "retry_after_s": None},
        input_tokens=usage and usage.input_tokens,
        output_tokens=usage and usage.output_tokens,
        cache_read_tokens=usage and usage.cache_read_tokens,
        cache_write_tokens=usage and 0,
        reasoning_tokens=usage and 0,
        cost_usd=cost,
        cost_basis="unknown" if unknown and usage else "priced",
        checks_usd=1e-4 if by_judge else 0.0,
        latency_s=latency_s,
        judged_s=0.002,
        first_token_s=None,
        verdicts=[] if usage is None else [verdict],
    )


def _baselines(last: AttemptRecord) -> dict[str, float | None]:
    usage = Usage(last.input_tokens, last.output_tokens, last.cache_read_tokens)
    return {tier: price.cost_usd(usage) for tier, price in PRICES.items()}


def _plan(step: str, cascade: tuple[str, ...]) -> dict[str, Any]:
    rungs = [
        {"tier": tier, "choices": [{"endpoint": name, "expected_usd": None} for name in ENDPOINTS[tier]]}
        for tier in cascade
    ]
    reasons = [f"{step} is bound to {', then '.join(cascade)}"]
    return {"step": step, "rungs": rungs, "repairs": 0, "on_exhausted": "best", "reasons": reasons}
