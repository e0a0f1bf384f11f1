"""Outcomes without end, and what is learned from them: run in a process of its own."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from worlds import TIERS, world

from langroute.tuning.features import Features
from langroute.tuning.hashing import Hashed
from langroute.tuning.outcomes import Outcome
from langroute.tuning.scores import fit_prompt_score
from langroute.tuning.thresholds import tune

__all__ = ["fitted_and_swept"]


def outcomes(count: int) -> Iterator[Outcome]:
    """Yield outcomes of two tiers, the same few prompts in ever new queries; no two share an object."""
    pool = world(300)
    for number in range(count):
        like = pool[number % len(pool)]
        text = like.prompt.text
        assert text is not None
        prompt = Features(dict(like.prompt.values), Hashed(text.buckets.copy(), text.counts.copy()))
        yield Outcome(f"query {number // len(TIERS)}", like.tier, like.score, prompt)


def fitted_and_swept(count: int, most_queries: int, progress: Callable[[int], None]) -> dict[str, Any]:
    """Return what a fit of `count` outcomes says, and what a sweep of as many requests finds."""
    fitted = fit_prompt_score(outcomes(count), TIERS, most_queries=most_queries, progress=progress)
    rng = np.random.default_rng(4)
    score = rng.random(count)
    cheap, strong = rng.random(count) < score, rng.random(count) < 0.9
    tuning = tune(score, cheap, strong, 0.1, 1.0, floor=0.9)
    return {"queries": fitted.score.trained["queries"], "saving": tuning.saving}
