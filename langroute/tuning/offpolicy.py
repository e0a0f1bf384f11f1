"""What another policy would have been worth, from the log of this one and the chances it drew by.

A request that happened to start where the other policy starts it counts for all that did not: by one over
the chance of that start. With `explore` in a policy every start has a chance, and the estimate has no bias.

Sources: Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe"
(1952); Dudík, Langford and Li, "Doubly robust policy evaluation and learning" (2011). The intervals are those
of a bounded mean (`langroute.tuning.guarantee.mean_bound`), since few rows of a large weight are anything but
normally distributed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from langroute.tuning.guarantee import Floats, mean_bound

__all__ = [
    "FOLDS",
    "Estimate",
    "cross_fitted",
    "doubly_robust",
    "inverse_propensity",
    "measured",
]

FOLDS = 5
"""Parts of the log; what is expected of a row is read off the others."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over requests, with its interval."""

    value: float
    low: float
    """Lower end of the two-sided interval."""
    high: float
    """Upper end."""
    confidence: float
    """Chance with which the interval holds what would be measured."""
    rows: int
    effective_rows: float
    """Rows of equal weight that say as much; few where the policies seldom agree."""
    method: Literal["measured", "inverse propensity", "doubly robust"]


def measured(values: Floats, *, confidence: float = 0.9, highest: float | None = None) -> Estimate:
    """Return the mean of what is known of every request.

    Args:
        values: One a request, none negative.
        confidence: Chance in (0, 1) with which the interval holds the mean of requests like these.
        highest: The largest that a value could be; None for the largest there is.
    """
    most = float(values.max()) if highest is None else highest
    low, high = _interval(values, 0.0, most, confidence)
    return Estimate(float(values.mean()), low, high, confidence, len(values), float(len(values)), "measured")


def inverse_propensity(
    values: Floats,
    propensity: Floats,
    agrees: Floats,
    *,
    confidence: float = 0.9,
    highest: float | None = None,
) -> Estimate:
    """Return the mean of `agrees / propensity * value`: no model, no bias, and wide.

    Args:
        values: What came of each request, none negative; what it is where the policies disagree is not read.
        propensity: Chance in (0, 1] with which the log's policy made the choice it made.
        agrees: Chance with which the other policy makes that choice: 1 or 0 for one that does not draw.
        confidence: Chance with which the interval holds the truth.
        highest: The largest that a value could be; None for the largest there is.

    Raises:
        ValueError: A propensity is not in (0, 1], or nothing agrees.
    """
    weights = _weights(propensity, agrees)
    values = np.where(weights > 0, values, 0.0)
    most = float(values.max()) if highest is None else highest
    low, high = _interval(weights * values, 0.0, most * _largest(propensity), confidence)
    value = float((weights * values).mean())
    return Estimate(value, low, high, confidence, len(values), _effective(weights), "inverse propensity")


def doubly_robust(
    values: Floats,
    propensity: Floats,
    agrees: Floats,
    expected: Floats,
    *,
    expected_logged: Floats | None = None,
    confidence: float = 0.9,
    highest: float | None = None,
) -> Estimate:
    """Return the mean of what a model expects, corrected by the rows on which the policies agree.

    It has no bias where the propensities are right, whatever the model; and it is narrow where the model is.

    Args:
        values: As for `inverse_propensity`.
        propensity: As for `inverse_propensity`.
        agrees: As for `inverse_propensity`.
        expected: What the model expects of the other policy's choice; not fitted to the same row.
        expected_logged: What it expects of the choice that was made; None for the same, as where the
            policies agree.
        confidence: As for `inverse_propensity`.
        highest: As for `inverse_propensity`.

    Raises:
        ValueError: As `inverse_propensity`.
    """
    weights = _weights(propensity, agrees)
    logged = expected if expected_logged is None else expected_logged
    values = np.where(weights > 0, values, logged)
    most = float(values.max()) if highest is None else highest
    each = _corrected(values, weights, expected, logged)
    times = _largest(propensity)
    least = float(expected.min()) - times * float(logged.max())
    largest = float(expected.max()) + times * max(most - float(logged.min()), 0.0)
    low, high = _interval(each, min(least, float(each.min())), largest, confidence)
    value, low = max(float(each.mean()), 0.0), max(low, 0.0)  # the truth is not negative either
    return Estimate(value, low, high, confidence, len(values), _effective(weights), "doubly robust")


def _corrected(values: Floats, weights: Floats, expected: Floats, logged: Floats | None = None) -> Floats:
    """Return what is expected of each row, corrected where the policies agree: its mean is `doubly_robust`.

    Args:
        values: What came of each row, read where its weight is not 0.
        weights: The other policy's chance of the choice made over the log's; 0 where it makes another.
        expected: What a model expects of the other policy's choice; not fitted to the same row.
        logged: What it expects of the choice made; None for the same.
    """
    off = np.where(weights > 0, values - (expected if logged is None else logged), 0.0)
    each: Floats = expected + weights * off
    return each


def cross_fitted(values: Floats, weights: Floats) -> Floats:
    """Return, for each row, the weighted mean of the rows of other folds; of all where these weigh 0."""
    folds = np.arange(len(values)) % FOLDS
    expected = np.empty(len(values))
    for fold in range(FOLDS):
        others = np.where(folds != fold, weights, 0.0)
        expected[folds == fold] = np.average(values, weights=others if others.any() else weights)
    return expected


def _weights(propensity: Floats, agrees: Floats) -> Floats:
    if not ((propensity > 0) & (propensity <= 1)).all():
        raise ValueError("propensity: not in (0, 1]. Give the chance with which each logged choice was made.")
    weights: Floats = agrees / propensity
    if not weights.any():
        raise ValueError("The policies never agree on where to start: log with `explore: 0.02` first.")
    return weights


def _largest(propensity: Floats) -> float:
    return 1 / float(propensity.min())


def _effective(weights: Floats) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def _interval(values: Floats, lowest: float, highest: float, confidence: float) -> tuple[float, float]:
    """Return the two-sided interval of the mean of values in [lowest, highest]."""
    level = (1 - confidence) / 2
    highest = max(highest, float(values.max()))
    if highest - lowest <= 0:
        return lowest, highest
    return mean_bound(values, lowest, level), -mean_bound(-values, -highest, level)
