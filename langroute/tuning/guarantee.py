"""How sure is it that a mean is not below zero: p-values, tests in a fixed order, conformal risk control.

A threshold is safe where the mean of `routed - floor * strong` over requests is at least 0. Each p-value
below is for the opposite: small where the rows speak against "the mean is below 0". They take rows in groups
of equal value, for many thresholds at once, so that a million rows cost no more than a hundred.

The order of testing gives the guarantee (Angelopoulos, Bates, Candès, Jordan, Lei, "Learn then Test", 2021,
section 3.2): from the safest threshold on, each is tested at the full level, and the first that fails ends
it. Where quality falls with every step, only the first unsafe threshold can do harm, with the chance stated.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

try:
    from scipy import optimize, special
except ImportError as error:
    raise ImportError("langroute.tuning needs numpy and scipy: pip install 'langroute[tune]'") from error

__all__ = [
    "METHODS",
    "Floats",
    "PValue",
    "betting",
    "conformal",
    "dirichlet",
    "fixed_sequence",
    "hoeffding_bentkus",
    "mean_bound",
]

Floats = NDArray[np.float64]

_STEPS = 60
"""Most steps to a root; five or six are the rule."""

_BETS = 64
"""Stakes over which `betting` takes the mean."""

_BINS = 4_000
"""Values that `mean_bound` tells apart; a million rows are rounded outwards to as many."""


def dirichlet(values: Floats, counts: Floats, lowest: "float | Floats") -> Floats:
    """Return p-values by weighing the rows at random: the default, the sharpest, for binary values exact.

    The p-value is `P(sum_i E_i x_i + E_0 lowest <= 0)` with independent standard exponentials `E`: the
    rows and one more of the worst kind, weighed at random (Gaffke, "Three test statistics for a
    nonparametric one-sided hypothesis on the mean of a nonnegative variable", 2005). For values of two kinds
    it is that of Clopper and Pearson (1934). For others no distribution is known that breaks it, nor is it
    proven that none does: `betting` is there for who wants a proof. The probability is taken from its
    saddlepoint (Lugannani and Rice, 1980), which here is right to within two percent of itself.

    Args:
        values: What a row of each group adds to the mean, one line a threshold (thresholds by groups).
        counts: Rows in each group, likewise; they need not be whole.
        lowest: The least that any row could have added, negative; one number, or a column of one a line.
    """
    values, counts = _with_worst_row(values, counts, lowest)
    present = counts > 0
    good = np.asarray((present & (values > 0)).any(axis=1))
    values = np.where(present, values, 0.0)
    tilt = _tilt(values, counts, good)[:, None]
    shrunk = 1 - tilt * values
    cumulant = -(counts * np.log(shrunk)).sum(axis=1)
    curvature = (counts * (values / shrunk) ** 2).sum(axis=1)
    tilt = tilt[:, 0]
    root = np.sign(tilt) * np.sqrt(np.maximum(-2 * cumulant, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        edge = (1 / root - 1 / (tilt * np.sqrt(curvature))) * np.exp(-(root**2) / 2) / math.sqrt(2 * math.pi)
    p = special.ndtr(root) + np.where(np.abs(root) < 1e-4, 0.0, edge)  # noqa: PLR2004 - both terms explode at 0
    clipped: Floats = np.where(good, np.clip(p, 0.0, 1.0), 1.0)
    return clipped


def betting(values: Floats, counts: Floats, lowest: "float | Floats") -> Floats:
    """Return p-values that are proven for any rows drawn alike and apart: one over what bets would have won.

    Who bets the share `b / -lowest` of what he has on every row, `b` in [0, 1), cannot expect to win where
    the mean is below 0; so the mean of the winnings over many `b` reaches `1/p` with a chance of at most `p`
    (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024, section 4).
    It asks for about 1.7 times the margin of `dirichlet` at 90 %.

    Args:
        values: As for `dirichlet`.
        counts: As for `dirichlet`; more than a row counts for what it is.
        lowest: As for `dirichlet`.
    """
    stakes = (np.arange(_BETS) + 0.5) ** 2 / _BETS**2
    logs = np.stack([(counts * np.log1p(stake * values / -lowest)).sum(axis=1) for stake in stakes])
    # Small stakes lie close together, where the best one of many rows is.
    share = np.full((_BETS, 1), 1 / _BETS)
    p: Floats = np.minimum(np.exp(-special.logsumexp(logs, axis=0, b=share)), 1.0)
    return p


def hoeffding_bentkus(values: Floats, counts: Floats, lowest: "float | Floats") -> Floats:
    """Return p-values by Hoeffding's and Bentkus's inequalities, for values up to 1: proven, and wide.

    The smaller of the two, as Bates, Angelopoulos, Lei, Malik and Jordan, "Distribution-free,
    risk-controlling prediction sets" (2021, section 3.1.1), have it. It knows no variance, so that it pays
    only for floors that leave much room.

    Args:
        values: As for `dirichlet`.
        counts: As for `dirichlet`.
        lowest: As for `dirichlet`.
    """
    rows = counts.sum(axis=1)
    mean = (counts * values).sum(axis=1) / rows
    span = 1 - np.ravel(lowest)
    risk, limit = (1 - mean) / span, 1 / span
    least = np.minimum(risk, limit)
    distance = special.rel_entr(least, limit) + special.rel_entr(1 - least, 1 - limit)
    # The binomial distribution's sum as a beta integral, which need not have a whole number of rows.
    lost = np.minimum(np.ceil(rows * risk - 1e-9), rows - 1e-9)
    bentkus = math.e * special.betainc(rows - lost, lost + 1, 1 - limit)
    p: Floats = np.minimum(np.minimum(np.exp(-rows * distance), bentkus), 1.0)
    return p


PValue = Callable[[Floats, Floats, "float | Floats"], Floats]

METHODS: dict[str, PValue] = {
    "dirichlet": dirichlet,
    "betting": betting,
    "hoeffding_bentkus": hoeffding_bentkus,
}
"""The p-values by the name that `tune` takes."""


def fixed_sequence(p_values: Floats, level: float) -> int:
    """Return how many hypotheses are rejected, in order, before the first whose p-value is over `level`."""
    above = p_values > level
    return int(np.argmax(above)) if above.any() else len(p_values)


def conformal(losses: Floats, rows: float, highest: float, limit: float) -> int:
    """Return how many thresholds, safest first, keep the *mean* loss within `limit`: no confidence is meant.

    Conformal risk control (Angelopoulos, Bates, Fisch, Lei, Schuster, 2022, theorem 1): over many tunings the
    expected loss is at most `limit`; a single tuning breaks it about every other time.

    Args:
        losses: Mean loss of each threshold, safest first; made to grow where it falls from one to the next.
        rows: Rows behind each mean.
        highest: The greatest loss that a row could have.
        limit: The greatest mean loss allowed.
    """
    grown = np.maximum.accumulate(losses)
    allowed = (rows * grown + highest) / (rows + 1) <= limit
    return int(np.argmin(allowed)) if not allowed.all() else len(losses)


def mean_bound(values: Floats, lowest: float, level: float) -> float:
    """Return the lower bound of a mean that holds with chance `1 - level`, by `dirichlet`.

    Negate the values and the result for an upper bound.

    Args:
        values: One a row, none below `lowest`.
        lowest: The least that a row could have.
        level: Chance in (0, 0.5) that the bound is wrong.
    """
    kinds, counts = np.unique(values, return_counts=True)
    if len(kinds) > _BINS:
        width = (kinds[-1] - lowest) / _BINS
        kinds, counts = np.unique(lowest + np.floor((values - lowest) / width) * width, return_counts=True)
    mass, mean = counts[None, :].astype(float), float(values.mean())

    def over(middle: float) -> float:
        p = dirichlet((kinds - middle)[None, :], mass, lowest - middle)[0]
        # Normal quantiles are nearly straight in the mean, so that the root is found in a few steps.
        return float(special.ndtri(min(max(p, 1e-300), 1 - 1e-15)) - special.ndtri(level))

    least = lowest + 1e-9 * max(mean - lowest, 1e-300)
    if mean <= least or over(least) >= 0:
        return lowest
    # The p-value of the mean itself is a half at the least.
    return float(optimize.brentq(over, least, mean, xtol=1e-7 * (mean - lowest), rtol=1e-9))


def _with_worst_row(values: Floats, counts: Floats, lowest: "float | Floats") -> tuple[Floats, Floats]:
    worst = np.broadcast_to(lowest, (len(values), 1))
    return np.hstack([values, worst]), np.hstack([counts, np.ones((len(values), 1))])


def _tilt(values: Floats, counts: Floats, sought: NDArray[np.bool_]) -> Floats:
    """Return each line's root of `sum counts * values / (1 - tilt * values)`, which grows with `tilt`.

    By Newton's method, halving where it would leave the interval in which the root is known to be.
    """
    with np.errstate(divide="ignore"):
        low, high = 1 / values.min(axis=1), 1 / np.maximum(values.max(axis=1), 1e-12)
    low, high = low * (1 - 1e-12), high * (1 - 1e-12)
    tilt = np.zeros(len(values))
    for _ in range(_STEPS):
        each = values / (1 - tilt[:, None] * values)
        slope = (counts * each).sum(axis=1)
        low, high = np.where(slope < 0, tilt, low), np.where(slope < 0, high, tilt)
        step = tilt - slope / np.maximum((counts * each**2).sum(axis=1), 1e-300)
        step = np.where((step > low) & (step < high), step, (low + high) / 2)
        near = np.abs(step - tilt) <= 1e-11 * (1 + np.abs(tilt))
        tilt = np.where(sought, step, 0.0)
        if (near | ~sought).all():
            break
    return tilt
