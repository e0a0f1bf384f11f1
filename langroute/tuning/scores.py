"""Fits learned scores with scikit-learn: what is likely right before a reply, and given it.

Each tier has a head of its own, and a score compares heads: on RouteLLM's MMLU labels *strong minus weak*
ranks better than "the weak one fails" alone, for where both fail the strong one is paid for nothing.
Everything that is chosen (calibration, thresholds) is chosen on predictions for queries that the fit had
not seen. Outcomes are read once, as a stream. The cross-fit runs through joblib: in this process, or where
`joblib.parallel_config` says, as on a cluster of Dask, Ray or Spark.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from langroute.tuning.design import Design
from langroute.tuning.features import Features
from langroute.tuning.heads import Fit, Settings, calibration_error, fit_head, folds_of, predict
from langroute.tuning.learned import Head, LearnedScore
from langroute.tuning.outcomes import Outcome
from langroute.tuning.sampling import sampled_queries

__all__ = [
    "MOST_QUERIES",
    "FittedScore",
    "cold_score",
    "expected_gain",
    "fit_prompt_score",
    "fit_reply_score",
]

MOST_QUERIES = 50_000
"""Queries that a fit learns from unless told otherwise."""
COLD_SLOPE = -0.35
"""Log-odds that a standard deviation of length takes from a tier below the top before labels tell."""
_REPLY_STRENGTH = 0.5
"""Values weigh little in a design, as text stands beside them; where none does they are penalised less."""
_USUAL_LENGTH = 5.0
"""Logarithm of the tokens of a prompt as long as a paragraph or two."""

_Array = Any


@dataclass(frozen=True, eq=False)
class FittedScore:
    """A score, and what it said of each of its own rows when it was fitted without their queries."""

    score: LearnedScore
    queries: tuple[str, ...]
    """The query of each row: every query once before replies, each judged reply after them."""
    rows: Mapping[str, _Array]
    """Tier to its rows: all of them before replies, those of its own replies after them."""
    held_out: Mapping[str, _Array]
    """Tier to each row's cross-fitted probability of being right; `TIER+`: the tier above, after replies."""
    design: Design

    def gain(self, tier: str) -> _Array:
        """Return the cross-fitted gain of going above a tier, for each of its rows."""
        return expected_gain(self.score, self.held_out, tier)[self.rows[tier]]

    def said_of(self, features: Sequence[Features]) -> dict[str, _Array]:
        """Return the probabilities for other queries, many at once; keys as in `held_out`."""
        seen = self.design.more(features)
        said = {tier: predict(head, seen) for tier, head in self.score.heads.items()}
        return said | {f"{tier}+": predict(head, seen) for tier, head in self.score.above.items()}


def expected_gain(score: LearnedScore, said: Mapping[str, _Array], tier: str) -> _Array:
    """Return `LearnedScore.gain` of many, from arrays of probabilities by tier."""
    if score.kind == "reply":
        return said.get(f"{tier}+", 1.0) - said[tier]
    higher = [said[name] for name in score.tiers[score.tiers.index(tier) + 1 :]]
    return np.max(higher, axis=0) - said[tier] if higher else np.zeros(len(said[tier]))


def cold_score(tiers: Sequence[str], *, step: str = "") -> LearnedScore:
    """Return the score of prompts before anything is learned: the longer, the more a higher tier is worth.

    Its probabilities mean nothing until there are labels; its order does.
    """
    names, mean, scale = ("length",), np.array([_USUAL_LENGTH]), np.array([1.0])
    top = Head(0.0, np.zeros(1))
    rest = {
        tier: Head(0.0, np.array([COLD_SLOPE * above]))
        for tier, above in zip(tiers[:-1], range(len(tiers) - 1, 0, -1), strict=True)
    }
    return LearnedScore("prompt", step, tuple(tiers), names, mean, scale, {**rest, tiers[-1]: top})


def fit_prompt_score(
    outcomes: Iterable[Outcome],
    tiers: Sequence[str],
    *,
    step: str = "",
    seed: int = 0,
    folds: int = 5,
    most_queries: int = MOST_QUERIES,
    progress: Callable[[int], None] = lambda _: None,
) -> FittedScore:
    """Fit a score of prompts: how likely each tier is good enough, before there is a reply.

    With few labels it leans on length, which ranks prompts before anything is learned (`cold_score`). So it
    needs no minimum of labels; a threshold does.

    Args:
        outcomes: Replies whose worth is known; a query need not have been put to every tier.
        tiers: The step's tiers, cheapest first.
        step: The step, for the file.
        seed: Of the folds.
        folds: Parts of the cross-fit.
        most_queries: Queries that are learned from, drawn from all (see `sampled_queries`): memory hangs on
            them, and not on how many outcomes there are.
        progress: Told now and then how many outcomes are read.

    Raises:
        ValueError: There is no outcome at all, or one is of a tier that is not among `tiers`.
    """
    known = _known(sampled_queries(outcomes, most_queries, progress), tiers)
    prompts = {outcome.query: outcome.prompt for outcome in known}
    place = {query: row for row, query in enumerate(prompts)}
    labels = {tier: _Labels() for tier in tiers}
    for outcome in known:
        labels[outcome.tier].add(place[outcome.query], outcome.score)
    design = Design.of(list(prompts.values()))
    fold_of = folds_of(list(prompts), folds, seed)
    fits = {}
    for rank, tier in enumerate(tiers):
        slope = 0.0 if rank == len(tiers) - 1 else COLD_SLOPE
        fits[tier] = labels[tier].fit(design, fold_of, Settings(cold=slope, seed=seed))
    everywhere = dict.fromkeys(tiers, np.arange(len(prompts)))
    return _fitted("prompt", step, tiers, known, list(prompts), design, everywhere, fits, labels)


def fit_reply_score(
    outcomes: Iterable[Outcome],
    tiers: Sequence[str],
    *,
    step: str = "",
    seed: int = 0,
    folds: int = 5,
    most_queries: int = MOST_QUERIES,
    progress: Callable[[int], None] = lambda _: None,
) -> FittedScore:
    """Fit a score of replies: how likely this reply is right, for every tier but the top.

    Where the tier above was asked the same query, a second head says how likely *it* is right given this
    reply.

    Args:
        outcomes: Replies whose worth is known, with `reply` values and the verdicts that were found.
        tiers: The step's tiers, cheapest first.
        step: The step, for the file.
        seed: Of the folds.
        folds: Parts of the cross-fit.
        most_queries: Queries that are learned from, drawn from all (see `sampled_queries`): memory hangs on
            them, and not on how many outcomes there are.
        progress: Told now and then how many outcomes are read.

    Raises:
        ValueError: A tier below the top has no outcome, or an outcome is of a tier that is not among `tiers`.
    """
    known = _known(sampled_queries(outcomes, most_queries, progress), tiers)
    worth = {(outcome.query, outcome.tier): outcome.score for outcome in known}
    judged = [outcome for outcome in known if outcome.tier != tiers[-1]]
    labels: dict[str, _Labels] = {tier: _Labels() for tier in tiers[:-1]}
    labels |= {f"{tier}+": _Labels() for tier in tiers[:-1]}
    for row, outcome in enumerate(judged):
        labels[outcome.tier].add(row, outcome.score)
        above = worth.get((outcome.query, tiers[tiers.index(outcome.tier) + 1]))
        if above is not None:
            labels[f"{outcome.tier}+"].add(row, above)
    missing = [tier for tier in tiers[:-1] if not labels[tier].rows]
    if missing:
        raise ValueError(
            f"there is no outcome of {', '.join(missing)}: a score of replies needs some of each tier"
        )
    design = Design.of([outcome.after() for outcome in judged], text=False)
    queries = [outcome.query for outcome in judged]
    fold_of = folds_of(queries, folds, seed)
    fits = {
        name: of.fit(design, fold_of, Settings(strength=_REPLY_STRENGTH, trees=True, seed=seed))
        for name, of in labels.items()
        if of.rows
    }
    rows = {tier: np.array(labels[tier].rows) for tier in tiers[:-1]}
    return _fitted("reply", step, tiers, known, queries, design, rows, fits, labels)


class _Labels:
    """Which rows have a label, and which."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.right: list[float] = []

    def add(self, row: int, right: float) -> None:
        self.rows.append(row)
        self.right.append(right)

    def fit(self, design: Design, fold_of: _Array, settings: Settings) -> Fit:
        return fit_head(design, np.array(self.rows, int), np.array(self.right, float), fold_of, settings)


def _known(known: list[Outcome], tiers: Sequence[str]) -> list[Outcome]:
    if not known:
        raise ValueError("there are no outcomes to learn from")
    foreign = sorted({outcome.tier for outcome in known} - set(tiers))
    if foreign:
        raise ValueError(f"outcomes are of {', '.join(foreign)}, and the step's tiers are {', '.join(tiers)}")
    return known


def _fitted(
    kind: Literal["prompt", "reply"],
    step: str,
    tiers: Sequence[str],
    known: Sequence[Outcome],
    queries: Sequence[str],
    design: Design,
    rows: Mapping[str, _Array],
    fits: Mapping[str, Fit],
    labels: Mapping[str, _Labels],
) -> FittedScore:
    ece = {
        name: round(calibration_error(fit.held_out[labels[name].rows], np.array(labels[name].right)), 4)
        for name, fit in fits.items()
        if labels[name].rows
    }
    trained = {
        "queries": len(set(queries)),
        "labels": {name: len(of.rows) for name, of in labels.items() if of.rows},
        "calibration_error": ece,
        "labels_sha256": _labels_digest(queries, labels),
        "until": max(outcome.day for outcome in known),
    }
    score = LearnedScore(
        kind,
        step,
        tuple(tiers),
        design.names,
        design.mean,
        design.scale,
        {name: fit.head for name, fit in fits.items() if not name.endswith("+")},
        {name[:-1]: fit.head for name, fit in fits.items() if name.endswith("+")},
        design.idf,
        trained,
    )
    return FittedScore(
        score, tuple(queries), rows, {name: fit.held_out for name, fit in fits.items()}, design
    )


def _labels_digest(queries: Sequence[str], labels: Mapping[str, _Labels]) -> str:
    """Return the SHA-256 of every query, tier and label: whether two scores learned from the same."""
    told = sorted(
        f"{queries[row]}\t{name}\t{right:g}"
        for name, of in labels.items()
        for row, right in zip(of.rows, of.right, strict=True)
    )
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
