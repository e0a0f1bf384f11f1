"""What the report's figures rest on: rates with intervals, quantiles in bounded memory, and drift by PSI."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Quantiles", "Rate", "Shift", "coarsened", "kappa", "psi", "shift", "wilson"]

_Z_95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of counted cases with its 95 % interval; all three are None where nothing was counted."""

    count: int
    of: int
    rate: float | None
    low: float | None
    high: float | None


def wilson(count: int, of: int) -> Rate:
    """Return a share with its 95 % score interval (Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1).

    Unlike the textbook interval it is never empty at 0 or 1, and stays inside [0, 1].
    """
    if of == 0:
        return Rate(count, of, None, None, None)
    share, z2 = count / of, _Z_95**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z_95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return Rate(
        count,
        of,
        share,
        0.0 if count == 0 else max(0.0, centre - half),
        1.0 if count == of else min(1.0, centre + half),
    )


def kappa(both: int, first_only: int, second_only: int, neither: int) -> float | None:
    """Return how far two judges agree beyond chance (Cohen 1960): 1 fully, 0 as chance would.

    None where either always says the same: then there is nothing to agree about.
    """
    total = both + first_only + second_only + neither
    if total in (both + first_only, both + second_only, second_only + neither, first_only + neither):
        return None
    first, second = (both + first_only) / total, (both + second_only) / total
    by_chance = first * second + (1 - first) * (1 - second)
    return ((both + neither) / total - by_chance) / (1 - by_chance)


class Quantiles:
    """Quantiles of positive numbers, each within 1 % of the true one, in bounded memory.

    A histogram with bounds that grow by a constant factor (DDSketch: Masson, Rim and Lee 2019, section 2.1).
    Values below a microsecond count as 0, those above 10^9 as 10^9: at most 1,727 bins.
    """

    __slots__ = ("bins", "count", "total", "zeros")

    ACCURACY = 0.01
    _GROWTH = math.log((1 + ACCURACY) / (1 - ACCURACY))
    _LEAST, _MOST = 1e-6, 1e9

    def __init__(self) -> None:
        self.bins: dict[int, int] = {}
        """Number of a bin to its count; bin i holds what is above growth^(i-1), up to growth^i."""
        self.zeros = 0
        self.count = 0
        self.total = 0.0

    @classmethod
    def bin_of(cls, value: float) -> int:
        """Return the number of the bin that holds a positive value."""
        return math.ceil(math.log(min(value, cls._MOST)) / cls._GROWTH)

    @classmethod
    def middle(cls, number: int) -> float:
        """Return the value that is within 1 % of every value in a bin."""
        return math.exp(number * cls._GROWTH) * (1 - cls.ACCURACY)

    def add(self, value: float) -> None:
        """Count one value; what is no number is left out."""
        if not math.isfinite(value):
            return
        self.count += 1
        self.total += value
        if value < self._LEAST:
            self.zeros += 1
            return
        number = self.bin_of(value)
        self.bins[number] = self.bins.get(number, 0) + 1

    def quantile(self, share: float) -> float | None:
        """Return the value below which `share` of the values lie; None where there are none."""
        if self.count == 0:
            return None
        rank, seen = share * (self.count - 1), self.zeros
        if seen > rank:
            return 0.0
        for number in sorted(self.bins):
            seen += self.bins[number]
            if seen > rank:
                break
        return self.middle(number)

    @property
    def mean(self) -> float | None:
        """The mean, exactly; None where there are no values."""
        return self.total / self.count if self.count else None


# Drift ---------------------------------------------------------------------------------------------------

_UNSEEN = 0.5
"""Added to every cell (Jeffreys' prior): a bin without cases on one side counts much, not infinitely."""

PERMUTATIONS = 999
"""Random divisions a test compares with: the smallest p-value is 1 in 1,000."""

LEAST_SLICES = 6
"""Slices with decisions that either side must have: 6 of 12 can be chosen in 924 ways."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a distribution moved from a reference to recent decisions."""

    psi: float | None
    """Population stability index: below 0.1 small, above 0.25 large; None where a side is empty."""
    p_value: float | None
    """How often chance alone moves it as far; None where there are too few slices of time to say."""
    reference: int
    recent: int
    """Decisions on either side."""


def psi(reference: Sequence[float], recent: Sequence[float]) -> float:
    """Return the population stability index of two histograms over the same bins.

    PSI = sum of (a - e) ln(a / e) over the bins' shares (Siddiqi 2006, p. 136; it is the symmetrised
    divergence of Kullback and Leibler 1951, (2.6)). Half a case is added to every bin of either side.
    """
    bins = range(len(reference))
    before = sum(reference) + _UNSEEN * len(reference)
    after = sum(recent) + _UNSEEN * len(recent)
    total = 0.0
    for i in bins:
        expected, actual = (reference[i] + _UNSEEN) / before, (recent[i] + _UNSEEN) / after
        total += (actual - expected) * math.log(actual / expected)
    return total


def shift(slices: Sequence[Sequence[int]], recent_from: int, seed: int = 0) -> Shift:
    """Return how far the slices from `recent_from` on differ from those before it, and the chance of that.

    The p-value is that of a permutation test whose units are slices of time, not decisions (Ernst 2004,
    section 2): decisions of one run are alike, and to count them as independent would call every
    Monday a drift. The bins must not depend on which side a decision is on.

    Args:
        slices: A histogram a slice of time, oldest first, all over the same bins.
        recent_from: Index of the first recent slice.
        seed: Of the random divisions; the same seed gives the same p-value.
    """
    before, after = _summed(slices[:recent_from]), _summed(slices[recent_from:])
    sides = sum(before), sum(after)
    if not all(sides):
        return Shift(None, None, *sides)
    found = psi(before, after)
    used = [histogram for histogram in slices if any(histogram)]
    recent = sum(1 for histogram in slices[recent_from:] if any(histogram))
    if min(recent, len(used) - recent) < LEAST_SLICES:
        return Shift(found, None, *sides)
    everything, dice = _summed(used), random.Random(seed)  # noqa: S311 - no secret
    as_far = 0
    for _ in range(PERMUTATIONS):
        chosen = _summed(dice.sample(used, recent))
        rest = [total - part for total, part in zip(everything, chosen, strict=True)]
        as_far += psi(rest, chosen) >= found - 1e-12
    return Shift(found, (as_far + 1) / (PERMUTATIONS + 1), *sides)


def _summed(histograms: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*histograms, strict=True)]


def coarsened(slices: Sequence[Sequence[int]], bins: int) -> tuple[list[list[int]], list[int]]:
    """Return histograms with neighbouring bins merged until there are about `bins` with as many cases each.

    The bounds come from all slices together. Returned with them: for each new bin its first old one.
    """
    totals = _summed(slices)
    share, starts, held = sum(totals) / bins, [0], 0.0
    for number, count in enumerate(totals[:-1]):
        held += count
        if count and held >= share * len(starts) and len(starts) < bins and any(totals[number + 1 :]):
            starts.append(number + 1)
    bounds = list(zip(starts, [*starts[1:], len(totals)], strict=True))
    return [[sum(histogram[low:high]) for low, high in bounds] for histogram in slices], starts
