"""BM25: which of some texts speaks most of what is asked (Robertson and Zaragoza 2009, section 3.4)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from langroute.testing.standins.words import stems

__all__ = ["Bm25"]

_SATURATION = 1.2
_LENGTH_WEIGHT = 0.6


class Bm25:
    """An index over a few texts; built once, asked often."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(stems(text)) for text in texts]
        self._lengths = [max(sum(counts.values()), 1) for counts in self._counts]
        self._mean_length = sum(self._lengths) / max(len(texts), 1)
        self._frequency = Counter(term for counts in self._counts for term in counts)
        total = len(texts)
        self._idf = {t: math.log(1 + (total - n + 0.5) / (n + 0.5)) for t, n in self._frequency.items()}

    def texts_with(self, term: str) -> int:
        """Return in how many of the texts a stem occurs."""
        return self._frequency[term]

    def idf(self, term: str) -> float:
        """Return how telling a stem is; 0 for one that occurs nowhere."""
        return self._idf.get(term, 0.0)

    def scores(self, query: str | Mapping[str, float]) -> list[float]:
        """Return each text's score for a query, or for weighted stems; 0 where no word matches."""
        weights = Counter(stems(query)) if isinstance(query, str) else query
        return [self._score(weights, *text) for text in zip(self._counts, self._lengths, strict=True)]

    def _score(self, weights: Mapping[str, float], counts: Counter[str], length: int) -> float:
        norm = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * length / self._mean_length)
        return sum(
            weight * self.idf(term) * counts[term] * (_SATURATION + 1) / (counts[term] + norm)
            for term, weight in weights.items()
            if counts[term]
        )
