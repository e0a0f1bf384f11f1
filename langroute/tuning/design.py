"""Features of many queries as one matrix: standardised values, weighed text, embeddings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from langroute.tuning.features import Features
from langroute.tuning.hashing import SIZE, Hashed
from langroute.tuning.learned import CLIP, Head, weighed

__all__ = ["Design"]

_VALUES = 0.15
"""Weight of a standardised value beside the text, whose regions have length 1: on RouteLLM's labels of MMLU
and GSM8K, without their test splits, it ranked better than 0.3 by 0.005 of APGR; 0.05 did not."""
_LEAST_QUERIES = 2
"""Queries in which a bucket must be filled; one that a single query fills says nothing of others."""

_Array = Any


@dataclass(frozen=True, eq=False)
class Design:
    """The matrix of some queries, and what makes new ones comparable with it."""

    names: tuple[str, ...]
    raw: _Array
    mean: _Array
    scale: _Array
    idf: _Array
    """Weight of each bucket; None without text."""
    matrix: Any
    """A sparse row a query: values, then buckets, then the embedding."""

    @classmethod
    def of(cls, rows: Sequence[Features], *, text: bool = True) -> "Design":
        """Return the design of the queries that a score is fitted on.

        Values that never differ are left out. Text is left out where any query has none.
        """
        seen = sorted({name for row in rows for name in row.values})
        raw = _raw(rows, seen)
        kept = [i for i in range(len(seen)) if np.ptp(raw[:, i]) > 0]
        raw, names = raw[:, kept], tuple(seen[i] for i in kept)
        hashes = [row.text for row in rows if row.text is not None] if text else []
        idf = _idf(hashes) if len(hashes) == len(rows) else None
        design = cls(names, raw, raw.mean(0), raw.std(0) + 1e-9, idf, None)
        return cls(names, raw, design.mean, design.scale, idf, design.join(rows, raw))

    def join(self, rows: Sequence[Features], raw: _Array) -> Any:
        """Return the matrix of rows, which may be others than those it was made of."""
        from scipy import sparse

        standard = np.clip((raw - self.mean) / self.scale, -CLIP, CLIP)
        parts = [sparse.csr_matrix(standard * _VALUES)]
        if self.idf is not None:
            parts.append(self._text([row.text or Hashed.nothing() for row in rows]))
        if any(row.vector for row in rows):
            parts.append(sparse.csr_matrix(np.array([row.vector for row in rows])))
        return sparse.csr_matrix(sparse.hstack(parts))

    def more(self, rows: Sequence[Features]) -> "Design":
        """Return other queries as this design sees them."""
        raw = _raw(rows, self.names)
        return Design(self.names, raw, self.mean, self.scale, self.idf, self.join(rows, raw))

    def head(self, weights: _Array, bias: float) -> Head:
        """Return weights of the matrix's columns as a score keeps them."""
        values = len(self.names)
        text = None if self.idf is None else weights[values : values + SIZE]
        rest = weights[values + (0 if text is None else SIZE) :]
        return Head(bias, weights[:values] * _VALUES, text, rest if len(rest) else None)

    def flat(self, head: Head) -> _Array:
        """Return a head's weights as those of the matrix's columns."""
        parts = [head.weights / _VALUES, head.text, head.vector]
        return np.concatenate([part for part in parts if part is not None])

    def _text(self, hashes: Sequence[Hashed]) -> Any:
        from scipy import sparse

        data = [weighed(text, self.idf) for text in hashes]
        ends = np.cumsum([0, *(len(text.buckets) for text in hashes)])
        buckets = np.concatenate([text.buckets for text in hashes])
        return sparse.csr_matrix((np.concatenate(data), buckets, ends), shape=(len(hashes), SIZE))


def _raw(rows: Sequence[Features], names: Sequence[str]) -> _Array:
    return np.array([[row.values.get(name, 0.0) for name in names] for row in rows], float).reshape(
        len(rows), -1
    )


def _idf(hashes: Iterable[Hashed]) -> _Array:
    """Return `1 + ln((1 + n) / (1 + queries with the bucket))`, 0 for buckets of a single query."""
    texts = list(hashes)
    found = np.zeros(SIZE)
    for text in texts:
        found[text.buckets] += 1
    return np.where(found >= _LEAST_QUERIES, 1 + np.log((1 + len(texts)) / (1 + found)), 0.0)
