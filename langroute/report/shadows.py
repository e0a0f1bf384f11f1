"""What a report tells of shadows: how often a cheap reply was wrong where the top tier's was right."""

from collections import Counter

from langroute.ledger.records import ShadowRecord
from langroute.report.data import ShadowRow
from langroute.report.statistics import wilson

__all__ = ["ShadowCounts"]


class ShadowCounts:
    """The shadows of one step."""

    def __init__(self) -> None:
        self._verdicts: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._cost_usd = 0.0

    def add(self, shadow: ShadowRecord) -> None:
        """Count one shadow."""
        if shadow.verdict is None:
            self._lost[shadow.outcome] += 1
        else:
            self._verdicts[shadow.verdict] += 1
        self._cost_usd += (shadow.call_usd or 0.0) + (shadow.judge_usd or 0.0)

    def row(self, step: str) -> ShadowRow:
        """Return the step's row."""
        counts = self._verdicts
        said = counts["good"] + counts["misrouted"] + counts["neither"]
        return ShadowRow(
            step=step,
            misrouted=wilson(counts["misrouted"], said),
            neither=counts["neither"],
            unsure=counts["unsure"],
            lost=tuple(self._lost.most_common()),
            cost_usd=self._cost_usd,
        )
