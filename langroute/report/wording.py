"""The sentences of a report, and how its numbers are written: the same in the terminal and on the page."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from langroute.report.data import Saving, Totals
from langroute.report.payoff import WORTH_SAYING, Estimate, Payoff
from langroute.report.statistics import Kappa, Rate

__all__ = [
    "LABELS",
    "assumption",
    "beyond_chance",
    "day",
    "estimated",
    "headline",
    "lately",
    "percent",
    "rate",
    "saved",
    "seconds",
    "too_few",
    "usd",
]

LABELS = (
    "Labels are about replies that were returned: of what was rejected, that is what came back for want of a"
    " better. Where enough were drawn (langroute label), they alone count, each for as many as it stands for."
    " Else the rates hold for what was labelled, and people report what is wrong more often than what is"
    " right."
)
"""What rates by labels rest on; to be shown wherever they are."""

_SMALL, _NEARLY_ALL = 0.0995, 0.9905
"""Shares below and above which a percent is given a decimal: whole ones would say 0 or 100 of what is not."""
_TOO_LATE_S = 253_402_300_799
"""The last second of the year 9999, beyond which there are no dates."""


def usd(amount: float | None) -> str:
    """Return an amount in USD: cents from a dollar on, else three significant digits; `unknown` for None."""
    if amount is None:
        return "unknown"
    size = _decimal(abs(amount))
    written = f"{size:,.2f}" if size >= 1 or not size else f"{Decimal(f'{size:.2e}'):f}"
    return f"{'-' if amount < 0 else ''}${written}"


def _decimal(value: float) -> Decimal:
    """Return a number as it is written; so it rounds here as on the page, ties to the even digit."""
    return Decimal(repr(float(value)))


def percent(share: float | None) -> str:
    """Return a share in percent, with one decimal below 10 % and above 99 %; `unknown` for None."""
    if share is None:
        return "unknown"
    nearly_all = _NEARLY_ALL < share < 1
    written = f"{_decimal(share * 100):.{1 if abs(share) < _SMALL or nearly_all else 0}f}"
    if nearly_all and written == "100.0":
        return "> 99.9%"
    return f"{'0.0' if written == '-0.0' else written}%"


def too_few(labels: int, least: int) -> str:
    """Return what stands where labels are too few for a rate: that is not the same as a rate of 0."""
    return f"too few labels ({labels:,} of {least})" if labels else "no labels yet"


def rate(found: Rate | None, none: str = "") -> str:
    """Return a rate with its 95 % interval: `4.2% (3.1% to 5.6%)`; `none` for None."""
    if found is None:
        return none
    if found.rate is None:
        return "none counted"
    return f"{percent(found.rate)} ({percent(found.low)} to {percent(found.high)})"


def beyond_chance(found: Kappa | None) -> str:
    """Return an agreement beyond chance with its interval: `0.62 (0.41 to 0.79)`; "" for None."""
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found else ""


def seconds(value: float | None) -> str:
    """Return a duration: `340 ms`, `1.2 s`; "" for None."""
    if value is None:
        return ""
    if value < 1:
        return f"{_decimal(value * 1000):.0f} ms"
    return f"{_decimal(value):.1f} s" if value < 100 else f"{_decimal(value):,.0f} s"  # noqa: PLR2004


def day(moment_s: float, slice_s: float = 60) -> str:
    """Return a moment as a person writes it, in UTC; with seconds where it begins a slice of a few."""
    at = datetime.fromtimestamp(min(max(moment_s, 0), _TOO_LATE_S), UTC)
    return f"{at:%Y-%m-%d %H:%M}" if slice_s >= 60 else f"{at:%Y-%m-%d %H:%M:%S}"  # noqa: PLR2004 - a minute


def headline(totals: Totals, top: Saving | None) -> str:
    """Return the report in one sentence: what routing saved, or lost, and beside what."""
    if top is None:
        return f"Routing cost {usd(totals.cost_usd)}; there is nothing to compare it with."
    if top.share is None:
        return f"Routing cost {usd(totals.cost_usd)}; tier {top.tier} everywhere would have cost nothing."
    beside = (
        f"{usd(top.cost_usd)} were paid; tier {top.tier} everywhere would have cost {usd(top.baseline_usd)}."
    )
    if abs(top.share) < WORTH_SAYING:
        return f"Routing saved nothing: {beside}"
    if top.share > 0:
        return f"Routing saved {percent(top.share)}: {beside}"
    return f"Routing cost {percent(-top.share)} more: {beside}"


def assumption(top: Saving | None, totals: Totals) -> str:
    """Return what the comparison takes for granted, and what it leaves out."""
    if top is None:
        return (
            "No decision has both a known cost and a known price of the top tier. The policy can set prices."
        )
    said = (
        f"An estimate: each returned reply's tokens and prompt cache at tier {top.tier}'s price, accepted at"
        " once. What was paid includes rejected drafts, repairs, failed calls, judges, classifiers and"
        " shadows."
    )
    if top.left_out:
        said += (
            f" {top.left_out:,} of {totals.decisions:,} decisions have a cost or a price that is not known;"
            " both sums leave them out."
        )
    return said


def lately(found: Payoff, tier: str) -> str:
    """Return whether routing still pays off: yes, no, or that nobody can say, each with the number."""
    asked = f"Still paying off? {found.verdict[0].upper()}{found.verdict[1:]}:"
    recent = found.recent_usd
    if recent is None:
        return f"{asked} in the last quarter of the period no decision can be compared."
    share = found.recent_share
    part = f", {percent(abs(share.value))} of what tier {tier} would have cost" if share else ""
    said = f"in the last quarter of the period routing {saved(recent.value)} {_each(found)}"
    if recent.low is None or recent.high is None:
        few = f"too few threads for an interval ({found.groups:,} of {found.least_groups})"
        return f"{asked} the last quarter of the period has {few}.{_whole(found)}"
    if found.verdict == "cannot say yet":
        return f"{asked} {said}, but anything {_from_to(recent)} may be chance.{_whole(found)}"
    return f"{asked} {said} (95 % interval: {_from_to(recent)}){part}.{_trend(found)}"


def saved(amount_usd: float) -> str:
    """Return `saved $1.20`, or `lost` where it is a loss."""
    return f"{'lost' if amount_usd < 0 else 'saved'} {usd(abs(amount_usd))}"


def _each(found: Payoff) -> str:
    return f"a {found.per}" if found.per in ("week", "day") else f"per {found.per}"


def _from_to(found: Estimate) -> str:
    """Return an interval in words: where its ends differ in sign, both are named."""
    low, high = found.low or 0.0, found.high or 0.0
    if low < 0 < high:
        return f"from a loss of {usd(-low)} to a saving of {usd(high)}"
    near, far = sorted((abs(low), abs(high)))
    return f"{usd(near)} to {usd(far)}"


def estimated(found: Estimate | None, written: Callable[[float], str]) -> str:
    """Return a figure with its 95 % interval, where there is one: `$1.20 ($0.90 to $1.50)`."""
    if found is None:
        return "unknown"
    if found.low is None or found.high is None:
        return written(found.value)
    return f"{written(found.value)} ({written(found.low)} to {written(found.high)})"


def _whole(found: Payoff) -> str:
    """Return what the whole period says, where the last quarter says too little."""
    whole = found.whole_usd
    if whole is None:
        return ""
    interval = "" if whole.low is None else f" (95 % interval: {_from_to(whole)})"
    return f" In the whole period routing {saved(whole.value)} {_each(found)}{interval}."


def _trend(found: Payoff) -> str:
    """Return how the part that is saved has changed."""
    before, change = found.before_share, found.change
    if before is None or change is None:
        return ""
    was = f" Before it {'saved' if before.value >= 0 else 'lost'} {percent(abs(before.value))}"
    if change.low is None or change.high is None:
        return f"{was}, of too few threads to compare."
    if change.low <= 0 <= change.high:
        return f"{was}: the difference may be chance."
    return f"{was}: it saves {'more' if change.value > 0 else 'less'} now, and that is hardly chance."
