"""What a policy rests on, and whether it is still so: prices, models, prompt templates, verifiers, reviews.

What a step or an endpoint was when its evidence was gathered is read off the decisions from that time: its
threshold was tuned, or a person reviewed it. Without either, off the reference window.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Literal

from langroute.bindings import bindings, checks_digest
from langroute.cost import Usage
from langroute.endpoints import Endpoint, Endpoints
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.report.tally import capped
from langroute.report.wording import usd

if TYPE_CHECKING:
    from langroute.policy import Policy

__all__ = ["Changes", "Evidence", "Finding", "overdue"]

Evidence = Mapping[str, date]
"""Place of a number in the policy, `steps.synthesis.route.difficulty.threshold`, to the day it was tuned."""

MOST_TEMPLATES = 20
"""Different templates of a step in the reference; with more its system message varies, and tells nothing."""

_PRICED = 1_000
"""Calls of an endpoint, the latest before its evidence, of which each cost is set against today's price."""

_DAY_S = 86_400.0

_NAMED = 3
"""Names that a sentence has."""

_SAME = 0.001
"""Share by which two costs may differ and be the same: prices are rounded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is no longer as it was, or that nobody has looked at for too long."""

    kind: Literal["drift", "failures", "model", "price", "review", "template", "verifier"]
    of: str
    """Step, endpoint or measure."""
    said: str
    """What was found, in a sentence."""


class _Names:
    """Names seen before a moment and, of the recent decisions, after it."""

    def __init__(self) -> None:
        self.before: Counter[str] = Counter()
        self.now: Counter[str] = Counter()

    def add(self, name: str, *, before: bool, recent: bool) -> None:
        """Count one name."""
        if before or recent:
            found = self.before if before else self.now
            found[capped(found, name)] += 1

    @property
    def new(self) -> list[str]:
        """Names that nobody saw before, the most frequent first; none where there is no before."""
        return [name for name, _ in self.now.most_common() if name not in self.before] if self.before else []


class Changes:
    """Reads decisions, and says at the end what is no longer as it was.

    Args:
        recent_s: Unix seconds from which decisions are recent.
        policy: Adds today's prices and verifiers, and the days of its reviews; None leaves them out.
        evidence: The days on which its numbers were tuned.
    """

    def __init__(self, recent_s: float, policy: "Policy | None", evidence: Evidence) -> None:
        self._recent_s = recent_s
        self._steps: frozenset[str] = frozenset()
        self._checks_now: dict[str, str] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._ends_s: dict[str, float] = {}
        self._endpoint_ends_s: dict[str, float] = {}
        if policy is not None:
            self._steps = frozenset(policy.steps)
            self._checks_now = {_named(loc): checks_digest(step) for loc, step in bindings(policy)}
            self._endpoints = Endpoints(policy).by_name
            self._ends_s = _ends(policy, evidence)
            self._endpoint_ends_s = _endpoint_ends(policy, self._endpoints, self._ends_s)
        self._models: dict[str, _Names] = {}
        self._templates: dict[str, _Names] = {}
        self._checks: dict[str, _Names] = {}
        self._priced: dict[str, deque[tuple[Usage, float]]] = {}

    def add(self, record: DecisionRecord) -> None:
        """Read one decision."""
        at_s = record.decided_at_s
        end_s = self._ends_s.get(record.step if record.step in self._steps else "", self._recent_s)
        sides = {"before": at_s < end_s, "recent": at_s >= self._recent_s}
        for found, name in ((self._templates, record.template), (self._checks, record.checks)):
            if name is not None:
                _of(found, record.step).add(name, **sides)
        for attempt in record.attempts:
            before = at_s < self._endpoint_ends_s.get(attempt.endpoint, self._recent_s)
            if attempt.model is not None:
                _of(self._models, attempt.endpoint).add(attempt.model, before=before, recent=sides["recent"])
            if before:
                self._add_price(attempt)

    def _add_price(self, attempt: AttemptRecord) -> None:
        tokens = attempt.input_tokens, attempt.output_tokens
        known = attempt.endpoint in self._endpoints and attempt.cost_basis == "priced"
        if not known or attempt.cost_usd is None or None in tokens:
            return
        usage = Usage(
            attempt.input_tokens or 0,
            attempt.output_tokens or 0,
            attempt.cache_read_tokens or 0,
            attempt.cache_write_tokens or 0,
        )
        self._priced.setdefault(attempt.endpoint, deque(maxlen=_PRICED)).append((usage, attempt.cost_usd))

    def found(self) -> Iterator[Finding]:
        """Yield what has changed."""
        for endpoint, names in sorted(self._models.items()):
            if names.new:
                was = _listed(name for name, _ in names.before.most_common())
                yield Finding("model", endpoint, f"{_listed(names.new)} answers; before it was {was}")
        yield from self._prices()
        for step, names in sorted(self._templates.items()):
            if names.new and len(names.before) <= MOST_TEMPLATES:
                share = sum(names.now[name] for name in names.new) / names.now.total()
                yield Finding(
                    "template", step, f"{share:.0%} of its recent prompts have a template not seen before"
                )
        yield from self._verifiers()

    def _prices(self) -> Iterator[Finding]:
        for name, calls in sorted(self._priced.items()):
            costs = [(then_usd, _now_usd(self._endpoints[name], usage)) for usage, then_usd in calls]
            pairs = [(then_usd, now_usd) for then_usd, now_usd in costs if now_usd is not None]
            others = sum(abs(now - then) > _SAME * max(now, then) for then, now in pairs)
            if others * 2 > len(pairs):
                then_usd, now_usd = (sum(each) for each in zip(*pairs, strict=True))
                said = f"what cost {usd(then_usd)} then costs {usd(now_usd)} at today's price"
                yield Finding("price", name, f"{said} ({len(pairs):,} calls)")

    def _verifiers(self) -> Iterator[Finding]:
        for step, names in sorted(self._checks.items()):
            now = self._checks_now.get(step, self._checks_now.get(""))
            others = names.new if now is None else [now] if now not in names.before and names.before else []
            if others:
                was = _listed(name for name, _ in names.before.most_common())
                said = f"its verifiers or their settings are others: {_listed(others)}; before {was}"
                yield Finding("verifier", step, said)


def overdue(policy: "Policy", today: date) -> Iterator[Finding]:
    """Yield the steps whose last review is older than the policy's `review_every_days`, or that have none."""
    every = policy.review_every_days
    if every is None:
        return
    for loc, step in bindings(policy):
        if loc == ("default",) and "default" not in policy.model_fields_set:
            continue  # nobody wrote it
        name = str(loc[-1])
        if step.reviewed is None:
            yield Finding("review", name, f"was never reviewed; it should be every {every} days")
        elif (age := (today - step.reviewed).days) > every:
            yield Finding("review", name, f"was reviewed {age} days ago; it should be every {every}")


def _named(loc: tuple[object, ...]) -> str:
    """Return a step's name, "" for the default: a step may be called so."""
    return "" if loc == ("default",) else str(loc[-1])


def _ends(policy: "Policy", evidence: Evidence) -> dict[str, float]:
    """Return when the evidence of each step was complete, in Unix seconds: its last day counts."""
    found = {}
    for loc, step in bindings(policy):
        place = ".".join(map(str, loc)) + "."
        days = [day for tuned, day in evidence.items() if tuned.startswith(place)]
        days += [] if step.reviewed is None else [step.reviewed]
        if days:
            found[_named(loc)] = datetime.combine(max(days), time(), UTC).timestamp() + _DAY_S
    return found


def _endpoint_ends(
    policy: "Policy", endpoints: Mapping[str, Endpoint], ends_s: Mapping[str, float]
) -> dict[str, float]:
    """Return when the evidence of each endpoint was complete: the oldest of the steps that call it."""
    found: dict[str, float] = {}
    for loc, step in bindings(policy):
        end_s = ends_s.get(_named(loc))
        for name, endpoint in endpoints.items():
            if end_s is not None and endpoint.tier in step.cascade:
                found[name] = min(end_s, found.get(name, end_s))
    return found


def _now_usd(endpoint: Endpoint, usage: Usage) -> float | None:
    price = endpoint.price(usage.input_tokens)
    return None if price is None else price.cost_usd(usage)


def _listed(names: Iterable[str]) -> str:
    all_of_them = list(names)
    rest = len(all_of_them) - _NAMED
    return ", ".join(all_of_them[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _of(found: dict[str, _Names], name: str) -> _Names:
    return found.setdefault(capped(found, name), _Names())
