"""What a learned score is measured against: chance, length, hindsight, and the usual text classifiers."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression

from langroute.tuning.metrics import Pair
from quality.loaders import Set

__all__ = ["Texts", "by_chance", "by_hindsight", "by_length"]

Array = Any
NEIGHBOURS = 40


def by_chance(n: int, seed: int) -> Array:
    """Return a score drawn at random."""
    return np.random.default_rng(seed).random(n)


def by_length(of: Set, rows: Array) -> Array:
    """Return the length of each prompt in characters: nothing is learned."""
    return np.array([of.requests[row].characters for row in rows], float)


def by_hindsight(pair: Pair) -> Array:
    """Return what the strong model wins on each query: no score can rank better."""
    return pair.ys - pair.yw


class Texts:
    """The prompts of a set as word counts, for TF-IDF scores of plain scikit-learn."""

    def __init__(self, of: Set) -> None:
        self._prompts: Sequence[str] = [request.asked for request in of.requests]

    @cached_property
    def counts(self) -> Any:
        """Words and pairs of words that stand in two prompts or more."""
        return CountVectorizer(ngram_range=(1, 2), min_df=2, dtype=np.float32).fit_transform(self._prompts)

    def regression(self, train: Array, test: Array, fails: Array) -> Array:
        """Return P(the weak model fails) by TF-IDF and logistic regression."""
        known, asked = self._weighed(train, test)
        if len(np.unique(fails[train])) == 1:
            return np.zeros(len(test))
        fitted = LogisticRegression(max_iter=300).fit(known, fails[train].round())
        return fitted.predict_proba(asked)[:, 1]

    def neighbours(self, train: Array, test: Array, gain: Array) -> Array:
        """Return the mean of what the strong model won on the 40 nearest of the labelled prompts."""
        known, asked = self._weighed(train, test)
        scores, nearest = [], min(NEIGHBOURS, len(train))
        for start in range(0, len(test), 500):
            likeness = (asked[start : start + 500] @ known.T).toarray()
            best = np.argpartition(-likeness, nearest - 1, axis=1)[:, :nearest]
            weights = np.take_along_axis(likeness, best, axis=1) + 1e-6
            scores.append((weights * gain[train][best]).sum(1) / weights.sum(1))
        return np.concatenate(scores)

    def _weighed(self, train: Array, test: Array) -> tuple[Any, Any]:
        tfidf = TfidfTransformer(sublinear_tf=True).fit(self.counts[train])
        return sparse.csr_matrix(tfidf.transform(self.counts[train])), sparse.csr_matrix(
            tfidf.transform(self.counts[test])
        )
