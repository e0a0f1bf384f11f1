"""A step's requests as they would have gone from the first tier and from the top one, one array a measure."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from langroute.cascade import Attempt, Plan
from langroute.ledger.records import DecisionRecord
from langroute.tuning.guarantee import Floats
from langroute.tuning.offpolicy import corrected, cross_fitted
from langroute.tuning.recorded import logged_of
from langroute.tuning.replay import Judge, Logged, escalated, rejudged, replay, spent_usd
from langroute.tuning.whatif import tier_means

__all__ = ["MEASURES", "Ratings", "Replays", "Seen", "seen"]

MEASURES = ("cost_usd", "latency_s", "quality", "doubtful", "escalated", "estimated", "unrated", "tier")
"""What a request comes to. `doubtful`: its quality where that is an unrated draft's; `estimated`: a tier was
not tried on it; `unrated`: its reply was not rated; `tier`: that reply's, by its number in the cascade."""

_Outcome = tuple[float, ...]
"""The measures of one request."""
_Ends = tuple[Floats, Floats]
"""Something of each request from the top tier; and from the first one, a line for each threshold."""


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


@dataclass(frozen=True, slots=True)
class Ratings:
    """What the ratings of one tier's replies stand for."""

    count: int
    """Rated replies of the tier."""
    own: _Ends
    """What each request's own rating counts for; 0 where it has none."""
    square: _Ends
    """Its square."""
    borrowed: _Ends
    """What the mean of the tier counts for that stands in for it."""


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
        self._weights = tuple(there / propensity for there in self._started)
        self._surely = propensity >= 1
        self._means = _Means.read(requests)
        self._checked = (self._at_end(0, self._as_logged), self._at_end(1, self._at_each_minimum))
        self._plain = (self._at_end(0, self._unchecked), self._at_end(1, self._unchecked))

    def outcomes(self, measure: str, *, checked: bool) -> _Ends:
        """Return a measure of each request from the top tier, and from the first at each threshold.

        Args:
            measure: One of `MEASURES`.
            checked: Whether replies are judged and escalate, or are returned as they come.
        """
        top, first = self._ends(measure, checked=checked)
        if measure in ("estimated", "unrated"):
            return (
                np.where(self._started[0], top, self._surely),
                np.where(self._started[1], first, self._surely),
            )
        weights = self._weights[1]
        unknown = np.full(len(weights), np.nan)
        expected = [cross_fitted(line, weights) if weights.any() else unknown for line in first]
        return (
            corrected(top, self._weights[0], self._expected_at_top(top, measure)),
            np.array([corrected(line, weights, mean) for line, mean in zip(first, expected, strict=True)]),
        )

    def ratings(self, *, checked: bool) -> Iterator[Ratings]:
        """Yield for each tier what the ratings of its replies stand for."""
        unrated, tier = (self._ends(measure, checked=checked) for measure in ("unrated", "tier"))
        for number, name in enumerate(self._tiers):
            parts = [
                self._stands_for(end, unrated[end], tier[end] == number, begins=name == self._tiers[end - 1])
                for end in (0, 1)
            ]
            own, square, borrowed = zip(*parts, strict=True)
            yield Ratings(self._means.rated.get(name, 0), own, square, borrowed)

    def _stands_for(
        self, end: int, unrated: Floats, here: NDArray[np.bool_], *, begins: bool
    ) -> tuple[Floats, Floats, Floats]:
        """Return what is rated itself, its square, and what is borrowed, at one end of the cascade."""
        weighed = self._weights[end] * here
        own = weighed * (1 - unrated)
        return own, own**2, np.where(self._started[end], weighed * unrated, self._surely * begins)

    def _ends(self, measure: str, *, checked: bool) -> _Ends:
        at = MEASURES.index(measure)
        top, first = self._checked if checked else self._plain
        return top[0, :, at], first[:, :, at]

    def _expected_at_top(self, values: Floats, measure: str) -> Floats:
        """Return what requests come to that start at the top tier, for those that did not.

        Where the policy explored, it is what the others came to that chance sent there.
        """
        weights, top = self._weights[0], self._tiers[-1]
        if (weights > 1).any():
            return cross_fitted(values, weights)
        if measure == "cost_usd":
            return np.array([r.spend_usd + self._means.call_usd(r, top) for r in self._requests])
        never = measure in ("escalated", "doubtful")
        mean = 0.0 if never else getattr(self._means, measure).get(top, np.nan)
        return np.full(len(self._requests), mean)

    def _at_end(self, end: int, outcomes: Callable[[Seen], list[_Outcome]]) -> Floats:
        """Return thresholds by requests by measures, of the requests that started there; 0 for others."""
        there = self._started[end]
        found = [outcomes(each) if here else [] for each, here in zip(self._requests, there, strict=True)]
        nothing = [(0.0,) * len(MEASURES)] * max(map(len, found), default=0)
        return np.array([each or nothing or [(0.0,) * len(MEASURES)] for each in found]).transpose(1, 0, 2)

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
