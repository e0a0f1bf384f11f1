"""What drifted or changed since a reference: the ledger is read once, and each finding is a sentence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from langroute.ledger.reading import Filter, count, decisions, span
from langroute.report.changes import Changes, Evidence, Finding, overdue
from langroute.report.data import Drift, Rise
from langroute.report.drift import ALPHA, SMALL_PSI, drifts, rises
from langroute.report.slices import Slices, recent_index, recent_since
from langroute.report.statistics import LEAST_SLICES
from langroute.report.tally import capped
from langroute.report.wording import percent, rate

if TYPE_CHECKING:
    from langroute.ledger.store import Store
    from langroute.policy import Policy

__all__ = ["Watched", "watch"]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a look at the ledger found."""

    reference_s: float | None
    """Moment of the first decision of the reference, in Unix seconds; None where there is no decision."""
    recent_s: float | None
    """Moment from which on decisions are recent."""
    until_s: float | None
    """Moment of the last decision."""
    too_young: str | None
    """Why nothing can be compared yet, in a sentence; None where something can."""
    drift: tuple[Drift, ...]
    """Each measure; none where a side has no decision."""
    rises: tuple[Rise, ...]
    """Each endpoint; none where a side has no decision."""
    findings: tuple[Finding, ...]
    """What calls for a look; empty where all is as it was, or chance."""


def watch(
    store: "Store",
    *,
    reference_s: float | None = None,
    since_s: float | None = None,
    policy: "Policy | None" = None,
    evidence: Evidence | None = None,
    now: datetime | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Watched:
    """Return what drifted or changed in the recent decisions against those before.

    A ledger too young for a comparison is no error: what needs none, as a review that is overdue, is found.

    Args:
        store: Where the ledger is: the `store` of a `Ledger`.
        reference_s: Unix seconds from which on decisions are the reference; all that are older than the
            recent ones when not given.
        since_s: Unix seconds from which on they are recent; the last quarter of the period when not given.
        policy: Adds prices, verifiers and reviews.
        evidence: When the policy's thresholds were tuned; see `langroute.report.changes`.
        now: The moment that counts as now, for reviews.
        progress: Told now and then how many decisions of how many are read.
    """
    reviews = () if policy is None else tuple(overdue(policy, (now or datetime.now(UTC)).date()))
    wanted = Filter(since_s=reference_s)
    period = span(store, wanted)
    if period is None:
        said = f"the ledger {store.name} has no decision in that time"
        return Watched(reference_s, since_s, None, said, (), (), reviews)
    first_s, last_s = period
    recent_s = recent_since(first_s, last_s) if since_s is None else since_s
    slices, changes = Slices(), Changes(recent_s, policy, evidence or {})
    expected, steps = count(store, wanted), dict[str, None]()
    for number, record in enumerate(decisions(store, wanted), 1):
        steps[step := capped(steps, record.step)] = None
        slices.add(record, step, record.cost_usd)
        changes.add(record)
        if number % 500 == 0:
            progress(number, expected)
    one_sided = _one_sided(store.name, first_s, recent_s, last_s)
    if one_sided is not None:
        return Watched(first_s, recent_s, last_s, one_sided, (), (), (*changes.found(), *reviews))
    starts_s, parts = slices.all()
    recent_from = recent_index(starts_s, recent_s)
    drift, rising = drifts(parts, recent_from), rises(parts, recent_from)
    young = None if any(row.p_value is not None for row in drift) else _FEW
    findings = (*_drifted(drift), *_rose(rising), *changes.found(), *reviews)
    return Watched(first_s, starts_s[recent_from], last_s, young, drift, rising, findings)


_FEW = f"the recent decisions, or those before, fall into fewer than {LEAST_SLICES} slices of time"


def _one_sided(name: str, first_s: float, recent_s: float, last_s: float) -> str | None:
    """Return what is said of a ledger whose decisions are all recent, or all older; None of another."""
    if first_s < recent_s <= last_s:
        return None
    when, side = datetime.fromtimestamp(recent_s, UTC), "older" if recent_s <= first_s else "newer"
    return f"the ledger {name} has no decision {side} than {when.isoformat(' ', 'seconds')}"


def _drifted(rows: tuple[Drift, ...]) -> Iterator[Finding]:
    for row in rows:
        if row.psi is None or row.p_value is None or row.psi < SMALL_PSI or row.p_value >= ALPHA:
            continue
        moved = max(
            zip(row.bins, row.reference_shares, row.recent_shares, strict=True),
            key=lambda one: abs(one[2] - one[1]),
        )
        said = f"PSI {row.psi:.2f}, chance {row.p_value:.3f}; most of all {moved[0]}:"
        yield Finding("drift", row.measure, f"{said} {percent(moved[1])} before, {percent(moved[2])} now")


def _rose(rows: tuple[Rise, ...]) -> Iterator[Finding]:
    for row in rows:
        if row.verdict == "rose":
            said = (
                f"{rate(row.recent)} of its calls fail, {rate(row.before)} before; chance {row.p_value:.3f}"
            )
            yield Finding("failures", row.endpoint, said)
