"""A learned score as it is used: a file of numbers, read with numpy, that says how likely each tier is right.

A score adds up: named values and hashed text weigh in by a linear part, named values also by small trees;
the sum is a log-odds, and a calibration makes it a probability. So each feature's share of it can be told.
Fitting is `langroute.tuning.scores`' part and needs scikit-learn; using a score does not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from langroute.request import Request
from langroute.tuning.features import HARD, Features, hard_values, prompt_features, request_values
from langroute.tuning.hashing import REGIONS, SIZE, Hashed, words_at

__all__ = ["CLIP", "Calibration", "Contribution", "Head", "LearnedScore", "Tree", "weighed"]

CLIP = 4.0
"""Standard deviations beyond which a value counts no further: no strange prompt moves a score far."""

_MOST = 500.0
"""Beyond it `exp` overflows, and the probability is 0 or 1 anyway."""

_Array = Any


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much one feature moves a log-odds from what it is for the mean of the training data."""

    feature: str
    value: float
    points: float


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A small decision tree over named values; `feature` is -1 at a leaf."""

    feature: Sequence[int]
    threshold: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    value: Sequence[float]
    """Log-odds of each node: of an inner one the mean of its leaves, for the shares of features."""

    def path(self, values: Sequence[float]) -> list[int]:
        """Return the nodes from the root to a leaf."""
        nodes = [0]
        while (at := self.feature[nodes[-1]]) >= 0:
            node = nodes[-1]
            nodes.append(self.left[node] if values[at] <= self.threshold[node] else self.right[node])
        return nodes

    def leaf(self, values: Sequence[float]) -> float:
        """Return the log-odds that the tree adds."""
        node = 0
        while (at := self.feature[node]) >= 0:
            node = self.left[node] if values[at] <= self.threshold[node] else self.right[node]
        return self.value[node]


@dataclass(frozen=True, slots=True)
class Calibration:
    """From log-odds to a probability: a logistic curve (Platt 1999) or steps between points (isotonic)."""

    slope: float = 1.0
    shift: float = 0.0
    points: tuple[tuple[float, float], ...] = ()
    """Log-odds and probability, ascending, joined by straight lines; empty for the logistic curve."""

    def probability(self, log_odds: _Array) -> _Array:
        """Return the probability for a log-odds, or of each of an array of them."""
        if self.points:
            xs, ys = zip(*self.points, strict=True)
            return np.interp(log_odds, xs, ys)
        if isinstance(log_odds, float):  # numpy takes ten times as long for one
            return 1 / (1 + math.exp(-max(min(self.slope * log_odds + self.shift, _MOST), -_MOST)))
        return 1 / (1 + np.exp(-np.clip(self.slope * log_odds + self.shift, -_MOST, _MOST)))


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One log-odds: a bias, weights of the standardised values, the text and the embedding, and trees."""

    bias: float
    weights: _Array
    text: _Array = None
    vector: _Array = None
    trees: tuple[Tree, ...] = ()
    calibration: Calibration = Calibration()


@dataclass(frozen=True, eq=False)
class LearnedScore:
    """How likely each tier of a step is right, before its reply (`prompt`) or given it (`reply`).

    Read one with `langroute.tuning.files.load_score`.
    """

    kind: Literal["prompt", "reply"]
    step: str
    tiers: tuple[str, ...]
    """Tiers of the step, cheapest first."""
    names: tuple[str, ...]
    """Named values that are read, in the order of all arrays."""
    mean: _Array
    scale: _Array
    heads: Mapping[str, Head]
    """Of each tier that is judged: that it is right."""
    above: Mapping[str, Head] = field(default_factory=dict)
    """After a reply of each tier: that the tier above would be right."""
    idf: _Array = None
    """Weight of each bucket of the text; None where no text is read."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """What it was fitted on and how well it is calibrated: for people, never read by the code."""
    digest: str = ""
    """SHA-256, as hex, of all of it."""

    @property
    def embeds(self) -> bool:
        """Whether it needs the prompt's embedding."""
        return any(head.vector is not None for head in self.heads.values())

    @property
    def needs_verdicts(self) -> bool:
        """Whether it reads what other checks found."""
        return any(name.startswith("verdict=") for name in self.names)

    @cached_property
    def _reads_difficulty(self) -> bool:
        return any(name.startswith(HARD) for name in self.names)

    def seen(self, request: Request) -> Features:
        """Return what the score reads of a request, but for an embedding."""
        found = Features(request_values(request)) if self.idf is None else prompt_features(request)
        if not self._reads_difficulty:
            return found
        return replace(found, values={**found.values, **hard_values(request)})

    def start(self, features: Features, tiers: Sequence[str], threshold: float) -> tuple[int, list[float]]:
        """Return the first of the tiers that those above would not better by `threshold`, and the gains.

        The last one where all would be.
        """
        gains = [self.gain(features, tier) for tier in tiers[:-1]]
        start = next((rung for rung, gain in enumerate(gains) if gain < threshold), len(tiers) - 1)
        return start, gains

    def probability(self, features: Features, tier: str) -> float:
        """Return how likely the tier is right, in [0, 1].

        Raises:
            KeyError: The score does not judge this tier.
        """
        return self._probability(
            self.heads[tier], self._standard(features), self._weighed(features), features
        )

    def gain(self, features: Features, tier: str) -> float:
        """Return the quality expected to be won by going above a tier, in [-1, 1].

        Before a reply it is the best of the tiers above, less this one. After it, the tier above; where its
        chances are not known it counts as always right, so that the gain is the chance that the reply is
        wrong.

        Raises:
            KeyError: The score does not judge this tier.
        """
        standard, weighed = self._standard(features), self._weighed(features)
        own = self._probability(self.heads[tier], standard, weighed, features)
        if self.kind == "reply":
            above = self.above.get(tier)
            return (1.0 if above is None else self._probability(above, standard, weighed, features)) - own
        higher = [self.heads[name] for name in self.tiers[self.tiers.index(tier) + 1 :]]
        best = max((self._probability(head, standard, weighed, features) for head in higher), default=own)
        return best - own

    def contributions(self, features: Features, tier: str) -> tuple[Contribution, ...]:
        """Return what each feature adds to the log-odds that the tier is right, the largest first.

        Text counts as one feature, and so does an embedding.
        """
        head, standard = self.heads[tier], self._standard(features)
        raw = self._raw(features)
        points = standard * head.weights
        for tree in head.trees:
            path = tree.path(raw)
            for node, following in pairwise(path):
                points[tree.feature[node]] += tree.value[following] - tree.value[node]
        found = [Contribution(*part) for part in zip(self.names, raw, points.tolist(), strict=True)]
        weighed = self._weighed(features)
        if weighed is not None and head.text is not None:
            buckets, weights = weighed
            found.append(Contribution("text", float(len(buckets)), float(weights @ head.text.take(buckets))))
        if head.vector is not None and features.vector:
            found.append(Contribution("embedding", 1.0, float(np.dot(features.vector, head.vector))))
        return tuple(sorted((part for part in found if part.points), key=lambda part: -abs(part.points)))

    def words(self, features: Features, tier: str, text: str) -> tuple[Contribution, ...]:
        """Return what each word of the text adds to the log-odds that the tier is right, the largest first.

        The words are those of `text`, which the features are made of: a score knows no words itself.
        """
        head, weighed = self.heads[tier], self._weighed(features)
        if weighed is None or head.text is None:
            return ()
        buckets, weights = weighed
        points = dict(zip(buckets.tolist(), (weights * head.text.take(buckets)).tolist(), strict=True))
        found = {word: points.get(bucket, 0.0) for word, bucket in words_at(text)}
        ordered = sorted(found.items(), key=lambda item: -abs(item[1]))
        return tuple(Contribution(word, 1.0, moved) for word, moved in ordered if moved)

    def _probability(self, head: Head, standard: _Array, weighed: Any, features: Features) -> float:
        return float(head.calibration.probability(self._log_odds(head, standard, weighed, features)))

    def _log_odds(self, head: Head, standard: _Array, weighed: Any, features: Features) -> float:
        total = head.bias + float(standard @ head.weights)
        if weighed is not None and head.text is not None:
            buckets, weights = weighed
            total += float(weights @ head.text.take(buckets))
        if head.vector is not None:
            if len(features.vector) != len(head.vector):
                raise ValueError(
                    f"the score was fitted on embeddings of {len(head.vector)} numbers, and the prompt's has"
                    f" {len(features.vector)}: give the embeddings that it was fitted with"
                )
            total += float(np.dot(features.vector, head.vector))
        if head.trees:
            raw = self._raw(features)
            total += sum(tree.leaf(raw) for tree in head.trees)
        return total

    def _raw(self, features: Features) -> list[float]:
        values = features.values
        return np.array([values.get(name, 0.0) for name in self.names], np.float32).tolist()  # type: ignore[no-any-return]  # of numbers

    def _standard(self, features: Features) -> _Array:
        values = features.values
        raw = np.array([values.get(name, 0.0) for name in self.names])
        standard = (raw - self.mean) / self.scale
        return np.minimum(np.maximum(standard, -CLIP), CLIP)  # `clip` takes five times as long

    def _weighed(self, features: Features) -> tuple[_Array, _Array] | None:
        """Return the filled buckets and their weights; None where no text is read."""
        if self.idf is None or features.text is None:
            return None
        return features.text.buckets, weighed(features.text, self.idf)


_WORDS = SIZE // len(REGIONS)
_TIMES = 1 + np.log(np.maximum(np.arange(256), 1))


def weighed(text: Hashed, idf: _Array) -> _Array:
    """Return the weight of each filled bucket: 1 + ln(count), times idf; words are of length 1, and runs."""
    weights = _TIMES.take(text.counts, mode="clip")  # of a table, as `log` is slow
    weights *= idf.take(text.buckets)
    words = int(text.buckets.searchsorted(_WORDS))
    for part in (weights[:words], weights[words:]):
        np.divide(part, math.sqrt(part.dot(part)) or 1.0, out=part)
    return weights
