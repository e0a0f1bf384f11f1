"""What people said of replies, as labels: one a decision, and weighed where the decision was drawn."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from langroute.ledger.records import DecisionRecord
from langroute.report.statistics import Rate, Weighed

__all__ = ["JUDGE", "LEAST_LABELS", "RIGHT_FROM", "Label", "Labels", "judged", "labelled"]

LEAST_LABELS = 20
"""Labels below which no rate is given: with fewer the interval spans 40 points and says nothing."""

RIGHT_FROM = 0.5
"""Mean score of the feedback on a decision from which on its reply counts as right."""

JUDGE = "judge"
"""Source of feedback that a model gave: an opinion to be measured, where somebody else says what is right."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a reply is worth by the feedback that is nearest to it."""

    score: float
    propensity: float | None = None
    """How likely the decision was to be drawn for it; None where the feedback came by itself."""
    of_judge: bool = False
    """Whether a model alone said so."""

    @property
    def right(self) -> bool:
        """Whether the reply counts as right."""
        return self.score >= RIGHT_FROM


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


def labelled(record: DecisionRecord) -> Label | None:
    """Return the mean of the feedback nearest to a decision: its own, its run's or its thread's.

    What a judge said counts where nobody else said anything. None where there is no feedback.
    """
    return _nearest(record, of_judge=False) or judged(record)


def judged(record: DecisionRecord) -> Label | None:
    """Return what a judge said of a decision afterwards, as feedback; None where none did."""
    return _nearest(record, of_judge=True)


def _nearest(record: DecisionRecord, *, of_judge: bool) -> Label | None:
    told = [given for given in record.feedback if (given.source == JUDGE) == of_judge]
    for about in ("decision", "run", "thread"):
        given = [one for one in told if getattr(one, about) is not None]
        if given:
            drawn = [one.propensity for one in given if one.propensity is not None]
            mean = sum(one.score for one in given) / len(given)
            return Label(mean, drawn[-1] if drawn else None, of_judge)
    return None
