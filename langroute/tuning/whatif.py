"""What logged runs would have come to under another policy: measured where the log can tell, else estimated.

found = what_if(logged, plan_under(Policy.load("new.yaml")))
found.cost_usd.value, found.quality.low, found.basis      # "measured", or "estimate"

Requests are replayed through joblib: in this process, or where `joblib.parallel_config` says.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Self

import numpy as np

from langroute.attempts import is_function
from langroute.cascade import Attempt, Plan
from langroute.tuning.guarantee import Floats
from langroute.tuning.offpolicy import Estimate, cross_fitted, doubly_robust, measured
from langroute.tuning.replay import Judge, Logged, Replan, Replayed, replay, spent_usd

__all__ = ["WhatIf", "tier_means", "what_if"]

_PART = 500
"""Requests that one task replays."""
_PARTS_AT_ONCE = 32
"""Tasks between two words of progress."""
_REPAIR, _CHECKS = " (repair)", " (checks)"
"""What of a tier the log never tried; exploring, which tries other tiers, would not show it either."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a log would have come to under another policy."""

    basis: Literal["measured", "estimate"]
    """`measured`: the log holds every reply that it takes."""
    requests: int
    replayed: int
    """Requests that could be replayed to their end."""
    modelled: float
    """Share of the requests of which a part is what other requests came to, with nothing to correct it."""
    quality: Estimate | None
    """None where no quality was logged, or a tier was never tried."""
    cost_usd: Estimate | None
    """USD a request; likewise."""
    logged_quality: float | None
    """Mean quality as logged, of the requests that have one."""
    logged_usd: float | None
    """Mean USD a request as logged."""
    untried: tuple[str, ...] = ()
    """Tiers at which the other policy starts, or to which it escalates, and the log never did; `(repair)` is
    behind one where no repair was logged, `(checks)` where no reply is known to pass all of them."""
    latency_s: Estimate | None = None
    """Seconds a request, checks included; None as for the cost."""
    escalated: Estimate | None = None
    """Share of the requests whose first reply is rejected and that go on to a higher tier; likewise."""
    logged_latency_s: float | None = None
    logged_escalated: float | None = None

    @property
    def summary(self) -> str:
        """What was found, in one line."""
        if self.untried:
            tiers = ", ".join(self.untried)
            explored = not any(name.endswith((_REPAIR, _CHECKS)) for name in self.untried)
            way = "Log with `explore: 0.02`" if explored else "Try it on a share of your threads: `canary`"
            return f"unknown: the log never tried what the policy would, on {tiers}. {way}"
        told = []
        for name, found, sign in (("quality", self.quality, ""), ("cost", self.cost_usd, "$")):
            if found is not None:
                told.append(
                    f"{name} {sign}{found.value:.4g} ({sign}{found.low:.4g} to {sign}{found.high:.4g})"
                )
        basis = f"{self.basis}, {self.modelled:.0%} of it from a model" if self.modelled else self.basis
        return f"{basis}: {', '.join(told)} over {self.requests:,} requests"


def what_if(
    log: Iterable[Logged],
    replan: Replan,
    judge: Judge | None = None,
    *,
    confidence: float = 0.9,
    progress: Callable[[int], None] = lambda _: None,
) -> WhatIf:
    """Return what the logged requests would have come to under another policy.

    Where every request can be replayed to its end, that is measured. Else it is estimated, doubly robust: the
    requests that started where the other policy starts them stand for the rest, weighed by the logged
    propensity of that start. What a tier would have answered after such a start, and was not tried, is taken
    from requests that were tried on it (`modelled`), which no propensity corrects.

    Args:
        log: The steps as logged, all of one step: what is expected is read off all of them.
        replan: The plan of the other policy (see `langroute.tuning.replay.plan_under`).
        judge: Judges replies anew where the other policy has other thresholds (see `rejudged` there).
        confidence: Chance with which the intervals hold.
        progress: Told now and then how many requests are replayed.

    Raises:
        ValueError: The log is empty, or a propensity in it is not in (0, 1].
    """
    rows, runs, as_logged = _replayed(log, replan, judge, progress)
    if not rows:
        raise ValueError("The log is empty: there is nothing to replay.")
    quality = _Outcomes.read(rows, runs, as_logged, _QUALITY)
    cost = _Outcomes.read(rows, runs, as_logged, _COST)
    latency = _Outcomes.read(rows, runs, as_logged, _LATENCY)
    escalated = _Outcomes.read(rows, runs, as_logged, _ESCALATED)
    complete = all(run.missing is None for run in runs)
    return WhatIf(
        "measured" if complete else "estimate",
        len(rows),
        sum(run.missing is None for run in runs),
        0.0 if complete else float(np.mean(cost.modelled)),
        quality.estimate(confidence, complete=complete, highest=1.0),
        cost.estimate(confidence, complete=complete, highest=None),
        quality.logged,
        cost.logged,
        () if complete else tuple(sorted(cost.untried)),
        latency.estimate(confidence, complete=complete, highest=None),
        escalated.estimate(confidence, complete=complete, highest=1.0),
        latency.logged,
        escalated.logged,
    )


_Rows = list[tuple[Logged, Plan]]


def _replayed(
    log: Iterable[Logged], replan: Replan, judge: Judge | None, progress: Callable[[int], None]
) -> tuple[_Rows, list[Replayed], list[Replayed]]:
    """Return each request with its other plan, what it came to under that, and as it was logged."""
    from joblib import Parallel, delayed

    rows: _Rows = []
    runs: list[Replayed] = []
    as_logged: list[Replayed] = []
    left = iter(log)
    parts = iter(lambda: list(islice(left, _PART)), [])
    with Parallel() as parallel:
        while several := list(islice(parts, _PARTS_AT_ONCE)):
            done = parallel(delayed(_replayed_part)(part, replan, judge) for part in several)
            for part, (plans, anew, logged) in zip(several, done, strict=True):
                rows += zip(part, plans, strict=True)
                runs += anew
                as_logged += logged
            progress(len(rows))
    return rows, runs, as_logged


def _replayed_part(
    part: Sequence[Logged], replan: Replan, judge: Judge | None
) -> tuple[list[Plan], list[Replayed], list[Replayed]]:
    plans = [replan(logged) for logged in part]
    runs = [replay(logged, plan, judge) for logged, plan in zip(part, plans, strict=True)]
    return plans, runs, [replay(logged, logged.plan) for logged in part]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one sort of outcome is read off a replay and off a single attempt."""

    of_run: Callable[[Replayed], float | None]
    of_attempt: Callable[[Logged, int], float | None]
    adds_up: bool
    """Whether what was tried before counts too: costs do, qualities do not."""


def _attempt_quality(logged: Logged, at: int) -> float | None:
    return logged.quality[at] if logged.quality else None


def _attempt_usd(logged: Logged, at: int) -> float | None:
    return spent_usd(logged.attempts[at : at + 1])


def _attempt_s(logged: Logged, at: int) -> float | None:
    return logged.attempts[at].latency_s + logged.attempts[at].judged_s


_QUALITY = _Kind(lambda run: run.quality, _attempt_quality, adds_up=False)
_COST = _Kind(lambda run: run.cost_usd, _attempt_usd, adds_up=True)
_LATENCY = _Kind(lambda run: run.latency_s, _attempt_s, adds_up=True)
_ESCALATED = _Kind(lambda run: float(run.escalated), lambda _logged, _at: 0.0, adds_up=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """One sort of outcome for every request of which the log knows it."""

    values: Floats
    """What the other policy comes to; read where it agrees on the start, or the replay came to its end."""
    known: Sequence[bool]
    """Whether the replay alone says so."""
    starts: Sequence[str]
    """Where the other policy starts."""
    agrees: Floats
    """1 where that is where the log started."""
    propensity: Floats
    modelled: Sequence[bool]
    untried: frozenset[str]
    logged: float | None

    @classmethod
    def read(
        cls,
        rows: Sequence[tuple[Logged, Plan]],
        runs: Sequence[Replayed],
        as_logged: Sequence[Replayed],
        kind: _Kind,
    ) -> Self:
        """Return the outcomes of the requests whose logged outcome is known."""
        had = [kind.of_run(run) for run in as_logged]
        kept = [index for index, value in enumerate(had) if value is not None]
        log = [rows[index][0] for index in kept]
        tiers = tier_means(log, kind.of_attempt)
        repairs = tier_means(log, kind.of_attempt, ("repair",))
        passed = {each.tier for run in runs for each in run.attempts if each.outcome == "accepted"}
        values, known, modelled, lacking = [], [], [], set()
        for index in kept:
            run, (logged, plan) = runs[index], rows[index]
            start = plan.start
            agrees = logged.start == start
            value = kind.of_run(run) if run.missing is None else None
            known.append(value is not None)
            modelled.append(value is None if agrees else logged.plan.propensity >= 1)
            if value is None and agrees:
                tier, means = run.missing or run.attempts[-1].tier, repairs if run.repairs else tiers
                if run.unjudged and tier not in passed:
                    lacking.add(tier + _CHECKS)
                elif tier not in means:
                    lacking.add(tier + _REPAIR if run.repairs else tier)
                before = (kind.of_run(run) or 0.0) if kind.adds_up and run.missing else 0.0
                value = before + means.get(tier, 0.0)
            values.append(0.0 if value is None else value)
        starts = [rows[index][1].start for index in kept]
        agrees_at = [rows[index][0].start == start for index, start in zip(kept, starts, strict=True)]
        reached = {start for start, agrees in zip(starts, agrees_at, strict=True) if agrees}
        return cls(
            np.array(values),
            known,
            starts,
            np.array(agrees_at, dtype=float),
            np.array([rows[index][0].plan.propensity for index in kept]),
            modelled,
            frozenset({*starts} - reached) | lacking,
            float(np.mean([had[index] for index in kept])) if kept else None,
        )

    def estimate(self, confidence: float, *, complete: bool, highest: float | None) -> Estimate | None:
        """Return the mean with its interval; None where the log cannot tell."""
        if not len(self.values) or (self.untried and not complete):
            return None
        if complete:
            told = self.values[np.array(self.known)]
            return measured(told, confidence=confidence, highest=highest) if len(told) else None
        return doubly_robust(
            self.values,
            self.propensity,
            self.agrees,
            self._expected(),
            confidence=confidence,
            highest=highest,
        )

    def _expected(self) -> Floats:
        """Return, for each request, what those of other folds come to that the other policy starts alike."""
        weights = self.agrees / self.propensity
        starts = np.array(self.starts)
        expected = np.zeros(len(self.values))
        for start in set(self.starts):
            alike = starts == start
            expected[alike] = cross_fitted(self.values, np.where(alike, weights, 0.0))[alike]
        return expected


def tier_means(
    log: Sequence[Logged], of_attempt: Callable[[Logged, int], float | None], whys: Sequence[str] = ()
) -> dict[str, float]:
    """Return what each tier comes to: over requests that started there, else over all it was tried on.

    Args:
        log: The steps as logged.
        of_attempt: What one attempt of a step comes to; None where nobody knows.
        whys: Why an attempt that counts was made; all count when not given.
    """
    started: dict[str, list[tuple[float, float]]] = {}
    tried: dict[str, list[tuple[float, float]]] = {}
    for logged in log:
        for at, attempt in enumerate(logged.attempts):
            value = of_attempt(logged, at)
            if value is None or not _answered(attempt) or (whys and attempt.why not in whys):
                continue
            told = (value, 1 / logged.plan.propensity)
            tried.setdefault(attempt.tier, []).append(told)
            if all(is_function(before.endpoint) for before in logged.attempts[:at]):
                started.setdefault(attempt.tier, []).append(told)
    told_of = {tier: np.array(started.get(tier, seen)) for tier, seen in tried.items()}
    return {tier: float(np.average(told[:, 0], weights=told[:, 1])) for tier, told in told_of.items()}


def _answered(attempt: Attempt) -> bool:
    return attempt.outcome in ("accepted", "rejected")
