"""What other thresholds would come to, from a ledger: every request replayed under them, the rest estimated.

A request that started where a way starts it is followed through the log, call by call. What no log can
tell, because a tier was not tried on a request, is taken from others and called an estimate; where the
policy explored, `langroute.tuning.weighing` corrects it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from langroute.errors import LangrouteError
from langroute.ledger.records import DecisionRecord
from langroute.report.explorer import DIFFICULTY, Explorer, Grid, Outlook, StepExplorer, Way
from langroute.report.labels import LEAST_LABELS
from langroute.report.statistics import wilson
from langroute.tuning.guarantee import Floats
from langroute.tuning.replayed import Replays, Seen, seen
from langroute.tuning.sampling import Sample
from langroute.tuning.sweep import Kind, candidates
from langroute.tuning.weighing import Ends, Sides

__all__ = ["Asked", "ThresholdExplorer"]

_MOST_STEPS = 12
"""Steps that can be moved; each takes some megabytes of memory and fifty kilobytes of the page."""
_MOST_REQUESTS = 1_000
"""Decisions of a step that are replayed, and of those with feedback: a mean cost is within a few percent of
that of all, and the interval of a quality that rests on so many is four points wide or less."""
_POSITIONS = 20
"""Quantiles of a score that a slider stops at."""
_DIGITS = 6

_ASSUMPTION = (
    "Where a tier was not tried on a request, what it would have come to is an estimate: its cost is that of"
    " the returned reply's tokens at the tier's price (else the mean of the tier's calls), its latency and"
    " quality are the means of the tier's replies, and it is taken to be accepted at once; checks that were"
    " never asked are taken to accept. Feedback is about returned replies: a rejected draft is taken to be"
    " worth what the tier's returned ones are, which is too kind, and the interval reaches down to where it"
    " is worth nothing. Intervals allow for how few ratings a figure rests on, and for nothing else."
)

Asked = Mapping[str, Mapping[str, float]]
"""Step to thresholds by the name of their score: `difficulty`, or a verifier. The step "" is any other."""


class ThresholdExplorer:
    """Collects decisions, a sample of each step, and says what other thresholds come to."""

    def __init__(self, asked: Asked | None = None, policy: Asked | None = None) -> None:
        """Start with nothing.

        Args:
            asked: Thresholds to give the figures of.
            policy: Those in force, which are shown first where nothing is asked for.
        """
        self._asked, self._policy = asked or {}, policy or {}
        self._steps: dict[str, _Collected] = {}
        self._more = False

    def add(self, record: DecisionRecord, label: float | None) -> None:
        """Take one decision; `label` is the mean score of its feedback."""
        if record.step in self._steps or len(self._steps) < _MOST_STEPS or record.step in self._asked:
            self._steps.setdefault(record.step, _Collected()).add(record, label)
        else:
            self._more = True

    def data(self) -> Explorer:
        """Return what the decisions collected so far come to under every threshold.

        Raises:
            LangrouteError: A threshold was asked for that is of no step or score of the ledger.
        """
        steps, left_out = [], []
        for step, collected in sorted(self._steps.items(), key=lambda item: -item[1].decisions):
            found = self._explored(step, collected)
            if isinstance(found, StepExplorer):
                steps.append(found)
            else:
                left_out.append(f"{step}: {found}.")
        self._check({found.step: found for found in steps}, left_out)
        if self._more:
            left_out.append(f"There are more than {_MOST_STEPS} steps: the first that were seen are shown.")
        return Explorer(_ASSUMPTION, tuple(steps), tuple(left_out))

    def _explored(self, step: str, collected: "_Collected") -> StepExplorer | str:
        in_force = self._policy.get(step, self._policy.get("", {}))
        return _explored(step, collected, {**in_force, **self._asked.get(step, {})})

    def _check(self, steps: Mapping[str, StepExplorer], left_out: Sequence[str]) -> None:
        for step, thresholds in self._asked.items():
            if step not in steps:
                why = next((reason for reason in left_out if reason.startswith(f"{step}: ")), None)
                known = f"there is no such step; there are {', '.join(steps) or 'none'}"
                raise LangrouteError(f"no threshold of {step!r} can be tried: {why or known}")
            for name in thresholds.keys() - {DIFFICULTY, steps[step].score}:
                scores = " and ".join(filter(None, (DIFFICULTY, steps[step].score)))
                raise LangrouteError(f"{step} has no score {name!r}: thresholds can be set on {scores}")


class _Collected:
    """A sample of one step's decisions, and one of those with feedback."""

    def __init__(self) -> None:
        self.all: Sample[Seen] = Sample(_MOST_REQUESTS)
        self.rated: Sample[Seen] = Sample(_MOST_REQUESTS)
        self.decisions = 0

    def add(self, record: DecisionRecord, label: float | None) -> None:
        self.decisions += 1
        for sample in (self.all, *((self.rated,) if label is not None else ())):
            sample.offer(lambda: seen(record, label))

    def read(self) -> tuple[list[Seen], list[Seen]]:
        """Return what can be replayed of either: of the first also the cost is known."""
        known = [each for each in self.all.kept if each is not None and each.cost_usd is not None]
        return known, [each for each in self.rated.kept if each is not None]


def _explored(step: str, collected: _Collected, asked: Mapping[str, float]) -> StepExplorer | str:
    """Return a step's figures, or why there are none."""
    requests, rated = collected.read()
    tiers = _cascade(requests)
    difficulties = [each.difficulty for each in requests if each.difficulty is not None]
    if not tiers:
        return "no decision has a known cost and a plan"
    if len(tiers) == 1:
        return f"it is bound to {tiers[0]} alone, so that no threshold moves anything"
    if not difficulties:
        return "no difficulty was scored"
    score, scores = _scored(requests, tiers[0], asked)
    starts, start_at = _positions(np.array(difficulties), "route", asked.get(DIFFICULTY))
    accepts, accept_at = np.empty(0), 0
    if scores:
        accepts, accept_at = _positions(np.array(scores), "verify", asked.get(score))
    replays = Replays(requests, tiers, score, accepts)
    judged = Replays(rated, tiers, score, accepts) if len(rated) >= LEAST_LABELS else None
    hard = starts[:, None]
    ways = (
        _way("routing", replays, judged, hard, checked=False),
        _way("cascade", replays, judged, np.array([[np.inf]]), checked=True),
        _way("hybrid", replays, judged, hard, checked=True),
    )
    return StepExplorer(
        step=step,
        first=tiers[0],
        top=tiers[-1],
        score=score,
        starts=tuple(starts.tolist()),
        accepts=tuple(accepts.tolist()),
        start_at=start_at,
        accept_at=accept_at,
        requests=len(requests),
        rated=len(rated),
        ran=_as_it_ran(requests, rated, tiers[-1]),
        everywhere=_way("routing", replays, judged, np.array([[-np.inf]]), checked=False).at(0, 0),
        ways=ways,
    )


def _cascade(requests: Sequence[Seen]) -> tuple[str, ...]:
    """Return the tiers of the longest plans; of the most frequent ones among them."""
    found = Counter(tuple(rung.tier for rung in each.logged.plan.rungs) for each in requests)
    return max(found, key=lambda tiers: (len(tiers), found[tiers]), default=())


def _scored(requests: Sequence[Seen], first: str, asked: Mapping[str, float]) -> tuple[str, list[float]]:
    """Return the verifier that a threshold is set for, and its scores of the first tier's replies."""
    found: dict[str, list[float]] = {}
    for attempt in (attempt for each in requests for attempt in each.logged.attempts):
        for verdict in attempt.verdicts if attempt.tier == first else ():
            if verdict.score is not None:
                found.setdefault(verdict.verifier, []).append(verdict.score)
    name = max(found, key=lambda name: (name in asked, len(found[name])), default="")
    return name, found.get(name, [])


def _positions(scores: Floats, kind: Kind, asked: float | None) -> tuple[Floats, int]:
    """Return the thresholds that a slider stops at, rising, and the index of the one to begin with."""
    found = candidates(scores, kind, _POSITIONS)
    more = [0.0] if kind == "route" else []
    found = np.unique(np.concatenate([found, more, [] if asked is None else [asked]]))
    return found, len(found) // 2 if asked is None else int(np.searchsorted(found, asked))


def _as_it_ran(requests: Sequence[Seen], rated: Sequence[Seen], top: str) -> Outlook:
    labels = [each.label for each in rated if each.label is not None]
    quality = float(np.mean(labels)) if len(labels) >= LEAST_LABELS else None
    low, high = _interval(quality, len(labels))
    return Outlook(
        cost_usd=_short(np.mean([each.cost_usd or 0.0 for each in requests])),
        quality=_short(quality),
        quality_low=low,
        quality_high=high,
        latency_s=_short(np.mean([each.latency_s for each in requests])),
        escalated=_short(np.mean([each.escalated for each in requests])),
        top_first=_short(np.mean([each.logged.start == top for each in requests])),
        estimated=0.0,
        estimated_quality=None if quality is None else 0.0,
    )


def _way(name: str, replays: Replays, judged: Replays | None, hard: Floats, *, checked: bool) -> Way:
    """Return what a way comes to, for start thresholds in a column, with the cascade or without any check."""
    at_top = replays.difficulty >= hard
    sides = replays.sides(at_top)
    grids: dict[str, Any] = {
        measure: _grid(sides.means(replays.outcomes(measure, checked=checked)))
        for measure in ("cost_usd", "latency_s", "escalated")
    }
    grids["estimated"] = _grid(replays.estimated(at_top, "estimated", checked=checked))
    grids["top_first"] = _grid(at_top.mean(axis=1, keepdims=True))
    if judged is None:
        nothing = ((None,),)
        return Way(name, **grids, **{f.name: nothing for f in fields(Way)[1:] if f.name not in grids})
    rated_top = judged.difficulty >= hard
    sides = judged.sides(rated_top)
    quality = np.clip(sides.means(judged.outcomes("quality", checked=checked)), 0.0, 1.0)
    doubtful = np.maximum(sides.means(judged.outcomes("doubtful", checked=checked)), 0.0)
    effective = _effective(sides, judged, quality, checked=checked)
    lines = zip(quality, effective, doubtful, strict=True)
    ends = [[_interval(*at) for at in zip(*line, strict=True)] for line in lines]
    return Way(
        name,
        **grids,
        quality=_grid(quality),
        quality_low=tuple(tuple(low for low, _ in line) for line in ends),
        quality_high=tuple(tuple(high for _, high in line) for line in ends),
        estimated_quality=_grid(judged.estimated(rated_top, "unrated", checked=checked)),
    )


def _effective(sides: Sides, judged: Replays, quality: Floats, *, checked: bool) -> Floats:
    """Return on how many ratings a quality rests: what they vary by, over the variance of the estimate.

    A rating counts for its own request, and for its part of the mean that stands in where there is none;
    those of one tier may vary more than those of another.
    """
    rows, values = len(judged.difficulty), judged.outcomes("quality", checked=checked)
    parts = []
    for part in judged.rated(checked=checked):
        own, borrowed = sides.means(part.own), sides.means(part.borrowed)
        told = Ends(*(np.where(of > 0, at, 0.0) for of, at in zip(part.own, values, strict=True)))
        squares = sides.squares(part.own) / rows
        stands_in = borrowed * (2 * own + borrowed) / max(part.ratings, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = sides.squares(told) / rows / squares, own**2 / squares
        parts.append((own / rows, squares, alike, stands_in, _varies(part.mean, part.ratings)))
    overall = _varies(quality, 1 / sum(squares + lent for _, squares, _, lent, _ in parts))
    variance: Floats = np.zeros((1, 1))
    for plain, squares, alike, lent, lent_varies in parts:
        varies = np.nan_to_num(_varies(*alike))
        # What ratings of weight 1 vary by is in the whole's; only what chance makes of few is to be added.
        variance = variance + np.fmin(varies, overall) * plain
        variance = variance + varies * np.fmax(squares - plain, 0.0) + np.nan_to_num(lent_varies) * lent
    effective: Floats = np.fmin(overall / variance, rows)
    return effective


def _varies(mean: Any, ratings: Any) -> Any:
    """Return the variance of a rating, two more of either kind assumed: few that are all alike vary as well.

    Agresti and Coull, "Approximate is better than exact for interval estimation" (1998).
    """
    likely = (mean * ratings + 2) / (ratings + 4)
    return likely * (1 - likely)


def _interval(quality: float | None, rows: float, doubtful: float = 0.0) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a quality that rests on so many ratings; None without any.

    What is doubtful of the quality may be nothing: so far the lower end is lower.
    """
    if quality is None or quality != quality or rows < 1:  # noqa: PLR0124 - NaN
        return None, None
    found = wilson(round(quality * rows), round(rows))
    return _short(max((found.low or 0.0) - doubtful, 0.0)), _short(found.high)


def _grid(values: Floats) -> Grid:
    return tuple(tuple(_short(value) for value in line) for line in values.tolist())


def _short(value: Any) -> float | None:
    """Return a figure with as many digits as anybody reads; None for what is not known."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{_DIGITS}g}")
