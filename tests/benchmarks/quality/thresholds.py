"""How the library sets a threshold without the test split, and what it comes to there.

The scores are cross-fitted ones of the queries that the score was fitted on.
"""

from typing import Any

import numpy as np

from langroute.tuning.metrics import Pair, used
from langroute.tuning.thresholds import Tuning, tune

__all__ = ["LEAST_SAVED", "came_to", "choose", "routes"]

LEAST_SAVED = 0.1
"""Share of the cost that must be saved for two models to be worth the trouble of one more."""


def choose(score: Any, pair: Pair, floor: float, *, sure: bool) -> Tuning:
    """Return the threshold for a floor of quality: on average, or `sure` by 90 % that the floor is kept.

    Args:
        score: What going to the strong model is expected to win, one a query.
        pair: The same queries.
        floor: Share of the strong model's quality to keep.
        sure: Whether the floor is to be kept with confidence, which is the library's default.
    """
    kept, _ = pair.costs()
    how = "dirichlet" if sure else "conformal"
    # After a reply a threshold is of the reply's own score, and of what is difficult before it.
    sign = -1 if pair.cascade else 1
    return tune(
        sign * np.asarray(score, float),
        pair.yw,
        pair.ys,
        kept,
        pair.cs,
        kind="verify" if pair.cascade else "route",
        floor=floor,
        confidence=0.9,
        method=how,
    )


def came_to(tuning: Tuning, score: Any, pair: Pair, weights: Any = None) -> tuple[float, float]:
    """Return % saved and quality kept (1 is the strong model's); nothing is drafted where it is refused."""
    if tuning.threshold is None:
        return 0.0, 1.0
    if tuning.kind == "route":
        return used(score, pair, tuning.threshold, weights)
    return used(score, pair, float(np.nextafter(-tuning.threshold, np.inf)), weights)


def routes(tuning: Tuning) -> bool:
    """Return whether routing is advised: it is not refused, and worth the trouble."""
    return tuning.saving is not None and tuning.saving >= LEAST_SAVED
