"""What a report tells of each step, endpoint and verifier beside the sums: counted one decision at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langroute.ledger.labels import Label, judged
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.report.data import Agreement, EndpointRow, StepRow, TriedRow, VerifierRow
from langroute.report.labels import Labels
from langroute.report.statistics import Quantiles, kappa, wilson
from langroute.report.tally import Tally, capped

__all__ = [
    "JUDGED_LATER",
    "EndpointCounts",
    "Settings",
    "StepCounts",
    "VerifierCounts",
    "spends_of",
    "verdicts_of",
]

JUDGED_LATER = "judge, as feedback"
"""Name under which the verifiers' table has the feedback whose source is a judge."""

_MOST_PLANS = 200
"""Different plans of a step that are counted; the most frequent one is among the first of them."""

_MOST_TRIED = 50
"""Endpoints of a step that are told apart."""

_FINE = 1_000
"""Bins of the difficulty score."""

DIFFICULTY_PARTS = 20
"""Equal parts of a step's decisions of which a difficulty is told."""

_Planned = tuple[tuple[str, ...], ...]

Settings = Mapping[str, Mapping[str, str]]
"""Step to what its policy says: `threshold` and `reviewed`."""


class StepCounts:
    """One step: its sums, its tokens and latency, what was planned and checked."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.latency = Quantiles()
        self._input, self._output = Quantiles(), Quantiles()
        self._verifiers: Counter[str] = Counter()
        self._plans: Counter[_Planned] = Counter()
        self._first_replies = self._first_accepted = 0
        self._cached, self._checks = Quantiles(), Quantiles()
        self._difficulties: Counter[int] = Counter()
        self._tried: dict[str, TriedCounts] = {}

    def add(self, record: DecisionRecord, cost_usd: float | None, label: Label | None) -> None:
        """Count one decision of the step."""
        self.tally.add(record, cost_usd, label)
        self.latency.add(record.latency_s)
        planned = _planned(record)
        if planned in self._plans or len(self._plans) < _MOST_PLANS:
            self._plans[planned] += 1
        if record.difficulty is not None:
            self._difficulties[min(max(int(record.difficulty * _FINE), 0), _FINE - 1)] += 1
        self._add_tried(record, label)
        replied = False
        for attempt in record.attempts:
            if attempt.input_tokens is not None:
                self._input.add(attempt.input_tokens)
            if attempt.output_tokens is not None:
                self._output.add(attempt.output_tokens)
            for verdict in attempt.verdicts or ():
                self._verifiers[capped(self._verifiers, str(verdict["verifier"]))] += 1
            if not replied and attempt.outcome in ("accepted", "rejected"):
                replied = True
                self._first_replies += 1
                self._first_accepted += attempt.outcome == "accepted"

    def _add_tried(self, record: DecisionRecord, label: Label | None) -> None:
        """Count, for every endpoint that replied, what came of it."""
        replies: dict[str, list[AttemptRecord]] = {}
        for attempt in record.attempts:
            if attempt.outcome not in ("accepted", "rejected"):
                continue
            replies.setdefault(capped(self._tried, attempt.endpoint, _MOST_TRIED), []).append(attempt)
            if attempt.checks_usd is not None:
                self._checks.add(attempt.checks_usd)
            if attempt.input_tokens is not None:
                self._cached.add(attempt.cache_read_tokens or 0)
        for endpoint, attempts in replies.items():
            if endpoint not in self._tried:
                self._tried[endpoint] = TriedCounts()
            self._tried[endpoint].add(attempts, label)

    def row(self, step: str, decisions: int, top_tier: str, settings: Mapping[str, str]) -> StepRow:
        """Return the step's row of the worksheet."""
        first, *others = self._plans.most_common(1)[0][0]
        return StepRow(
            step=step,
            share=self.tally.decisions / decisions,
            totals=self.tally.totals(),
            saving=self.tally.beside.saving(top_tier),
            threshold=settings.get("threshold", ""),
            primary=first[0] if first else "",
            fallback=", ".join(first[1:]),
            escalates_to=", ".join(rung[0] for rung in others if rung),
            input_tokens=self._input.mean,
            output_tokens=self._output.mean,
            verifiers=tuple(name for name, _ in self._verifiers.most_common()),
            passed=wilson(self._first_accepted, self._first_replies),
            latency_p50_s=self.latency.quantile(0.5),
            latency_p95_s=self.latency.quantile(0.95),
            cost_per_request_usd=self.tally.cost_per_request_usd,
            cached_tokens=self._cached.mean,
            checks_usd=self._checks.mean,
            difficulties=tuple(self._parts()),
            tried=tuple(
                counts.row(name)
                for name, counts in sorted(self._tried.items(), key=lambda one: -one[1].decisions)
            ),
            reviewed=settings.get("reviewed", ""),
        )

    def _parts(self) -> Iterator[float]:
        """Yield the middle difficulty of each equal part of the decisions, within a thousandth."""
        seen, total, part = 0, self._difficulties.total(), 0
        for number in sorted(self._difficulties):
            seen += self._difficulties[number]
            while part < DIFFICULTY_PARTS and seen > (part + 0.5) / DIFFICULTY_PARTS * total:
                yield (number + 0.5) / _FINE
                part += 1


class TriedCounts:
    """One endpoint on one step: what came of its replies."""

    def __init__(self) -> None:
        self.decisions = 0
        self._passed = self._replies = 0
        self._latency_s = 0.0
        self._right = Labels()

    def add(self, attempts: Sequence[AttemptRecord], label: Label | None) -> None:
        """Count its replies in one decision; the label is that of the reply returned."""
        accepted = any(attempt.outcome == "accepted" for attempt in attempts)
        self.decisions += 1
        self._passed += accepted
        self._replies += len(attempts)
        self._latency_s += sum(attempt.latency_s + attempt.judged_s for attempt in attempts)
        if label is not None and any(a.returned and a.outcome == "accepted" for a in attempts):
            self._right.add(label.right, label)

    def row(self, endpoint: str) -> TriedRow:
        """Return the endpoint's row."""
        return TriedRow(
            endpoint=endpoint,
            passed=wilson(self._passed, self.decisions),
            calls=self._replies / self.decisions,
            latency_s=self._latency_s / self._replies,
            right=self._right.rate(bool) if self._right.enough else None,
            labels=self._right.count,
        )


def _planned(record: DecisionRecord) -> _Planned:
    """Return the endpoints of each rung planned, first choice first; one empty rung without a plan."""
    rungs = record.plan.get("rungs", ()) if isinstance(record.plan, dict) else ()
    return tuple(tuple(choice["endpoint"] for choice in rung["choices"]) for rung in rungs) or ((),)


class EndpointCounts:
    """One endpoint: its calls and what came of them."""

    def __init__(self) -> None:
        self._calls = self._asked = self._failed = 0
        self._kinds: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._cost_usd = 0.0
        self._latency = Quantiles()

    def add(self, attempt: AttemptRecord) -> None:
        """Count one call."""
        self._calls += 1
        self._failed += attempt.outcome == "failed"
        if attempt.failure_kind:
            self._kinds[capped(self._kinds, attempt.failure_kind)] += 1
        if attempt.model is not None:
            self._models[capped(self._models, attempt.model)] += 1
        self._cost_usd += attempt.cost_usd or 0.0
        self._latency.add(attempt.latency_s)

    def pay(self, spend: Mapping[str, Any]) -> None:
        """Count one question that a verifier or a classifier put to it."""
        self._asked += 1
        self._cost_usd += spend["cost_usd"] or 0.0

    def row(self, endpoint: str) -> EndpointRow:
        """Return the endpoint's row."""
        return EndpointRow(
            endpoint=endpoint,
            models=tuple(name for name, _ in self._models.most_common()),
            calls=self._calls,
            asked=self._asked,
            failed=wilson(self._failed, self._calls),
            kinds=tuple(self._kinds.most_common()),
            cost_usd=self._cost_usd,
            latency_p50_s=self._latency.quantile(0.5),
            latency_p95_s=self._latency.quantile(0.95),
        )


class VerifierCounts:
    """One verifier: its verdicts, and how they agree with labels."""

    def __init__(self) -> None:
        self._verdicts = self._rejected = self._unsure = 0
        self._labels = Labels()

    def add(self, verdict: Mapping[str, Any], label: Label | None) -> None:
        """Count one verdict; the label is that of the reply it is about, None where it has none."""
        accepted = bool(verdict["accepted"])
        self._verdicts += 1
        self._rejected += not accepted
        self._unsure += bool(verdict.get("unsure"))
        if label is not None:
            self._labels.add((accepted, label.right), label)

    def row(self, verifier: str) -> VerifierRow:
        """Return the verifier's row."""
        return VerifierRow(
            verifier=verifier,
            rejected=wilson(self._rejected, self._verdicts),
            unsure=self._unsure,
            agreement=_agreement(self._labels) if self._labels.enough else None,
            labels=self._labels.count,
        )


def _agreement(labels: Labels) -> Agreement:
    """Return how far verdicts and labels agree; each kind is whether the one and the other say yes."""
    agreed = labels.rate(lambda kind: kind[0] == kind[1])
    return Agreement(
        labels=labels.count,
        drawn=labels.drawn,
        false_accept=labels.rate(lambda kind: not kind[1], among=lambda kind: kind[0]),
        false_reject=labels.rate(lambda kind: kind[1], among=lambda kind: not kind[0]),
        agreed=agreed,
        kappa=kappa(agreed, labels.rate(lambda kind: kind[0]), labels.rate(lambda kind: kind[1])),
    )


def verdicts_of(
    record: DecisionRecord, label: Label | None
) -> Iterator[tuple[Mapping[str, Any], Label | None]]:
    """Yield every verdict with the label of the reply it is about: a label is about the reply returned.

    What a judge said afterwards, as feedback, is a verdict too, and measures none.
    """
    of_people = None if label is None or label.of_judge else label
    for attempt in record.attempts:
        for verdict in attempt.verdicts or ():
            yield verdict, of_people if attempt.returned else None
    if (opinion := judged(record)) is not None:
        yield {"verifier": JUDGED_LATER, "accepted": opinion.right}, of_people


def spends_of(record: DecisionRecord) -> Iterator[Mapping[str, Any]]:
    """Yield the calls made beside the attempts: by classifiers, by verifiers."""
    yield from record.spend or ()
    for attempt in record.attempts:
        for verdict in attempt.verdicts or ():
            yield from verdict.get("spend") or ()
