"""What a report tells of a policy and its canary, side by side."""

import math
from collections import Counter

from langroute.ledger.labels import Label
from langroute.ledger.records import DecisionRecord
from langroute.report.data import ArmRow
from langroute.report.statistics import Z_95, Quantiles
from langroute.report.tally import Tally, capped

__all__ = ["ArmCounts", "arm_of"]


def arm_of(record: DecisionRecord) -> str | None:
    """Return the arm that a decision was made in; None where its policy had no canary."""
    arm = record.plan.get("arm") if isinstance(record.plan, dict) else None
    return arm if arm in ("main", "canary") else None


class ArmCounts:
    """The decisions of one arm."""

    def __init__(self) -> None:
        self._tally, self._latency = Tally(), Quantiles()
        self._policies: Counter[str] = Counter()
        self._known, self._mean_usd, self._squares = 0, 0.0, 0.0

    def add(self, record: DecisionRecord, cost_usd: float | None, label: Label | None) -> None:
        """Count one decision."""
        self._tally.add(record, cost_usd, label)
        self._latency.add(record.latency_s)
        self._policies[capped(self._policies, record.policy)] += 1
        if cost_usd is not None:  # Welford's running variance: one pass, and no difference of large sums
            self._known += 1
            from_mean = cost_usd - self._mean_usd
            self._mean_usd += from_mean / self._known
            self._squares += from_mean * (cost_usd - self._mean_usd)

    def row(self, arm: str) -> ArmRow:
        """Return the arm's row; the interval of its mean cost is the normal one."""
        totals, half = self._tally.totals(), None
        if self._known > 1:
            half = Z_95 * math.sqrt(self._squares / (self._known - 1) / self._known)
        return ArmRow(
            arm=arm,
            policies=tuple(name for name, _ in self._policies.most_common()),
            decisions=self._tally.decisions,
            cost_per_request_usd=self._tally.cost_per_request_usd,
            cost_low_usd=None if half is None else max(self._mean_usd - half, 0.0),
            cost_high_usd=None if half is None else self._mean_usd + half,
            accepted=totals.accepted,
            escalated=totals.escalated,
            latency_p50_s=self._latency.quantile(0.5),
            latency_p95_s=self._latency.quantile(0.95),
            right=self._tally.correct,
            labels=self._tally.labels,
        )
