"""What feedback says of a reply, as a label: the one that is nearest to it."""

from dataclasses import dataclass

from langroute.ledger.records import DecisionRecord

__all__ = ["JUDGE", "RIGHT_FROM", "Label", "judged", "labelled"]

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
