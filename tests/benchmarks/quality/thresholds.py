"""How a threshold is set without the test split, and whether routing is worth it at all.

Both are read off cross-fitted scores of the queries that the score was fitted on.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from quality.metrics import Interval, Pair, interval, paired_threshold, used

__all__ = ["LEAST_SAVED", "Choice", "choose"]

CONFIDENT = 1.2816
"""Normal quantile of 90 %."""
LEAST_SAVED = 10.0
"""% that must be saved for two models to be worth the trouble of one more."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold, what it is expected to save, and whether to route."""

    threshold: float
    saved: Interval
    """% saved on the queries that it was set on, with its bootstrap."""

    @property
    def routes(self) -> bool:
        """Whether routing is advised: the saving is worth it, and surely more than nothing."""
        return bool(np.isfinite(self.threshold) or self.threshold > 0) and (
            self.saved.value >= LEAST_SAVED and self.saved.low > 0
        )


def choose(score: Any, pair: Pair, floor: float, *, sure: bool) -> Choice:
    """Return the threshold for a floor of quality: as estimated, or `sure` by 90 % that the floor is kept."""
    threshold = paired_threshold(score, pair, floor, CONFIDENT if sure else 0.0)
    saved = interval(lambda weights: used(score, pair, threshold, weights)[0], len(pair))
    return Choice(threshold, saved)
