"""Requests whose outcome on both tiers is known, and how much each of them may count.

The arrays may come from anywhere: a ledger, a file, a benchmark. One tenant or one day that sent most of the
rows would speak for all the others, and could be made to: none has more than a stated share of the weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from langroute.tuning.guarantee import Floats

__all__ = ["Rows", "Sources", "capped_weights", "check_confidence", "summed"]

_ROUNDS = 500
"""Rounds after which weights that still exceed their cap are given up."""

_TOLERANCE = 1e-6
"""Share by which a source may exceed its cap, from rounding."""


def summed(at: NDArray[np.intp], what: Floats, size: int) -> Floats:
    """Return the sum of `what` by index: entry `i` is that of the rows whose `at` is `i`."""
    return np.bincount(at, what, size).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Who or what each row came from: its tenant, or its day."""

    kind: str
    """`tenant` or `day`."""
    names: tuple[str, ...]
    """The sources, each once."""
    of: NDArray[np.intp]
    """Index into `names` for each row; -1 where the row names none, and so is a source of its own."""

    @classmethod
    def read(cls, kind: str, labels: Sequence[Any] | None, rows: int) -> Self | None:
        """Return the sources of a column of labels; None and "" name nobody."""
        if labels is None:
            return None
        told = ["" if label is None else str(label) for label in labels]
        if len(told) != rows:
            raise ValueError(f"{kind}s: {len(told)} labels for {rows} rows. Give one a row.")
        names = sorted({label for label in told if label})
        at = {name: index for index, name in enumerate(names)} | {"": -1}
        return cls(kind, tuple(names), np.array([at[label] for label in told], dtype=np.intp))

    def weight(self, weights: Floats) -> Floats:
        """Return the weight of each source."""
        named = self.of >= 0
        return summed(self.of[named], weights[named], len(self.names))


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Requests with what both tiers made of them. Build it with `Rows.read`, which checks the values."""

    score: Floats
    """The score that a threshold is set for."""
    cheap: Floats
    """Quality of the cheap tier's reply, in [0, 1]."""
    strong: Floats
    """Quality of the strong tier's reply, in [0, 1]."""
    cheap_usd: Floats
    """Cost of the cheap tier's call in USD, its checks included."""
    strong_usd: Floats
    """Cost of the strong tier's call in USD."""
    weights: Floats
    """How much each row counts; 1 on average."""
    sources: tuple[Sources, ...] = ()

    @classmethod
    def read(
        cls,
        score: Any,
        cheap: Any,
        strong: Any,
        cheap_usd: Any,
        strong_usd: Any,
        *,
        weights: Any = None,
        tenants: Sequence[Any] | None = None,
        days: Sequence[Any] | None = None,
    ) -> Self:
        """Return the rows that these columns make, one entry a request; a cost may be one number for all.

        Raises:
            ValueError: A column has another length, holds what is no finite number, or a value out of range.
        """
        scores = np.asarray(score, dtype=float).ravel()
        rows = len(scores)
        if not rows:
            raise ValueError("There are no rows: record outcomes of both tiers first.")
        columns = {"cheap": cheap, "strong": strong, "cheap_usd": cheap_usd, "strong_usd": strong_usd}
        columns["weights"] = np.ones(rows) if weights is None else weights
        read = {name: _column(name, values, rows) for name, values in columns.items()}
        _in_range("score", scores, -np.inf, np.inf)
        for name in ("cheap", "strong"):
            _in_range(name, read[name], 0, 1)
        for name in ("cheap_usd", "strong_usd", "weights"):
            _in_range(name, read[name], 0, np.inf)
        if not read["strong_usd"].any() or not read["weights"].any():
            raise ValueError("strong_usd, weights: all are 0. Without costs there is nothing to save.")
        read["weights"] = read["weights"] / read["weights"].mean()
        found = (Sources.read("tenant", tenants, rows), Sources.read("day", days, rows))
        return cls(scores, **read, sources=tuple(source for source in found if source is not None))

    def __len__(self) -> int:
        return len(self.score)

    @property
    def effective(self) -> float:
        """How many rows of equal weight say as much (Kish, "Survey Sampling", 1965, section 8.2)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


def _column(name: str, values: Any, rows: int) -> Floats:
    column = np.asarray(values, dtype=float)
    if column.ndim == 0:
        return np.full(rows, float(column))
    if column.shape != (rows,):
        raise ValueError(f"{name}: shape {column.shape} for {rows} rows. Give one number a row.")
    return column


def _in_range(name: str, values: Floats, low: float, high: float) -> None:
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        at = int(np.argmax(wrong))
        span = "a finite number" if low == -np.inf else f"a number from {low:g} to {high:g}"
        raise ValueError(f"{name}: row {at} has {values[at]!r}. Give {span}, or leave the row out.")


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is none.

    Raises:
        ValueError: It is not above 0.5 and below 1.
    """
    if not 0.5 < confidence < 1:  # noqa: PLR2004 - a coin's
        raise ValueError(f"confidence: {confidence!r}. Give a chance between 0.5 and 1, as 0.9.")


def capped_weights(rows: Rows, most: float) -> Floats | str:
    """Return weights with which no source has more than the share `most`, or why there are none.

    The rows of a source that has more are all scaled down alike, until every tenant and every day keeps to
    it. A source that has less keeps its own proportions but for what the other kind of source takes.
    """
    for sources in rows.sources:
        unnamed = bool((sources.of < 0).any())
        if len(sources.names) * most < 1 - _TOLERANCE and not unnamed:
            needed = int(np.ceil(1 / most - _TOLERANCE))
            have = f"{len(sources.names)} {sources.kind}{'s' if len(sources.names) > 1 else ''}"
            return (
                f"the rows come from {have}, and one may have at most {most:.0%} of the weight: rows from"
                f" {needed} are needed (a most_share of 1 looks at neither tenants nor days)"
            )
    weights = rows.weights.copy()
    for _ in range(_ROUNDS):
        kept = True
        for sources in rows.sources:
            held = sources.weight(weights)
            cap = most * weights.sum()
            over = held > cap * (1 + _TOLERANCE)
            if over.any():
                kept = False
                level = _level(held, float(weights.sum()), most)
                weights = _scaled(sources, weights, np.where(over, level / np.maximum(held, 1e-300), 1.0))
        if kept:
            return np.asarray(weights / weights.mean())
    return f"no weights give every tenant and every day at most {most:.0%}: gather rows from more of them"


def _level(held: Floats, total: float, most: float) -> float:
    """Return the weight at which the largest sources are cut off so that each has the share `most`."""
    ordered = np.sort(held)[::-1]
    rest = total - np.cumsum(ordered)
    cut = np.arange(1, len(ordered) + 1)
    levels = most * rest / np.maximum(1 - cut * most, 1e-300)
    following = np.append(ordered[1:], 0.0)
    fits = (levels >= following) & (cut * most < 1)
    return float(levels[np.argmax(fits)]) if fits.any() else float(ordered[-1])


def _scaled(sources: Sources, weights: Floats, factors: Floats) -> Floats:
    scaled: Floats = weights * np.where(sources.of >= 0, factors[np.maximum(sources.of, 0)], 1.0)
    return scaled
