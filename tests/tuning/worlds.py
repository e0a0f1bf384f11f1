"""A small world in which it is known what is right: some prompts are hard, and some replies show it."""

from functools import cache
from typing import Any

import numpy as np

from langroute.tuning.outcomes import Outcome, outcome_of
from langroute.tuning.scores import FittedScore, fit_prompt_score, fit_reply_score

TIERS = ("small", "large")
EASY = ("list", "name", "colour", "river", "city", "day", "the", "a", "cat", "of")
HARD = ("prove", "theorem", "integral", "matrix", "bound", "the", "a", "of")


@cache
def world(queries: int = 400, seed: int = 0) -> tuple[Outcome, ...]:
    """Return the outcomes of two tiers on prompts of which half are hard for the small one."""
    rng = np.random.default_rng(seed)
    found = []
    for query in range(queries):
        hard = rng.random() < 0.5
        prompt = " ".join(rng.choice(HARD if hard else EASY, rng.integers(5, 40)))
        right = {"small": rng.random() < (0.25 if hard else 0.9), "large": rng.random() < 0.92}
        for tier in TIERS:
            vague = not right[tier] and rng.random() < 0.7
            row: dict[str, Any] = {
                "query": query,
                "tier": tier,
                "score": float(right[tier]),
                "prompt": prompt,
                "response": "I am sorry, maybe it is so." if vague else f"It is {rng.integers(100)}.",
                "verdicts": {"agreement": float(right[tier]) if rng.random() < 0.8 else 0.5},
            }
            found.append(outcome_of(row))
    return tuple(found)


@cache
def prompt_score(queries: int = 400) -> FittedScore:
    return fit_prompt_score(world(queries), TIERS, step="work")


@cache
def reply_score(queries: int = 800) -> FittedScore:
    return fit_reply_score(world(queries), TIERS, step="work")
