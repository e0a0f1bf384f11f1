"""From decisions to a report's figures: one pass, in memory that does not grow with the ledger."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from langroute.ledger.labels import Label
from langroute.ledger.records import DecisionRecord
from langroute.report.arms import ArmCounts, arm_of
from langroute.report.data import MismatchRow, PolicyRow, ReportData, Saving, StepRow
from langroute.report.details import (
    EndpointCounts,
    Settings,
    StepCounts,
    VerifierCounts,
    spends_of,
    verdicts_of,
)
from langroute.report.drift import drifts, rises
from langroute.report.flow import Ways
from langroute.report.labels import LEAST_LABELS
from langroute.report.payoff import Groups, Payoff, payoff
from langroute.report.shadows import ShadowCounts
from langroute.report.slices import Slice, Slices, recent_index, recent_since
from langroute.report.statistics import wilson
from langroute.report.tally import MOST_NAMES, OTHERS, Beside, Tally, capped, top_tier_of
from langroute.report.wording import LABELS, assumption, headline, lately

__all__ = ["Figures"]

_T = TypeVar("_T")


class Figures:
    """Counts decisions, and says at the end what they come to."""

    def __init__(self, ledger: str = "") -> None:
        """Start with nothing counted.

        Args:
            ledger: Where the decisions come from, for the heading.
        """
        self._ledger = ledger
        self._tally = Tally()
        self._slices, self._ways = Slices(), Ways()
        self._steps: dict[str, StepCounts] = {}
        self._policies: dict[str, Tally] = {}
        self._endpoints: dict[str, EndpointCounts] = {}
        self._verifiers: dict[str, VerifierCounts] = {}
        self._arms: dict[str, ArmCounts] = {}
        self._shadows: dict[str, ShadowCounts] = {}
        self._tiers: dict[str, Beside] = {}
        self._tops: dict[str, int] = {}
        self._mismatches: dict[str, dict[str, int]] = {}
        self._since_s = self._until_s = 0.0

    @property
    def decisions(self) -> int:
        """Decisions counted so far."""
        return self._tally.decisions

    def add(self, record: DecisionRecord, label: Label | float | None = None) -> None:
        """Count one decision; `label` is what its feedback comes to, or its mean score."""
        label = Label(label) if isinstance(label, int | float) else label
        moment_s, cost_usd = record.decided_at_s, record.cost_usd
        self._since_s = min(self._since_s, moment_s) if self.decisions else moment_s
        self._until_s = max(self._until_s, moment_s) if self.decisions else moment_s
        self._tally.add(record, cost_usd, label)
        step = capped(self._steps, record.step)
        _of(self._steps, step, StepCounts).add(record, cost_usd, label)
        _of(self._policies, capped(self._policies, record.policy), Tally).add(record, cost_usd, label)
        self._slices.add(record, step, cost_usd)
        self._ways.add(record, step)
        self._add_tiers(record, cost_usd)
        for attempt in record.attempts:
            self._endpoint(attempt.endpoint).add(attempt)
        for spend in spends_of(record):
            self._endpoint(str(spend["endpoint"])).pay(spend)
        for verdict, of_reply in verdicts_of(record, label):
            name = capped(self._verifiers, str(verdict["verifier"]))
            _of(self._verifiers, name, VerifierCounts).add(verdict, of_reply)
        if (arm := arm_of(record)) is not None:
            _of(self._arms, arm, ArmCounts).add(record, cost_usd, label)
        for shadow in record.shadows:
            _of(self._shadows, step, ShadowCounts).add(shadow)
        if record.mismatch is not None:
            seen = _of(self._mismatches, step, dict[str, int])
            name = capped(seen, record.mismatch)
            seen[name] = seen.get(name, 0) + 1

    def _endpoint(self, name: str) -> EndpointCounts:
        return _of(self._endpoints, capped(self._endpoints, name), EndpointCounts)

    def _add_tiers(self, record: DecisionRecord, cost_usd: float | None) -> None:
        for tier, usd in (record.baselines or {}).items():
            _of(self._tiers, capped(self._tiers, tier), Beside).add(cost_usd, usd)
        top = top_tier_of(record)
        if top is not None:
            top = capped(self._tops, top)
            self._tops[top] = self._tops.get(top, 0) + 1

    def data(self, settings: Settings | None = None) -> ReportData:
        """Return what the decisions counted so far come to; there must be at least one.

        Args:
            settings: What the policy says of each step, for the worksheet.
        """
        top_tier = " or ".join(sorted(self._tops, key=lambda name: -self._tops[name])[:3]) or "the top one"
        starts_s, slices = self._slices.all()
        recent_from = recent_index(starts_s, recent_since(self._since_s, self._until_s))
        before = _merged(slices[:recent_from]).saving(top_tier)
        recent = _merged(slices[recent_from:]).saving(top_tier)
        paying = self._payoff(slices, recent_from, starts_s[recent_from])
        drift = drifts(slices, recent_from)
        totals, top = self._tally.totals(), self._tally.beside.saving(top_tier)
        return ReportData(
            ledger=self._ledger,
            since_s=self._since_s,
            until_s=self._until_s,
            recent_s=starts_s[recent_from],
            headline=headline(totals, top),
            assumption=assumption(top, totals),
            lately=lately(paying, top_tier),
            payoff=paying,
            totals=totals,
            top=top,
            savings=self._savings(),
            before=before,
            recent=recent,
            labels=self._tally.labels,
            labels_note=LABELS,
            drawn_labels=self._tally.drawn_labels,
            least_labels=LEAST_LABELS,
            steps=self._worksheet(top_tier, settings or {}),
            timeline=self._slices.shown(),
            flow=self._ways.flow(),
            policies=self._policy_rows(top_tier),
            arms=tuple(counts.row(arm) for arm, counts in sorted(self._arms.items(), reverse=True)),
            endpoints=tuple(counts.row(name) for name, counts in sorted(self._endpoints.items())),
            verifiers=tuple(counts.row(name) for name, counts in sorted(self._verifiers.items())),
            shadows=tuple(counts.row(step) for step, counts in sorted(self._shadows.items())),
            drift=drift,
            rises=rises(slices, recent_from),
            mismatches=self._mismatch_rows(),
            omitted=self._omitted(),
        )

    def _payoff(self, slices: list[Slice], recent_from: int, recent_s: float) -> Payoff:
        parts = Groups(), Groups()
        for number, part in enumerate(slices):
            parts[number >= recent_from].merge(part.saved)
        lengths_s = max(recent_s - self._since_s, 0.0), max(self._until_s - recent_s, 0.0)
        period_s, periods = self._slices.periods()
        return payoff(*parts, lengths_s, periods, period_s)

    def _savings(self) -> tuple[Saving, ...]:
        found = (beside.saving(tier) for tier, beside in self._tiers.items())
        return tuple(sorted((saving for saving in found if saving), key=_baseline_per_decision))

    def _worksheet(self, top_tier: str, settings: Settings) -> tuple[StepRow, ...]:
        rows = (
            counts.row(step, self._tally.decisions, top_tier, settings.get(step, settings.get("", {})))
            for step, counts in self._steps.items()
        )
        return tuple(sorted(rows, key=lambda row: -row.totals.cost_usd))

    def _policy_rows(self, top_tier: str) -> tuple[PolicyRow, ...]:
        return tuple(
            PolicyRow(
                policy=policy,
                decisions=tally.decisions,
                cost_per_request_usd=tally.cost_per_request_usd,
                accepted=tally.totals().accepted,
                right=tally.correct,
                labels=tally.labels,
                saving=tally.beside.saving(top_tier),
            )
            for policy, tally in self._policies.items()
        )

    def _mismatch_rows(self) -> tuple[MismatchRow, ...]:
        rows = (
            MismatchRow(step, looks_like, wilson(count, self._steps[step].tally.decisions))
            for step, seen in self._mismatches.items()
            for looks_like, count in seen.items()
        )
        return tuple(sorted(rows, key=lambda row: -row.calls.count))

    def _omitted(self) -> tuple[str, ...]:
        tables: dict[str, Iterable[str]] = {
            "steps": self._steps,
            "policies": self._policies,
            "endpoints": self._endpoints,
            "verifiers": self._verifiers,
            "tiers": self._tiers,
        }
        return tuple(
            f"There are more than {MOST_NAMES} {name}: the rest are counted together as {OTHERS}."
            for name, found in tables.items()
            if OTHERS in found
        )


def _baseline_per_decision(saving: Saving) -> float:
    return saving.baseline_usd / saving.compared


def _of(found: dict[str, _T], name: str, make: Callable[[], _T]) -> _T:
    """Return what is counted under a name, made where it is new."""
    if name not in found:
        found[name] = make()
    return found[name]


def _merged(slices: list[Slice]) -> Beside:
    total = Beside()
    for part in slices:
        total.merge(part.beside)
    return total
