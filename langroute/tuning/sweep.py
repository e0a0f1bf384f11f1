"""What every threshold would save and cost in quality, and which of them keep the floor for sure.

Rows are counted once into a small table (thresholds by outcomes), and everything else reads the table: a
million rows are swept, redrawn two hundred times, or taken without one tenant, in the time of a thousand.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from langroute.tuning.evidence import Rows, summed
from langroute.tuning.guarantee import Floats

__all__ = ["Kind", "Side", "Sweep", "Table", "candidates", "sweep"]

Kind = Literal["verify", "route"]
"""`verify`: the score is of the cheap reply, which is paid for and accepted where it reaches the threshold.
`route`: the score is a difficulty, known before; where it reaches the threshold the strong tier is called
and the cheap one is not."""

_MAX_VALUES = 400
"""Values of `routed - floor * strong` that the table tells apart; more are rounded down to as many."""

_SPECK = 1e-7
"""Weight below which a cell is empty: what rounding leaves, far below one row."""

_DIGITS = 4
"""Digits of a threshold, counted from the size of the range of the scores."""


def candidates(score: Floats, kind: Kind, count: int = 100) -> Floats:
    """Return the thresholds that are tried, safest first: quantiles of the scores; no outcome is read.

    Args:
        score: The scores.
        kind: What the threshold does.
        count: How many quantiles; a hundred steps leave less than a point of saving on the table.
    """
    spread = float(score.max() - score.min()) or 1.0
    digits = max(0, _DIGITS - int(np.floor(np.log10(spread))))
    found = np.quantile(score, np.arange(count + 1) / count, method="nearest")
    if kind == "verify":
        # Rounded down, so that the score it stands for still reaches it.
        return np.unique(np.floor(found * 10**digits) / 10**digits)[::-1]
    above = np.floor(found * 10**digits + 1) / 10**digits
    within = score.min() >= 0 and score.max() <= 1
    return np.unique(np.minimum(above, 1.0) if within else above)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows counted by the first threshold that keeps them cheap, and by what either tier adds to the mean.

    A row adds `quality - floor * strong`: the mean is at least 0 where the floor is kept.
    """

    lowest: float
    """The least that any row could add."""
    cheap: "Side"
    """What the rows add where the cheap tier answers."""
    strong: "Side"
    """What they add where the strong tier does."""

    @classmethod
    def count(cls, rows: Rows, first: NDArray[np.intp], thresholds: int, floor: float) -> Self:
        """Count the rows, whose index of the first threshold that keeps them cheap is `first`."""
        cheap, strong = (
            Side.count(quality - floor * rows.strong, rows.weights, first, thresholds + 1)
            for quality in (rows.cheap, rows.strong)
        )
        return cls(-floor * float(rows.weights.max()), cheap, strong)

    def without(self, left_out: NDArray[np.intp], weights: Floats) -> Self:
        """Return the table without the rows of these indices; `weights` are those of all rows."""
        return replace(
            self, cheap=self.cheap.without(left_out, weights), strong=self.strong.without(left_out, weights)
        )

    def grouped(self) -> tuple[Floats, Floats]:
        """Return values and counts of the groups at every threshold, as the p-values take them.

        Rows of one value but of several weights stand for as many rows of one weight as have the same sum
        and the same variance.
        """
        mass, squares = self._mass, _at_thresholds(self.cheap.squares, self.strong.squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            counts = np.where(mass > 0, mass**2 / squares, 0.0)
            each = np.where(mass > 0, squares / mass, 0.0)
        return each * self._values, counts

    @cached_property
    def _values(self) -> Floats:
        return np.concatenate([self.cheap.values, self.strong.values])

    @cached_property
    def _mass(self) -> Floats:
        return _at_thresholds(self.cheap.mass, self.strong.mass)

    @cached_property
    def mean(self) -> Floats:
        """Mean of what the rows add, at every threshold."""
        added: Floats = self._mass @ self._values / self._mass.sum(axis=1)
        return added

    @cached_property
    def deviation(self) -> Floats:
        """Standard deviation of one row of weight 1, at every threshold."""
        squares = self._mass @ self._values**2 / self._mass.sum(axis=1)
        spread: Floats = np.sqrt(np.maximum(squares - self.mean**2, 0.0))
        return spread


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The rows as one of the tiers answers them, counted by first threshold and by what they add."""

    values: Floats
    """What a row may add, each once."""
    mass: Floats
    """Weight by first threshold (one more for the rows that no threshold keeps cheap) and value."""
    squares: Floats
    """Squared weights, likewise."""
    cell: NDArray[np.intp]
    """In which of those cells each row is."""

    @classmethod
    def count(cls, added: Floats, weights: Floats, first: NDArray[np.intp], size: int) -> Self:
        """Count rows that add `added`."""
        values, at = _grouped(added)
        cell = first * len(values) + at
        counted = (summed(cell, power, size * len(values)) for power in (weights, weights**2))
        mass, squares = (each.reshape(size, len(values)) for each in counted)
        return cls(values, mass, squares, cell)

    def without(self, left_out: NDArray[np.intp], weights: Floats) -> Self:
        """Return this without the rows of these indices."""
        cell, gone = self.cell[left_out], weights[left_out]
        mass = self.mass - summed(cell, gone, self.mass.size).reshape(self.mass.shape)
        squares = self.squares - summed(cell, gone**2, self.mass.size).reshape(self.mass.shape)
        # A difference of sums may leave a speck where nothing is.
        empty = mass < _SPECK
        return replace(self, mass=np.where(empty, 0.0, mass), squares=np.where(empty, 0.0, squares))


def _grouped(added: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the values that occur, and the index of each row's."""
    values, at = np.unique(np.round(added, 9), return_inverse=True)
    if len(values) > _MAX_VALUES:
        width = 2.0 / _MAX_VALUES
        values, at = np.unique(np.floor(added / width) * width, return_inverse=True)
    return values, at


def _at_thresholds(cheap: Floats, strong: Floats) -> Floats:
    """Return, for every threshold, the cheap cells of the rows it keeps, the strong cells of the others."""
    kept = np.cumsum(cheap, axis=0)[:-1]
    sent: Floats = strong.sum(axis=0) - np.cumsum(strong, axis=0)[:-1]
    return np.hstack([kept, np.where(sent > _SPECK, sent, 0.0)])


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Every threshold with what it would have saved and kept on the rows."""

    kind: Kind
    thresholds: Floats
    """Safest first."""
    first: NDArray[np.intp]
    """For each row, the index of the first threshold that keeps it cheap; their number where none does."""
    quality: Floats
    """Mean quality at each threshold."""
    saving: Floats
    """Share of the cost of the strong tier everywhere; negative where a draft costs more than it saves."""
    escalated: Floats
    """Share of the requests that reach the strong tier."""
    table: Table


def sweep(rows: Rows, kind: Kind, floor: float, thresholds: Floats | None = None) -> Sweep:
    """Return what every threshold would have come to.

    Args:
        rows: Outcomes of both tiers; the scores must not be fitted to them (held out, or cross-fitted).
        kind: What the threshold does.
        floor: Share of the strong tier's quality that is to be kept.
        thresholds: Those to try, safest first; by default `candidates`.
    """
    tried = candidates(rows.score, kind) if thresholds is None else thresholds
    if kind == "verify":
        first = np.searchsorted(-tried, -rows.score, side="left")
    else:
        first = np.searchsorted(tried, rows.score, side="right")
    weights = rows.weights
    drafted = rows.cheap_usd if kind == "verify" else 0.0
    baseline = float(weights @ rows.strong_usd)
    return Sweep(
        kind,
        tried,
        first,
        _totals(first, len(tried), weights * rows.cheap, weights * rows.strong) / weights.sum(),
        1
        - _totals(first, len(tried), weights * rows.cheap_usd, weights * (drafted + rows.strong_usd))
        / baseline,
        _totals(first, len(tried), np.zeros(len(rows)), weights) / weights.sum(),
        Table.count(rows, first, len(tried), floor),
    )


def _totals(first: NDArray[np.intp], thresholds: int, cheap: Floats, strong: Floats) -> Floats:
    """Return, for every threshold, the sum of `cheap` over rows it keeps and of `strong` over the others."""
    kept = np.cumsum(summed(first, cheap, thresholds + 1))[:-1]
    sent = np.cumsum(summed(first, strong, thresholds + 1)[::-1])[::-1][1:]
    total: Floats = kept + sent
    return total
