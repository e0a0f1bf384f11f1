"""Logged runs of a step whose truth is known: what any tier would have answered to any request."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from langroute.cascade import Accept, Attempt, Call, Choice, Plan, Rung, Verdict, next_move
from langroute.tuning.replay import Logged

SMALL_USD, LARGE_USD = 0.001, 0.01


@dataclass(frozen=True)
class Question:
    """A request with what would come of it."""

    difficulty: float
    score: float
    """What the verifier says of the small tier's reply."""
    small: float
    large: float

    def answered(self, call: Call, minimum: float) -> Attempt:
        if call.tier == "large":
            sure = Verdict("confidence", accepted=True, reason="as it says", score=1.0)
            return Attempt("large", "large", call.why, "accepted", (sure,), cost_usd=LARGE_USD)
        verdict = Verdict("confidence", self.score >= minimum, "as it says", self.score)
        outcome = "accepted" if verdict.accepted else "rejected"
        return Attempt("small", "small", call.why, outcome, (verdict,), cost_usd=SMALL_USD)


def questions(count: int, rng: np.random.Generator) -> list[Question]:
    difficulty = rng.random(count)
    small = rng.random(count) < 1 - 0.8 * difficulty
    large = rng.random(count) < 0.95
    score = np.clip(0.5 * small + rng.random(count) * 0.5, 0, 1)
    return [Question(*map(float, row)) for row in zip(difficulty, score, small, large, strict=True)]


Start = Callable[[Question], str]


def plan_from(tier: str, propensity: float = 1.0) -> Plan:
    rungs = tuple(Rung(name, (Choice(name),)) for name in ("small", "large"))
    return Plan("work", rungs if tier == "small" else rungs[1:], propensity=propensity)


def run(question: Question, plan: Plan, minimum: float) -> tuple[tuple[Attempt, ...], tuple[float, ...]]:
    """Return the attempts and the qualities of their replies."""
    attempts: list[Attempt] = []
    while isinstance(move := next_move(plan, attempts), Call):
        attempts.append(question.answered(move, minimum))
    assert isinstance(move, Accept)
    return tuple(attempts), tuple(getattr(question, attempt.tier) for attempt in attempts)


def logged(
    asked: list[Question], start: Start, minimum: float, explore: float, rng: np.random.Generator
) -> list[Logged]:
    """Return the log of a policy that starts where `start` says, with a chance `explore` of either tier."""
    log = []
    for question, drawn in zip(asked, rng.random(len(asked)), strict=True):
        own = start(question)
        tier = ("small", "large")[int(drawn / explore)] if drawn < 2 * explore else own
        plan = plan_from(tier, 1 - explore if tier == own else explore)
        attempts, quality = run(question, plan, minimum)
        log.append(Logged(plan, attempts, quality, question.difficulty))
    return log


def truth(asked: list[Question], start: Start, minimum: float) -> tuple[float, float]:
    """Return the mean quality and the mean USD of a policy that explores nothing."""
    qualities, costs = [], []
    for question in asked:
        attempts, quality = run(question, plan_from(start(question)), minimum)
        qualities.append(quality[-1])
        costs.append(sum(attempt.cost_usd or 0.0 for attempt in attempts))
    return float(np.mean(qualities)), float(np.mean(costs))
