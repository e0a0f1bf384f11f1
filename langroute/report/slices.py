"""Decisions by time, in slices that grow with the period: at most 400, however long it is."""

from collections import Counter
from collections.abc import Sequence
from math import floor

from langroute.admission import UNCALLED
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.report.data import Timeline
from langroute.report.payoff import Groups, group_of
from langroute.report.statistics import Quantiles
from langroute.report.tally import Beside, capped, why_seen

__all__ = [
    "DIFFICULTY_BINS",
    "LATENCY_BINS",
    "PER_LATENCY_BIN",
    "Slice",
    "Slices",
    "recent_index",
    "recent_since",
]

MOST_SLICES = 400
SHOWN_SLICES = 100
"""More points than this are no longer told apart on a chart."""
MOST_PERIODS = 26
"""Half a year of weeks; in shorter slices there would be too few threads for an interval."""

_LENGTHS_S = (1, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800, 2_419_200, 29_030_400)
"""From a second to 48 weeks, then ten times as long each; every one divides the next."""
_MONDAY_S = 345_600
"""Weeks begin on Mondays (UTC): the first after the epoch is its fifth day."""

_RECENT_SHARE = 0.25
"""The last quarter of the period is called recent: short enough to show a change, long enough to count."""

DIFFICULTY_BINS = 50
"""Equal bins of the difficulty score."""
PER_LATENCY_BIN = 10
"""Bins of a `Quantiles` that one bin of latency holds."""
LATENCY_BINS = range(Quantiles.bin_of(1e-6) // PER_LATENCY_BIN, Quantiles.bin_of(1e9) // PER_LATENCY_BIN + 1)
"""Bins of latency, each about a fifth wider than the one before."""


class Slice:
    """What happened in one slice of time."""

    def __init__(self) -> None:
        self.beside, self.saved = Beside(), Groups()
        self.decisions = self.escalated = self.failed_calls = self.accepted = 0
        self.difficulty: Counter[int] = Counter()
        self.latency: Counter[int] = Counter()
        self.steps: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        """Calls that were made, by endpoint."""
        self.failed: Counter[str] = Counter()
        """Those of them that failed."""

    def add(self, record: DecisionRecord, step: str, cost_usd: float | None) -> None:
        """Count one decision, under the name that its step is given."""
        self.beside.add(cost_usd, record.top_usd)
        self.saved.add(group_of(record), cost_usd, record.top_usd)
        self.decisions += 1
        self.escalated += "escalation" in why_seen(record)
        self.failed_calls += sum(attempt.outcome == "failed" for attempt in record.attempts)
        self.accepted += record.outcome == "accepted"
        self.steps[step] += 1
        if record.difficulty is not None:
            self.difficulty[min(int(record.difficulty * DIFFICULTY_BINS), DIFFICULTY_BINS - 1)] += 1
        for attempt in record.attempts:
            self._add_call(attempt)
        self.latency[Quantiles.bin_of(max(record.latency_s, 1e-6)) // PER_LATENCY_BIN] += 1

    def _add_call(self, attempt: AttemptRecord) -> None:
        if attempt.failure_kind not in UNCALLED:
            endpoint = capped(self.calls, attempt.endpoint)
            self.calls[endpoint] += 1
            self.failed[endpoint] += attempt.outcome == "failed"

    def merge(self, other: "Slice") -> None:
        """Count everything that another has counted."""
        self.beside.merge(other.beside)
        self.saved.merge(other.saved)
        for name in ("decisions", "escalated", "failed_calls", "accepted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("difficulty", "latency", "steps", "calls", "failed"):
            getattr(self, name).update(getattr(other, name))


class Slices:
    """The slices of a period whose end is not known while it is read."""

    def __init__(self) -> None:
        self._level = self._first = self._last = 0
        self._found: dict[int, Slice] = {}

    @property
    def length_s(self) -> int:
        """Seconds that a slice is long now."""
        return _length_s(self._level)

    def add(self, record: DecisionRecord, step: str, cost_usd: float | None) -> None:
        """Count one decision; slices become longer when there would be too many."""
        number = self._number(record.decided_at_s)
        if not self._found:
            self._first = self._last = number
        while max(self._last, number) - min(self._first, number) >= MOST_SLICES:
            self._grow()
            number = self._number(record.decided_at_s)
        self._first, self._last = min(self._first, number), max(self._last, number)
        found = self._found.get(number)
        if found is None:
            found = self._found[number] = Slice()
        found.add(record, step, cost_usd)

    def _number(self, moment_s: float) -> int:
        return floor((moment_s - _MONDAY_S) / self.length_s)

    def _grow(self) -> None:
        self._level += 1
        times = self.length_s // _length_s(self._level - 1)
        found: dict[int, Slice] = {}
        for number, part in self._found.items():
            found.setdefault(number // times, Slice()).merge(part)
        self._found, self._first, self._last = found, self._first // times, self._last // times

    def all(self) -> tuple[list[float], list[Slice]]:
        """Return start (Unix seconds) and content of every slice, the empty ones between them too."""
        numbers = range(self._first, self._last + 1)
        starts_s = [float(number * self.length_s + _MONDAY_S) for number in numbers]
        return starts_s, [self._found.get(number) or Slice() for number in numbers]

    def periods(self) -> tuple[float, list[tuple[float, Groups]]]:
        """Return how long at most 26 slices are, in seconds, and what each saved, with its start."""
        level = self._level
        while self._last // self._times(level) - self._first // self._times(level) >= MOST_PERIODS:
            level += 1
        times, found = self._times(level), dict[int, Groups]()
        for number, part in sorted(self._found.items()):
            found.setdefault(number // times, Groups()).merge(part.saved)
        length_s = _length_s(level)
        return length_s, [(number * length_s + _MONDAY_S, groups) for number, groups in found.items()]

    def _times(self, level: int) -> int:
        """Return how many of today's slices one of a level holds."""
        return _length_s(level) // self.length_s

    def shown(self) -> Timeline:
        """Return the slices as a chart shows them: no more than 100, in the same steps of length."""
        while self._last - self._first >= SHOWN_SLICES:
            self._grow()
        starts_s, parts = self.all()
        return Timeline(
            slice_s=self.length_s,
            starts_s=tuple(starts_s),
            decisions=tuple(part.decisions for part in parts),
            cost_usd=tuple(part.beside.cost_usd for part in parts),
            top_usd=tuple(part.beside.baseline_usd for part in parts),
            escalated=tuple(part.escalated for part in parts),
            failed_calls=tuple(part.failed_calls for part in parts),
        )


def recent_since(since_s: float, until_s: float) -> float:
    """Return the moment from which on a decision of a period is recent."""
    return until_s - _RECENT_SHARE * (until_s - since_s)


def recent_index(starts_s: Sequence[float], recent_s: float) -> int:
    """Return the index of the first slice that begins at a moment or after it, else of the last slice."""
    return next((i for i, start_s in enumerate(starts_s) if start_s >= recent_s), len(starts_s) - 1)


def _length_s(level: int) -> int:
    longest = len(_LENGTHS_S) - 1
    return _LENGTHS_S[min(level, longest)] * int(10 ** max(level - longest, 0))
