"""Whether routing is still paying off: what it saves beside the top tier, with an interval and a trend.

Requests of one thread are alike; taken as independent they would make every interval too narrow. So threads
are the units, in memory that does not grow with them: a digest of its id puts each, whole, into one of 256
groups (random groups: Mahalanobis 1946; Wolter 2007, chapter 2), and by how much the figure moves when one of
them is left out gives its interval (the jackknife of a ratio of sums: Tukey 1958; Wolter 2007, chapter 4).
Of far fewer threads than groups nearly each has its own, and the interval is one clustered by thread.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from langroute.chance import place
from langroute.ledger.records import DecisionRecord
from langroute.report.statistics import student_95

__all__ = ["LEAST_GROUPS", "Estimate", "Groups", "Payoff", "Period", "group_of", "payoff"]

GROUPS = 256
"""Groups that threads fall into: with more the interval would hardly be surer of its own length."""

LEAST_GROUPS = 40
"""Groups with requests that an interval needs. The more skewed the savings, the narrower it is than it should
be: in simulations it held 86 to 92 % of the time for 40 threads, 90 to 94 % for 100, 93 to 95 % for more
(`tests/report/test_report_payoff.py`)."""

WORTH_SAYING = 0.005
"""Share of the baseline below which a saving is called nothing."""

_DAY_S = 86_400.0
_UNITS = (("week", 7 * _DAY_S), ("day", _DAY_S))
_MANY = 1_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; both ends are None where there are too few threads for one."""

    value: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> "Estimate":
        """Return the same of so many."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.value * factor, low, high)


@dataclass(frozen=True, slots=True)
class Period:
    """What was saved in one week, day or other slice of time."""

    start_s: float
    requests: int
    """Decisions of which both costs are known."""
    saved_usd: Estimate
    """USD that the top tier everywhere would have cost more; negative for a loss."""
    share: Estimate | None
    """The same as a part of what the top tier would have cost; None where that is nothing."""


@dataclass(frozen=True, slots=True)
class Payoff:
    """Whether routing still pays off, beside the top tier everywhere."""

    verdict: str
    """`yes` or `no` where 95 % confidence allows it, else `cannot say yet`."""
    per: str
    """What USD are told of: a `week` or a `day`, the longest that the recent decisions fill, else
    `1,000 requests`."""
    groups: int
    """Threads of the recent decisions, in groups once there are very many; a decision without a thread or a
    run is one of its own."""
    least_groups: int
    """Below this nothing can be said."""
    recent_usd: Estimate | None
    """USD saved by the recent decisions, in each `per`; None where none can be compared."""
    whole_usd: Estimate | None
    """USD saved in the whole period, in each `per`."""
    recent_share: Estimate | None
    """Part of the top tier's cost that the recent decisions saved."""
    before_share: Estimate | None
    """The same of those before."""
    change: Estimate | None
    """By how much the part saved grew; None where either side has none."""
    periods: tuple[Period, ...]
    """Week by week, day by day, or as the period allows."""
    period: str
    """What each of them is: a `week`, a `day`, or as long as `6 h`."""
    period_s: float
    """Seconds that it is long."""


def group_of(record: DecisionRecord) -> int:
    """Return the group that a decision's thread falls into; without one its run's, else its own."""
    return int(place((record.thread or record.run or record.id,), "payoff") * GROUPS)


class Groups:
    """Requests, what the top tier would have cost, and what was saved: a sum for each group."""

    __slots__ = ("sums",)

    def __init__(self) -> None:
        self.sums = tuple(array("d", bytes(8 * GROUPS)) for _ in range(3))
        """Of each group: requests, USD of the top tier everywhere, USD saved."""

    def add(self, group: int, cost_usd: float | None, baseline_usd: float | None) -> None:
        """Count one decision, where both costs are known."""
        if cost_usd is not None and baseline_usd is not None:
            for sums, value in zip(self.sums, (1.0, baseline_usd, baseline_usd - cost_usd), strict=True):
                sums[group] += value

    def merge(self, other: "Groups") -> None:
        """Count everything that another has counted."""
        for own, more in zip(self.sums, other.sums, strict=True):
            for group, value in enumerate(more):
                own[group] += value

    @property
    def used(self) -> int:
        """Groups with requests."""
        return sum(map(bool, self.sums[0]))

    @property
    def requests(self) -> int:
        """Requests of all groups."""
        return int(sum(self.sums[0]))

    def per_request_usd(self) -> Estimate | None:
        """Return the mean saving of a request; None without requests."""
        return _estimated(*_mean(self, 0), self.used)

    def share(self) -> Estimate | None:
        """Return the part of the baseline that was saved; None where there is none."""
        return _estimated(*_mean(self, 1), self.used)

    def risen(self, before: "Groups") -> Estimate | None:
        """Return by how much the part saved grew: a thread that goes on is in both, and of one group."""
        (now, errors), (then, others) = _mean(self, 1), _mean(before, 1)
        if now is None or then is None:
            return None
        both = [error - other for error, other in zip(errors, others, strict=True)]
        return _estimated(now - then, both, min(self.used, before.used))


def _mean(groups: Groups, of: int) -> tuple[float | None, Sequence[float]]:
    """Return saving over another sum, and by how much each group moves it from what it would be without."""
    saved, over = groups.sums[2], groups.sums[of]
    total = sum(over)
    if total <= 0:
        return None, ()
    mean, pairs = sum(saved) / total, zip(saved, over, strict=True)
    return mean, [(part - mean * each) / ((total - each) or total) for part, each in pairs]


def _estimated(value: float | None, errors: Sequence[float], used: int) -> Estimate | None:
    if value is None:
        return None
    if used < LEAST_GROUPS:
        return Estimate(value, None, None)
    half = student_95(used - 1) * math.sqrt((used - 1) / used * sum(error * error for error in errors))
    return Estimate(value, value - half, value + half)


def payoff(
    before: Groups,
    recent: Groups,
    lengths_s: tuple[float, float],
    periods: Iterable[tuple[float, Groups]] = (),
    period_s: float = 0.0,
) -> Payoff:
    """Return whether routing still pays off in the recent decisions.

    The doubt in the baseline, which is an estimate, is in no interval.

    Args:
        before: What was counted before them.
        recent: What was counted of them.
        lengths_s: Seconds that either part of the period is long.
        periods: What was counted in each slice of time, with its start.
        period_s: Seconds that each slice is long.
    """
    whole = Groups()
    for part in (before, recent):
        whole.merge(part)
    per, unit_s = next(((name, s) for name, s in _UNITS if lengths_s[1] >= s), (f"{_MANY:,} requests", 0.0))
    recent_usd = _in_units(recent, lengths_s[1], unit_s)
    share = recent.share()
    return Payoff(
        verdict=_verdict(recent_usd, share),
        per=per,
        groups=recent.used,
        least_groups=LEAST_GROUPS,
        recent_usd=recent_usd,
        whole_usd=_in_units(whole, sum(lengths_s), unit_s),
        recent_share=share,
        before_share=before.share(),
        change=recent.risen(before),
        periods=tuple(_periods(periods)),
        period=_named(period_s),
        period_s=period_s,
    )


def _named(length_s: float) -> str:
    for name, unit_s in _UNITS:
        if length_s >= unit_s:
            many = round(length_s / unit_s)
            return name if many == 1 else f"{many:,} {name}s"
    hours, minutes = length_s / 3_600, length_s / 60
    return f"{hours:.0f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{length_s:.0f} s"


def _in_units(groups: Groups, length_s: float, unit_s: float) -> Estimate | None:
    """Return what was saved in each unit of time at the traffic there was; or per 1,000 requests."""
    mean = groups.per_request_usd()
    requests = groups.requests * unit_s / length_s if unit_s else _MANY
    return None if mean is None else mean.times(requests)


def _verdict(usd: Estimate | None, share: Estimate | None) -> str:
    if usd is None or usd.low is None or usd.high is None:
        return "cannot say yet"
    if usd.high <= 0 or (share is not None and share.high is not None and share.high < WORTH_SAYING):
        return "no"
    return "yes" if usd.low > 0 else "cannot say yet"


def _periods(slices: Iterable[tuple[float, Groups]]) -> Iterator[Period]:
    for start_s, groups in slices:
        mean = groups.per_request_usd()
        if mean is not None:
            yield Period(start_s, groups.requests, mean.times(groups.requests), groups.share())
