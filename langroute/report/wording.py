"""The sentences of a report, and how its numbers are written: the same in the terminal and on the page."""

from datetime import UTC, datetime

from langroute.report.data import Saving, Totals
from langroute.report.statistics import Kappa, Rate

__all__ = [
    "LABELS",
    "assumption",
    "beyond_chance",
    "day",
    "headline",
    "lately",
    "percent",
    "rate",
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

_WORTH_SAYING = 0.005
"""Share below which two sums are called the same."""
_SMALL, _NEARLY_ALL = 0.0995, 0.9905
"""Shares below and above which a percent is given a decimal: whole ones would say 0 or 100 of what is not."""
_PICO = 12
"""Most decimals of an amount."""
_TOO_LATE_S = 253_402_300_799
"""The last second of the year 9999, beyond which there are no dates."""


def usd(amount: float | None) -> str:
    """Return an amount in USD: cents from a dollar on, else three significant digits; `unknown` for None."""
    if amount is None:
        return "unknown"
    if abs(amount) >= 1 or amount == 0:
        return f"${amount:,.2f}" if amount >= 0 else f"-${-amount:,.2f}"
    return f"{'-' if amount < 0 else ''}${_significant(abs(amount))}"


def _significant(amount: float) -> str:
    """Return three significant digits of an amount below 1, as few decimals as they need."""
    rounded_to = int(f"{amount:.2e}".partition("e")[2])
    return f"{amount:.{min(2 - rounded_to, _PICO)}f}"


def percent(share: float | None) -> str:
    """Return a share in percent, with one decimal below 10 % and above 99 %; `unknown` for None."""
    if share is None:
        return "unknown"
    nearly_all = _NEARLY_ALL < share < 1
    written = f"{share * 100:.{1 if abs(share) < _SMALL or nearly_all else 0}f}"
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
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"  # noqa: PLR2004


def day(moment_s: float) -> str:
    """Return a moment as a person writes it, in UTC."""
    return f"{datetime.fromtimestamp(min(max(moment_s, 0), _TOO_LATE_S), UTC):%Y-%m-%d %H:%M}"


def headline(totals: Totals, top: Saving | None) -> str:
    """Return the report in one sentence: what routing saved, or lost, and beside what."""
    if top is None:
        return f"Routing cost {usd(totals.cost_usd)}; there is nothing to compare it with."
    if top.share is None:
        return f"Routing cost {usd(totals.cost_usd)}; tier {top.tier} everywhere would have cost nothing."
    beside = (
        f"{usd(top.cost_usd)} were paid; tier {top.tier} everywhere would have cost {usd(top.baseline_usd)}."
    )
    if abs(top.share) < _WORTH_SAYING:
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


def lately(before: Saving | None, recent: Saving | None) -> str:
    """Return whether routing still pays off, in a sentence."""
    if before is None or recent is None or before.share is None or recent.share is None:
        return "Whether it is still paying off cannot be said yet: the period is too short."
    now, then = percent(abs(recent.share)), percent(abs(before.share))
    was = f"{'saved' if before.share >= 0 else 'lost'} {then} before"
    if abs(recent.share) < _WORTH_SAYING:
        return f"It no longer pays off: in the last quarter of the period routing saved nothing; it {was}."
    if recent.share < 0:
        return f"It no longer pays off: in the last quarter of the period routing lost {now}; it {was}."
    return f"It is still paying off: in the last quarter of the period routing saved {now}; it {was}."
