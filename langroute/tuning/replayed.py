"""A step's requests as they would have gone from the first tier and from the top one, one array a measure."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from langroute.cascade import Attempt, Plan
from langroute.ledger.records import DecisionRecord
from langroute.tuning.guarantee import Floats
from langroute.tuning.recorded import logged_of
from langroute.tuning.replay import Judge, Logged, escalated, rejudged, replay, spent_usd
from langroute.tuning.weighing import Began, Bools, Ends, Sides
from langroute.tuning.whatif import tier_means

__all__ = ["MEASURES", "Rated", "Replays", "Seen", "seen"]

MEASURES = ("cost_usd", "latency_s", "quality", "doubtful", "escalated", "estimated", "unrated", "tier")
"""What a request comes to. `doubtful`: its quality where that is an unrated draft's; `estimated`: a tier was
not tried on it; `unrated`: its reply was not rated; `tier`: that reply's, by its number in the cascade."""

_EVEN = 0.5
"""Propensity up to which a start was not the policy's own choice."""

_Outcome = tuple[float, ...]
"""The measures of one request."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A decision as it is replayed, with what the ledger says of it as a whole."""

    logged: Logged
    cost_usd: float | None
    """USD of everything; None where a part is unknown."""
    spend_usd: float
    """USD of what is spent whichever tier is chosen: classifiers."""
    latency_s: float
    escalated: bool
    label: float | None
    tokens_at: Mapping[str, float | None]
    """Tier to the USD of the returned reply's tokens at its price; empty where no reply was returned."""

    @property
    def difficulty(self) -> float | None:
        """Difficulty score of the request; None where it was not scored."""
        return self.logged.difficulty


def seen(record: DecisionRecord, label: float | None) -> Seen | None:
    """Return a decision as it is replayed; None where nothing was called, or it holds no plan."""
    if not record.attempts:
        return None
    try:
        logged = logged_of(record)
    except ValueError:
        return None
    returned = any(attempt.returned for attempt in record.attempts)
    return Seen(
        logged,
        record.cost_usd,
        record.spend_usd or 0.0,
        sum(attempt.latency_s + attempt.judged_s for attempt in record.attempts),
        escalated(logged.attempts),
        label,
        (record.baselines or {}) if returned else {},
    )


class Rated(NamedTuple):
    """What the replies of one tier say of each request's quality."""

    ratings: int
    """Rated replies of the tier."""
    mean: float
    """Their mean; NaN without any."""
    own: Ends
    """1 where it is the request's own rating that counts."""
    borrowed: Ends
    """1 where it is the mean of the tier."""


class Replays:
    """What the requests of a step come to from either end of its cascade."""

    def __init__(self, requests: Sequence[Seen], tiers: Sequence[str], score: str, accepts: Floats) -> None:
        """Replay them.

        Args:
            requests: The requests.
            tiers: The step's cascade.
            score: Verifier whose score is compared with `accepts`; "" for none.
            accepts: Thresholds of acceptance; where there are none, verdicts stand as logged.
        """
        self._requests, self._tiers = requests, tuple(tiers)
        self._score, self._accepts = score, accepts
        self.difficulty = np.array([-np.inf if r.difficulty is None else r.difficulty for r in requests])
        propensity = np.array([request.logged.plan.propensity for request in requests])
        started = np.array([request.logged.start for request in requests])
        self._started = (started == tiers[-1], started == tiers[0])
        weights = [there / propensity for there in self._started]
        self._surely = propensity >= 1
        if not (weights[0] > 1).any():  # chance sent none there: what is known of the tier tells of all
            weights[0] = np.ones(len(requests))
        self._weights = weights
        moved = propensity <= _EVEN
        # Of three tiers nobody kept which of the others it would have been.
        known = len(self._tiers) == 2  # noqa: PLR2004 - either
        self._own = [(there != moved) | (not known) for there in self._started]
        self._means = _Means.read(requests)
        self._checked = (self._at_end(0, self._as_logged), self._at_end(1, self._at_each_minimum))
        self._plain = (self._at_end(0, self._unchecked), self._at_end(1, self._unchecked))

    def sides(self, at_top: Bools) -> Sides:
        """Return what each request stands for, where thresholds (a line each) send some to the top tier."""
        top, first = map(Began, self._weights, self._own)
        return Sides.weighed(at_top, top, first)

    def outcomes(self, measure: str, *, checked: bool) -> Ends:
        """Return a measure of each request from the top tier, and from the first at each threshold.

        Args:
            measure: One of `MEASURES`.
            checked: Whether replies are judged and escalate, or are returned as they come.
        """
        at = MEASURES.index(measure)
        top, first = self._checked if checked else self._plain
        return Ends(top[0, :, at], first[:, :, at])

    def estimated(self, at_top: Bools, measure: str, *, checked: bool) -> Floats:
        """Return the share of requests whose `estimated` or `unrated` holds, or that no chance sent there."""
        found = self.outcomes(measure, checked=checked)
        there = [
            np.where(weights > 0, told, self._surely)
            for weights, told in zip(self._weights, found, strict=True)
        ]
        return Sides(at_top.astype(float), (~at_top).astype(float)).means(Ends(*there))

    def rated(self, *, checked: bool) -> Iterator[Rated]:
        """Yield for each tier what its ratings say."""
        unrated, tier = (self.outcomes(measure, checked=checked) for measure in ("unrated", "tier"))
        for number, name in enumerate(self._tiers):
            here = [(at == number).astype(float) for at in tier]
            own = Ends(*(part * (1 - lacks) for part, lacks in zip(here, unrated, strict=True)))
            borrowed = Ends(*(part * lacks for part, lacks in zip(here, unrated, strict=True)))
            known = self._means.rated.get(name, 0), self._means.quality.get(name, np.nan)
            yield Rated(*known, own, borrowed)

    def _at_end(self, end: int, outcomes: Callable[[Seen], list[_Outcome]]) -> Floats:
        """Return thresholds by requests by measures; of those that began elsewhere what a call comes to."""
        there = self._started[end]
        found = [outcomes(each) if here else [] for each, here in zip(self._requests, there, strict=True)]
        lines = max(map(len, found), default=0) or 1
        told = [
            of or [self._called(each, end)] * lines for each, of in zip(self._requests, found, strict=True)
        ]
        return np.array(told).transpose(1, 0, 2)

    def _called(self, request: Seen, end: int) -> _Outcome:
        """Return what a call at one end of the cascade comes to that was never made, if it is accepted."""
        tier, means = self._tiers[end - 1], self._means
        latency_s, quality = means.latency_s.get(tier, np.nan), means.quality.get(tier, np.nan)
        cost_usd = request.spend_usd + means.call_usd(request, tier)
        number = float(self._tiers.index(tier))
        return cost_usd, latency_s, quality, 0.0, 0.0, 1.0, 1.0, number

    def _as_logged(self, request: Seen) -> list[_Outcome]:
        return [self._outcome(request, request.logged.plan)]

    def _unchecked(self, request: Seen) -> list[_Outcome]:
        plan = replace(request.logged.plan, rungs=request.logged.plan.rungs[:1], repairs=0)
        return [self._outcome(request, plan, _unchecked)]

    def _at_each_minimum(self, request: Seen) -> list[_Outcome]:
        if not len(self._accepts):
            return self._as_logged(request)
        verdicts = (verdict for attempt in request.logged.attempts for verdict in attempt.verdicts)
        scores = sorted(v.score for v in verdicts if v.verifier == self._score and v.score is not None)
        # All minimums between two scores of a request judge it alike.
        below = np.searchsorted(scores, self._accepts, side="left").tolist()
        minimums = dict(zip(below, self._accepts.tolist(), strict=True))
        found = {
            at: self._outcome(request, request.logged.plan, rejudged({self._score: minimum}, ()))
            for at, minimum in minimums.items()
        }
        return [found[at] for at in below]

    def _outcome(self, request: Seen, plan: Plan, judge: Judge | None = None) -> _Outcome:
        """Return the measures of one request; what the log lacks is what its tier comes to elsewhere."""
        run, means = replay(request.logged, plan, judge), self._means
        cost_usd = np.nan if run.cost_usd is None else run.cost_usd + request.spend_usd
        latency_s, tier, rated = run.latency_s, run.missing, None
        if tier is None:
            at = getattr(run.move, "attempt", None)
            tier, rated = run.attempts[-1 if at is None else at].tier, run.quality
        else:
            cost_usd += means.call_usd(request, tier)
            latency_s += means.latency_s.get(tier, np.nan)
        quality = means.quality.get(tier, np.nan) if rated is None else rated
        number = self._tiers.index(tier) if tier in self._tiers else 0
        estimated, unrated = run.missing is not None, rated is None
        doubtful = quality if unrated and not estimated else 0.0
        found = (cost_usd, latency_s, quality, doubtful, run.escalated, estimated, unrated, number)
        return tuple(map(float, found))


@dataclass(frozen=True, slots=True)
class _Means:
    """What a reply of each tier comes to."""

    cost_usd: Mapping[str, float]
    latency_s: Mapping[str, float]
    quality: Mapping[str, float]
    rated: Mapping[str, int]
    """Rated replies of the tier."""

    @classmethod
    def read(cls, requests: Sequence[Seen]) -> "_Means":
        log = [request.logged for request in requests]
        told: dict[str, list[float]] = {}
        for tier, usd in (item for request in requests for item in request.tokens_at.items()):
            if usd is not None:
                told.setdefault(tier, []).append(usd)
        at_price = {tier: float(np.mean(each)) for tier, each in told.items()}
        return cls(
            at_price | tier_means(log, lambda logged, at: spent_usd(logged.attempts[at : at + 1])),
            tier_means(log, lambda logged, at: logged.attempts[at].latency_s + logged.attempts[at].judged_s),
            tier_means(log, lambda logged, at: logged.quality[at]),
            Counter(
                attempt.tier
                for each in log
                for attempt, quality in zip(each.attempts, each.quality, strict=True)
                if quality is not None
            ),
        )

    def call_usd(self, request: Seen, tier: str) -> float:
        """Return what a call of a tier would have cost for a request."""
        known = request.tokens_at.get(tier)
        return self.cost_usd.get(tier, np.nan) if known is None else known


def _unchecked(attempt: Attempt) -> Attempt:
    """Return an attempt whose reply is returned as it came."""
    if attempt.outcome not in ("accepted", "rejected"):
        return attempt
    return replace(attempt, outcome="accepted", verdicts=(), judged_s=0.0)
