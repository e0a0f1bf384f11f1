"""Seeded decisions for the report's tests: three tiers, five steps, two policies, a change near the end."""

import math
import random
from collections.abc import Iterator
from typing import Any

from langroute.ledger.records import AttemptRecord, DecisionRecord

START_S = 1_790_000_000.0
TIERS = ("small", "medium", "large")
PRICES = {"small": (0.1, 0.4), "medium": (0.6, 2.4), "large": (3.0, 12.0)}
"""USD per million tokens, in and out."""
STEPS = {
    "query_rewrite": (0.24, 0, (), 300, 40),
    "extraction": (0.22, 0, ("schema", "grounded"), 2_400, 220),
    "tool_use": (0.2, 0, ("tool_calls",), 1_700, 90),
    "planning": (0.12, 2, (), 1_100, 260),
    "synthesis": (0.22, 0, ("citations", "no_refusal", "judge"), 3_600, 420),
}
"""Step to its share, the tier it starts at, its verifiers, mean tokens in and out."""
POLICIES = ("b7f1c09a" * 8, "19d4e3aa" * 8)
DAY_S = 86_400.0


def decisions(
    count: int, seed: int = 5, days: float = 60.0, *, changes: bool = True, rated: float = 0.03
) -> Iterator[tuple[DecisionRecord, float | None]]:
    """Yield `count` decisions, oldest first, each with its feedback, which a share has, or None."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    steps = list(STEPS)
    weights = [STEPS[step][0] for step in steps]
    for number in range(count):
        progress = number / max(count, 1)
        at_s = START_S + days * DAY_S * progress + dice.random()
        late = changes and progress > 0.75
        step = dice.choices(
            steps, [w * (2 if late and s == "synthesis" else 1) for s, w in zip(steps, weights, strict=True)]
        )[0]
        hard = min(max(dice.gauss(0.45 if late else 0.33, 0.14), 0.0), 1.0)
        yield _decision(dice, number, at_s, step, hard, rated)


def _decision(
    dice: random.Random, number: int, at_s: float, step: str, hard: float, rated: float
) -> tuple[DecisionRecord, float | None]:
    _, first, verifiers, tokens_in, tokens_out = STEPS[step]
    policy = dice.random() < 0.15
    start = max(first, 1 if policy and step == "synthesis" else 0)
    usage = int(tokens_in * math.exp(dice.gauss(0, 0.35))), int(tokens_out * math.exp(dice.gauss(0, 0.4)))
    tried: list[dict[str, Any]] = []
    tier, why = start, "start"
    while True:
        failed = dice.random() < (0.03 if tier < 2 else 0.012)
        rejected = [v for v in verifiers if dice.random() < hard * (0.28, 0.12, 0.04)[tier]][:1]
        outcome = "failed" if failed else "rejected" if rejected else "accepted"
        tried.append(
            _attempt(dice, number, len(tried), at_s, step, tier, why, outcome, rejected, verifiers, usage)
        )
        if outcome == "accepted" or len(tried) == 5:
            break
        if outcome == "rejected" and tier == 2:
            break
        if outcome == "rejected" and dice.random() < 0.25 and why != "repair":
            why = "repair"
        else:
            why = "fallback" if failed else "escalation"
            tier = tier if failed else tier + 1
    chosen = next((i for i, a in enumerate(tried) if a["outcome"] == "accepted"), None)
    best = (
        None
        if chosen is not None
        else next((i for i, a in reversed(list(enumerate(tried))) if a["outcome"] == "rejected"), None)
    )
    returned = chosen if chosen is not None else best
    if returned is not None:
        tried[returned]["returned"] = 1
    outcome = "accepted" if chosen is not None else "best" if best is not None else "failed"
    used = usage if returned is not None else (0, 0)
    baselines = {t: _usd(t, *used) for t in TIERS}
    if dice.random() < 0.004:
        baselines = dict.fromkeys(TIERS)
    reply = tried[returned] if returned is not None else None
    label = None
    if dice.random() < rated and reply is not None:
        wrong = {"small": 0.11, "medium": 0.06, "large": 0.03}[reply["tier"]] + (
            0.3 if outcome == "best" else 0
        )
        label = 0.0 if dice.random() < wrong else 1.0
    reasons = [
        f"step {step} is bound to small, medium, large",
        f"difficulty {hard:.2f} is below 0.62: start at {TIERS[start]}",
    ]
    rungs = [{"tier": t, "choices": [{"endpoint": f"{t}-a"}, {"endpoint": f"{t}-b"}]} for t in TIERS[start:]]
    attempts = tuple(AttemptRecord(**a) for a in tried)
    return DecisionRecord(
        id=f"{dice.getrandbits(128):032x}",
        decided_at_s=at_s,
        step=step,
        step_source="declared",
        step_reason=f"node {step}",
        mismatch="synthesis" if step == "extraction" and dice.random() < 0.01 else None,
        outcome=outcome,
        tier=reply and reply["tier"],
        endpoint=reply and reply["endpoint"],
        model=reply and reply["model"],
        policy=POLICIES[policy],
        thread=f"thread-{number // 12}",
        run=f"run-{number // 5}",
        node=f"agent/{step}",
        keys={"tenant": "acme"},
        request=None,
        difficulty=hard,
        features={"length": 1.2, "hops": 0.4},
        plan={"step": step, "rungs": rungs, "reasons": reasons},
        spend=[],
        spend_usd=2e-6 if dice.random() < 0.1 else 0.0,
        latency_s=sum(a["latency_s"] + a["judged_s"] for a in tried),
        top_usd=baselines["large"],
        baselines=baselines,
        text_kept="off",
        prompt=None,
        reply=None,
        attempts=attempts,
    ), label


def _usd(tier: str, tokens_in: int, tokens_out: int) -> float:
    price_in, price_out = PRICES[tier]
    return (tokens_in * price_in + tokens_out * price_out) * 1e-6


def _attempt(
    dice, number, place, at_s, step, tier, why, outcome, rejected, verifiers, usage
) -> dict[str, Any]:
    failed = outcome == "failed"
    kind = dice.choice(("timeout", "rate_limit", "server_error")) if failed else None
    endpoint = f"{TIERS[tier]}-{'b' if why == 'fallback' else 'a'}"
    verdicts = (
        []
        if failed
        else [
            {
                "verifier": v,
                "accepted": v not in rejected,
                "reason": "nothing found"
                if v not in rejected
                else f"sentence {dice.randint(1, 9)} has no source",
                "score": round(dice.random(), 2),
                "usable": True,
                "unsure": False,
                "blames_input": False,
                "spend": [],
            }
            for v in verifiers
        ]
    )
    return {
        "decision": "",
        "number": place,
        "mark": place,
        "decided_at_s": at_s,
        "step": step,
        "tier": TIERS[tier],
        "endpoint": endpoint,
        "model": None if failed else f"acme/{endpoint}",
        "why": why,
        "outcome": outcome,
        "returned": 0,
        "failure_kind": kind,
        "failure": {"kind": kind, "remedy": "next_endpoint", "message": f"{endpoint} did not answer"}
        if failed
        else None,
        "input_tokens": None if failed else usage[0],
        "output_tokens": None if failed else usage[1],
        "cache_read_tokens": None if failed else 0,
        "cache_write_tokens": None if failed else 0,
        "reasoning_tokens": None if failed else 0,
        "cost_usd": 0.0 if failed else None if dice.random() < 0.002 else _usd(TIERS[tier], *usage),
        "cost_basis": "priced",
        "checks_usd": 4e-5 if "judge" in verifiers and not failed else 0.0,
        "latency_s": math.exp(dice.gauss((-0.6, 0.0, 0.8)[tier], 0.5)),
        "judged_s": 0.02 if verifiers else 0.0,
        "first_token_s": None,
        "verdicts": verdicts,
    }
