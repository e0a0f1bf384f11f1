"""Labels counted: by kind, and weighed where their decisions were drawn."""

from collections.abc import Callable, Hashable

from langroute.ledger.labels import Label
from langroute.report.statistics import Rate, Weighed

__all__ = ["LEAST_LABELS", "Labels"]

LEAST_LABELS = 20
"""Labels below which no rate is given: with fewer the interval spans 40 points and says nothing."""


class Labels:
    """Labels by kind. Where enough were drawn they alone count, each for all decisions like it.

    Feedback that comes by itself is about what struck somebody; a drawn sample stands for every reply.
    """

    __slots__ = ("_all", "_drawn")

    def __init__(self) -> None:
        self._all, self._drawn = Weighed(), Weighed()

    def add(self, kind: Hashable, label: Label) -> None:
        """Count one label."""
        self._all.add(kind)
        if label.propensity is not None:
            self._drawn.add(kind, 1 / label.propensity)

    @property
    def drawn(self) -> bool:
        """Whether the drawn labels count alone."""
        return self._drawn.counts.total() >= LEAST_LABELS

    @property
    def count(self) -> int:
        """How many labels count."""
        return self._counting.counts.total()

    @property
    def enough(self) -> bool:
        """Whether there are labels enough for a rate."""
        return self.count >= LEAST_LABELS

    def rate(self, wanted: Callable[..., bool], among: Callable[..., bool] = lambda _: True) -> Rate:
        """Return the share of the labels that `wanted` holds of, among those that `among` does."""
        return self._counting.rate(wanted, among)

    @property
    def _counting(self) -> Weighed:
        return self._drawn if self.drawn else self._all
