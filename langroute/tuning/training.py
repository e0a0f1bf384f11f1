"""A learned score fitted and tried: how well it ranks and how true its chances are, or why there is none.

Every figure is of what the score said of queries that it had not seen (cross-fitted), with an interval from
redraws of the queries.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from langroute.tuning.evidence import check_confidence
from langroute.tuning.heads import calibration_bins, calibration_error
from langroute.tuning.learned import LearnedScore
from langroute.tuning.outcomes import Outcome
from langroute.tuning.scores import FittedScore, fit_prompt_score, fit_reply_score

__all__ = ["HeadFigures", "Span", "Trained", "tiers_by_cost", "train"]

LEAST_LABELS = 100
"""Labels of a tier below which no score is fitted: what it finds on fewer is mostly chance."""

_LEAST_EITHER = 10
"""Labels of either sort, right and wrong, that a tier needs."""

_RIGHT_FROM = 0.5
_REDRAWS = 200
_MOST_NEEDED = 1_000_000
_CHANCE = 0.5
"""What chance gives as the area under the curve."""


@dataclass(frozen=True, slots=True)
class Span:
    """A figure with its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class HeadFigures:
    """What the score is worth on one tier, held out."""

    tier: str
    labels: int
    right: float
    """Share of the labels that say right."""
    auc: Span | None
    """Chance that a right reply (or a query answered right) is ranked above a wrong one; None where all
    labels say the same."""
    calibration_error: Span
    """Expected calibration error over equal-mass bins."""
    bins: tuple[tuple[float, float, int], ...]
    """Of each bin, the lowest first: mean chance that was said, share that is right, labels."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A score with its figures, or a refusal."""

    kind: str
    step: str
    tiers: tuple[str, ...]
    score: LearnedScore | None
    heads: tuple[HeadFigures, ...] = ()
    refusal: str | None = None
    needed: int | None = None
    """Further labels that would be enough; None where that is not known."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types, without the score itself."""
        heads = [asdict(head) for head in self.heads]
        told = {"kind": self.kind, "step": self.step, "tiers": list(self.tiers), "heads": heads}
        return {**told, "refusal": self.refusal, "needed": self.needed}


def train(
    outcomes: Iterable[Outcome],
    tiers: Sequence[str],
    *,
    kind: Literal["prompt", "reply"],
    step: str = "",
    confidence: float = 0.9,
    seed: int = 0,
) -> Trained:
    """Fit a score and try it, or refuse: where labels are too few, or it is not shown to beat chance.

    Args:
        outcomes: Replies whose worth is known.
        tiers: The step's tiers, cheapest first.
        kind: `prompt`, used before a reply, or `reply`, used after it.
        step: The step, for the file.
        confidence: Chance with which the intervals hold.
        seed: Of folds and redraws.

    Raises:
        ValueError: An outcome is of a tier that is not among `tiers`, there are not two tiers, or the
            confidence is none.
    """
    check_confidence(confidence)
    known = list(outcomes)
    _check_tiers(known, tiers)
    judged = tiers if kind == "prompt" else tiers[:-1]
    refused = Trained(kind, step, tuple(tiers), None)
    lacking = _lacking(known, judged)
    if lacking is not None:
        return _refused(refused, *lacking)
    fit = fit_prompt_score if kind == "prompt" else fit_reply_score
    fitted = fit(known, tiers, step=step, seed=seed)
    heads = tuple(_figures(tier, *_said(fitted, known, tier), confidence, seed) for tier in judged)
    refused = Trained(kind, step, tuple(tiers), None, heads)
    lowest = heads[0]
    if lowest.auc is not None and lowest.auc.low <= _CHANCE:
        return _refused(refused, *_no_better(lowest))
    return Trained(kind, step, tuple(tiers), fitted.score, heads)


def tiers_by_cost(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the tiers of outcomes, cheapest first by their mean cost.

    Raises:
        ValueError: A tier has no outcome with a cost.
    """
    costs: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        costs[outcome.tier] += [] if outcome.cost_usd is None else [outcome.cost_usd]
    unknown = [tier for tier, found in costs.items() if not found]
    if unknown:
        remedy = "write `cost_usd`, or for `train` name the tiers, cheapest first"
        raise ValueError(f"no cost of {', '.join(unknown)} is known: {remedy}")
    return sorted(costs, key=lambda tier: sum(costs[tier]) / len(costs[tier]))


def _check_tiers(known: Sequence[Outcome], tiers: Sequence[str]) -> None:
    strange = sorted({each.tier for each in known} - set(tiers))
    if strange:
        raise ValueError(f"outcomes are of {', '.join(strange)}, and the step's tiers are {', '.join(tiers)}")
    if len(tiers) < 2:  # noqa: PLR2004 - one to start at, and one above it
        raise ValueError(f"all outcomes are of {tiers[0]}: a score weighs a tier against the one above it")


def _refused(bare: Trained, reason: str, needed: int | None) -> Trained:
    return Trained(bare.kind, bare.step, bare.tiers, None, bare.heads, reason, needed)


def _lacking(known: Sequence[Outcome], tiers: Sequence[str]) -> tuple[str, int] | None:
    """Return why there are too few labels, and how many more are needed; None where there are enough."""
    reasons, needed = [], 0
    for tier in tiers:
        right = [outcome.score >= _RIGHT_FROM for outcome in known if outcome.tier == tier]
        rarer = min(sum(right), len(right) - sum(right))
        if len(right) >= LEAST_LABELS and (rarer >= _LEAST_EITHER or tier != tiers[0]):
            continue
        reasons.append(f"{tier} has {len(right):,} ({sum(right):,} right)")
        more = LEAST_LABELS - len(right)
        if rarer < _LEAST_EITHER:
            more = max(more, math.ceil(_LEAST_EITHER / max(rarer / max(len(right), 1), 0.05)) - len(right))
        needed += max(more, 1)
    if not reasons:
        return None
    wanted = f"{LEAST_LABELS} labels of each tier, {_LEAST_EITHER} right and wrong of {tiers[0]}"
    return f"{wanted}, are needed; {', '.join(reasons)}: about {needed:,} more", needed


def _no_better(head: HeadFigures) -> tuple[str, int | None]:
    """Return that a score is not shown to rank better than chance, and labels that would show it."""
    assert head.auc is not None  # noqa: S101 - the caller's branch
    over, reach = head.auc.value - _CHANCE, head.auc.value - head.auc.low
    reason = f"it is not shown to rank better than chance: the area under the curve is {head.auc}"
    enough = math.ceil(head.labels * (reach / over) ** 2) if over > 0 else _MOST_NEEDED
    if enough >= _MOST_NEEDED:
        return f"{reason}, and more outcomes like these would not show it", None
    more = max(enough - head.labels, 1)
    return f"{reason}; about {more:,} more labels of {head.tier} would show it, if it is so", more


def _said(fitted: FittedScore, known: Sequence[Outcome], tier: str) -> tuple[Any, Any, list[str]]:
    """Return the held-out chances of a tier's outcomes, their labels and their queries."""
    if fitted.score.kind == "prompt":
        place = {query: row for row, query in enumerate(fitted.queries)}
        at = [(place[each.query], each) for each in known if each.tier == tier]
    else:
        judged = [each for each in known if each.tier != fitted.score.tiers[-1]]
        at = [(row, each) for row, each in enumerate(judged) if each.tier == tier]
    chances = fitted.held_out[tier][[row for row, _ in at]]
    return chances, np.array([each.score for _, each in at]), [each.query for _, each in at]


def _figures(
    tier: str, chances: Any, labels: Any, queries: Sequence[str], confidence: float, seed: int
) -> HeadFigures:
    right = labels >= _RIGHT_FROM
    mixed = bool(right.any() and not right.all())
    auc = _span(_auc, chances, right, queries, confidence, seed) if mixed else None
    error = _span(calibration_error, chances, labels, queries, confidence, seed)
    bins = calibration_bins(chances, labels)
    return HeadFigures(tier, len(labels), float(right.mean()), auc, error, bins)


def _span(
    figure: Callable[[Any, Any], float],
    chances: Any,
    labels: Any,
    queries: Sequence[str],
    confidence: float,
    seed: int,
) -> Span:
    """Return a figure with its interval from redraws of whole queries."""
    _, of = np.unique(queries, return_inverse=True)
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(of.max() + 2))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_REDRAWS):
        picked = rng.integers(0, of.max() + 1, of.max() + 1)
        rows = np.concatenate([order[starts[query] : starts[query + 1]] for query in picked])
        drawn.append(figure(chances[rows], labels[rows]))
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = figure(chances, labels)  # an error is larger in redraws, which are of fewer queries
    return Span(value, min(float(low), value), max(float(high), value))


def _auc(chances: Any, right: Any) -> float:
    """Return the area under the curve by the rank sum, ties halved; NaN where all labels say the same."""
    from scipy.stats import rankdata

    ones = int(right.sum())
    if ones in (0, len(right)):
        return float("nan")
    total = float(rankdata(chances)[right].sum())
    return (total - ones * (ones + 1) / 2) / (ones * (len(right) - ones))
