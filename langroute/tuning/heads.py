"""One head of a score: a logistic regression, small trees beside it, and the calibration of the two."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from langroute.tuning.design import Design
from langroute.tuning.learned import Calibration, Head, Tree

__all__ = [
    "Fit",
    "Settings",
    "calibrate",
    "calibration_bins",
    "calibration_error",
    "fit_head",
    "folds_of",
    "predict",
]

_FEWEST_FOR_TREES = 700
"""Below it trees find what is not there: cross-fitted on CRUX's 483 queries they ranked worse than none."""
_MOST_FOR_TREES = 20_000
"""Rows that trees are grown on; more make the fit slower and the trees no better."""
_USUAL_LABELS = 2_000
"""The penalty grows with the root of the labels: on MMLU and GSM8K without their test splits the best C was
0.4 at 300 of MMLU's labels, 0.2 at 840, 0.1 to 0.2 at 1,500, 0.1 at 5,000, and 0.4 at 840 of GSM8K's."""
_COLD_LABELS = 200.0
"""Labels at which what was learned counts as much as the cold start."""
_SLOPE_PRIOR = 10.0
"""Weight of a slope of 1: what 300 labels or so tell of it. A hundred alone may turn a score around."""
_LEAST_SLOPE = 0.05
_FEWEST_FOR_STEPS = 2_000
_ISOTONIC_GAIN = 0.01
"""How much smaller the held-out error must be for steps, which fit the sample too, in place of a curve."""

_Array = Any


@dataclass(frozen=True, slots=True)
class Settings:
    """How a head is fitted."""

    strength: float = 0.2
    """scikit-learn's C, the inverse of the L2 penalty, at `_USUAL_LABELS`."""
    trees: bool = False
    cold: float | None = None
    """Slope on length that few labels are drawn to; None for none."""
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A head, and the probabilities that it gave to its own rows when it was fitted without them."""

    head: Head
    held_out: _Array


def fit_head(design: Design, rows: _Array, right: _Array, fold_of: _Array, settings: Settings) -> Fit:
    """Fit one head on some rows of a design.

    Args:
        design: The matrix.
        rows: Its rows with a label; none gives the cold start.
        right: The labels of these rows, in [0, 1].
        fold_of: The fold of every row of the design, see `folds_of`.
        settings: How.
    """
    from joblib import Parallel, delayed

    folds = range(int(fold_of.max()) + 1)
    outside = [fold_of[rows] != fold for fold in folds]
    trained = [(rows[kept], right[kept]) for kept in outside] + [(rows, right)]
    *parts, whole = Parallel()(delayed(_fit)(design, *part, settings) for part in trained)
    log_odds = np.zeros(len(fold_of))
    for fold, part in zip(folds, parts, strict=True):
        out = np.flatnonzero(fold_of == fold)
        log_odds[out] = _predict(part, design, out)
    said = np.zeros(len(fold_of))
    for fold, kept in zip(folds, outside, strict=True):
        curve = calibrate(log_odds[rows[kept]], right[kept], settings.seed)
        said[fold_of == fold] = curve.probability(log_odds[fold_of == fold])
    return Fit(replace(whole, calibration=calibrate(log_odds[rows], right, settings.seed)), said)


def folds_of(queries: Sequence[str], folds: int, seed: int) -> _Array:
    """Return a fold for each row, drawn at random; rows of one query share it."""
    names = sorted(set(queries))
    order = np.random.default_rng(seed).permutation(len(names))
    folds = min(folds, max(len(names), 2))
    fold_of = {names[at]: place % folds for place, at in enumerate(order)}
    return np.array([fold_of[query] for query in queries])


def predict(head: Head, design: Design) -> _Array:
    """Return a head's probabilities for every row of a design."""
    return head.calibration.probability(_predict(head, design, np.arange(design.matrix.shape[0])))


def _fit(design: Design, rows: _Array, right: _Array, settings: Settings) -> Head:
    """Return the head of some rows, not yet calibrated."""
    matrix, labels, weights = _binary(design.matrix[rows], right)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 - both classes
        rate = (float(np.sum(right)) + 0.5) / (len(right) + 1)
        head = design.head(np.zeros(design.matrix.shape[1]), float(np.log(rate / (1 - rate))))
    else:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        used = np.flatnonzero(matrix.getnnz(axis=0))
        with threadpool_limits(1):  # threads for so small products wait for each other
            strength = settings.strength * (_USUAL_LABELS / len(rows)) ** 0.5
            model = LogisticRegression(C=strength, max_iter=500)
            fitted = model.fit(matrix[:, used], labels, weights)
        columns = np.zeros(matrix.shape[1])
        columns[used] = fitted.coef_[0]
        head = design.head(columns, float(fitted.intercept_[0]))
        if settings.trees and len(rows) >= _FEWEST_FOR_TREES:
            head = _with_trees(head, design, rows, right, settings)
    return head if settings.cold is None else _warmed(head, design, len(rows), settings.cold)


def _binary(matrix: Any, right: _Array) -> tuple[Any, _Array, _Array]:
    """Return rows with labels of 0 and 1 and their weights: a score between counts as both, in part."""
    from scipy import sparse

    whole = np.isin(right, (0.0, 1.0))
    if whole.all():
        return matrix, right.astype(int), np.ones(len(right))
    labels = np.concatenate([np.ones(len(right), int), np.zeros(len(right), int)])
    weights = np.concatenate([right, 1 - right])
    used = weights > 0
    return sparse.csr_matrix(sparse.vstack([matrix, matrix]))[used], labels[used], weights[used]


def _with_trees(head: Head, design: Design, rows: _Array, right: _Array, settings: Settings) -> Head:
    """Return half of a linear head and half of boosted trees (Friedman 2002), added up."""
    from sklearn.ensemble import GradientBoostingClassifier

    rng = np.random.default_rng(settings.seed)
    if len(rows) > _MOST_FOR_TREES:
        drawn = rng.choice(len(rows), _MOST_FOR_TREES, replace=False)
        rows, right = rows[drawn], right[drawn]
    raw, labels, weights = _binary(design.raw[rows], right)
    raw = raw if isinstance(raw, np.ndarray) else raw.toarray()
    boosted = GradientBoostingClassifier(
        n_estimators=80,
        max_depth=3,
        learning_rate=0.08,
        subsample=0.7,
        min_samples_leaf=10,
        random_state=settings.seed,
    ).fit(raw.astype(np.float32), labels, weights)
    base = float(np.log(weights @ labels / (weights @ (1 - labels))))
    trees = tuple(_tree(stage[0].tree_, 0.5 * boosted.learning_rate) for stage in boosted.estimators_)
    halved = [None if part is None else 0.5 * part for part in (head.weights, head.text, head.vector)]
    return Head(0.5 * (head.bias + base), halved[0], halved[1], halved[2], trees)


def _tree(grown: Any, factor: float) -> Tree:
    """Return a tree of scikit-learn's; an inner node is worth the mean of the leaves below it."""
    values = grown.value[:, 0, 0] * factor
    count = grown.weighted_n_node_samples
    for node in range(grown.node_count - 1, -1, -1):  # children come after their parents
        left, right = grown.children_left[node], grown.children_right[node]
        if left >= 0:
            values[node] = (values[left] * count[left] + values[right] * count[right]) / (
                count[left] + count[right]
            )
    feature = np.where(grown.children_left >= 0, grown.feature, -1)
    return Tree(
        feature.tolist(),
        grown.threshold.tolist(),
        grown.children_left.tolist(),
        grown.children_right.tolist(),
        values.tolist(),
    )


def _warmed(head: Head, design: Design, labels: int, slope: float) -> Head:
    """Draw a head to the cold start, the more the fewer labels it has."""
    learned = labels / (labels + _COLD_LABELS)
    weights = head.weights * learned
    if "length" in design.names:
        weights[design.names.index("length")] += (1 - learned) * slope
    text, vector = (None if part is None else learned * part for part in (head.text, head.vector))
    return replace(head, weights=weights, text=text, vector=vector)


def _predict(head: Head, design: Design, rows: _Array) -> _Array:
    """Return the log-odds of some rows of a design."""
    log_odds = head.bias + design.matrix[rows] @ design.flat(head)
    if head.trees:
        raw = design.raw[rows].astype(np.float32).tolist()
        log_odds = log_odds + np.array([sum(tree.leaf(row) for tree in head.trees) for row in raw])
    return log_odds


def calibrate(log_odds: _Array, right: _Array, seed: int) -> Calibration:
    """Return the calibration with the smaller error on halves that it was not made from; none without rows.

    Steps (isotonic) must beat the logistic curve clearly, since they make ties.
    """
    if not len(right):
        return Calibration()
    if len(right) < _FEWEST_FOR_STEPS:
        return _platt(log_odds, right)
    half = np.random.default_rng(seed).permutation(len(right)) % 2 == 0
    errors = dict.fromkeys((_platt, _isotonic), 0.0)
    for inside in (half, ~half):
        for make in errors:
            curve = make(log_odds[inside], right[inside])
            errors[make] += calibration_error(curve.probability(log_odds[~inside]), right[~inside]) / 2
    chosen = _isotonic if errors[_isotonic] < errors[_platt] - _ISOTONIC_GAIN else _platt
    return chosen(log_odds, right)


def _platt(log_odds: _Array, right: _Array) -> Calibration:
    """Return the logistic curve of most likelihood, its slope drawn to 1, by Newton's method."""
    x = np.column_stack([np.asarray(log_odds, float), np.ones(len(log_odds))])
    at, prior = np.array([1.0, 0.0]), np.array([_SLOPE_PRIOR, 1e-3])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ at, -30, 30)))
        slope = x.T @ (p - right) + prior * (at - (1.0, 0.0))
        bend = (x * (p * (1 - p))[:, None]).T @ x + np.diag(prior)
        step = np.linalg.solve(bend, slope)
        at = at - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:  # noqa: PLR2004 - settled
            break
    return Calibration(max(float(at[0]), _LEAST_SLOPE), float(at[1]))


def _isotonic(log_odds: _Array, right: _Array) -> Calibration:
    """Return steps that never go down, joined through the middle of each, so that few rows tie."""
    from sklearn.isotonic import IsotonicRegression

    least = 0.5 / (len(right) + 1)
    level = IsotonicRegression(y_min=least, y_max=1 - least).fit_transform(log_odds, right)
    steps = np.unique(level)
    middles = [float(np.mean(log_odds[level == step])) for step in steps]
    return Calibration(points=tuple(zip(middles, steps.tolist(), strict=True)))


def calibration_bins(probability: _Array, right: _Array) -> tuple[tuple[float, float, int], ...]:
    """Return mean probability, share that is right and rows of each equal-mass bin, the lowest first.

    A bin has at least 50 rows where there are as many, and there are at most 10.
    """
    bins = int(np.clip(len(right) // 50, 1, 10))
    parts = np.array_split(np.argsort(probability, kind="stable"), bins)
    return tuple(
        (float(probability[part].mean()), float(right[part].mean()), len(part)) for part in parts if len(part)
    )


def calibration_error(probability: _Array, right: _Array) -> float:
    """Return the expected calibration error over the bins of `calibration_bins`."""
    gaps = [abs(said - share) * rows for said, share, rows in calibration_bins(probability, right)]
    return sum(gaps) / max(len(right), 1)
