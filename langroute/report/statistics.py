"""What the report's figures rest on: rates with intervals, quantiles in bounded memory, and drift by PSI."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

__all__ = [
    "Z_95",
    "Kappa",
    "Quantiles",
    "Rate",
    "Shift",
    "Weighed",
    "by_chance",
    "coarsened",
    "kappa",
    "psi",
    "shift",
    "student_95",
    "wilson",
]


Z_95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


def student_95(freedom: int) -> float:
    """Return Student's quantile of a two-sided 95 % interval, for 9 degrees of freedom or more within 0.001.

    The first terms of its expansion about the normal one (Abramowitz and Stegun 1972, 26.7.5).
    """
    z, v = Z_95, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of counted cases with its 95 % interval; all three are None where nothing was counted."""

    count: int
    of: int
    rate: float | None
    """`count` of `of`, but for cases of a drawn sample: there each stands for those that were not drawn."""
    low: float | None
    high: float | None


def wilson(count: int, of: int) -> Rate:
    """Return a share with its 95 % score interval (Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1).

    Unlike the textbook interval it is never empty at 0 or 1, and stays inside [0, 1].
    """
    return _rate(count, of, count / of, of) if of else Rate(count, of, None, None, None)


def _rate(count: int, of: int, share: float, effective: float) -> Rate:
    """Return a share with the interval that so many cases of equal weight would give it."""
    z2 = Z_95**2
    centre = (share + z2 / (2 * effective)) / (1 + z2 / effective)
    half = Z_95 / (1 + z2 / effective)
    half *= math.sqrt(share * (1 - share) / effective + z2 / (4 * effective * effective))
    low = 0.0 if count == 0 else max(0.0, centre - half)
    return Rate(count, of, share, low, 1.0 if count == of else min(1.0, centre + half))


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa with its 95 % interval: 1 is full agreement, 0 as much as chance gives."""

    value: float
    low: float
    high: float


class Weighed:
    """Cases of several kinds, each counted by its weight: one over the chance that it had to be drawn."""

    __slots__ = ("_squares", "_weights", "counts")

    def __init__(self) -> None:
        self.counts: Counter[Hashable] = Counter()
        """Kind to its number of cases."""
        self._weights: defaultdict[Hashable, float] = defaultdict(float)
        self._squares: defaultdict[Hashable, float] = defaultdict(float)

    def add(self, kind: Hashable, weight: float = 1.0) -> None:
        """Count one case."""
        self.counts[kind] += 1
        self._weights[kind] += weight
        self._squares[kind] += weight * weight

    def rate(self, wanted: Callable[..., bool], among: Callable[..., bool] = lambda _: True) -> Rate:
        """Return the share of the cases that `wanted` holds of, among those that `among` does.

        The interval is Wilson's over as many cases of equal weight as say as much: (sum w)^2 / sum w^2 (Kish
        1965, section 8.2). It ignores what strata gain, and so is wide rather than narrow.
        """
        within = [kind for kind in self.counts if among(kind)]
        count = sum(self.counts[kind] for kind in within if wanted(kind))
        of = sum(self.counts[kind] for kind in within)
        if not of:
            return wilson(0, 0)
        weight = sum(self._weights[kind] for kind in within)
        share = sum(self._weights[kind] for kind in within if wanted(kind)) / weight
        effective = weight**2 / sum(self._squares[kind] for kind in within)
        return _rate(count, of, share, effective)


def kappa(agreed: Rate, first: Rate, second: Rate) -> Kappa | None:
    """Return how far two judges agree beyond chance (Cohen 1960); None where either always says the same.

    The interval is that of the share in which they agree, with the agreement by chance held as it was found.
    It holds its 95 % from 20 cases on, also near full agreement, where that of the usual standard error
    (Fleiss, Cohen and Everitt 1969) holds 32 to 71 % (`tests/report/test_report_agreement.py`).

    Args:
        agreed: How often both say the same.
        first: How often the first says yes.
        second: How often the second does.
    """
    if not first.rate or not second.rate or 1.0 in (first.rate, second.rate):
        return None
    by_chance = first.rate * second.rate + (1 - first.rate) * (1 - second.rate)
    shares = (agreed.rate or 0.0, agreed.low or 0.0, agreed.high or 0.0)
    return Kappa(*((share - by_chance) / (1 - by_chance) for share in shares))


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

    The p-value is that of a permutation test (`by_chance`) whose units are slices of time, not decisions
    (Ernst 2004, section 2): decisions of one run are alike, and to count them as independent would call
    every Monday a drift. The bins must not depend on which side a decision is on.

    Args:
        slices: A histogram a slice of time, oldest first, all over the same bins.
        recent_from: Index of the first recent slice.
        seed: Of the random divisions; the same seed gives the same p-value.
    """
    before, after = _summed(slices[:recent_from]), _summed(slices[recent_from:])
    sides = sum(before), sum(after)
    if not all(sides):
        return Shift(None, None, *sides)
    return Shift(psi(before, after), by_chance(slices, recent_from, psi, seed), *sides)


def by_chance(
    slices: Sequence[Sequence[int]],
    recent_from: int,
    distance: Callable[[Sequence[float], Sequence[float]], float],
    seed: int = 0,
) -> float | None:
    """Return how often a random choice of as many slices is as far from the rest as the recent ones are.

    None where either side has fewer than `LEAST_SLICES` slices with cases.

    Args:
        slices: As for `shift`.
        recent_from: Index of the first recent slice.
        distance: Of two histograms: the reference and what is compared with it.
        seed: Of the random divisions.
    """
    used = [histogram for histogram in slices if any(histogram)]
    recent = sum(1 for histogram in slices[recent_from:] if any(histogram))
    if min(recent, len(used) - recent) < LEAST_SLICES:
        return None
    found = distance(_summed(slices[:recent_from]), _summed(slices[recent_from:]))
    everything, dice = _summed(used), random.Random(seed)  # noqa: S311 - no secret
    as_far = 0
    for _ in range(PERMUTATIONS):
        chosen = _summed(dice.sample(used, recent))
        rest = [total - part for total, part in zip(everything, chosen, strict=True)]
        as_far += distance(rest, chosen) >= found - 1e-12
    return (as_far + 1) / (PERMUTATIONS + 1)


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
