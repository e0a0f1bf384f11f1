"""How many requests each logged one stands for, on either side of a threshold of the start.

Where a policy explores, a request that chance sent to a tier stands for those like it that were not sent
there. What is expected of the rest (`langroute.tuning.offpolicy`) is read off each side of a threshold by
itself, and of those alone that the policy starts alike (post-stratification; Holt and Smith 1979): then the
weights of each part add up to about the number of its requests, what chance sent too often or too seldom
moves no mean, and an interval may count ratings alone.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from langroute.tuning.guarantee import Floats
from langroute.tuning.offpolicy import FOLDS

__all__ = ["Began", "Bools", "Ends", "Sides"]

Bools = NDArray[np.bool_]


class Ends(NamedTuple):
    """Something of each request, from either end of its cascade."""

    top: Floats
    """From the top tier: one line."""
    first: Floats
    """From the first one: a line for each threshold of acceptance."""


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """For each threshold of the start, a line: how many requests each one stands for."""

    top: Floats
    """Of those that start at the top tier."""
    first: Floats
    """Of the others."""

    @classmethod
    def weighed(cls, at_top: Bools, top: "Began", first: "Began") -> Self:
        """Return what each request stands for.

        Args:
            at_top: Thresholds by requests: whether a request starts at the top tier.
            top: Which of them were logged so.
            first: Which were logged as starting at the first tier.
        """
        return cls(_stand_for(at_top, top), _stand_for(~at_top, first))

    def means(self, values: Ends) -> Floats:
        """Return the mean at each threshold of the start, for each of acceptance; NaN for unknown."""
        known = self._total(Ends(*map(np.nan_to_num, values)))
        holes = self._total(Ends(*map(np.isnan, values)))
        means: Floats = np.where(holes > 0, np.nan, known / self.top.shape[1])
        return means

    def squares(self, values: Ends) -> Floats:
        """Return the mean, likewise, of values each of which counts by the square of what it stands for."""
        return Sides(self.top**2, self.first**2).means(values)

    def _total(self, values: Ends) -> Floats:
        total: Floats = self.top @ values.top[:, None] + self.first @ values.first.T
        return total


class Began(NamedTuple):
    """Which requests began at a tier, and why."""

    weights: Floats
    """One over the chance of it; 0 where a request began elsewhere."""
    own: Bools
    """Whether the policy would have it begin there, whatever chance did."""


def _stand_for(side: Bools, began: Began) -> Floats:
    """Return thresholds by requests: what each counts for in the sum that `doubly_robust` makes of a side.

    What is expected of a request is the mean of other folds, of those that the policy would send there as
    well, or would not either; where none were ever sent there, of all that were on that side, else on any.
    """
    stand_for: Floats = side * began.weights
    folds = np.arange(side.shape[1]) % FOLDS
    for alike in (side & began.own, side & ~began.own):
        there = alike * began.weights
        for fold in range(FOLDS):
            inside = folds == fold
            lacking = (alike[:, inside].sum(axis=1) - there[:, inside].sum(axis=1))[:, None]
            others = np.where(inside, 0.0, there)
            for wider in (there, side * began.weights, began.weights):
                others = np.where(others.any(axis=1, keepdims=True), others, wider)
            nothing = np.where(lacking, np.nan, 0.0)
            total = others.sum(axis=1, keepdims=True)
            stand_for += others * np.divide(lacking, total, out=nothing, where=total > 0)
    return stand_for
