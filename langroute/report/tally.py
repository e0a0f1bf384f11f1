"""What a set of decisions adds up to, one decision at a time and in bounded memory."""

from collections.abc import Iterator
from operator import not_
from typing import TypeVar

from langroute.attempts import ANSWERED, is_function
from langroute.ledger.labels import Label
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.report.data import Saving, Totals
from langroute.report.labels import Labels
from langroute.report.statistics import Rate, wilson

__all__ = [
    "MOST_NAMES",
    "OTHERS",
    "Beside",
    "Tally",
    "capped",
    "top_tier_of",
    "why_seen",
]

MOST_NAMES = 500
"""Different names that a table keeps apart; whoever names steps from user input must not fill the memory."""

OTHERS = "(other names)"

_T = TypeVar("_T")


def capped(found: dict[str, _T], name: str, most: int = MOST_NAMES) -> str:
    """Return the name under which to count `name`: its own, or `OTHERS` once there are too many."""
    return name if name in found or len(found) < most else OTHERS


def top_tier_of(record: DecisionRecord) -> str | None:
    """Return the highest tier of the policy that decided; None where the record does not tell."""
    return next(reversed(record.baselines), None) if record.baselines else None


def why_seen(record: DecisionRecord) -> Iterator[str]:
    """Yield why each attempt was made; what follows a function that had no answer escalates nothing."""
    declined = False
    for attempt in record.attempts:
        if not (declined and attempt.why == "escalation"):
            yield attempt.why
        declined = is_function(attempt.endpoint) and any(
            verdict["verifier"] == ANSWERED for verdict in attempt.verdicts or ()
        )


class Beside:
    """Costs beside a baseline, of the decisions of which both are known."""

    __slots__ = ("baseline_usd", "compared", "cost_usd", "left_out")

    def __init__(self) -> None:
        self.compared = self.left_out = 0
        self.cost_usd = self.baseline_usd = 0.0

    def add(self, cost_usd: float | None, baseline_usd: float | None) -> None:
        """Count one decision."""
        if cost_usd is None or baseline_usd is None:
            self.left_out += 1
            return
        self.compared += 1
        self.cost_usd += cost_usd
        self.baseline_usd += baseline_usd

    def merge(self, other: "Beside") -> None:
        """Count everything that another has counted."""
        self.compared += other.compared
        self.left_out += other.left_out
        self.cost_usd += other.cost_usd
        self.baseline_usd += other.baseline_usd

    def saving(self, tier: str) -> Saving | None:
        """Return the comparison; None where no decision can be compared."""
        if not self.compared:
            return None
        return Saving(tier, self.compared, self.left_out, self.cost_usd, self.baseline_usd)


_HOW = {"escalation": "escalated", "fallback": "fell_back", "repair": "repaired"}


class Tally:
    """Adds up decisions: what was paid for what, and how often what happened."""

    def __init__(self) -> None:
        self.decisions = self.unknown = self.accepted = self.calls = self.failed_calls = 0
        self.escalated = self.fell_back = self.repaired = 0
        self.labels = self.drawn_labels = 0
        self._right, self._cheap_right = Labels(), Labels()
        self.known_usd = 0.0
        self.known = 0
        self.paid = dict.fromkeys(("accepted", "drafts", "failed", "checks", "classifiers", "shadows"), 0.0)
        self.beside = Beside()

    def add(self, record: DecisionRecord, cost_usd: float | None, label: Label | None) -> None:
        """Count one decision, what all of it cost, and its label where it has one."""
        self.decisions += 1
        self.accepted += record.outcome == "accepted"
        if cost_usd is None:
            self.unknown += 1
        else:
            self.known += 1
            self.known_usd += cost_usd
        self.beside.add(cost_usd, record.top_usd)
        for why in {why for why in why_seen(record) if why in _HOW}:
            setattr(self, _HOW[why], getattr(self, _HOW[why]) + 1)
        self.paid["classifiers"] += record.spend_usd or 0.0
        for attempt in record.attempts:
            self._add_attempt(attempt)
        for shadow in record.shadows:
            self.paid["shadows"] += (shadow.call_usd or 0.0) + (shadow.judge_usd or 0.0)
        if label is not None:
            self._add_label(record, label)

    def _add_attempt(self, attempt: AttemptRecord) -> None:
        self.calls += 1
        failed = attempt.outcome in ("failed", "cancelled")
        self.failed_calls += attempt.outcome == "failed"
        kind = "accepted" if attempt.returned else "failed" if failed else "drafts"
        self.paid[kind] += attempt.cost_usd or 0.0
        self.paid["checks"] += attempt.checks_usd or 0.0

    def _add_label(self, record: DecisionRecord, label: Label) -> None:
        self.labels += 1
        self.drawn_labels += label.propensity is not None
        self._right.add(label.right, label)
        top = top_tier_of(record)
        if record.outcome == "accepted" and top is not None and record.tier not in (None, top):
            self._cheap_right.add(label.right, label)

    @property
    def cost_per_request_usd(self) -> float | None:
        """Mean over the decisions whose cost is known."""
        return self.known_usd / self.known if self.known else None

    @property
    def correct(self) -> Rate | None:
        """Labelled decisions that the label calls right; None where there are too few labels."""
        return self._right.rate(bool) if self._right.enough else None

    def totals(self) -> Totals:
        """Return what everything counted so far adds up to."""
        cheap = self._cheap_right
        return Totals(
            decisions=self.decisions,
            cost_usd=sum(self.paid.values()),
            unknown=self.unknown,
            accepted_usd=self.paid["accepted"],
            drafts_usd=self.paid["drafts"],
            failed_usd=self.paid["failed"],
            checks_usd=self.paid["checks"],
            classifiers_usd=self.paid["classifiers"],
            shadows_usd=self.paid["shadows"],
            accepted=wilson(self.accepted, self.decisions),
            escalated=wilson(self.escalated, self.decisions),
            fell_back=wilson(self.fell_back, self.decisions),
            repaired=wilson(self.repaired, self.decisions),
            failed_calls=wilson(self.failed_calls, self.calls),
            misrouted=cheap.rate(not_) if cheap.enough else None,
            cheap_labels=cheap.count,
        )
